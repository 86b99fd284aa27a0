"""Feature visualisations: images that drive a unit up or down, by gradient ascent.

Source: Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017, with the diversity
term of its section on diversity; the synthetic references of Zimmermann et al. 2023.

Units of any layers are optimised together, one forward and backward pass a step for all of them.
Every unit has its own random stream and its own stop, so that its images do not depend on which
units stand beside it (up to the rounding of differently batched arithmetic).

A rectifier passes no gradient to an image on which the unit is silent at every position. There
the ascent follows the values that enter the rectifier, as Lucid's redirected gradients do: towards
direction max until the unit wakes, towards min beyond the point where it falls silent. Only a
rectifier that ends the unit's own layer is treated so, and only if it is a module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.extras import require
from imi_bench.networks.fourier import random_spectrum, random_view, render
from imi_bench.networks.gradient_activations import unit_activations
from imi_bench.networks.units import Unit, check_units
from imi_bench.progress import progress
from imi_bench.provenance import generator
from imi_bench.vision.device import single_precision
from imi_bench.vision.loading import LoadedNetwork

if TYPE_CHECKING:
    from torch import Generator, Tensor

Direction = Literal["max", "min"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_POOLED_SIDE = 8


@checked_fields
@dataclass(frozen=True)
class Ascent:
    """Settings of the gradient ascent.

    Attributes
    ----------
    steps : int
        Most steps.
    learning_rate : float
        Of Adam, on Fourier coefficients.
    diversity : float
        Weight of the mean cosine between a unit's images (pooled to 8 x 8, centred) against the
        relative gain in activation; 0 turns it off.
    patience : int
        A unit stops when its mean activation over the last `patience` steps exceeds that of the
        `patience` steps before by less than `least_gain` times its own size.
    least_gain : float
    spread : float
        Standard deviation of the starting coefficients.
    """

    steps: int = 192
    learning_rate: float = 0.2
    diversity: float = 0.1
    patience: int = 32
    least_gain: float = 0.01
    spread: float = 0.3

    def __post_init__(self) -> None:
        for name in ("steps", "learning_rate", "patience", "spread"):
            if getattr(self, name) <= 0:
                raise InputError(
                    f"{name} out of range", found=getattr(self, name), wanted="above 0"
                )


@dataclass(frozen=True, eq=False)
class Visualisation:
    """The images of one unit in one direction.

    Attributes
    ----------
    unit : Unit
    direction : {"max", "min"}
    images : (n, crop, crop, 3) uint8
    activation : (n,) float32
        Of the finished 8-bit images, seen by the network without a random view.
    trace : (steps,) float64
        Mean activation over the images' random views at each step taken.
    stopped : bool
        Whether the ascent ended by itself, before its last step.
    """

    unit: Unit
    direction: Direction
    images: Pixels
    activation: NDArray[np.float32]
    trace: NDArray[np.float64]
    stopped: bool


def visualise(
    network: LoadedNetwork,
    units: Sequence[Unit],
    *,
    direction: Direction = "max",
    n_images: int = 9,
    seed: int = 0,
    ascent: Ascent | None = None,
    units_per_batch: int = 16,
) -> list[Visualisation]:
    """Find images that drive units as far as they go.

    Parameters
    ----------
    network : LoadedNetwork
    units : sequence of Unit
        Of any layers; a unit's activation is its mean over positions or tokens.
    direction : {"max", "min"}
    n_images : int
        Images a unit, optimised together under the diversity term.
    seed : int
        Of starting points and random views.
    ascent : Ascent, optional
    units_per_batch : int
        Units optimised at a time.

    Returns
    -------
    list of Visualisation
        In the order of `units`.

    Raises
    ------
    UnknownNameError, NetworkError
        For a unit that the network does not have.
    InputError
        For an unknown direction or fewer than one image.

    Examples
    --------
    >>> from imi_bench.vision.loading import load_network
    >>> network = load_network("timm:test_resnet", pretrained=False, input_size=32, device="cpu")
    >>> unit = Unit(network.layers[0].name, 0)
    >>> [found] = visualise(network, [unit], n_images=2, ascent=Ascent(steps=3))
    >>> found.images.shape, len(found.trace)
    ((2, 32, 32, 3), 3)
    """
    if n_images < 1 or units_per_batch < 1:
        raise InputError("too few images", found=min(n_images, units_per_batch), wanted="1 or more")
    checked = check_units(network.layers, units)
    done: list[Visualisation] = []
    label = f"visualising {network.name} ({direction})"
    with progress(label, total=len(checked), unit="units") as advance:
        for start in range(0, len(checked), units_per_batch):
            group = checked[start : start + units_per_batch]
            done += climb(
                network, group, direction=direction, n_images=n_images, seed=seed, ascent=ascent
            )
            advance(len(group))
    return done


def climb(
    network: LoadedNetwork,
    units: Sequence[Unit],
    *,
    direction: Direction,
    n_images: int,
    seed: int,
    ascent: Ascent | None,
) -> list[Visualisation]:
    """Visualise units all at once, without a progress bar; arguments as in `visualise`."""
    if direction not in DIRECTIONS:
        raise InputError("unknown direction", found=repr(direction), wanted="max or min")
    settings = ascent or Ascent()
    doing = f"visualising {len(units)} units of {network.name}, {n_images} images each,"
    with single_precision(network.device, doing=doing, do="a smaller group="):
        climbs = [
            _Climb.begin(network, unit, direction, n_images, seed, settings) for unit in units
        ]
        return _ascend(network, climbs, direction, settings)


@dataclass(eq=False)
class _Climb:
    """One unit on its way: its coefficients, its random stream, its trace."""

    unit: Unit
    spectrum: Tensor
    random: Generator
    trace: list[float] = field(default_factory=list)
    stopped: bool = False

    @classmethod
    def begin(
        cls, network: LoadedNetwork, unit: Unit, direction: str, n: int, seed: int, ascent: Ascent
    ) -> _Climb:
        torch = require("torch", for_="feature visualisation")
        stream = generator(seed, "feature visualisation", str(unit), direction)
        random = torch.Generator().manual_seed(int(stream.integers(2**63)))
        start = random_spectrum(
            n, size=network.preprocess.crop, spread=ascent.spread, generator=random
        )
        return cls(unit, start.to(network.device).requires_grad_(), random)

    def draw(self) -> Tensor:
        torch = require("torch", for_="feature visualisation")
        drawn: Tensor = torch.rand(
            len(self.spectrum), 4, generator=self.random, dtype=torch.float32, device="cpu"
        )
        return drawn.to(self.spectrum.device)

    def note(self, activation: float, sign: float, ascent: Ascent) -> None:
        self.trace.append(activation)
        if len(self.trace) >= 2 * ascent.patience:
            late = float(np.mean(self.trace[-ascent.patience :]))
            early = float(np.mean(self.trace[-2 * ascent.patience : -ascent.patience]))
            self.stopped = sign * (late - early) < ascent.least_gain * abs(late)


def _ascend(
    network: LoadedNetwork, climbs: list[_Climb], direction: Direction, ascent: Ascent
) -> list[Visualisation]:
    torch = require("torch", for_="feature visualisation")
    sign = 1.0 if direction == "max" else -1.0
    optimiser = torch.optim.Adam([c.spectrum for c in climbs], lr=ascent.learning_rate)
    for _ in range(ascent.steps):
        active = [climb for climb in climbs if not climb.stopped]
        if not active:
            break
        images = render(torch.cat([climb.spectrum for climb in active]))
        views = random_view(images, torch.cat([climb.draw() for climb in active]))
        activation, driven = unit_activations(network, views, [climb.unit for climb in active])
        size = driven.detach().abs().mean(dim=1, keepdim=True).clamp_min(1e-6)
        gain = sign * (driven / size).mean(dim=1)
        alike = _likeness(images.unflatten(0, activation.shape))
        optimiser.zero_grad(set_to_none=True)
        (ascent.diversity * alike - gain).sum().backward()
        optimiser.step()
        for climb, value in zip(active, activation.detach().mean(dim=1).tolist(), strict=True):
            climb.note(value, sign, ascent)
    return _finished(network, climbs, direction)


def _likeness(images: Tensor) -> Tensor:
    """(units,) mean cosine between different images of a unit; 0 for a single image."""
    torch = require("torch", for_="feature visualisation")
    units, n = images.shape[:2]
    if n == 1:
        return images.new_zeros(units)
    pooled = _pooled(images.flatten(0, 1))
    codes = pooled.flatten(1).unflatten(0, (units, n))
    codes = torch.nn.functional.normalize(codes - codes.mean(dim=2, keepdim=True), dim=2)
    cosines = codes @ codes.mT
    return (cosines.sum(dim=(1, 2)) - n) / (n * (n - 1))


def _pooled(images: Tensor) -> Tensor:
    """Means over 8 x 8 parts of each image; on CUDA by matrices, whose gradient is repeatable."""
    torch = require("torch", for_="feature visualisation")
    pool = torch.nn.functional.adaptive_avg_pool2d
    if not images.is_cuda:
        pooled: Tensor = pool(images, _POOLED_SIDE)
        return pooled
    like = {"dtype": images.dtype, "device": images.device}
    down, across = (
        pool(torch.eye(side, **like)[None], (_POOLED_SIDE, side))[0] for side in images.shape[-2:]
    )
    return down @ images @ across.T


def _finished(
    network: LoadedNetwork, climbs: list[_Climb], direction: Direction
) -> list[Visualisation]:
    torch = require("torch", for_="feature visualisation")
    with torch.inference_mode():
        pictures = (render(torch.cat([c.spectrum for c in climbs])) * 255).round()
        activation, _ = unit_activations(network, pictures / 255, [c.unit for c in climbs])
    pixels = pictures.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
    n = len(pixels) // len(climbs)
    return [
        Visualisation(
            unit=climb.unit,
            direction=direction,
            images=pixels[i * n : (i + 1) * n],
            activation=activation[i].cpu().numpy(),
            trace=np.array(climb.trace),
            stopped=climb.stopped,
        )
        for i, climb in enumerate(climbs)
    ]
