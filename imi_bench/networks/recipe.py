"""What a process opens to run a piece of a pass over images: by reference, once in a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imi_bench.errors import InputError
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.networks.repeats import distinct
from imi_bench.vision.loading import LoadedNetwork, load_network

if TYPE_CHECKING:
    from torch import nn

    from imi_bench.vision.card import NetworkCard

__all__ = ["PassRecipe", "forget"]


@dataclass(frozen=True)
class PassRecipe:
    """A network and images, as other machines can open them.

    Attributes
    ----------
    network : str, Path, NetworkCard, torch.nn.Module or LoadedNetwork
        As in `imi_bench.vision.loading.load_network`. What is in memory is sent to other processes
        with each piece.
    images : Path, ImageSet or None
        None: none are needed.
    unique : bool
        Keep one image of each content.
    stamp : str
        Of what the process that plans has found there: another stamp is opened anew, so that
        files which were overwritten between two calls are read again.
    checkpoint, pretrained, seed, device, layers, input_size
        As in `imi_bench.vision.loading.load_network`.
    """

    network: str | Path | NetworkCard | nn.Module | LoadedNetwork
    images: Path | ImageSet | None = None
    unique: bool = False
    checkpoint: Path | None = None
    pretrained: bool = True
    seed: int = 0
    device: str = "auto"
    layers: str | None = None
    input_size: int | None = None
    stamp: str = ""

    def open_network(self) -> LoadedNetwork:
        """The network, loaded once in a process."""
        return _network(self)

    def open_images(self) -> ImageSet:
        """The images, hashed once in a process."""
        return _images(self)


def forget() -> None:
    """Open what the next recipe names anew, whatever an earlier one of this process has found."""
    _network.cache_clear()
    _images.cache_clear()


@lru_cache(maxsize=1)
def _network(recipe: PassRecipe) -> LoadedNetwork:
    given = recipe.network
    if isinstance(given, LoadedNetwork):
        free: dict[str, tuple[Any, ...]] = {
            "checkpoint": (None,),
            "layers": (None,),
            "input_size": (None,),
        }
        free |= {"pretrained": (True,), "device": ("auto", given.device)}
        said = {name: getattr(recipe, name) for name in free}
        if lost := [f"{k}={v}" for k, v in said.items() if v not in free[k]]:
            raise InputError(
                "a network that is loaded already",
                found=", ".join(lost),
                do="give them to `load_network`",
            )
        return given
    return load_network(
        given,
        checkpoint=recipe.checkpoint,
        pretrained=recipe.pretrained,
        layers=recipe.layers,
        input_size=recipe.input_size,
        seed=recipe.seed,
        device=recipe.device,
    )


@lru_cache(maxsize=1)
def _images(recipe: PassRecipe) -> ImageSet:
    opened = open_images(recipe.images)
    return distinct(opened) if recipe.unique else opened
