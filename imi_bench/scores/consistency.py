"""Error consistency: whether two err on the same trials more often than their accuracies explain.

Within a condition (network, mode and difficulty), as Geirhos et al. report it. Between conditions
everybody errs more where trials are harder, so that answers pooled over conditions agree although
within none of them do the two err alike; the pooled kappa stands beside under a name of its own.

Source: Geirhos, Meding & Wichmann (2020), *Beyond accuracy: quantifying trial-by-trial behaviour
of CNNs and humans by measuring error consistency*, NeurIPS 33. Kappa: Cohen (1960), *Educational
and Psychological Measurement* 20, 37-46; weighted over strata by what chance leaves to agree on:
Barlow, Lai & Azen (1991), *Statistics in Medicine* 10, 1465-1472.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Array, Floats
from imi_bench.errors import InputError
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.stats.sums import OverPlaces, Placed, Score, Totals


def cohen_kappa(*, alike: Floats, first: Floats, second: Floats) -> Floats:
    """Cohen's kappa of two binary raters, signed; NaN where chance agreement is certain.

    Parameters
    ----------
    alike : array
        Proportion of cases on which they agree.
    first, second : array
        Each one's proportion of ones.

    Notes
    -----
    Cohen (1960), *Educational and Psychological Measurement* 20, 37-46. Used for errors as in
    Geirhos, Meding and Wichmann (2020), *Beyond accuracy: quantifying trial-by-trial behaviour of
    CNNs and humans by measuring error consistency*. Negative where the two err on different
    trials; its sign is never dropped.

    Examples
    --------
    >>> half = np.array(0.5)
    >>> float(cohen_kappa(alike=np.array(0.25), first=half, second=half))
    -0.5
    """
    by_chance = first * second + (1 - first) * (1 - second)
    spare = 1 - by_chance
    return np.asarray((alike - by_chance) / np.where(spare > 1e-12, spare, np.nan))


def stratified_kappa(*, count: Floats, alike: Floats, first: Floats, second: Floats) -> Floats:
    """Cohen's kappa within strata: excess agreement over what chance leaves, both summed.

    The mean of the strata's kappas, each weighted by its cases times one less chance agreement; a
    stratum in which chance agreement is certain has no weight.

    Parameters
    ----------
    count : (..., C) float64
        Cases of each stratum; 0 where there is none.
    alike, first, second : (..., C) float64
        How many agree, and how many ones either rater gave.

    Returns
    -------
    (...) float64
        NaN where chance agreement is certain in every stratum.

    Examples
    --------
    >>> one = np.array([4.0, 0.0])
    >>> float(stratified_kappa(count=one, alike=one / 4, first=one / 2, second=one / 2))
    -0.5
    """
    return _kappa(_beyond_chance(np.stack([count, alike, first, second], axis=-1)).sum(axis=-2))


def _beyond_chance(stratum: Floats) -> Floats:
    """(..., 3) cases, agreement beyond chance, and what chance leaves, of strata (..., 4)."""
    count, alike, first, second = np.moveaxis(stratum, -1, 0)
    some = np.where(count > 0, count, 1.0)
    p, q = first / some, second / some
    by_chance = np.where(count > 0, count * (p * q + (1 - p) * (1 - q)), 0.0)
    return np.stack([count, alike - by_chance, count - by_chance], axis=-1)


def _kappa(sums: Floats) -> Floats:
    count, excess, spare = np.moveaxis(sums, -1, 0)
    return np.asarray(excess / np.where(spare > 1e-12 * count, spare, np.nan))


def pooled_kappa(*, count: Floats, alike: Floats, first: Floats, second: Floats) -> Floats:
    """Cohen's kappa of all strata thrown together."""
    return _of_all(np.stack([count, alike, first, second], axis=-1).sum(axis=-2))


def _of_all(sums: Floats) -> Floats:
    count, alike, first, second = np.moveaxis(sums, -1, 0)
    total = np.where(count > 0, count, np.nan)
    return cohen_kappa(alike=alike / total, first=first / total, second=second / total)


def consistency_answers(matched: AlignedAnswers) -> dict[str, Floats | Placed]:
    """One and correct, (R,); and by network condition (G, 4): one, alike, either one correct."""
    credit = matched.credit[matched.trial]
    ones = np.ones(len(matched.trial))
    alike = credit * matched.correct + (1 - credit) * (1 - matched.correct)
    place = matched.network_condition
    return {
        "answers": ones,
        "hits": matched.correct,
        "consistency": Placed(
            place[matched.trial],
            np.column_stack([ones, alike, credit, matched.correct]),
            int(place.max()) + 1,
        ),
    }


_within = OverPlaces("consistency", _beyond_chance, _kappa)
_pooled = OverPlaces("consistency", np.asarray, _of_all)
KAPPA: dict[str, Any] = {"scale": "kappa", "growth": 2.0, "ends": (-1.0, 1.0), "curved": True}
"""Scale of the interval of a kappa: between units it varies as a variance of normal values does."""
_OF_ERRORS = {
    **KAPPA,
    "over_people": True,
    "undefined": "observer and people are always right, or always wrong",
}


def _least(totals: Totals, *, pooled: bool) -> Floats:
    """Kappa where two who are so often correct agree as seldom as they can."""
    table = totals["consistency"]
    if pooled:
        table = table.sum(axis=-2, keepdims=True)
    count, _, first, second = np.moveaxis(table, -1, 0)
    alike = np.abs(first + second - count)
    return stratified_kappa(count=count, alike=alike, first=first, second=second)


CONSISTENCY = (
    Score("error_consistency", "kappa", _within, least=partial(_least, pooled=False), **_OF_ERRORS),
    Score(
        "pooled_error_consistency",
        "kappa",
        _pooled,
        least=partial(_least, pooled=True),
        **_OF_ERRORS,
    ),
    Score(
        "human_proportion_correct",
        "proportion",
        lambda t: t["hits"] / t["answers"],
        over_people=True,
        scale="logit",
    ),
)
"""Error consistency with single human answers on the same trials, within network conditions and
pooled over them; people's proportion correct."""


def pair_consistency(
    correct: Array, *, rater: Array, item: Array, condition: Array
) -> pd.DataFrame:
    """Error consistency of every two raters on the items that both answered, by condition.

    Parameters
    ----------
    correct : (R,) float
        1 where the answer is correct, else 0.
    rater, item, condition : (R,)
        Who answered what, and under which condition. An item that a rater answered more often in
        a condition counts by its mean.

    Returns
    -------
    DataFrame
        One row a condition: ``condition``, ``pairs`` (with a defined kappa) and ``kappa``, the
        mean over pairs; NaN without any.

    Raises
    ------
    InputError
        Columns of different lengths.

    Examples
    --------
    >>> answers = np.array([1.0, 0.0, 1.0, 0.0])
    >>> pair_consistency(answers, rater=["a", "a", "b", "b"], item=[1, 2, 1, 2],
    ...     condition=["c"] * 4)["kappa"].tolist()
    [1.0]
    """
    columns = {"correct": correct, "rater": rater, "item": item, "condition": condition}
    if len({len(column) for column in columns.values()}) != 1:
        raise InputError(
            "columns of different lengths", found={n: len(c) for n, c in columns.items()}
        )
    frame = pd.DataFrame(columns)
    rows = []
    for name, part in frame.groupby("condition", sort=True):
        table = part.pivot_table(index="item", columns="rater", values="correct", aggfunc="mean")
        values = table.to_numpy(dtype=float)
        kappas = [
            _kappa_of_two(values[:, i], values[:, j])
            for i, j in combinations(range(values.shape[1]), 2)
        ]
        defined = np.array([k for k in kappas if np.isfinite(k)])
        mean = float(defined.mean()) if len(defined) else float("nan")
        rows.append({"condition": name, "pairs": len(defined), "kappa": mean})
    return pd.DataFrame(rows, columns=["condition", "pairs", "kappa"])


def _kappa_of_two(first: Floats, second: Floats) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return float("nan")
    x, y = first[both], second[both]
    alike = (x * y + (1 - x) * (1 - y)).mean()
    return float(cohen_kappa(alike=np.array(alike), first=x.mean(), second=y.mean()))
