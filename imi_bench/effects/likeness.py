"""Does an observer show the same effects as people? Differences of coefficients, with intervals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from imi_bench.effects.effect import Difference, Effects
from imi_bench.effects.questions import too_few_networks
from imi_bench.effects.scale import PROPERTIES, family_columns
from imi_bench.errors import ModelError, NotComparableError, NotEnoughDataError
from imi_bench.glmm.between import INTERCEPT, regress
from imi_bench.glmm.inference import Inference
from imi_bench.stats.multiplicity import holm_shared
from imi_bench.vision.card import FAMILIES

__all__ = ["differences"]

_METHOD = "paired networks, two-stage t"
FEWEST = 3
"""Networks that can be told from one another: with fewer, only what was shown in these."""


def differences(
    observer: Effects, people: Effects, *, level: float = 0.95
) -> tuple[Difference, ...]:
    """Compare every effect both have.

    Effects that rest on networks are compared network by network: the differences of the two
    first stages go through the second stage of their own. Their covariances are added as if the
    answers were independent; where both find the same units hard that is a little too wide for
    each network, but the scatter between networks sets the width of what is tested. Effects
    within networks are compared by the root of the summed squared standard errors.

    Parameters
    ----------
    observer, people : Effects
        Of `analyse`, on trials of the same networks.
    level : float

    Raises
    ------
    NotComparableError
        If they share fewer than three networks, and one has others too.
    """
    shared = set(observer.properties.index) & set(people.properties.index)
    others = set(observer.properties.index) ^ set(people.properties.index)
    if not shared or (len(shared) < FEWEST and others):
        raise NotComparableError("too few networks in common", found=len(shared), wanted=FEWEST)
    mine = {effect.key: effect for effect in observer.effects}
    found = []
    for effect in people.effects:
        other = mine.get(effect.key)
        if other is None or math.isnan(effect.test.estimate) or math.isnan(other.test.estimate):
            continue
        test = _test(effect.key, observer, people, level)
        found.append(Difference(effect.key, other.test.estimate, effect.test.estimate, test))
    adjusted = holm_shared([one.test.p for one in found], [people[one.key].family for one in found])
    return tuple(replace(one, p_holm=p) for one, p in zip(found, adjusted.tolist(), strict=True))


def _test(key: str, observer: Effects, people: Effects, level: float) -> Inference:
    base, _, name = key.rpartition(":")
    known = {one.name: one for one in PROPERTIES}
    one, two = observer[key].test, people[key].test
    if key in people.stages and key in observer.stages:
        mine, theirs = (set(found.stages[key].levels) for found in (observer, people))
        if len(mine & theirs) >= FEWEST:
            return _paired(key, key, None, observer, people, level)
        if mine != theirs:
            reason = too_few_networks(len(mine & theirs), FEWEST)
            return Inference.undefined(key, method=_METHOD, reason=reason, level=level)
    if name in known:
        column = pd.Series(
            known[name].transformed(people.properties[name].to_numpy(dtype=float)),
            people.properties.index,
        )
        return _paired(key, base or INTERCEPT, column, observer, people, level)
    if key in FAMILIES:
        (column,) = family_columns(people.properties[key]).values()
        return _paired(key, INTERCEPT, column, observer, people, level)
    df = _welch(one, two)
    return Inference.from_t(
        key,
        estimate=one.estimate - two.estimate,
        se=math.hypot(one.se, two.se),
        df=df,
        method=f"Wald {'z' if math.isinf(df) else f't({df:.0f})'} of the difference",
        level=level,
    )


def _welch(one: Inference, two: Inference) -> float:
    """Degrees of freedom of the difference of two estimates (Welch 1947)."""
    both = one.se**2 + two.se**2
    share = one.se**4 / one.df + two.se**4 / two.df
    return both**2 / share if share > 0 else math.inf


def _paired(
    key: str, base: str, column: pd.Series | None, observer: Effects, people: Effects, level: float
) -> Inference:
    one, two = observer.stages[base], people.stages[base]
    levels = [lv for lv in one.levels if lv in two.levels]
    if column is not None:
        levels = [lv for lv in levels if not pd.isna(column[lv])]
    a, b = ([s.levels.index(lv) for lv in levels] for s in (one, two))
    covariance = one.covariance[np.ix_(a, a)] + two.covariance[np.ix_(b, b)]
    values = {} if column is None else {key: column[levels].to_numpy(dtype=float)}
    try:
        fit = regress(one.estimate[a] - two.estimate[b], covariance, values)
    except (ModelError, NotEnoughDataError) as error:
        return Inference.undefined(key, method=_METHOD, reason=str(error), level=level)
    test = fit.test(key if values else INTERCEPT, level=level)
    return Inference.from_t(
        key,
        estimate=test.estimate,
        se=test.se,
        df=test.df,
        method=f"{_METHOD}({fit.df})",
        level=level,
    )
