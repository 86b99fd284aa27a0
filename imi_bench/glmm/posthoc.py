"""The paper's own tests between groups of units: Kruskal-Wallis, then Conover with Holm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from imi_bench.errors import NotEnoughDataError
from imi_bench.results import Result
from imi_bench.stats.multiplicity import holm
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class GroupMean:
    """Mean of a group's values with a bootstrap interval over the values.

    Attributes
    ----------
    name : str
    mean : float
        Of the values.
    low, high : float
        BCa interval; NaN where all values are alike.
    n : int
        Number of values (units).
    """

    name: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, eq=False, repr=False)
class PostHoc(Result):
    """A comparison of groups by ranks.

    Attributes
    ----------
    groups : tuple of str
        Labels, sorted by mean.
    means : tuple of GroupMean
        One for each group, in that order.
    statistic, p : float
        Kruskal-Wallis H and its p-value.
    pairs : (groups, groups) float64
        Holm-adjusted p-values of Conover's test; 1 on the diagonal.
    alpha : float
        Level at which pairs are called different.
    """

    groups: tuple[str, ...]
    means: tuple[GroupMean, ...]
    statistic: float
    p: float
    pairs: NDArray[np.float64]
    alpha: float

    @property
    def different(self) -> tuple[tuple[str, str], ...]:
        """Pairs of groups that differ at `alpha`."""
        count = len(self.groups)
        return tuple(
            (self.groups[a], self.groups[b])
            for a in range(count)
            for b in range(a + 1, count)
            if self.pairs[a, b] < self.alpha
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "groups": list(self.groups),
            "means": [vars(one) for one in self.means],
            "kruskal_wallis": {"H": self.statistic, "df": len(self.groups) - 1, "p": self.p},
            "conover_holm": self.pairs.tolist(),
            "alpha": self.alpha,
            "different": [list(pair) for pair in self.different],
        }

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        test, pairs = found["kruskal_wallis"], found["conover_holm"]
        return {**found, "statistic": test["H"], "p": test["p"], "pairs": pairs}

    @property
    def title(self) -> str:
        """The test of all groups, in words."""
        return (
            f"Kruskal-Wallis H = {self.statistic:.1f}, p = {self.p:.2g}; "
            f"{plural(len(self.different), 'pair differs', 'pairs differ')} (Conover, Holm)"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a group: name, mean, low, high, n."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.means])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the groups' means with their intervals."""
        from imi_bench.plots import Interval, forest

        rows = [Interval(one.name, one.mean, one.low, one.high) for one in self.means]
        return forest(rows, xlabel="mean over units", title=self.title, ax=ax)


def bootstrap_mean(
    values: NDArray[np.float64],
    *,
    name: str,
    rng: np.random.Generator,
    n_resamples: int = 10_000,
    level: float = 0.95,
) -> GroupMean:
    """Average values with a bootstrap interval (BCa), as the authors do over units.

    Examples
    --------
    >>> import numpy as np
    >>> bootstrap_mean(np.array([0.5, 0.7]), name="a", rng=np.random.default_rng(0)).mean
    0.6
    """
    mean = float(np.mean(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return GroupMean(name, mean, math.nan, math.nan, len(values))
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=n_resamples, confidence_level=level, rng=rng
    ).confidence_interval
    return GroupMean(name, mean, float(interval.low), float(interval.high), len(values))


def conover(groups: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Compare every two groups by their mean ranks: Conover's test after Kruskal and Wallis.

    Parameters
    ----------
    groups : sequence of (n,) float64
        Two or more.

    Returns
    -------
    (groups, groups) float64
        Two-sided p-values, adjusted by Holm over all pairs; 1 on the diagonal.

    Notes
    -----
    Conover & Iman (1979), *On multiple-comparisons procedures*, Los Alamos LA-7677-MS:
    ``t = (mean rank difference) / sqrt(S2 (N - 1 - H) / (N - k) (1/n_i + 1/n_j))`` on N - k
    degrees of freedom, with H corrected for ties. ``scikit_posthocs.posthoc_conover`` gives the
    same and is the reference of the tests; it brings pyplot along, at a third of the time of
    `effects`.

    Examples
    --------
    >>> conover([np.arange(4.0), np.arange(5.0, 9.0)]).round(4).tolist()
    [[1.0, 0.0047], [0.0047, 1.0]]
    """
    sizes = np.array([len(group) for group in groups])
    count, total = len(sizes), int(sizes.sum())
    ranks = stats.rankdata(np.concatenate(groups))
    means = np.array([part.mean() for part in np.split(ranks, np.cumsum(sizes)[:-1])])
    spread = float((ranks**2).sum() - total * (total + 1) ** 2 / 4) / (total - 1)
    statistic = float((sizes * (means - (total + 1) / 2) ** 2).sum()) / spread
    left = spread * (total - 1 - statistic) / (total - count)
    first, second = np.triu_indices(count, 1)
    error = np.sqrt(max(left, 0.0) * (1 / sizes[first] + 1 / sizes[second]))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(means[first] - means[second]) / error
    p = np.ones((count, count))
    p[first, second] = p[second, first] = holm(2 * stats.t.sf(np.nan_to_num(t), total - count))
    return p


def compare_groups(
    values: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    alpha: float = 0.05,
    n_resamples: int = 10_000,
) -> PostHoc:
    """Compare groups of units by Kruskal-Wallis and Conover's test with Holm's adjustment.

    Parameters
    ----------
    values : mapping of str to sequence of float
        For each group, one number a unit, such as its proportion correct.
    seed : int
        Of the bootstrap.
    alpha : float
        Level at which pairs are called different.
    n_resamples : int
        Of the bootstrap.

    Raises
    ------
    NotEnoughDataError
        With fewer than two groups, a group of fewer than two values, or values all alike.

    Examples
    --------
    >>> found = compare_groups({"a": [1, 2, 3, 4], "b": [6, 7, 8, 9]}, n_resamples=100)
    >>> found.different, round(found.p, 4)
    ((('a', 'b'),), 0.0209)
    """
    arrays = {name: np.asarray(group, dtype=float) for name, group in values.items()}
    short = [name for name, group in arrays.items() if len(group) < 2]
    if len(arrays) < 2 or short or np.ptp(np.concatenate(list(arrays.values()))) == 0:
        few = f", too few units in {', '.join(short)}" if short else ""
        raise NotEnoughDataError(
            "no groups to compare",
            found=f"{plural(len(arrays), 'group')}{few}",
            wanted="two groups of two units with different values",
        )
    names = sorted(arrays, key=lambda name: float(arrays[name].mean()))
    ordered = [arrays[name] for name in names]
    statistic, p = stats.kruskal(*ordered)
    if statistic < 0:  # groups of the same ranks: H is 0, and rounding had it below
        statistic, p = 0.0, 1.0
    pairs = conover(ordered)
    rng = np.random.default_rng(seed)
    means = tuple(
        bootstrap_mean(arrays[name], name=name, rng=rng, n_resamples=n_resamples) for name in names
    )
    return PostHoc(tuple(names), means, float(statistic), float(p), pairs, alpha)
