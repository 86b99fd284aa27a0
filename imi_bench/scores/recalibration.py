"""Whether predictions are right on average, and whether they differ as much as people do.

Both are smooth, so that their intervals hold; the expected calibration error
(`imi_bench.scores.likelihood`) is not.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.stats.sums import Score, Totals

_LEAST = 1e-12
_ITERATIONS = 50
_SETTLED = 1e-10


def logistic_line(x: Floats, hits: Floats, answers: Floats) -> tuple[float, float]:
    """Intercept and slope of a logistic regression on one number; NaN where they are not finite.

    Newton's method, its steps halved while the likelihood falls.

    Parameters
    ----------
    x, hits, answers : (T,) float64
        Hits among the answers at each x.

    Examples
    --------
    >>> line = logistic_line(np.array([0.0, 1.0]), np.array([50.0, 75.0]), np.array([100.0, 100.0]))
    >>> [round(value, 6) for value in line]  # log(75 / 25)
    [0.0, 1.098612]
    """
    right, wrong = x[hits > 0], x[hits < answers]
    if not len(right) or not len(wrong):
        return np.nan, np.nan
    if right.min() >= wrong.max() or wrong.min() >= right.max():
        return np.nan, np.nan

    def loss(line: Floats) -> float:
        eta = line[0] + line[1] * x
        return float(answers @ np.logaddexp(0, eta) - hits @ eta)

    line, columns = np.zeros(2), np.stack([np.ones_like(x), x])
    least = loss(line)
    for _ in range(_ITERATIONS):
        p = special.expit(line @ columns)
        gradient = columns @ (hits - answers * p)
        step = np.linalg.solve((columns * (answers * p * (1 - p))) @ columns.T, gradient)
        while loss(line + step) > least + _SETTLED and np.abs(step).max() > _SETTLED:
            step = step / 2
        line = line + step
        least = loss(line)
        if gradient @ step < _SETTLED:
            return float(line[0]), float(line[1])
    return np.nan, np.nan


def recalibration_answers(matched: AlignedAnswers) -> dict[str, Floats]:
    """(R,) columns of human answers: prediction less answer, and terms of a weighted regression.

    The regression of answers on the logit of the prediction (Cox 1958, *Biometrika* 45, 562-565),
    as the weighted least squares that its last Newton step is: without some of the answers, the
    sums give one Newton step from the line of all of them (Pregibon 1981, *Annals of Statistics* 9,
    705-724).
    """
    p = matched.p_correct
    x = special.logit(np.clip(p, _LEAST, 1 - _LEAST))
    line = logistic_line(x, matched.hits.astype(np.float64), matched.answers.astype(np.float64))
    x = x[matched.trial]
    eta = line[0] + line[1] * x
    chance = special.expit(eta)
    weight = chance * (1 - chance)
    working = weight * eta + matched.correct - chance
    return {
        "told less heard": p[matched.trial] - matched.correct,
        "recalibration w": weight,
        "recalibration wx": weight * x,
        "recalibration wxx": weight * x * x,
        "recalibration wz": working,
        "recalibration wxz": working * x,
    }


def _slope(t: Totals) -> Floats:
    w, x, xx, z, xz = (t[f"recalibration {name}"] for name in ("w", "wx", "wxx", "wz", "wxz"))
    spread = w * xx - x * x
    return np.asarray((w * xz - x * z) / np.where(spread > _LEAST * w * xx, spread, np.nan))


RECALIBRATION = (
    Score(
        "calibration_bias",
        "proportion",
        lambda t: t["told less heard"] / t["answers"],
        over_people=True,
        ends=(-1.0, 1.0),
    ),
    Score(
        "calibration_slope",
        "slope",
        _slope,
        over_people=True,
        undefined="all predictions alike, or they separate right from wrong answers",
        curved=True,
    ),
)
"""Mean prediction less people's proportion correct, and the slope of people's log-odds on those
predicted: 1 where predictions differ as much as people do, below 1 where they are too sure."""
