"""What a model says of trials shown in both orders, and how it leans."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.observers.incontext.scoring import Scored, of_trial

__all__ = ["BothOrders", "bounded_share", "order_table", "right_by"]


@dataclass(frozen=True, eq=False)
class BothOrders:
    """What a model gave for trials, order by order.

    Attributes
    ----------
    first, second : tuple of Scored
        (T,) with the query shown first as A, and as B.
    """

    first: tuple[Scored, ...]
    second: tuple[Scored, ...]

    @property
    def pairs(self) -> list[tuple[Scored, Scored]]:
        """Both orders of each trial."""
        return list(zip(self.first, self.second, strict=True))

    def evidence(self) -> tuple[Floats, NDArray[np.object_]]:
        """(T,) decision variables and (T,) statuses; see `of_trial`."""
        pairs = [of_trial(a, b) for a, b in self.pairs]
        return (
            np.array([value for value, _ in pairs], dtype=np.float64),
            np.array([status for _, status in pairs], dtype=object),
        )

    def differences(self) -> Floats:
        """(T, 2) ``l(A) - l(B)`` in either order, NaN without an answer."""
        return np.array([[a.difference, b.difference] for a, b in self.pairs]).reshape(-1, 2)

    def report(self) -> dict[str, Any]:
        """Habits of the model that need no key.

        Returns
        -------
        dict
            ``says_a``: share of answers that are A, over both orders, undecided ones a half;
            ``orders_agree``: share of trials where both orders name the same query; ``mass``: mean
            probability of the options; ``bounded``: share of answers where one option was not
            listed; ``outcomes``.
            NaN where no trial has an answer.
        """
        found = self.differences()
        both = ~np.isnan(found).any(axis=1)
        answered = found[~np.isnan(found)]
        every = [*self.first, *self.second]
        mass = [one.mass for one in every if not math.isnan(one.mass)]
        agree = np.sign(found[both, 0]) == -np.sign(found[both, 1])
        return {
            "says_a": float(np.mean(right_by(answered))) if len(answered) else math.nan,
            "orders_agree": float(np.mean(agree)) if both.any() else math.nan,
            "mass": float(np.mean(mass)) if mass else math.nan,
            "bounded": bounded_share(every),
            "outcomes": dict(Counter(one.outcome for one in every)),
        }


def bounded_share(answers: Sequence[Scored]) -> float:
    """Share of answers of which one option was not listed, so that its value is a bound.

    NaN without an answer.

    Examples
    --------
    >>> bounded_share([Scored(-0.1, -3.0), Scored(-0.1, -5.0, bounded=True)])
    0.5
    """
    ok = [one for one in answers if one.outcome == "ok"]
    return sum(one.bounded for one in ok) / len(ok) if ok else math.nan


def order_table(found: BothOrders, first_is_strong: Any) -> pd.DataFrame:
    """Whether each order was answered rightly, once the key may be seen.

    Parameters
    ----------
    found : BothOrders
    first_is_strong : (T,) bool
        Whether the query shown first is the strongly activating one.

    Returns
    -------
    DataFrame
        One row a trial, by which letter the strong query had: ``strong_as_a``, ``strong_as_b``
        (1.0 right, 0.0 wrong, 0.5 tie, NaN no answer), and ``difference_a``, ``difference_b``,
        ``l(A) - l(B)`` in nats.
    """
    strong = np.asarray(first_is_strong, dtype=bool)
    found_values = found.differences()
    # in the first order A is the query shown first
    as_a = np.where(strong, found_values[:, 0], found_values[:, 1])
    as_b = np.where(strong, found_values[:, 1], found_values[:, 0])
    return pd.DataFrame(
        {
            "strong_as_a": right_by(as_a),
            "strong_as_b": right_by(-as_b),
            "difference_a": as_a,
            "difference_b": as_b,
        }
    )


def right_by(evidence: Any) -> Floats:
    """1.0 where evidence for the right answer is positive, 0.5 at 0, 0.0 below, NaN without.

    Examples
    --------
    >>> right_by(np.array([2.0, 0.0, -1.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    values = np.asarray(evidence, dtype=np.float64)
    return np.where(np.isnan(values), np.nan, 0.5 + 0.5 * np.sign(values))
