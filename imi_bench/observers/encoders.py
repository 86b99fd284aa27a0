"""Observers over any of timm's and of open_clip's architectures.

Weights come from a local safetensors file, from the pinned source of a card, from the library's
own pretrained source, or, where asked for in so many words, from a seeded random start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.layers import BestMatch, layer_codes
from imi_bench.observers.pooling import Pooling
from imi_bench.provenance import sha256_bytes
from imi_bench.vision import weight_files
from imi_bench.vision.building import build_module
from imi_bench.vision.card import NetworkCard, Preprocessing, Weights
from imi_bench.vision.encoder import torch_encoder
from imi_bench.vision.loading import load_network
from imi_bench.vision.preprocessing import Preprocess, open_clip_preprocess, timm_preprocess
from imi_bench.vision.weight_files import WeightFile
from imi_bench.vision.weight_sources import WeightSource, find_weights
from imi_bench.vision.weights import quick_gelu as activation_of


def from_module(
    module: Any,
    *,
    name: str | None = None,
    input_size: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = 0.1,
) -> Embedding:
    """Observer over the output of a network in memory, flattened.

    Parameters
    ----------
    module : torch.nn.Module
        Is copied. Its preprocessing is what its maker defines (timm), else as
        `imi_bench.vision.loading.load_network` says; the description names it.
    name : str, optional
        Of the observer; the class of the module by default.
    input_size, device, dtype, pooling, similarity, temperature
        As in `from_timm`.

    Raises
    ------
    NetworkError
        If the network does not run on its input.
    """
    torch = require("torch", for_="a network in memory")
    loaded = load_network(module, device="cpu", name=name, input_size=input_size)

    def transform(picture: Image.Image) -> Any:
        pixels = loaded.preprocess.pixels(np.asarray(picture))
        return loaded.preprocess.normalise(torch.from_numpy(pixels.copy())[None])[0]

    encoder = torch_encoder(
        loaded.module,
        loaded.module,
        transform,
        device=device,
        dtype=dtype,
        description={
            "library": "torch",
            "architecture": type(module).__name__,
            "structure": sha256_bytes(repr(module).encode()),
            "weights": {"source": "in memory"},
            "features": "output, flattened",
            "preprocessing": loaded.record["preprocess"],
        },
    )
    return Embedding(
        encoder,
        name=loaded.name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


def from_timm(
    architecture: str,
    *,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    weights: WeightSource | None = None,
    pretrained: bool = True,
    seed: int = 0,
    image_size: int | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layer: str | None = None,
    spatial: str = "mean",
    power: float = 3.0,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = 0.1,
) -> Embedding:
    """Observer over the pooled features of a timm network, those its classifier would read.

    Parameters
    ----------
    architecture : str
        timm's name, with or without a tag: ``resnet50.a1_in1k``.
    name : str, optional
        Of the observer; ``timm:architecture`` by default.
    checkpoint : path, optional
        Safetensors file of the whole network; a classifier of any number of classes fits.
    weights : WeightFile or PackagedWeights, optional
        Pinned source; by default timm's own source of the tag. Not used with `checkpoint`.
    pretrained : bool
        False: random weights drawn with `seed`, named so in the description.
    image_size, mean, std : int, optional and sequence of float, optional
        Override the network's own data configuration (crop, interpolation, normalisation).
    num_classes : int, optional
        Of the classifier, which is not read; a checkpoint's own is found without it.
    layer : str, optional
        Layers to read instead, joined by commas, as `imi-bench networks units` names them.
    spatial, power : str and float
        How a layer's positions become a code, as in `imi_bench.observers.layers`.
    device, dtype
        As in `imi_bench.observers.catalogue.load_observer`.
    pooling, similarity, temperature
        As in `imi_bench.observers.pooling.decide`.

    Raises
    ------
    UnknownNameError, NetworkError, DownloadError, InputError, MissingExtraError
    """
    timm = require("timm", for_=f"the observer '{name or architecture}'")
    name = name or f"timm:{architecture}"
    arguments: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    path: Path | None = None
    if architecture.startswith("hf-hub:"):
        source = _hub_source(architecture, checkpoint, pretrained=pretrained, name=name)
    else:
        own = _timm_config(timm, architecture)
        pinned = weights or _timm_weights(own)
        path, source = _source(checkpoint, pinned, pretrained=pretrained, seed=seed, name=name)
        if image_size is not None and own.fixed_input_size:
            arguments["img_size"] = image_size
        if path is not None:
            arguments |= _timm_arguments(path, own, num_classes)
    described = NetworkCard(
        name="observer", source="timm", architecture=architecture, arguments=arguments
    )
    download = path is not None or architecture.startswith("hf-hub:")
    network: Any = build_module(described, download=download, seed=seed, file=path)
    preprocess = timm_preprocess(
        network.pretrained_cfg, _asked(crop=image_size, mean=mean, std=std)
    )
    return _embedding(
        network,
        lambda batch: network.forward_head(network.forward_features(batch), pre_logits=True),
        preprocess,
        inside=network,
        layer=layer,
        spatial=spatial,
        power=power,
        device=device,
        dtype=dtype,
        description={
            "library": "timm",
            "architecture": architecture,
            "weights": source,
            "features": "pooled, before the classifier",
            "preprocessing": dict(preprocess.settings),
        },
        name=name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


def from_open_clip(
    architecture: str,
    *,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    weights: WeightSource | None = None,
    pretrained: str | bool = True,
    seed: int = 0,
    image_size: int | None = None,
    quick_gelu: bool | None = None,
    layer: str | None = None,
    spatial: str = "mean",
    power: float = 3.0,
    device: str = "auto",
    dtype: str = "float32",
    pooling: Pooling = "mean",
    similarity: str = "cosine",
    temperature: float = 0.1,
) -> Embedding:
    """Observer over the image features of an open_clip model, in the space shared with text.

    Parameters
    ----------
    architecture : str
        open_clip's name: ``ViT-B-32``.
    pretrained : str or bool
        Tag of open_clip's registry, which sets normalisation and activation function, and the
        source of the weights unless `weights` or `checkpoint` is given. False: random weights.
    quick_gelu : bool, optional
        The activation function that the weights were trained with; the tag's by default. A
        checkpoint without a tag needs it where the architecture's tags disagree.
    layer, spatial, power
        As in `from_timm`; layers of the image tower.
    name, checkpoint, weights, seed, image_size, device, dtype, pooling, similarity, temperature
        As in `from_timm`; the file holds the whole model, text tower included.

    Raises
    ------
    UnknownNameError, NetworkError, DownloadError, InputError, MissingExtraError
    """
    open_clip = require("open_clip", for_=f"the observer '{name or architecture}'")
    name = name or f"open_clip:{architecture}"
    named = pretrained if isinstance(pretrained, str) else None
    quick_gelu = activation_of(
        architecture, named, asked=quick_gelu, trained=pretrained is not False
    )
    tag = open_clip.get_pretrained_cfg(architecture, named) if named else {}
    path, source = _source(
        checkpoint,
        weights or _open_clip_weights(tag),
        pretrained=pretrained is not False,
        seed=seed,
        name=name,
    )
    described = NetworkCard(
        name="observer",
        source="open_clip",
        architecture=architecture,
        arguments={"force_image_size": image_size, "quick_gelu": quick_gelu},
        weights=Weights(file=None if path is None else str(path)),
    )
    model: Any = build_module(described, download=path is not None, seed=seed, file=path)
    known = {**model.visual.preprocess_cfg, "size": model.visual.image_size}
    preprocess = open_clip_preprocess(architecture, named, known)
    return _embedding(
        model,
        model.encode_image,
        preprocess,
        inside=model.visual,
        layer=layer,
        spatial=spatial,
        power=power,
        device=device,
        dtype=dtype,
        description={
            "library": "open_clip",
            "architecture": architecture,
            "weights": source,
            "quick_gelu": quick_gelu,
            "features": "image embedding",
            "preprocessing": dict(preprocess.settings),
        },
        name=name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


def _embedding(
    module: Any,
    forward: Any,
    preprocess: Preprocess,
    *,
    inside: Any,
    layer: str | None,
    spatial: str,
    power: float,
    device: str,
    dtype: str,
    description: dict[str, Any],
    name: str,
    pooling: Pooling,
    similarity: str,
    temperature: float,
) -> Embedding:
    """The observer over a network's own features, or over layers of the part `inside`."""
    kind: type[Embedding] = Embedding
    if layer is not None:
        inside.eval()
        forward, features = layer_codes(
            inside, layer, size=preprocess.size, spatial=spatial, power=power, where=name
        )
        description = {**description, "features": features}
        if spatial == "best-match":
            kind = BestMatch
            if similarity != "cosine":
                raise InputError("best matches are cosines", where=name, found=similarity)
    elif spatial != "mean":
        raise InputError(
            "no layer to pool", where=name, found=f"spatial={spatial}", do="add layer="
        )
    encoder = torch_encoder(
        module,
        forward,
        preprocess,
        device=device,
        dtype=dtype,
        description=description,
        flat=kind is Embedding,
    )
    return kind(encoder, name=name, pooling=pooling, similarity=similarity, temperature=temperature)


def _hub_source(
    architecture: str, checkpoint: str | Path | None, *, pretrained: bool, name: str
) -> dict[str, Any]:
    if checkpoint is not None or not pretrained:
        raise InputError(
            "a Hub repository brings its weights",
            where=name,
            do="name the architecture itself for a local checkpoint or random weights",
        )
    return {"source": architecture, "revision": "unpinned"}


def _asked(**fields: Any) -> Preprocessing:
    return Preprocessing(**{name: value for name, value in fields.items() if value is not None})


def _source(
    checkpoint: str | Path | None,
    weights: WeightSource | None,
    *,
    pretrained: bool,
    seed: int,
    name: str,
) -> tuple[Path | None, dict[str, Any]]:
    """Weight file (None for random weights) and what to say of it."""
    if not pretrained:
        if checkpoint is not None:
            raise InputError("both a checkpoint and random weights", where=name, do="drop one")
        return None, {"source": "random weights", "seed": seed}
    if checkpoint is not None:
        return weight_files.check_file(Path(checkpoint)), {"source": "local file"}
    if weights is None:
        raise NetworkError(
            "no source of weights",
            where=name,
            do="add ?checkpoint=FILE.safetensors, a pretrained tag, or ?pretrained=false&seed=0",
        )
    return find_weights(weights, for_=name), weights.record()


def _timm_config(timm: ModuleType, architecture: str) -> Any:
    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        raise UnknownNameError.among(base, timm.list_models(), kind="timm architecture")
    try:
        return timm.models.get_pretrained_cfg(architecture)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        raise UnknownNameError.among(tag, tags, kind=f"tag of '{base}'") from None


def _timm_weights(own: Any) -> WeightFile | None:
    file = own.hf_hub_filename or "model.safetensors"
    if not own.hf_hub_id or not file.endswith(".safetensors"):
        return None
    return WeightFile(
        repo=own.hf_hub_id,
        file=file,
        licence=own.license or "unknown",
        evidence="timm's registry",
        unpinned_because="timm's registry names no revision",
    )


def _timm_arguments(path: Path, own: Any, asked: int | None) -> dict[str, Any]:
    """Arguments of `timm.create_model` that load a file strictly, whatever its classifier."""
    head = own.classifier if isinstance(own.classifier, str) else (own.classifier or ("",))[0]
    classes = weight_files.tensor_shapes(path).get(f"{head}.weight", (0,))[0]
    if asked is not None and asked != classes:
        raise NetworkError(
            "classifier of another size", where=path, found=f"{classes} classes", wanted=asked
        )
    overlay = {
        "file": str(path),
        "num_classes": classes,
        "custom_load": False,
        "label_offset": 0,
    }
    return {"num_classes": classes, "pretrained_cfg_overlay": overlay}


def _open_clip_weights(tag: Mapping[str, Any]) -> WeightFile | None:
    repo = str(tag.get("hf_hub", "")).rstrip("/")
    if repo.count("/") != 1:
        return None
    return WeightFile(
        repo=repo,
        file="open_clip_model.safetensors",
        licence="unknown",
        evidence="open_clip's registry",
        unpinned_because="open_clip's registry names no revision",
    )
