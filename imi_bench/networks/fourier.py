"""Images parametrised by decorrelated Fourier coefficients, and the random views of them.

Source: Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017: gradient ascent in a
basis where frequencies have equal energy and colours are decorrelated, under random jitter,
scaling and rotation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from imi_bench.extras import require

if TYPE_CHECKING:
    from torch import Generator, Tensor

COLOUR = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of ImageNet's colours, as published with Lucid; rows are RGB."""

_DECAY = 1.0
_CONTRAST = 4.0
_JITTER = 1 / 16
_SCALES = (0.9, 1.1)
_DEGREES = 6.0


def random_spectrum(count: int, *, size: int, spread: float, generator: Generator) -> Tensor:
    """Starting coefficients of `count` square RGB images, (count, 3, size, size // 2 + 1, 2)."""
    torch = require("torch", for_="feature visualisation")
    shape = (count, 3, size, size // 2 + 1, 2)
    drawn: Tensor = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
    return drawn * spread


def render(spectrum: Tensor) -> Tensor:
    """Images (count, 3, size, size) with values in 0..1, differentiable.

    Examples
    --------
    >>> import torch
    >>> render(torch.zeros(1, 3, 8, 5, 2)).unique().tolist()
    [0.5]
    """
    torch = require("torch", for_="feature visualisation")
    size = spectrum.shape[2]
    vertical = torch.fft.fftfreq(size, dtype=spectrum.dtype, device=spectrum.device)[:, None]
    horizontal = torch.fft.rfftfreq(size, dtype=spectrum.dtype, device=spectrum.device)[None]
    frequency = (vertical**2 + horizontal**2).sqrt().clamp_min(1 / size)
    weighted = torch.view_as_complex(spectrum) * (1 / (size * frequency) ** _DECAY)
    uncoloured = torch.fft.irfft2(weighted, s=(size, size), norm="ortho") * size / _CONTRAST
    colour = spectrum.new_tensor(COLOUR)
    colour = colour / colour.norm(dim=0).max()
    values: Tensor = torch.einsum("rc,nchw->nrhw", colour, uncoloured).sigmoid()
    return values


def random_view(images: Tensor, shifts: Tensor) -> Tensor:
    """Each image shifted, scaled and rotated by its own amounts, mirrored at the borders.

    Parameters
    ----------
    images : Tensor
        (n, 3, size, size) tensor.
    shifts : Tensor
        (n, 4) tensor
        Numbers in 0..1 that say how far: horizontal, vertical, scale, angle; 0.5 leaves the
        image as it is. Largest amounts: a sixteenth of the side, a tenth, 6 degrees.
    """
    torch = require("torch", for_="feature visualisation")
    across, down, scale, angle = shifts.T
    zoom = _SCALES[0] + scale * (_SCALES[1] - _SCALES[0])
    turn = (2 * angle - 1) * math.radians(_DEGREES)
    cosine, sine = turn.cos() * zoom, turn.sin() * zoom
    # grid_sample counts the side as 2, so that a sixteenth of it is 2 / 16.
    shift_x, shift_y = ((2 * s - 1) * 2 * _JITTER for s in (across, down))
    affine = torch.stack([cosine, -sine, shift_x, sine, cosine, shift_y], dim=1).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
    if images.is_cuda:
        return sampled(images, grid)
    seen: Tensor = torch.nn.functional.grid_sample(
        images, grid, padding_mode="reflection", align_corners=False
    )
    return seen


def sampled(images: Tensor, grid: Tensor) -> Tensor:
    """What ``grid_sample`` gives, bilinear with borders reflected, and on CUDA repeatable.

    There the gradient of torch's function is added up in an order that changes from call to call;
    that of reading rows is not.

    Parameters
    ----------
    images : Tensor
        (n, channels, height, width) tensor.
    grid : Tensor
        (n, …, …, 2) tensor
        Horizontal and vertical places, -1 to 1 from border to border; no gradient goes there.
    """
    torch = require("torch", for_="feature visualisation")
    count, channels, *sides = images.shape
    rows = images.permute(0, 2, 3, 1).reshape(-1, channels)
    corners = []
    for axis, side in enumerate(reversed(sides)):
        place = ((grid[..., axis] + 1) * side - 1) / 2 + 0.5
        turns, rest = (place.abs() / side).floor(), place.abs() % side
        place = torch.where(turns % 2 == 0, rest, side - rest) - 0.5
        place = place.clamp(0, side - 1)
        low = place.floor()
        share = place - low
        ends = (low.long(), (low.long() + 1).clamp_max(side - 1))
        corners.append(list(zip(ends, (1 - share, share), strict=True)))
    first = torch.arange(count, device=images.device).view(-1, 1, 1) * (sides[0] * sides[1])
    seen = images.new_zeros((*grid.shape[:-1], channels))
    for x, share_x in corners[0]:
        for y, share_y in corners[1]:
            seen = seen + rows[first + y * sides[1] + x] * (share_x * share_y)[..., None]
    return seen.permute(0, 3, 1, 2)
