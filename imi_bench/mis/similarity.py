"""How the observer of a machine interpretability score compares images, and with which slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.mis.scores import MachineInterpretability, score_pools
from imi_bench.networks.tasks import Pools, Tasks, draw_tasks
from imi_bench.observers.learned import LearnedObserver
from imi_bench.observers.protocol import Encoder
from imi_bench.release.published import published
from imi_bench.tables import BlindTrials
from imi_bench.tables.images import AnonymousImages, Images

PUBLISHED_SLOPE = float(published().mis["slope_on_dreamsim"])
"""Used with DreamSim in Zimmermann, Klindt, Brendel 2024."""
_TASKS_AT_ONCE = 2000
_JOINING_PAYS = 4  # tasks an image; measured by benchmarks/bench_measure.py --joining
_NOBODY = Images((), np.empty(0, dtype=object))


@dataclass(frozen=True)
class Slope:
    """Slope of the logistic function, and where it comes from.

    Attributes
    ----------
    value : float
        In 1 / similarity.
    source : str
    warning : str or None
        One line if the value is not known to belong to the observer.

    Examples
    --------
    >>> Slope.choose(5.0, observer="pixel-cosine")
    Slope(value=5.0, source='given', warning=None)
    """

    value: float
    source: str
    warning: str | None = None

    @classmethod
    def choose(
        cls,
        given: float | None,
        *,
        observer: str,
        source_of_given: str | None = None,
        learned: bool = False,
    ) -> Slope:
        """The given slope, or else the published one, with a warning unless it is DreamSim's.

        A learned measure's decision variable is a logit already: its slope is 1.
        """
        if given is None and learned:
            return cls(1.0, "the learned measure's own: its decision variable is a logit")
        known = observer.startswith("dreamsim")
        warning = (
            f"slope {PUBLISHED_SLOPE} was published with DreamSim and is not calibrated for "
            f"'{observer}': compare hard_score, or give slope="
        )
        if given is None:
            source = "published with DreamSim (Zimmermann, Klindt, Brendel 2024)"
            return cls(PUBLISHED_SLOPE, source, None if known else warning)
        if source_of_given is not None:
            return cls(given, source_of_given)
        return cls(given, "given", warning if given == PUBLISHED_SLOPE and not known else None)


def comparison(observer: Encoder) -> dict[str, Any]:
    """How an observer compares images, as its card says: pooling and similarity.

    Raises
    ------
    InputError
        If references are not pooled by the mean, which the score is defined with; a learned
        measure, whose parts pool as they were learnt, is let through.
    """
    found = dict(observer.describe().get("comparison", {"similarity": "the observer's own"}))
    if found.setdefault("pooling", "mean") not in ("mean", "learned"):
        raise InputError(
            "observer's pooling is not that of the MIS",
            where=observer.name,
            found=found["pooling"],
            wanted="mean",
            do="take an observer that pools by the mean",
        )
    return found


def score_by(
    observer: Encoder,
    codes: NDArray[np.float32],
    pools: Pools,
    *,
    units: Sequence[str],
    n_tasks: int,
    n_references: int,
    slope: float,
    seed: int,
) -> MachineInterpretability:
    """Score units by the observer's own comparison; cosines take the fast way.

    So does a learned measure that is a weighted sum of mean cosines, as one joined embedding, where
    there are tasks enough to pay for joining the codes of all images.

    Parameters
    ----------
    codes : (images, ...) float32 array
        What the observer's `encode` gave.
    pools, units, n_tasks, n_references, slope, seed
        As in `imi_bench.mis.scores.score_pools`.

    Raises
    ------
    InputError
        As `comparison` and `score_pools`.
    """
    if comparison(observer)["similarity"] == "cosine":
        return score_pools(
            codes.reshape(len(codes), -1),
            pools,
            units=units,
            n_tasks=n_tasks,
            n_references=n_references,
            slope=slope,
            seed=seed,
        )
    many = len(pools) * n_tasks >= _JOINING_PAYS * len(codes)
    whole = observer.joined(codes) if many and isinstance(observer, LearnedObserver) else None
    if whole is not None:
        embedding, scale = whole
        found = score_pools(
            embedding,
            pools,
            units=units,
            n_tasks=n_tasks,
            n_references=n_references,
            slope=slope,
            seed=seed,
        )
        return MachineInterpretability(scale * found.margin, slope, found.reason)
    margins = np.full((len(pools), n_tasks), np.nan)
    step = max(1, _TASKS_AT_ONCE // n_tasks)
    for start in range(0, len(pools), step):
        rows = slice(start, start + step)
        some = pools.part(rows)
        tasks = draw_tasks(
            some, n_tasks=n_tasks, n_references=n_references, seed=seed, units=units[rows]
        )
        margins[rows] = _decided(observer, codes, tasks)
    margins[pools.reason != ""] = np.nan
    reason = pools.reason.copy()
    reason[np.isnan(margins).any(axis=1) & (reason == "")] = "observer gives no answer to a task"
    margins[reason != ""] = np.nan
    return MachineInterpretability(margins, slope, reason)


def _decided(observer: Encoder, codes: NDArray[np.float32], tasks: Tasks) -> NDArray[np.float64]:
    """Decision variables (U, N) of tasks as trials that show q+ first."""
    n_units, n_tasks, drawn = tasks.positive.shape
    used, rows = np.unique(np.stack([tasks.positive, tasks.negative]), return_inverse=True)
    positive, negative = rows.reshape(2, n_units * n_tasks, drawn)
    images = AnonymousImages((), used.astype(str).astype(object), _NOBODY, used)
    trials = BlindTrials(
        images,
        positive[:, :-1],
        negative[:, :-1],
        np.stack([positive[:, -1], negative[:, -1]], axis=1),
    )
    answers = observer.decide(trials, np.asarray(codes[used]))
    values = getattr(answers, "decision_variable", answers)
    return np.asarray(values, dtype=np.float64).reshape(n_units, n_tasks)
