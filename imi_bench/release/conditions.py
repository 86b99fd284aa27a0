"""How well people did in each condition, beside what was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from imi_bench.provenance import generator, plain
from imi_bench.release.published import Condition, PublishedMean, published
from imi_bench.results import Record
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.scales import Z95
from imi_bench.tables import Study


@dataclass(frozen=True, repr=False)
class ConditionMean(Record):
    """One condition of a study.

    Attributes
    ----------
    condition : Condition
    mean : Estimate
        Mean over units of each unit's proportion correct.
    units, participants : int
    answers_per_unit : (int, int)
        Fewest and most answers of a unit.
    published : PublishedMean or None
    """

    condition: Condition
    mean: Estimate
    units: int
    participants: int
    answers_per_unit: tuple[int, int]
    published: PublishedMean | None

    @property
    def standard_errors_off(self) -> float:
        """Difference to the published mean in standard errors of the two; NaN where undefined.

        The standard errors are read off the two intervals' widths.
        """
        if self.published is None:
            return float("nan")
        widths = np.array(
            [self.mean.high - self.mean.low, self.published.high - self.published.low]
        )
        error = float(np.sqrt(np.square(widths / (2 * Z95)).sum()))
        return (self.mean.value - self.published.value) / error if error > 0 else float("nan")

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        record = super().to_json()
        known = record.pop("published")
        shown = known and {"mean": known.pop("value"), **known}
        more = {"published": shown, "standard_errors_off": plain(self.standard_errors_off)}
        return {**record.pop("condition"), **record, **more}

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        known = found["published"]
        shown = known and {**known, "value": known["mean"]}
        return {**found, "condition": found, "published": shown}


def condition_means(
    study: Study, *, level: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> tuple[ConditionMean, ...]:
    """Mean of unit proportions in each condition, bootstrapped over units.

    As in the authors' analysis: `scipy.stats.bootstrap` (BCa) of the mean of the units'
    proportions. Conditions come in the order of the published figure, others after them.

    Examples
    --------
    >>> from imi_bench.simulation.study import SimulationParameters, simulate_study
    >>> small = SimulationParameters(conditions=(Condition("resnet50", "natural"),))
    >>> means = condition_means(simulate_study(small, seed=0).study, n_resamples=200)
    >>> means[0].units, means[0].answers_per_unit, means[0].published.value
    (84, (30, 30), 0.8319)
    """
    return means_of(study.to_frame(), level=level, n_resamples=n_resamples, seed=seed)


def means_of(
    frame: pd.DataFrame, *, level: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> tuple[ConditionMean, ...]:
    """As `condition_means`, of a table with one row an answer.

    Parameters
    ----------
    frame : DataFrame
        `network`, `mode`, `difficulty`, `unit_id`, `participant`, `correct` (0 to 1).
    level : float
    n_resamples, seed : int
    """
    order = {condition: place for place, condition in enumerate(published().conditions)}
    found = []
    for key, part in frame.groupby(["network", "mode", "difficulty"], observed=True, sort=True):
        condition = Condition(*map(str, key))
        units = part.groupby("unit_id")["correct"].agg(["mean", "size"])
        known = published().mean(condition) if condition.network in published().networks else None
        found.append(
            ConditionMean(
                condition=condition,
                mean=_mean(
                    units["mean"].to_numpy(dtype=float),
                    answers=len(part),
                    level=level,
                    n_resamples=n_resamples,
                    rng=generator(seed, "condition means", *map(str, key)),
                ),
                units=len(units),
                participants=int(part["participant"].nunique()),
                answers_per_unit=(int(units["size"].min()), int(units["size"].max())),
                published=known,
            )
        )
    return tuple(sorted(found, key=lambda one: order.get(one.condition, len(order))))


def _mean(
    proportions: NDArray[np.float64],
    *,
    answers: int,
    level: float,
    n_resamples: int,
    rng: np.random.Generator,
) -> Estimate:
    facts: dict[str, Any] = {"level": level, "n": answers, "clusters": len(proportions)}
    value = float(proportions.mean())
    if len(proportions) < 2 or np.ptp(proportions) == 0:
        return Estimate(value, reason="all units alike, or only one", **facts)
    interval = stats.bootstrap(
        (proportions,), np.mean, n_resamples=n_resamples, confidence_level=level, rng=rng
    ).confidence_interval
    return Estimate(
        value,
        float(interval.low),
        float(interval.high),
        method=f"bootstrap over units (BCa, {n_resamples})",
        **facts,
    )
