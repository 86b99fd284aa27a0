"""From an image to a network's input, as the network's maker defines it.

The one place for networks and observers. What the maker says is read from the maker's library:

===========  ==================================================================================
timm         `timm.data.resolve_model_data_config` and `timm.data.create_transform`
open_clip    the pretrained tag's configuration and `open_clip.transform.image_transform`
torchvision  ``weights.transforms()`` of the tag, or of the default one
===========  ==================================================================================

What the user asks for instead is put into the maker's own functions, and the record names it
beside the maker's value. A network without a maker gets ImageNet's values, and the record says so.
Scaling and cropping keep 8-bit pixels, so that they can run in a loader and be shown to people;
mean and deviation are taken on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.vision.card import NetworkCard, Preprocessing
from imi_bench.vision.geometry import Centred, Geometry, geometry_of

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NO_MAKER = "none: ImageNet's mean and deviation, bilinear"
_DEFAULT_CROP = 224
_TIMM_MODES = {"center": "shortest", "squash": "squash", "border": "longest"}


@dataclass(frozen=True, eq=False)
class Preprocess:
    """An image to a network's input, in two halves: `pixels` in the loader, `normalise` on device.

    Attributes
    ----------
    size : (int, int)
        Height and width of the input in pixels.
    geometry : Geometry
        Pillow image to Pillow image of that size: scales, crops and pads, nothing else.
    mean, std : (3,) float
        Of values in 0..1.
    settings : mapping
        The record, a JSON object: ``maker``, ``size``, ``resize``, ``mode``, ``interpolation``,
        ``mean``, ``std``, and ``instead_of``: the maker's values where the user asked for others.
    """

    size: tuple[int, int]
    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    settings: Mapping[str, Any]

    @property
    def crop(self) -> int:
        """Side of a square input.

        Raises
        ------
        NetworkError
            If the input is not square.
        """
        if self.size[0] != self.size[1]:
            raise NetworkError(
                "input is not square", found=f"{self.size[0]} x {self.size[1]} pixels"
            )
        return self.size[0]

    def pixels(self, image: Pixels) -> Pixels:
        """Scaled and cropped image, (height, width, 3) uint8."""
        return np.array(self.geometry(Image.fromarray(image)))

    def normalise(self, batch: Tensor) -> Tensor:
        """Network input (B, 3, H, W) float32 from (B, H, W, 3) uint8 pixels."""
        if batch.device.type == "cpu":
            return _looked_up(batch, self.mean, self.std)
        # by a tensor: by a number, a GPU would multiply with the rounded reciprocal
        values = batch.permute(0, 3, 1, 2).float()
        return self.normalise_unit(values / _constants((255.0,), values.dtype, values.device))

    def normalise_unit(self, batch: Tensor) -> Tensor:
        """Network input from (B, 3, H, W) values in 0..1, differentiable."""
        return _standardised(batch, self.mean, self.std)

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, H, W) float32 input from a Pillow image."""
        torch = require("torch", for_="preprocessing")
        pixels = torch.from_numpy(np.array(self.geometry(image)))
        normalised: Tensor = self.normalise(pixels[None])[0]
        return normalised


def _standardised(batch: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    centre, scale = (
        _constants(values, batch.dtype, batch.device).view(1, 3, 1, 1) for values in (mean, std)
    )
    return (batch - centre) / scale


def _looked_up(batch: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """The input from tables of what the 256 levels become: a quarter of the time to compute it."""
    torch = require("torch", for_="preprocessing")
    tables = _tables(mean, std)
    pixels, values = batch.numpy(), np.empty(batch.shape, dtype=np.float32)
    for image, inputs in zip(pixels, values, strict=True):  # one at a time stays in the cache
        for channel, table in enumerate(tables):
            inputs[..., channel] = table[image[..., channel]]
    looked_up: Tensor = torch.from_numpy(values).permute(0, 3, 1, 2)
    return looked_up


@lru_cache(maxsize=16)
def _tables(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """(3, 256) inputs that the levels of each channel become."""
    torch = require("torch", for_="preprocessing")
    levels = torch.from_numpy(np.arange(256, dtype=np.float32)).view(1, 1, 256, 1)
    whole = torch.from_numpy(np.full(1, 255, dtype=np.float32))
    inputs = _standardised(levels.expand(1, 3, 256, 1) / whole, mean, std)
    tables: NDArray[np.float32] = inputs[0, :, :, 0].contiguous().numpy()
    return tables


@lru_cache(maxsize=64)
def _constants(values: tuple[float, ...], dtype: Any, device: Any) -> Tensor:
    """Numbers as a tensor, sent to a device once: sending waits for all work of the device."""
    torch = require("torch", for_="preprocessing")
    with torch.inference_mode(False):  # else no gradient could pass them later
        constants: Tensor = torch.tensor(values, dtype=dtype, device=device)
        return constants


def preprocess_for(
    card: NetworkCard, module: nn.Module, *, input_size: int | None = None
) -> Preprocess:
    """Preprocessing of a network: its maker's, with what its card and the user ask instead.

    Parameters
    ----------
    card : NetworkCard
    module : torch.nn.Module
        As its maker built it.
    input_size : int, optional
        Side of the input; the share of the image that the maker crops away stays.

    Raises
    ------
    NetworkError
        What the maker's functions refuse, or a network that takes no single images.
    InputError
        An input size below 1.
    """
    wanted = card.preprocessing
    if input_size is not None:
        if input_size < 1:
            raise InputError("input_size out of range", found=input_size, wanted="1 or more pixels")
        wanted = wanted.cropped(input_size)
    if card.source == "timm":
        return timm_preprocess(module.pretrained_cfg, wanted)
    if card.source == "open_clip":
        built = getattr(module, "visual", module)
        known = dict(getattr(built, "preprocess_cfg", {}))
        if hasattr(built, "image_size"):
            known["size"] = built.image_size
        return open_clip_preprocess(card.architecture, card.weights.tag, known, wanted)
    if card.source == "torchvision" or (card.source == "pre_relu_resnet" and card.weights.tag):
        return torchvision_preprocess(card.architecture, card.weights.tag, wanted)
    return plain_preprocess(wanted)


def timm_preprocess(config: Mapping[str, Any], wanted: Preprocessing | None = None) -> Preprocess:
    """As timm's `create_transform` does it for a pretrained configuration.

    Parameters
    ----------
    config : mapping
        timm's ``pretrained_cfg``.
    wanted : Preprocessing, optional
        What to do instead.
    """
    data = require("timm.data", for_="preprocessing")
    wanted = wanted or Preprocessing()
    own = data.resolve_model_data_config(None, pretrained_cfg=dict(config))
    channels, *size = own["input_size"]
    if channels != 3:
        raise _no_colour(config.get("architecture"), f"{channels} channels")
    settings = {
        "crop": tuple(size),
        "resize": tuple(math.floor(side / own["crop_pct"]) for side in size),
        "mode": _TIMM_MODES[own["crop_mode"] or "center"],
        "interpolation": own["interpolation"],
        "mean": tuple(own["mean"]),
        "std": tuple(own["std"]),
    }
    chosen = dict(settings)
    if wanted.crop is not None:
        chosen["crop"] = (wanted.crop, wanted.crop)
        chosen["resize"] = tuple(math.floor(s / own["crop_pct"]) for s in chosen["crop"])
    tag = config.get("tag")
    name = f"{config.get('architecture') or 'network'}{f'.{tag}' if tag else ''}"
    share = own["crop_pct"] if wanted.resize is None else None
    return _built(
        f"timm: {name}", settings, _override(chosen, wanted), partial(_timm_geometry, share=share)
    )


def open_clip_preprocess(
    architecture: str,
    tag: str | None,
    known: Mapping[str, Any] | None = None,
    wanted: Preprocessing | None = None,
) -> Preprocess:
    """As open_clip's `image_transform` does it for a pretrained tag.

    Parameters
    ----------
    architecture : str
        open_clip's name.
    tag : str or None
        Of its registry; None: open_clip's default for the architecture.
    known : mapping, optional
        ``preprocess_cfg`` of the built model; by default what its configuration file says.
    wanted : Preprocessing, optional
        What to do instead.
    """
    transform = require("open_clip.transform", for_="preprocessing")
    open_clip = require("open_clip", for_="preprocessing")
    wanted = wanted or Preprocessing()
    if not known:
        described = open_clip.get_model_config(architecture) or {}
        known = {"size": described.get("vision_cfg", {}).get("image_size", _DEFAULT_CROP)}
    tagged = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    overlay = {key: value for key, value in tagged.items() if key != "size"}
    own = transform.merge_preprocess_dict(
        transform.merge_preprocess_dict(transform.PreprocessCfg(), known), overlay
    )
    side = own["size"]
    size = (side, side) if isinstance(side, int) else tuple(side)
    settings = {
        "crop": size,
        "resize": size,
        "mode": own["resize_mode"],
        "interpolation": own["interpolation"],
        "mean": _triple(own["mean"]),
        "std": _triple(own["std"]),
        "fill": own["fill_color"],
    }
    chosen = dict(settings)
    if wanted.crop is not None:
        chosen["crop"] = chosen["resize"] = (wanted.crop, wanted.crop)
    chosen = _override(chosen, wanted)
    own_way = chosen["crop"] == chosen["resize"] and chosen["interpolation"] in (
        "bilinear",
        "bicubic",
    )
    name = f"{architecture}/{tag}" if tag else f"{architecture}, no tag named: its defaults"
    return _built(
        f"open_clip: {name}", settings, chosen, _open_clip_geometry if own_way else _timm_geometry
    )


def torchvision_preprocess(
    architecture: str, tag: str | None, wanted: Preprocessing | None = None
) -> Preprocess:
    """As torchvision's ``weights.transforms()`` does it.

    A segmentation network's maker scales the shorter side and crops nothing: images of one size
    are needed here, so the centre square is kept, and the record says so. A detection network
    scales and normalises within itself, and is given plain values of 0 to 1.

    Parameters
    ----------
    architecture : str
        torchvision's name.
    tag : str or None
        Member of its enumeration of weights; None: ``DEFAULT``.
    wanted : Preprocessing, optional
        What to do instead.
    """
    models = require("torchvision.models", for_="preprocessing")
    wanted = wanted or Preprocessing()
    offered = models.get_model_weights(architecture)
    if not len(offered):
        return plain_preprocess(wanted)
    if tag is not None and tag not in offered.__members__ and tag != "DEFAULT":
        raise UnknownNameError.among(tag, offered.__members__, kind=f"tag of '{architecture}'")
    chosen_weights = offered[tag or "DEFAULT"]
    preset = chosen_weights.transforms()
    kind = type(preset).__name__
    if kind not in ("ImageClassification", "SemanticSegmentation", "ObjectDetection"):
        raise _no_colour(architecture, f"input of the kind {kind}")
    resize = getattr(preset, "resize_size", None)
    resize = resize[0] if resize else None
    crop = preset.crop_size[0] if hasattr(preset, "crop_size") else resize or _DEFAULT_CROP
    interpolation = getattr(preset, "interpolation", None)
    settings: dict[str, Any] = {
        "crop": (crop, crop),
        "resize": (resize or crop,) * 2,
        "mode": "shortest",
        "interpolation": interpolation.value if interpolation else "bilinear",
        "mean": tuple(getattr(preset, "mean", (0.0, 0.0, 0.0))),
        "std": tuple(getattr(preset, "std", (1.0, 1.0, 1.0))),
    }
    chosen = dict(settings)
    if wanted.crop is not None:
        chosen["crop"] = (wanted.crop, wanted.crop)
        chosen["resize"] = (round(wanted.crop * settings["resize"][0] / crop),) * 2
    maker = f"torchvision: {chosen_weights}"
    if kind == "SemanticSegmentation":
        maker += ", whose maker crops nothing: the centre square is kept"
    if kind == "ObjectDetection":
        maker += ", which scales and normalises within itself: the centre square is given"
    return _built(maker, settings, _override(chosen, wanted), _plain_geometry)


def plain_preprocess(wanted: Preprocessing | None = None) -> Preprocess:
    """For a network whose maker says nothing: ImageNet's values, or what is asked for.

    Examples
    --------
    >>> plain_preprocess(Preprocessing(crop=32)).settings["resize"]
    [32, 32]
    """
    wanted = wanted or Preprocessing()
    crop = wanted.crop or _DEFAULT_CROP
    settings = {
        "crop": (crop, crop),
        "resize": (crop, crop),
        "mode": "shortest",
        "interpolation": "bilinear",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    }
    return _built(NO_MAKER, settings, _override(dict(settings), wanted), _plain_geometry)


def from_settings(settings: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of a record, without the network.

    Parameters
    ----------
    settings : mapping
        As `Preprocess.settings`.
    """
    chosen = {
        "crop" if name == "size" else name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name not in ("maker", "instead_of")
    }
    own_way = chosen["crop"] == chosen["resize"] and chosen["interpolation"] != "lanczos"
    geometry = {
        "open_clip": _open_clip_geometry if own_way else _timm_geometry,
        "timm": _timm_geometry,
    }.get(str(settings["maker"]).partition(":")[0], _plain_geometry)
    made = _built(settings["maker"], chosen, chosen, geometry)
    return Preprocess(made.size, made.geometry, made.mean, made.std, dict(settings))


def centre_crop(
    image: Pixels, *, crop: int, resize: int, interpolation: str = "bilinear"
) -> Pixels:
    """Scale the shorter side to `resize`, keep the central `crop` x `crop` pixels.

    Rounds as torchvision's ``Resize`` and ``CenterCrop`` do. An image smaller than the crop after
    scaling is padded with black.

    Examples
    --------
    >>> centre_crop(np.zeros((300, 600, 3), np.uint8), crop=224, resize=256).shape
    (224, 224, 3)
    """
    scaled = Centred((crop, crop), resize, interpolation)
    return np.asarray(scaled(Image.fromarray(image)))


def _override(settings: dict[str, Any], wanted: Preprocessing) -> dict[str, Any]:
    """The settings with what is asked for; a wanted crop has been put in before."""
    if wanted.resize is not None:
        settings["resize"] = (wanted.resize, wanted.resize)
    for name in ("mode", "interpolation", "mean", "std"):
        if (value := getattr(wanted, name)) is not None:
            settings[name] = value
    return settings


def _built(
    maker: str,
    own: Mapping[str, Any],
    chosen: Mapping[str, Any],
    geometry: Callable[[Mapping[str, Any]], Geometry],
) -> Preprocess:
    if chosen["mode"] != "shortest" and geometry is _plain_geometry:
        geometry = _timm_geometry
    shown = {"crop": "size"}
    record = {"maker": maker} | {shown.get(k, k): _plain(v) for k, v in chosen.items()}
    record["instead_of"] = {
        shown.get(name, name): _plain(value) for name, value in own.items() if chosen[name] != value
    }
    return Preprocess(
        size=chosen["crop"],
        geometry=geometry(chosen),
        mean=tuple(chosen["mean"]),
        std=tuple(chosen["std"]),
        settings=record,
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _plain_geometry(chosen: Mapping[str, Any]) -> Geometry:
    return Centred(chosen["crop"], chosen["resize"][0], chosen["interpolation"])


def _timm_geometry(chosen: Mapping[str, Any], share: float | None = None) -> Geometry:
    """Timm's way; its ``crop_pct`` is `share`, or one that scales to the chosen length."""
    data = require("timm.data", for_="preprocessing")
    mode = next(timms for timms, ours in _TIMM_MODES.items() if ours == chosen["mode"])
    transform = data.create_transform(
        input_size=(3, *chosen["crop"]),
        # timm scales to floor(crop / crop_pct): the middle of the range that gives the length
        crop_pct=share or chosen["crop"][0] / (chosen["resize"][0] + 0.5),
        crop_mode=mode,
        interpolation=chosen["interpolation"],
        mean=chosen["mean"],  # of the border
        std=chosen["std"],
    )
    return geometry_of(
        transform,
        without=("ToTensor", "Normalize"),
        record={"way": "timm", "share": share, **_scaling(chosen), "border": list(chosen["mean"])},
    )


def _open_clip_geometry(chosen: Mapping[str, Any]) -> Geometry:
    transform = require("open_clip.transform", for_="preprocessing")
    made = transform.image_transform(
        image_size=chosen["crop"],
        is_train=False,
        mean=chosen["mean"],
        std=chosen["std"],
        resize_mode=chosen["mode"],
        interpolation=chosen["interpolation"],
        fill_color=chosen["fill"],
    )
    return geometry_of(
        made,
        without=("ToTensor", "Normalize"),
        record={"way": "open_clip", **_scaling(chosen), "fill": chosen["fill"]},
    )


def _scaling(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(chosen[name]) for name in ("crop", "resize", "mode", "interpolation")}


def _triple(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,) * 3


def _no_colour(name: object, found: str) -> NetworkError:
    return NetworkError(
        "network does not take single colour images",
        where=name,
        found=found,
        wanted="one image of 3 channels",
        do="choose another network, or wrap it in a function of a Python file",
    )
