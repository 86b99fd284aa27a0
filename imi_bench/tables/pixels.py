"""From an opened picture to (H, W, 3) uint8 RGB: one rule for files, archives and Pillow images.

=====================  =====================================================================
transparency           laid on white
16-bit grey            65,535 is white
12-bit grey (TIFF)     4,095 is white
32-bit integer grey    the largest of its type is white; refused if nothing would be brighter than
                       black
float grey             1 is white; values outside 0..1 are refused, since their scale is unknown
8-bit signed grey      refused
white is zero (TIFF)   turned round
colour profiles        not applied, as by timm, torchvision and open_clip
orientation (EXIF)     honoured, as every viewer does; an unreadable block counts as none
=====================  =====================================================================
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import ImageError

RULES = 3
"""Version of the rules above: codes that were kept under another one are computed again."""

_ORIENTATION = 0x0112
_BITS, _BLACK_OR_WHITE, _KIND = 258, 262, 339  # of TIFF 6.0
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2
_WANTED = "8 or 16 bits a channel"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def rgb_pixels(image: Image.Image, *, where: object) -> Pixels:
    """Pixels of a Pillow image as (H, W, 3) uint8 RGB; see `rgb_image`.

    Examples
    --------
    >>> rgb_pixels(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), where="here").tolist()
    [[[255, 255, 255]]]
    """
    return np.asarray(rgb_image(image, where=where))


def rgb_image(image: Image.Image, *, where: object) -> Image.Image:
    """A Pillow image in RGB, by the rules of this module; one that is so already is not copied.

    Raises
    ------
    ImageError
        Grey values of a scale that cannot be known.

    Examples
    --------
    >>> rgb_image(Image.new("L", (1, 1), 7), where="here").getpixel((0, 0))
    (7, 7, 7)
    """
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(image, where))
    elif _first(image, _KIND) == _SIGNED:  # Pillow reads -1 as 255
        raise ImageError(
            "scale of the grey values is not known", where=where, found="int8", wanted=_WANTED
        )
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    if turn is not None:
        image = image.transpose(turn)
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged blocks, which many photographs have
        try:
            return int(image.getexif().get(_ORIENTATION, 1))
        except Exception:  # Pillow lets any through; a damaged block says nothing
            return 1


def _first(image: Image.Image, tag: int) -> int | None:
    """The first value of a tag of a TIFF file; None without one."""
    value = getattr(image, "tag_v2", {}).get(tag)
    return value[0] if isinstance(value, tuple) else value


def _eight_bits(image: Image.Image, where: object) -> Pixels:
    """Grey values of more than 8 bits to 0..255."""
    grey: NDArray[Any] = np.asarray(image)
    if grey.dtype == np.int32 and _first(image, _KIND) == _UNSIGNED:
        grey = grey.view(np.uint32)  # as the file has them
    values = grey.astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("grey values are not finite", where=where, wanted=_WANTED)
    low, high = float(values.min()), float(values.max())
    if grey.dtype.kind == "f":
        white, known = 1.0, low >= 0 and high <= 1
    elif grey.dtype.itemsize > 2:
        white = float(np.iinfo(grey.dtype).max)
        known = low >= 0 and (high == 0 or high * 255 >= white)
    else:
        white = 4095.0 if _first(image, _BITS) == 12 else float(np.iinfo(grey.dtype).max)
        known = low >= 0
    if not known:
        raise ImageError(
            "scale of the grey values is not known",
            where=where,
            found=f"{grey.dtype} from {low:g} to {high:g}",
            wanted=f"0 to {white:g}" + (", brighter than black" if grey.dtype.kind != "f" else ""),
            do=f"save the image with {_WANTED}",
        )
    levels = np.rint(values * (255 / white)).astype(np.uint8)
    if _first(image, _BLACK_OR_WHITE) == _WHITE_IS_ZERO:
        levels = 255 - levels
    if isinstance(clear := image.info.get("transparency"), int):  # the value that a PNG names
        levels[grey == clear] = 255
    return levels
