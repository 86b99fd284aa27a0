"""Maximum-likelihood fit of the psychometric function to aggregated answers.

The function itself is in `imi_bench.choice.psychometric`, its likelihood in
`imi_bench.choice.likelihood`, what a maximum is told as in `imi_bench.choice.telling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.choice import likelihood
from imi_bench.choice.likelihood import BinomialRows
from imi_bench.choice.maximise import STEEPEST, climb
from imi_bench.choice.psychometric import (
    PsychometricFit,
    PsychometricParameters,
    State,
    choice_probability,
)
from imi_bench.choice.scoring import Maximum
from imi_bench.choice.telling import told
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.stats.links import Link, link_named
from imi_bench.text import plural

__all__ = [
    "PsychometricFit",
    "PsychometricParameters",
    "choice_probability",
    "fit_psychometric",
    "fit_subsets",
]


def fit_psychometric(
    evidence: ArrayLike,
    *,
    successes: ArrayLike,
    trials: ArrayLike | None = None,
    group: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    link: str = "logit",
    bias: bool = False,
    lapse: float | None = None,
    least_lapse: float = 0.0,
    level: float = 0.95,
) -> PsychometricFit:
    """Fit slope (one a group), bias and lapse by maximum likelihood.

    Parameters
    ----------
    evidence : (R,) float
        Signed so that positive evidence speaks for a success; finite.
    successes : (R,) float
        Successes among `trials`: choices of the first query if `evidence` is oriented to the order
        the person saw, correct answers if it is oriented to the correct query.
    trials : (R,) float, optional
        Answers in each row; 1 by default. Rows of equal evidence may be aggregated at will: the
        estimates do not change.
    group : (R,) str, optional
        Each group (such as a mode) gets a slope of its own; bias and lapse stay common.
    cluster : (R,) str, optional
        Rows of one cluster (a unit) are not independent; intervals are then robust to that.
    link : str
        ``logit`` or ``probit``.
    bias : bool
        Estimate a bias. Only meaningful with `evidence` oriented to the order shown.
    lapse : float, optional
        Hold the lapse at this value; estimated by default.
    least_lapse : float
        Least value of an estimated lapse.
    level : float

    Returns
    -------
    PsychometricFit

    Raises
    ------
    InputError
        Rows of unequal length, evidence that is not finite, counts that are not.
    NotEnoughDataError
        No answer at all.

    Notes
    -----
    Without `cluster` the covariance is the inverse observed information. With it, the sandwich
    ``H^-1 (G/(G-1) sum_g s_g s_g') H^-1`` with s_g the score of cluster g and H the observed
    information, and t quantiles with G - 1 degrees of freedom (Cameron and Miller 2015, *Journal
    of Human Resources* 50, 317-372). The slope is then the population's: where units differ beyond
    the evidence, it is flatter than that within any unit (for unit effects see
    `imi_bench.choice.unit_effects`). The interval of the lapse is symmetric on the logit scale.

    Examples
    --------
    >>> fit = fit_psychometric([-1, 1, -2, 2], successes=[3, 7, 1, 9], trials=[10] * 4, lapse=0.0)
    >>> round(fit.slopes["all"].value, 3), fit.state
    (1.012, 'interior')
    """
    return fit_subsets(
        evidence,
        keep=np.ones((1, len(np.asarray(successes))), dtype=bool),
        successes=successes,
        trials=trials,
        group=group,
        cluster=cluster,
        link=link,
        bias=bias,
        lapse=lapse,
        least_lapse=least_lapse,
        level=level,
    )[0]


def fit_subsets(
    evidence: ArrayLike,
    *,
    keep: Bools,
    successes: ArrayLike,
    trials: ArrayLike | None = None,
    group: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    link: str = "logit",
    bias: bool = False,
    lapse: float | None = None,
    least_lapse: float = 0.0,
    level: float = 0.95,
) -> list[PsychometricFit]:
    """Fit several subsets of the same rows at once, each as `fit_psychometric` fits it alone.

    Parameters
    ----------
    evidence : (R,) or (F, R) float
        Of all subsets, or of each.
    keep : (F, R) bool
        The rows of each subset.
    successes, trials, group, cluster, link, bias, lapse, least_lapse, level
        As of `fit_psychometric`; all (R,).

    Returns
    -------
    list of F PsychometricFit

    Raises
    ------
    InputError
        As `fit_psychometric`.
    NotEnoughDataError
        A subset without any answer.

    Examples
    --------
    >>> keep = np.array([[True] * 4, [True, True, False, True]])
    >>> fits = fit_subsets([-1, 1, -2, 2], keep=keep, successes=[3, 7, 1, 9], trials=[10] * 4)
    >>> [fit.n for fit in fits]
    [40, 30]
    """
    table = _Table.of(evidence, keep, successes, trials, group, cluster)
    if not table.used.any(axis=1).all():
        raise NotEnoughDataError("no answers to fit a psychometric function to")
    chosen = link_named(link)
    found: dict[int, PsychometricFit] = {}
    for codes, subsets in table.by_groups().items():
        fits = _fitted(
            table, subsets, codes, chosen, bias=bias, lapse=lapse, least=least_lapse, level=level
        )
        found |= dict(zip(subsets, fits, strict=True))
    return [found[subset] for subset in range(len(keep))]


@dataclass(frozen=True, eq=False)
class _Table:
    """The rows of all subsets, sorted by evidence.

    Attributes
    ----------
    evidence : (F, R) float64
    used : (F, R) bool
        Rows of the subset with answers.
    successes, trials : (R,) float64
    names : list of str
        Groups.
    group : (R,) int64
    cluster : (R,) int64 or None
    """

    evidence: Floats
    used: Bools
    successes: Floats
    trials: Floats
    names: list[str]
    group: Ints
    cluster: Ints | None

    @classmethod
    def of(
        cls,
        evidence: ArrayLike,
        keep: Bools,
        successes: ArrayLike,
        trials: ArrayLike | None,
        group: ArrayLike | None,
        cluster: ArrayLike | None,
    ) -> _Table:
        x = np.asarray(evidence, dtype=np.float64)
        k = np.asarray(successes, dtype=np.float64)
        n = np.ones(x.shape[-1:]) if trials is None else np.asarray(trials, dtype=np.float64)
        names = np.full(len(k), "all") if group is None else np.asarray(group).astype(str)
        lengths = {
            "evidence": x.shape[-1] if x.ndim else 0,
            "successes": len(k),
            "trials": len(n),
            "group": len(names),
            "keep": keep.shape[1],
        }
        if cluster is not None:
            lengths["cluster"] = len(np.asarray(cluster))
        if len(set(lengths.values())) != 1:
            raise InputError("rows of unequal length", where="fit_psychometric", found=lengths)
        if not np.isfinite(x).all():
            raise InputError(
                "evidence is not finite",
                where="fit_psychometric",
                found=plural((~np.isfinite(x)).sum(), "such row"),
                do="leave unanswered trials out",
            )
        if not ((k >= 0) & (k <= n)).all():
            raise InputError(
                "counts are not possible",
                where="fit_psychometric",
                wanted="0 <= successes <= trials in every row",
            )
        order = np.argsort(x if x.ndim == 1 else x[0], kind="stable")
        groups, code = np.unique(names, return_inverse=True)
        clusters = None if cluster is None else pd.factorize(np.asarray(cluster))[0][order]
        return cls(
            np.broadcast_to(x, keep.shape)[:, order],
            keep[:, order] & (n > 0)[order],
            k[order],
            n[order],
            groups.tolist(),
            code[order],
            clusters,
        )

    def by_groups(self) -> dict[tuple[int, ...], list[int]]:
        """The subsets by the groups that they have rows of."""
        found: dict[tuple[int, ...], list[int]] = {}
        for subset, used in enumerate(self.used):
            there = np.flatnonzero(np.bincount(self.group, used, minlength=len(self.names)))
            found.setdefault(tuple(there.tolist()), []).append(subset)
        return found

    def rows(self, subsets: list[int], groups: tuple[int, ...], *, bias: bool) -> BinomialRows:
        """The rows of some subsets, one column a group; others than the used ones are empty."""
        used = self.used[subsets]
        evidence = np.where(used, self.evidence[subsets], 0.0)
        columns = [evidence * (self.group == code) for code in groups]
        if bias:
            columns.append(np.ones_like(evidence))
        return BinomialRows(np.stack(columns, axis=1), used * self.successes, used * self.trials)


def _fitted(
    table: _Table,
    subsets: list[int],
    groups: tuple[int, ...],
    link: Link,
    *,
    bias: bool,
    lapse: float | None,
    least: float,
    level: float,
) -> list[PsychometricFit]:
    """The fits of subsets that have rows of the same groups."""
    rows = table.rows(subsets, groups, bias=bias)
    scale = _scale(rows, len(groups))
    scaled = BinomialRows(rows.columns / scale[:, :, None], rows.successes, rows.trials)
    best, states = _best(scaled, link, groups=len(groups), lapse=lapse, least=least, level=level)
    theta = np.array([one.theta for one in best])
    made = []
    for one, state, information, scores, spread, used in zip(
        best,
        states,
        likelihood.observed_information(theta, scaled, link),
        likelihood.row_scores(theta, scaled, link),
        np.column_stack([scale, np.ones(len(scale))]),
        table.used[subsets],
        strict=True,
    ):
        lapse_free = lapse is None and state not in ("flat", "weak", "one size")
        n = round(table.trials[used].sum())
        clusters = n
        if table.cluster is not None:
            clusters = int(np.count_nonzero(np.bincount(table.cluster[used])))
        covariance, singular = _covariance(
            one, information, scores, table.cluster, count=clusters, lapse_free=lapse_free
        )
        made.append(
            told(
                replace(one, theta=one.theta / spread),
                covariance / np.outer(spread, spread),
                groups=[table.names[code] for code in groups],
                bias=bias,
                lapse_free=lapse_free,
                link=link.name,
                state="unidentified" if singular else state,
                n=n,
                clusters=clusters,
                level=level,
                robust=table.cluster is not None,
            )
        )
    return made


def _scale(rows: BinomialRows, groups: int) -> Floats:
    """(F, q) factors that make evidence of root mean square 1; the bias column stays."""
    weights = rows.trials[:, None] * (rows.columns != 0)
    mean_square = (weights * rows.columns**2).sum(axis=-1) / np.maximum(weights.sum(axis=-1), 1)
    scale = np.sqrt(mean_square)
    scale[:, groups:] = 1.0
    return np.where(scale > 0, scale, 1.0)


def _one_size(evidence: Floats) -> Bools:
    """(F,) whether each group's evidence (F, q, R) has one absolute size, zeros aside."""
    size = np.abs(evidence)
    alike = (size == 0) | np.isclose(size, size.max(axis=-1, keepdims=True), rtol=1e-9)
    return np.asarray(alike.all(axis=(1, 2)))


def _best(
    rows: BinomialRows,
    link: Link,
    *,
    groups: int,
    lapse: float | None,
    least: float,
    level: float,
) -> tuple[list[Maximum], list[State]]:
    """Find each maximum, and say what kind of maximum it is."""
    evidence = rows.columns[:, :groups]
    flat = np.asarray(~evidence.any(axis=(1, 2)))
    one_size = ~flat & (lapse is None) & _one_size(evidence)
    steepest = np.where(flat, 0.0, STEEPEST / link.first_peak)
    held = least if lapse is None else lapse
    wanted = np.where(flat | one_size, held, np.nan if lapse is None else lapse)
    best = climb(rows, link, groups=groups, steepest=steepest, lapse=wanted, least_lapse=least)
    weak = _weak(best, rows, link, groups=groups, level=level) & np.isnan(wanted)
    without = _least_lapse(weak, rows, link, groups, least)
    for fit, one in zip(np.flatnonzero(weak).tolist(), without, strict=True):
        best[fit] = one
    states = [_state(one, groups=groups, lapse=lapse, least=least) for one in best]
    named: tuple[tuple[State, Bools], ...] = (
        ("flat", flat),
        ("one size", one_size),
        ("weak", weak),
    )
    for name, there in named:
        for fit in np.flatnonzero(there).tolist():
            states[fit] = name
    return best, states


def _weak(
    best: list[Maximum], rows: BinomialRows, link: Link, *, groups: int, level: float
) -> Bools:
    """(F,) whether choices move with the evidence no more than by chance."""
    null = -math.log(2) * rows.trials.sum(axis=1)
    if rows.columns.shape[1] > groups:
        nothing = np.zeros(len(best))
        found = climb(rows, link, groups=groups, steepest=nothing, lapse=nothing)
        null = np.array([one.value for one in found])
    rise = 2 * (np.array([one.value for one in best]) - null)
    return np.asarray(rise < special.chdtri(groups, 1 - level))


def _least_lapse(
    weak: Bools, rows: BinomialRows, link: Link, groups: int, least: float
) -> list[Maximum]:
    fits = np.flatnonzero(weak)
    if not fits.size:
        return []
    steepest = np.full(len(fits), STEEPEST / link.first_peak)
    return climb(
        rows.take(fits), link, groups=groups, steepest=steepest, lapse=np.full(len(fits), least)
    )


def _state(best: Maximum, *, groups: int, lapse: float | None, least: float) -> State:
    if best.at_bound[:groups].any():
        return "separated"
    if lapse is None and best.at_bound[-1]:
        if best.theta[-1] > least:
            return "lapse at maximum"
        return "lapse at 0" if least == 0 else "lapse at least"
    return "interior" if best.converged else "unidentified"


def _covariance(
    best: Maximum,
    information: Floats,
    scores: Floats,
    clusters: Ints | None,
    *,
    count: int,
    lapse_free: bool,
) -> tuple[Floats, bool]:
    """(q + 1, q + 1) covariance, NaN for parameters at a bound, and whether it is singular."""
    size = len(best.theta)
    covariance = np.full((size, size), np.nan)
    free = ~best.at_bound
    free[-1] &= lapse_free
    if not free.any():
        return covariance, False
    block = np.ix_(free, free)
    information = information[block]
    diagonal = np.diag(information)
    if (diagonal <= 0).any():
        return covariance, True
    eigenvalues = np.linalg.eigvalsh(information / np.sqrt(np.outer(diagonal, diagonal)))
    if eigenvalues[0] < 1e-8:
        return covariance, True
    inverse = np.linalg.inv(information)
    if clusters is None:
        covariance[block] = inverse
        return covariance, False
    if count < 2:
        return covariance, True
    by_cluster = np.column_stack([np.bincount(clusters, column) for column in scores[free]])
    meat = by_cluster.T @ by_cluster * (count / (count - 1))
    covariance[block] = inverse @ meat @ inverse
    return covariance, False
