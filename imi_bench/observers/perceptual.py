"""LPIPS through its authors' own package: a similarity of pairs of images.

It compares feature maps position by position, so that it is a function of a pair, not of two small
codes. The package's own code runs; nothing is rebuilt here but the order of work: the trunk sees
each image once, not once a pair. For DreamSim see `imi_bench.observers.dreamsim`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.functions import PairwiseSimilarity
from imi_bench.observers.loader_names import named
from imi_bench.tables import BlindTrials
from imi_bench.vision.card import NetworkCard
from imi_bench.vision.chosen_weights import choose_weights
from imi_bench.vision.device import drawn_from, pick_device, single_precision
from imi_bench.vision.tensor_files import read_tensors
from imi_bench.vision.weight_files import state_hash
from imi_bench.vision.weight_sources import WeightSource

__all__ = ["Lpips", "from_lpips"]

TRUNKS = {"alex": "alexnet", "vgg": "vgg16"}
_BYTES_KEPT = 1 << 30


class Lpips(PairwiseSimilarity):
    """Minus the LPIPS distance of two images; both orders have one value.

    Parameters
    ----------
    model : lpips.LPIPS
        Of the package, in evaluation mode on `device`.
    name, description
        As in `PairwiseSimilarity`.
    image_size : int
        Side to which images are scaled before they are compared: pairs must have one size.
    device : str
    """

    symmetric = True

    def __init__(
        self,
        model: Any,
        *,
        name: str,
        description: Mapping[str, Any],
        image_size: int = 224,
        device: str = "cpu",
    ) -> None:
        super().__init__(self.similarity, name=name, description=description)
        self.model, self.image_size, self.device = model, image_size, device
        self._features: dict[str, list[Any]] = {}
        self._bytes = 0

    def describe(self) -> Mapping[str, Any]:
        """What the package runs, its weights and preprocessing."""
        return {**super().describe(), "kind": "pairwise"}

    def similarity(self, one: Pixels, other: Pixels) -> float:
        """Minus the distance of two images, (H, W, 3) uint8 RGB of any size."""
        return self._distance(self.features(one), self.features(other))

    def tensor(self, image: Pixels) -> Any:
        """(1, 3, S, S) float32 in -1..1, what the package wants of an image."""
        torch = require("torch", for_="LPIPS")
        import numpy as np

        picture, side = Image.fromarray(image), self.image_size
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        return (values / 127.5 - 1).to(self.device)

    def features(self, image: Pixels) -> list[Any]:
        """Normalised feature maps of the trunk, as the package takes them."""
        lpips = require("lpips", for_="LPIPS")
        with self._computing():
            maps = self.model.net.forward(self.model.scaling_layer(self.tensor(image)))
            return [lpips.normalize_tensor(one) for one in maps]

    def _distance(self, one: list[Any], other: list[Any]) -> float:
        lpips = require("lpips", for_="LPIPS")
        with self._computing():
            parts = [
                lpips.spatial_average(linear((a - b) ** 2), keepdim=True)
                for linear, a, b in zip(self.model.lins, one, other, strict=True)
            ]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            return -float(total)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        torch = require("torch", for_="LPIPS")
        with (
            torch.inference_mode(),
            single_precision(self.device, doing=self.name, do="a smaller image_size"),
        ):
            yield

    def _compare(self, trials: BlindTrials, one: int, other: int) -> float:
        return self._distance(self._remembered(trials, one), self._remembered(trials, other))

    def _remembered(self, trials: BlindTrials, row: int) -> list[Any]:
        key = str(trials.images.hashes[row])
        if key not in self._features:
            found = self.features(self._image(trials, row))
            self._bytes += _size(found)
            while self._features and self._bytes > _BYTES_KEPT:
                self._bytes -= _size(self._features.pop(next(iter(self._features))))
            self._features[key] = found
        return self._features[key]


def _size(maps: Sequence[Any]) -> int:
    return sum(one.nbytes for one in maps)


@named("lpips-{trunk}")
def from_lpips(
    trunk: str = "alex",
    *,
    name: str | None = None,
    checkpoint: str | Path | None = None,
    weights: WeightSource | None = None,
    pretrained: bool = True,
    seed: int = 0,
    image_size: int = 224,
    device: str = "auto",
) -> Lpips:
    """Observer over LPIPS 0.1, whose linear layers come with the package.

    Parameters
    ----------
    trunk : {"alex", "vgg"}
    name : str, optional
        ``lpips-TRUNK`` by default.
    checkpoint : path, optional
        Safetensors file of torchvision's AlexNet or VGG-16.
    weights : WeightFile, PackagedWeights or LibraryWeights, optional
        Pinned source of the same.
    pretrained : bool
        False: a trunk of random weights from `seed`, under the package's trained linear layers.
    image_size : int
        Side in pixels to which every image is scaled (squashed) with Pillow's bicubic filter; the
        package itself compares images of equal size and leaves the size open.
    device : str

    Raises
    ------
    UnknownNameError, NetworkError, DownloadError, InputError, MissingExtraError
    """
    name = name or f"lpips-{trunk}"
    UnknownNameError.unless_among(trunk, TRUNKS, kind="LPIPS trunk")
    if image_size < 32:
        raise InputError("images too small", where=name, found=image_size, wanted="32 or more")
    device = pick_device(device)
    model = _lpips(trunk, seed=seed, name=name)
    described = NetworkCard(name=trunk, source="torchvision", architecture=TRUNKS[trunk])
    chosen = choose_weights(
        described,
        for_=name,
        checkpoint=checkpoint,
        pinned=weights,
        pretrained=pretrained,
        seed=seed,
    )
    if chosen.path is not None:
        _put(model, chosen.path)
    digest = state_hash(model.state_dict())
    description = {
        "library": "lpips",
        "library_version": metadata.version("lpips"),
        "trunk": trunk,
        "weights": {**chosen.record, "sha256": digest},
        "preprocessing": {"squashed_to": image_size, "filter": "bicubic", "values": "-1 to 1"},
    }
    model.to(device)
    return Lpips(model, name=name, description=description, image_size=image_size, device=device)


def _lpips(trunk: str, *, seed: int, name: str) -> Any:
    """The package's model with a random trunk; torch's own generator is left as it was."""
    lpips = require("lpips", for_=f"the observer '{name}'")
    with warnings.catch_warnings(), drawn_from(seed):
        warnings.simplefilter("ignore")  # the package uses arguments that torchvision renamed
        return lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False).eval().requires_grad_(False)


def _put(model: Any, path: Path) -> None:
    """Put torchvision's weights into the slices of the trunk, all of them."""
    state, _ = read_tensors(path)
    trunk = model.net.state_dict()
    named = {key: f"features.{key.partition('.')[2]}" for key in trunk}
    for key, own in named.items():
        if own not in state or state[own].shape != trunk[key].shape:
            raise NetworkError(
                "weights do not fit the trunk",
                where=path,
                found=f"no '{own}' of shape {tuple(trunk[key].shape)}",
                wanted="torchvision's AlexNet or VGG-16",
            )
    model.net.load_state_dict({key: state[own] for key, own in named.items()})
