"""What any observer must keep, checked on a few trials.

An observer that fails here is not wrong about images; it is wrong about the experiment: its answer
depends on something a trial does not contain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from imi_bench.arrays import Pixels
from imi_bench.errors import NotEnoughDataError
from imi_bench.observers.examination import BrokenError, ExemptError, Probe
from imi_bench.observers.instances import Recipe
from imi_bench.observers.properties import ENCODER_PROPERTIES, PROPERTIES, SWAPS
from imi_bench.observers.protocol import (
    Observer,
    ObserverExitError,
    fingerprint,
    require_name,
)
from imi_bench.plots import BLUE, broken, new_axes
from imi_bench.provenance import generator
from imi_bench.results import Result
from imi_bench.tables import TrialIndex, Trials
from imi_bench.tables.images import Images
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Outcome = Literal["pass", "fail", "exempt"]


@dataclass(frozen=True)
class Property:
    """One property and what became of it.

    Attributes
    ----------
    name : str
    outcome : {"pass", "fail", "exempt"}
    detail : str
        What was measured, or what went wrong.
    """

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, repr=False)
class ContractReport(Result):
    """The properties of an observer, in the order they were checked.

    Attributes
    ----------
    observer : str
    fingerprint : str
        Empty where the observer cannot describe itself.
    trials, images : int
        How many were used.
    tolerance : float
        Within which answers of two runs or two batch sizes must agree: decision variables
        relative to their largest magnitude, codes relative to their largest norm.
    properties : tuple of Property
    """

    observer: str
    fingerprint: str
    trials: int
    images: int
    tolerance: float
    properties: tuple[Property, ...]

    @property
    def passed(self) -> bool:
        """Whether no property failed."""
        return all(p.outcome != "fail" for p in self.properties)

    @property
    def title(self) -> str:
        """Whose contract, and whether it is kept."""
        failed = [p.name for p in self.properties if p.outcome == "fail"]
        verdict = f"broken: {', '.join(failed)}" if failed else "kept"
        return f"Contract of {self.observer}: {verdict} ({plural(self.trials, 'trial')})"

    def to_frame(self) -> pd.DataFrame:
        """One row a property: `name`, `outcome`, `detail`."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.properties])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw what became of each property, the first one on top."""
        outcomes = get_args(Outcome)
        ax = new_axes(ax, height=1.2 + 0.3 * len(self.properties))
        for place, one in enumerate(self.properties):
            colour = "#d55e00" if one.outcome == "fail" else BLUE
            ax.plot([outcomes.index(one.outcome)], [place], "o", color=colour)
        ax.set_xticks(range(len(outcomes)), outcomes)
        ax.set_xlim(-0.5, len(outcomes) - 0.5)
        ax.set_yticks(range(len(self.properties)), [broken(one.name) for one in self.properties])
        ax.invert_yaxis()
        ax.set_title(self.title, loc="left", fontsize="small", wrap=True)
        return ax

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object, with the verdict."""
        return {**super().to_json(), "passed": self.passed}


def check(
    observer: Observer,
    trials: Trials,
    *,
    seed: int = 0,
    symmetric: bool | None = None,
    tolerance: float | None = None,
    recipe: Recipe | None = None,
) -> ContractReport:
    """Run the metamorphic and adversarial checks.

    Parameters
    ----------
    observer : Observer
        Anything with the methods of the protocol.
    trials : Trials
        A handful; an encoder sees each image about five times, and 128 in one batch.
    seed : int
        Of the sides and the permutations.
    symmetric : bool, optional
        False exempts from the two swap properties. By default the observer's own ``symmetric``
        attribute, True without one.
    tolerance : float, optional
        By default what ``describe()["tolerance"]`` says, one millionth without it.
    recipe : Recipe, optional
        How to build the observer again, for the comparison with a second instance in a second
        process; without it that property is exempt, and says so.

    Raises
    ------
    NotEnoughDataError
        No trials.
    InputError
        A tolerance outside (0, `LARGEST_TOLERANCE`].

    Examples
    --------
    >>> from imi_bench.observers.reference import Chance
    >>> check(Chance(), sample_trials()).passed
    True
    """
    require_name(observer)
    if len(trials) == 0:
        raise NotEnoughDataError("no trials to check an observer on", where=observer.name)
    probe = Probe.of(observer, trials, seed=seed, tolerance=tolerance, recipe=recipe)
    if symmetric is None:
        symmetric = bool(getattr(observer, "symmetric", True))
    properties = []
    for name, measure in PROPERTIES.items():
        if name in ENCODER_PROPERTIES and not probe.encodes:
            continue
        if name in SWAPS and not symmetric:
            properties.append(Property(name, "exempt", "declared not symmetric"))
            continue
        properties.append(_measured(name, measure, probe))
    try:
        identity = fingerprint(observer)
    except (TypeError, ValueError):
        identity = ""  # the property "describes itself" says why
    return ContractReport(
        str(observer.name),
        identity,
        len(trials),
        len(probe.pixels),
        probe.tolerance,
        tuple(properties),
    )


def sample_trials(*, seed: int = 0, count: int = 8, references: int = 9) -> Trials:
    """Small made-up trials for the check: noise and gratings of many sizes, some images shared.

    Examples
    --------
    >>> len(sample_trials(count=3))
    3
    """
    draw = generator(seed, "contract", "images")
    sources = [_made_up(draw) for _ in range(max(2 * references + 2, 5 * count))]
    images, _ = Images.collect(sources)
    rows = np.stack(
        [draw.choice(len(images), 2 * references + 2, replace=False) for _ in range(count)]
    )
    index = TrialIndex(
        trial_id=[f"made-up/{row}" for row in range(count)],  # type: ignore[arg-type]
        network=np.full(count, "made-up", dtype=object),
        layer=np.full(count, "none", dtype=object),
        unit=np.arange(count),
        mode=np.full(count, "natural", dtype=object),
        difficulty=np.full(count, "easy", dtype=object),
        batch=np.ones(count, dtype=np.int64),
        catch=np.zeros(count, dtype=bool),
    )
    return Trials(
        index=index,
        images=images,
        simulated=True,
        queries=rows[:, :2],
        positive=rows[:, 2 : 2 + references],
        negative=rows[:, 2 + references :],
    )


def _made_up(draw: np.random.Generator) -> Pixels:
    """An image of 20 to 90 pixels a side: a coloured grating in noise."""
    height, width = draw.integers(20, 91, size=2)
    y, x = np.mgrid[:height, :width]
    angle, wavelength = draw.uniform(0, np.pi), draw.uniform(3, 20)
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength)
    colour, other = draw.uniform(0, 255, size=(2, 3))
    mixed = colour + (other - colour) * (wave[..., None] + 1) / 2
    noisy = mixed + draw.normal(0, 15, mixed.shape)
    return np.asarray(noisy.clip(0, 255), dtype=np.uint8)


def _measured(name: str, measure: Callable[[Probe], str], probe: Probe) -> Property:
    try:
        return Property(name, "pass", measure(probe))
    except ObserverExitError:
        raise
    except ExemptError as reason:
        return Property(name, "exempt", str(reason))
    except BrokenError as broken:
        return Property(name, "fail", str(broken))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return Property(name, "fail", f"raised {type(error).__name__}: {first}")
