"""From a picture to the 8-bit pixels of a network's input: scaled, cropped, padded.

Nearly all makers scale the shorter side and keep the centre: that is `Centred`, whoever the maker.
Other ways are left to the makers' own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import PIL
from PIL import Image, features

from imi_bench.errors import ImageError, NetworkError
from imi_bench.provenance import package_versions

__all__ = ["Centred", "Geometry", "OfMaker", "geometry_of", "versions_of"]

_FILTERS = ("bilinear", "bicubic", "lanczos")
_TO_RGB = ("MaybeConvertMode", "_convert_to_rgb")  # of open_clip's versions
_LARGEST = 2**31 - 1  # pixels of a scaled picture
_CODECS = ("libjpeg_turbo", "jpg", "webp", "libtiff")


class Geometry(Protocol):
    """Pillow image in RGB to Pillow image of one size."""

    def __call__(self, picture: Image.Image, /) -> Image.Image:
        """The network's input, before mean and deviation."""
        ...

    @property
    def record(self) -> Mapping[str, Any]:
        """All that decides the pixels, but for versions; a JSON object."""
        ...


@dataclass(frozen=True)
class Centred:
    """Scale the shorter side, keep the centre; black where that is smaller than the crop.

    Rounds as torchvision's ``Resize`` and ``CenterCrop`` do.

    Attributes
    ----------
    crop : (int, int)
        Height and width.
    resize : int
        Length of the shorter side.
    interpolation : str
        Name of a filter of Pillow's.

    Examples
    --------
    >>> Centred((224, 224), 256, "bilinear")(Image.new("RGB", (600, 300))).size
    (224, 224)
    """

    crop: tuple[int, int]
    resize: int
    interpolation: str

    @property
    def record(self) -> Mapping[str, Any]:
        """As `Geometry`."""
        return {"way": "centred", **asdict(self), "crop": list(self.crop)}

    def __call__(self, picture: Image.Image, /) -> Image.Image:
        """As `Geometry`."""
        short = min(picture.size)
        scaled = (
            int(self.resize * picture.width / short),
            int(self.resize * picture.height / short),
        )
        if scaled[0] * scaled[1] > _LARGEST:
            raise ImageError(
                "image too narrow to be scaled",
                where=f"an image of {picture.width} x {picture.height} pixels",
                found=f"{scaled[0]:,} x {scaled[1]:,} pixels",
                do="cut it, or leave it out",
            )
        height, width = self.crop
        # torchvision pads evenly where the crop is larger, before it cuts
        left, top = (
            -((large - small) // 2) if large > small else round((small - large) / 2)
            for small, large in zip(scaled, (width, height), strict=True)
        )
        if picture.size != scaled:
            picture = picture.resize(scaled, Image.Resampling[self.interpolation.upper()])
        return picture.crop((left, top, left + width, top + height))


@dataclass(frozen=True, eq=False)
class OfMaker:
    """A maker's own functions.

    Attributes
    ----------
    steps : callable
        Pillow image to Pillow image.
    record : mapping
        As `Geometry`.
    """

    steps: Callable[[Image.Image], Image.Image]
    record: Mapping[str, Any]

    def __call__(self, picture: Image.Image, /) -> Image.Image:
        """As `Geometry`."""
        return self.steps(picture)


def geometry_of(transform: Any, *, without: tuple[str, ...], record: Mapping[str, Any]) -> Geometry:
    """A maker's composed transform without its last steps.

    Parameters
    ----------
    transform : torchvision.transforms.Compose
    without : tuple of str
        Classes of the last steps, which make a tensor of the picture.
    record : mapping
        All that decides the pixels, where the maker's way is another than `Centred`.

    Raises
    ------
    NetworkError
        If it ends otherwise: the library has changed.
    """
    steps = list(transform.transforms)
    # Of a picture `MaybeToTensor` makes what `ToTensor` does; releases differ in which they take.
    last = steps[-len(without) :]
    found = tuple(type(step).__name__.removeprefix("Maybe") for step in last)
    if found != without:
        raise NetworkError(
            "preprocessing of another form than known",
            found=", ".join(found),
            wanted=", ".join(without),
            do="report the versions of timm and open_clip",
        )
    kept = steps[: -len(without)]
    return _centred(kept) or OfMaker(type(transform)(kept), record)


def _centred(steps: list[Any]) -> Centred | None:
    """Torchvision's ``Resize`` to one length and ``CenterCrop``, of pictures in RGB."""
    if steps and getattr(steps[-1], "__name__", type(steps[-1]).__name__) in _TO_RGB:
        steps = steps[:-1]
    kinds = [f"{type(step).__module__}.{type(step).__name__}" for step in steps]
    if kinds != [f"torchvision.transforms.transforms.{one}" for one in ("Resize", "CenterCrop")]:
        return None
    scaling, cropping = steps
    side = scaling.size
    if isinstance(side, list | tuple) and len(side) == 1:
        side = side[0]
    how = str(scaling.interpolation.value)
    if not isinstance(side, int) or scaling.max_size is not None or how not in _FILTERS:
        return None
    return Centred(tuple(cropping.size), side, how)


def versions_of(geometry: Geometry) -> Mapping[str, str | None]:
    """Versions of what decodes files and scales pictures: other versions may give other pixels."""
    installed = package_versions()
    makers = () if isinstance(geometry, Centred) else ("torchvision", "timm", "open_clip_torch")
    return {
        "pillow": PIL.__version__,
        **{name: installed.get(name) for name in makers},
        **{name: features.version(name) for name in _CODECS},
    }
