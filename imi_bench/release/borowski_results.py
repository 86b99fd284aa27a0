"""What the forerunner published, computed again from its tables: aggregates, no answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit

from imi_bench.arguments import checked
from imi_bench.provenance import generator
from imi_bench.release.borowski import BRANCHES, BorowskiTable, facts
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.multiplicity import holm
from imi_bench.stats.scales import Z95

__all__ = [
    "differences",
    "headline",
    "intuitiveness",
    "mean_over_people",
    "means_by",
    "published_beside",
    "retest",
]


def mean_over_people(
    rows: pd.DataFrame, value: str = "correct", *, level: float = 0.95
) -> Estimate:
    """Mean of each person's mean, with Student's t over people; of the logit for `correct`.

    Without an interval where all people are alike: their spread says nothing then.

    Examples
    --------
    >>> rows = pd.DataFrame({"participant": list("aabb"), "correct": [1, 0, 1, 1]})
    >>> mean_over_people(rows).value
    0.75
    """
    each = rows.groupby("participant")[value].mean().to_numpy(dtype=float)
    known: dict[str, Any] = {"n": len(rows), "clusters": len(each), "level": level}
    if len(each) < 2:
        return Estimate(float(each.mean()), reason="one person is no sample of people", **known)
    middle = float(each.mean())
    if np.ptp(each) == 0:
        return Estimate(middle, reason="the same in all people", **known)
    half = float(stats.t.ppf((1 + level) / 2, len(each) - 1) * stats.sem(each))
    if value == "correct":
        centre, half = float(logit(middle)), half / (middle * (1 - middle))
        low, high = expit(centre - half), expit(centre + half)
        return Estimate(
            middle, float(low), float(high), method="t over people, of the logit", **known
        )
    return Estimate(middle, middle - half, middle + half, method="t over people", **known)


def conditions(table: BorowskiTable) -> pd.DataFrame:
    """Main trials with references; `condition` is ``9+9`` (both sides), ``1`` (max) and so on."""
    rows = table.frame[table.main]
    number = rows["references"].astype(str)
    return rows.assign(condition=number.where(rows["sides"] == "max", number + "+" + number))


def means_by(
    rows: pd.DataFrame, by: Sequence[str], value: str = "correct", *, level: float = 0.95
) -> pd.DataFrame:
    """One row a group: its keys, `mean`, `low`, `high`, `people`, `answers`."""
    found = []
    for key, part in rows.groupby(list(by), sort=False, observed=True):
        one = mean_over_people(part, value, level=level)
        found.append(
            {
                **dict(zip(by, key, strict=True)),
                "mean": one.value,
                "low": one.low,
                "high": one.high,
                "people": one.clusters,
                "answers": one.n,
            }
        )
    order = {name: place for place, name in enumerate((*BRANCHES, "pool, hand-picked"))}
    table = pd.DataFrame(found)
    return table.sort_values(
        list(by), key=lambda column: column.map(lambda one: order.get(one, one)), kind="stable"
    ).reset_index(drop=True)


@checked
def headline(table: BorowskiTable) -> pd.DataFrame:
    """Proportion correct by kind of references and condition, mean over people."""
    found = means_by(conditions(table), ("condition", "mode"))
    return found.assign(experiment=table.experiment)


@checked
def published_beside(tables: Sequence[BorowskiTable]) -> pd.DataFrame:
    """Each published percentage beside the one computed again, by the authors' own rule.

    Their half-width is 1.96 standard errors of the mean over people.

    Returns
    -------
    DataFrame
        `what`, `published`, `published_half`, `mean`, `half` (percent), `people`, `same` (both
        round to what was published).
    """
    found = []
    for table in tables:
        for (condition, mode), part in conditions(table).groupby(["condition", "mode"]):
            known = facts()["published"].get(f"{table.experiment} {mode} {condition}")
            if known is None:
                continue
            each = 100 * part.groupby("participant")["correct"].mean().to_numpy(dtype=float)
            mean, half = float(each.mean()), float(Z95 * stats.sem(each))
            found.append(
                {
                    "what": f"experiment {table.experiment}, {mode}, {condition} references",
                    "published": known[0],
                    "published_half": known[1],
                    "mean": mean,
                    "half": half,
                    "people": len(each),
                    "same": round(mean) == known[0] and round(half) == known[1],
                }
            )
    return pd.DataFrame(found)


def differences(rows: pd.DataFrame, by: Sequence[str] = ("condition",)) -> pd.DataFrame:
    """Natural minus synthetic within people: paired t in each group, adjusted by Holm.

    Returns
    -------
    DataFrame
        Keys, `difference`, `low`, `high`, `t`, `df`, `p`, `p_holm`.
    """
    found = []
    for key, part in rows.groupby(list(by), sort=True, observed=True):
        each = part.pivot_table(index="participant", columns="mode", values="correct").dropna()
        gap = (each["natural"] - each["synthetic"]).to_numpy(dtype=float)
        half = float(stats.t.ppf(0.975, len(gap) - 1) * stats.sem(gap))
        test = stats.ttest_1samp(gap, 0.0)
        found.append(
            {
                **dict(zip(by, key, strict=True)),
                "difference": float(gap.mean()),
                "low": float(gap.mean()) - half,
                "high": float(gap.mean()) + half,
                "t": float(test.statistic),
                "df": len(gap) - 1,
                "p": float(test.pvalue),
            }
        )
    table = pd.DataFrame(found)
    return table.assign(p_holm=holm(table["p"].tolist(), ["all"] * len(table)))


def retested(table: BorowskiTable) -> pd.DataFrame:
    """Trials that a person saw twice: `participant`, `mode`, `first`, `second`, confidences."""
    rows = table.frame
    again = rows[rows["kind"] == "repeated"]
    keys = ["participant", "trial_number", "correct", "confidence"]
    first = rows.loc[rows["kind"] == "main", keys]
    both = again.merge(
        first,
        left_on=["participant", "repeats"],
        right_on=["participant", "trial_number"],
        suffixes=("_again", ""),
        validate="many_to_one",
    )
    return pd.DataFrame(
        {
            "participant": both["participant"],
            "mode": both["mode"],
            "first": both["correct"].astype(float),
            "second": both["correct_again"].astype(float),
            "confidence": both["confidence"],
            "confidence_again": both["confidence_again"],
        }
    )


def retest(table: BorowskiTable, *, seed: int = 0, n_resamples: int = 2000) -> pd.DataFrame:
    """How alike a person's two answers to one trial are, with a bootstrap over people.

    Returns
    -------
    DataFrame
        By `mode`: `pairs`, `first` and `second` (proportions correct), `agreement` (both right or
        both wrong), `kappa` of the two with `low` and `high` (percentiles), `confidence_r`.
    """
    pairs = retested(table)
    rng = generator(seed, "test-retest")
    found = []
    for mode, part in pairs.groupby("mode", sort=True):
        people = [one for _, one in part.groupby("participant")]
        draws = []
        for _ in range(n_resamples):
            chosen = rng.integers(0, len(people), len(people))
            draws.append(_kappa(pd.concat([people[k] for k in chosen])))
        low, high = np.nanpercentile(draws, [2.5, 97.5])
        found.append(
            {
                "mode": mode,
                "pairs": len(part),
                "first": part["first"].mean(),
                "second": part["second"].mean(),
                "agreement": (part["first"] == part["second"]).mean(),
                "kappa": _kappa(part),
                "low": low,
                "high": high,
                "confidence_r": part["confidence"].corr(part["confidence_again"]),
            }
        )
    return pd.DataFrame(found)


def _kappa(pairs: pd.DataFrame) -> float:
    """Cohen's kappa of being correct the first and the second time; NaN where nothing varies."""
    a, b = pairs["first"].to_numpy(dtype=float), pairs["second"].to_numpy(dtype=float)
    expected = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return float(((a == b).mean() - expected) / (1 - expected)) if expected < 1 else float("nan")


def intuitiveness(ratings: pd.DataFrame) -> pd.DataFrame:
    """Mean rating by experiment and moment, mean over people (-100 to 100)."""
    return means_by(ratings, ("experiment", "moment"), "rating")
