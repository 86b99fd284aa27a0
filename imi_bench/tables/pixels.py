"""From an opened picture to (H, W, 3) uint8 RGB: one rule for files, archives and Pillow images.

=====================  =====================================================================
transparency           laid on white
16-bit grey            65,535 is white
32-bit integer grey    2,147,483,647 is white; refused if nothing would be brighter than black
float grey             1 is white; values outside 0..1 are refused, since their scale is unknown
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

RULES = 2
"""Version of the rules above: codes that were kept under another one are computed again."""

_ORIENTATION = 0x0112
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
        grey = np.asarray(image)
        image = Image.fromarray(_eight_bits(grey, where))
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


def _eight_bits(grey: NDArray[Any], where: object) -> Pixels:
    """Grey values of 16 and more bits to 0..255."""
    values = grey.astype(np.float64)
    wanted = "8 or 16 bits a channel"
    if not np.isfinite(values).all():
        raise ImageError("grey values are not finite", where=where, wanted=wanted)
    low, high = float(values.min()), float(values.max())
    if grey.dtype.kind == "f":
        white, known = 1.0, low >= 0 and high <= 1
    elif grey.dtype.itemsize > 2:
        white = float(np.iinfo(grey.dtype).max)
        known = low >= 0 and (high == 0 or high * 255 >= white)
    else:
        white, known = float(np.iinfo(grey.dtype).max), low >= 0
    if not known:
        raise ImageError(
            "scale of the grey values is not known",
            where=where,
            found=f"{grey.dtype} from {low:g} to {high:g}",
            wanted=f"0 to {white:g}" + (", brighter than black" if grey.dtype.kind != "f" else ""),
            do=f"save the image with {wanted}",
        )
    return np.rint(values * (255 / white)).astype(np.uint8)
