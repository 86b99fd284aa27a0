"""The reference rows of every board: chance, one side always, and the ideal observer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from imi_bench.errors import TrialError, UnknownNameError
from imi_bench.observers.protocol import Codes, Named
from imi_bench.tables import BlindingKey, BlindTrials, DecisionVariables, Trials


class Chance(Named):
    """Guesses: a standard normal number from a hash of what the trial shows.

    The number depends on the seed and on the content of the images alone, each trial in a
    canonical order, so that it keeps every metamorphic property of a sensible observer (swaps
    flip its sign, orders do not matter, a repeated trial gets the same answer) and carries no
    information on the answer. A trial whose two sets of references are the same is a tie.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> Chance(seed=3).describe()["seed"]
    3
    """

    symmetric = True

    def __init__(self, *, name: str = "chance", seed: int = 0) -> None:
        self.name, self.seed = name, seed

    def describe(self) -> Mapping[str, Any]:
        """Kind of observer, version of the rule, seed."""
        return {"kind": "reference", "rule": "chance", "version": 1, "seed": self.seed}

    def decide(self, trials: BlindTrials, codes: Codes | None = None) -> NDArray[np.float64]:
        """(T,) standard normal decision variables."""
        hashes = trials.images.hashes
        uniform, sign = np.empty(len(trials)), np.empty(len(trials))
        shown = zip(trials.queries, trials.positive, trials.negative, strict=True)
        for row, (queries, positive, negative) in enumerate(shown):
            first, second = hashes[queries].tolist()
            one, other = sorted(hashes[positive].tolist()), sorted(hashes[negative].tolist())
            sign[row] = _order(first, second) * _order(one, other)
            pair, sets = sorted([first, second]), sorted([one, other])
            digest = hashlib.sha256(repr((self.seed, pair, sets)).encode()).digest()
            # 52 bits and a half step: never 0 or 1, each representable exactly
            uniform[row] = ((int.from_bytes(digest[:8], "little") >> 12) + 0.5) / 2.0**52
        return np.where(sign == 0, 0.0, sign * ndtri(uniform))


def _order(one: object, other: object) -> int:
    """1, 0 or -1 as `one` sorts before, with or after `other`."""
    return int(one < other) - int(one > other)  # type: ignore[operator]


class OneSide(Named):
    """Always chooses the query on one side, whatever is shown.

    The control for designs in which the sides are not balanced. Swaps cannot flip its sign:
    it is declared exempt from those two properties.

    Parameters
    ----------
    side : {"first", "second"}

    Raises
    ------
    InputError
        Another side.

    Examples
    --------
    >>> OneSide(side="second").value
    -1.0
    """

    symmetric = False

    def __init__(
        self, *, name: str = "one-side", side: Literal["first", "second"] = "first"
    ) -> None:
        UnknownNameError.unless_among(side, ("first", "second"), kind="side")
        self.name, self.side = name, side
        self.value = 1.0 if side == "first" else -1.0

    def describe(self) -> Mapping[str, Any]:
        """Kind of observer, version of the rule, side."""
        return {"kind": "reference", "rule": "one-side", "version": 1, "side": self.side}

    def decide(self, trials: BlindTrials, codes: Codes | None = None) -> NDArray[np.float64]:
        """(T,) the same value for every trial."""
        return np.full(len(trials), self.value)


def ideal(trials: Trials, key: BlindingKey) -> DecisionVariables:
    """Answers of an observer that reads the unit's own activations.

    The decision variable is the activation on the first query minus that on the second, in the
    unit's scale. It never goes through the blind path: it needs what observers must not see.

    Parameters
    ----------
    trials : Trials
        With `query_activations`.
    key : BlindingKey
        The key of the blinding whose sides are to be answered.

    Returns
    -------
    DecisionVariables
        Named ``ideal``; status ``error`` where an activation is unknown.

    Raises
    ------
    TrialError
        If no activation is known, or the key is not that of these trials.
    """
    if key.index.trial_id.tolist() != trials.index.trial_id.tolist():
        raise TrialError("the blinding key is of other trials", where="ideal observer")
    known = trials.query_activations
    if known is None or np.isnan(known).any(axis=1).all():
        raise TrialError(
            "no query activations",
            where="ideal observer",
            do="leave the ideal observer out, or use trials made with their activations",
        )
    toward_correct = known[:, 0] - known[:, 1]
    values = np.where(key.first_is_positive, toward_correct, -toward_correct)
    return DecisionVariables.from_values(values, observer="ideal", key=key)
