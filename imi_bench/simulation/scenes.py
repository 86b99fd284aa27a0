"""Pictures with known attributes, drawn from numbers: what the mini-benchmark shows.

A scene has five attributes: the **shape**, **texture** and **colour** of its figures, their
**layout**, and the **orientation** of the hatching behind them. Its *vividness* says how far the
figures and the hatching stand out from the background. An *exaggerated* picture holds one
attribute fixed and lets all others vary within the picture, as a feature visualisation does.

Edges are anti-aliased through signed distances, so a picture takes under a millisecond.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Floats, Pixels
from imi_bench.errors import InputError

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": ("disc", "square", "triangle", "star", "ring", "cross"),
    "texture": ("plain", "stripes", "dots", "checks", "waves"),
    "orientation": ("level", "rising", "upright", "falling"),
    "colour": ("red", "amber", "green", "teal", "blue", "violet"),
    "layout": ("one", "row", "column", "four", "corner"),
}
VARIED = -1
_FAINTEST = 0.3
# Amplitude of the bend of exaggerated pictures, in units of the side.
_BEND = 0.022

# Deep and light tone of each colour, sRGB.
_TONES = {
    "red": ((0.78, 0.15, 0.19), (0.98, 0.69, 0.64)),
    "amber": ((0.90, 0.53, 0.05), (1.00, 0.87, 0.55)),
    "green": ((0.24, 0.52, 0.16), (0.76, 0.89, 0.58)),
    "teal": ((0.02, 0.51, 0.54), (0.60, 0.90, 0.87)),
    "blue": ((0.12, 0.29, 0.68), (0.65, 0.79, 0.98)),
    "violet": ((0.47, 0.19, 0.60), (0.86, 0.71, 0.95)),
}
# Centres and radius of the figures, in units of the picture's side.
_PLACES: dict[str, tuple[tuple[tuple[float, float], ...], float]] = {
    "one": (((0.50, 0.50),), 0.33),
    "row": (((0.19, 0.50), (0.50, 0.50), (0.81, 0.50)), 0.145),
    "column": (((0.50, 0.19), (0.50, 0.50), (0.50, 0.81)), 0.145),
    "four": (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)), 0.185),
    "corner": (((0.28, 0.70),), 0.25),
}
_ANGLES = {"level": 0.0, "rising": -math.pi / 4, "upright": math.pi / 2, "falling": math.pi / 4}


@checked_fields
@dataclass(frozen=True, eq=False)
class Scenes:
    """N scenes by their attributes.

    Attributes
    ----------
    codes : (N, 5) int64
        Position of each attribute's value in `ATTRIBUTES`, in that order; `VARIED` where the
        attribute varies within the picture.
    vividness : (N,) float64
        Contrast of figures and hatching against the background, 0.3 to 1.

    Raises
    ------
    InputError
        Wrong shapes, a code without a value, or a vividness outside (0, 1].
    """

    codes: NDArray[np.int64]
    vividness: Floats

    def __post_init__(self) -> None:
        wanted = (len(self.vividness), len(ATTRIBUTES))
        if self.codes.shape != wanted:
            raise InputError("wrong shape", where="codes", found=self.codes.shape, wanted=wanted)
        counts = np.array([len(values) for values in ATTRIBUTES.values()])
        if ((self.codes < VARIED) | (self.codes >= counts)).any():
            raise InputError("attribute code without a value", where="codes", wanted=ATTRIBUTES)
        if not ((self.vividness > 0) & (self.vividness <= 1)).all():
            raise InputError("vividness out of range", wanted="above 0, at most 1")

    def __len__(self) -> int:
        return len(self.vividness)

    @classmethod
    def draw(cls, count: int, *, rng: np.random.Generator) -> Scenes:
        """Draw scenes whose attributes are independent and balanced.

        Each value of an attribute occurs equally often (to within one).

        Examples
        --------
        >>> scenes = Scenes.draw(12, rng=np.random.default_rng(0))
        >>> np.bincount(scenes.codes[:, 0]).tolist()
        [2, 2, 2, 2, 2, 2]
        """
        columns = [rng.permutation(np.arange(count) % len(v)) for v in ATTRIBUTES.values()]
        return cls(np.stack(columns, axis=1), rng.uniform(_FAINTEST, 1.0, count))

    def describe(self, row: int) -> dict[str, str]:
        """Attribute names and values of one scene."""
        return {
            name: values[code] if code != VARIED else "varied"
            for (name, values), code in zip(ATTRIBUTES.items(), self.codes[row], strict=True)
        }

    def picture(self, row: int, *, size: int, rng: np.random.Generator) -> Pixels:
        """Draw one scene; the generator places its small irregularities.

        Returns
        -------
        (size, size, 3) uint8, RGB
        """
        looks = self.describe(row)
        if "varied" in looks.values():
            raise InputError("a scene with a varied attribute", do="draw it with `exaggerated`")
        vivid = float(self.vividness[row])
        x, y = _grid(size)
        canvas = _hatched(
            x,
            y,
            angle=_ANGLES[looks["orientation"]],
            contrast=0.16 * vivid,
            rng=rng,
            ground=colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.02, 0.06), 0.96),
        )
        places, radius = _PLACES[looks["layout"]]
        for place in places:
            centre = np.array(place) + rng.uniform(-0.02, 0.02, 2)
            canvas = _stamp(
                canvas,
                x,
                y,
                centre,
                radius * rng.uniform(0.94, 1.06),
                shape=looks["shape"],
                texture=looks["texture"],
                colour=looks["colour"],
                opacity=vivid,
                rng=rng,
            )
        return _to_pixels(canvas)


def exaggerated(attribute: str, value: str, *, size: int, rng: np.random.Generator) -> Pixels:
    """Draw a picture full of one attribute's value, all else varied: a made-up visualisation.

    Parameters
    ----------
    attribute, value : str
        Such as ``"shape", "star"``.
    size : int
        Side in pixels.
    rng : numpy.random.Generator

    Returns
    -------
    (size, size, 3) uint8, RGB
    """
    pick = {name: list(values) for name, values in ATTRIBUTES.items()} | {attribute: [value]}
    x, y = _warped(*_grid(size), rng=rng)
    oriented = attribute == "orientation"
    canvas = _hatched(
        x,
        y,
        angle=_ANGLES[str(rng.choice(pick["orientation"]))],
        contrast=0.55 if oriented else 0.12,
        rng=rng,
        ground=colorsys.hsv_to_rgb(rng.random(), 0.30, 0.50 if not oriented else 0.85),
    )
    places, radius = _crowd(pick["layout"][0] if attribute == "layout" else None, rng=rng)
    for centre in places:
        canvas = _stamp(
            canvas,
            x,
            y,
            centre,
            radius * rng.uniform(0.9, 1.1),
            shape=str(rng.choice(pick["shape"])),
            texture=str(rng.choice(pick["texture"])),
            colour=str(rng.choice(pick["colour"])),
            opacity=0.30 if oriented else 1.0,
            rng=rng,
        )
    grey = canvas.mean(axis=-1, keepdims=True)
    return _to_pixels(np.clip(grey + 1.35 * (canvas - grey), 0, 1))


def _crowd(layout: str | None, *, rng: np.random.Generator) -> tuple[Floats, float]:
    """Centres and radius of an exaggerated picture's figures."""
    if layout is not None:
        places, radius = _PLACES[layout]
        return np.array(places) + rng.uniform(-0.03, 0.03, (len(places), 2)), radius * 1.15
    steps = (np.arange(4) + 0.5) / 4
    lattice = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return rng.permutation(lattice + rng.uniform(-0.045, 0.045, lattice.shape)), 0.15


def _grid(size: int) -> tuple[Floats, Floats]:
    steps = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(steps, steps)
    return x, y


def _warped(x: Floats, y: Floats, *, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Bend the plane smoothly: the dream-like look of feature visualisations."""
    phase = rng.uniform(0, 2 * np.pi, 2)
    turns = 2 * np.pi * rng.uniform(0.9, 1.4, 2)
    return x + _BEND * np.sin(turns[0] * y + phase[0]), y + _BEND * np.sin(turns[1] * x + phase[1])


def _hatched(
    x: Floats,
    y: Floats,
    *,
    angle: float,
    contrast: float,
    ground: tuple[float, float, float],
    rng: np.random.Generator,
) -> Floats:
    """Background with parallel strokes, eleven to a side, at `angle` (radians, y downward)."""
    across = -x * math.sin(angle) + y * math.cos(angle)
    stroke = 0.5 + 0.5 * np.sin(2 * np.pi * 11 * across + rng.uniform(0, 2 * np.pi))
    light = 1.0 - contrast * stroke**2 - 0.05 * (x + y - 1.0)
    return np.clip(np.array(ground) * light[..., None], 0, 1)


def _stamp(
    canvas: Floats,
    x: Floats,
    y: Floats,
    centre: Floats,
    radius: float,
    *,
    shape: str,
    texture: str,
    colour: str,
    opacity: float,
    rng: np.random.Generator,
) -> Floats:
    """Lay one figure with a soft shadow over the canvas."""
    size, reach = len(x), 1.35 * radius + _BEND
    rows, columns = (
        slice(max(0, math.floor((c - reach) * size)), max(0, math.ceil((c + reach) * size)))
        for c in (centre[1], centre[0])
    )
    tilt = rng.uniform(-0.12, 0.12)
    dx, dy = x[rows, columns] - centre[0], y[rows, columns] - centre[1]
    u = (dx * math.cos(tilt) + dy * math.sin(tilt)) / radius
    v = (dy * math.cos(tilt) - dx * math.sin(tilt)) / radius
    shadow = np.clip(0.5 - _distance(u - 0.06, v - 0.10, shape) / 0.24, 0, 1)
    cover = opacity * np.clip(0.5 - _distance(u, v, shape) * size * radius, 0, 1)
    deep, light = (np.array(tone) * rng.uniform(0.96, 1.04) for tone in _TONES[colour])
    tone = _tone(u * radius, v * radius, texture, rng=rng)[..., None]
    paint = np.clip(deep * (1 - tone) + light * tone, 0, 1)
    shaded = canvas[rows, columns] * (1 - 0.16 * opacity * shadow[..., None])
    canvas = canvas.copy()
    canvas[rows, columns] = shaded + cover[..., None] * (paint - shaded)
    return canvas


def _distance(u: Floats, v: Floats, shape: str) -> Floats:
    """Signed distance to the outline of a figure of radius one; negative inside."""
    if shape == "disc":
        return np.asarray(np.hypot(u, v) - 0.95)
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.82
    if shape == "triangle":
        return np.maximum(v - 0.62, np.abs(u) * math.cos(math.pi / 6) - v * 0.5 - 0.50)
    if shape == "ring":
        return np.abs(np.hypot(u, v) - 0.70) - 0.27
    if shape == "cross":
        a, b = np.abs(u), np.abs(v)
        return np.minimum(np.maximum(a - 0.32, b - 0.98), np.maximum(a - 0.98, b - 0.32))
    wedge = math.pi / 5
    angle = np.mod(np.arctan2(u, -v), 2 * wedge) - wedge
    reach = np.hypot(u, v)
    tip = 1.08 * np.array([math.cos(wedge), math.sin(wedge)])
    edge = tip - np.array([0.47, 0.0])
    along, off = reach * np.cos(angle) - 0.47, reach * np.abs(np.sin(angle))
    return np.asarray((along * edge[1] - off * edge[0]) / math.hypot(*edge))


def _tone(u: Floats, v: Floats, texture: str, *, rng: np.random.Generator) -> Floats:
    """Share of the light tone, 0 to 1; `u`, `v` in units of the picture's side."""
    if texture == "plain":
        return np.zeros_like(u)
    phase = rng.uniform(0, 2 * np.pi, 2)
    a, b = 2 * np.pi * 11 * u + phase[0], 2 * np.pi * 11 * v + phase[1]
    if texture == "stripes":
        wave = np.sin((a + b) * math.sqrt(0.5))
    elif texture == "dots":
        wave = np.cos(a) + np.cos(b) - 0.7
    elif texture == "checks":
        wave = 2.0 * np.sin(a * 0.62) * np.sin(b * 0.62)
    else:
        wave = np.sin(b + 1.3 * np.sin(a * 0.62))
    return np.asarray(np.clip(0.5 + 1.6 * wave, 0, 1))


def _to_pixels(canvas: Floats) -> Pixels:
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
