"""An observer by its name, held against the contract on trials of the user's or made-up ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imi_bench.arguments import checked
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.contract import ContractReport, check, sample_trials
from imi_bench.observers.instances import Recipe
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import Trials

__all__ = ["examine"]

_MOST_MADE_UP = 8


@checked
def examine(
    observer: str,
    trials: str | Path | Trials | None = None,
    *,
    limit: int = 16,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
) -> ContractReport:
    """Check the contract of an observer, a second instance in a second process included.

    Parameters
    ----------
    observer : str
        As in `imi_bench.observers.catalogue.load_observer`; a name, since the observer is built
        anew in the second process.
    trials : str, Path or Trials, optional
        Trials to check on; eight made-up ones by default.
    limit : int
        Use at most this many of them, evenly spaced.
    seed : int
        Of sides and permutations.
    device, dtype : str
        As in `load_observer`.

    Raises
    ------
    UnknownNameError, InputError
        No such observer, no trials.

    Examples
    --------
    ``examine("my.py:MyObserver").passed``
    """
    chosen = load_observer(observer, device=device, dtype=dtype, seed=seed)
    recipe = Recipe(observer, device=device, dtype=dtype, seed=seed)
    return check(chosen, _spaced(trials, limit=limit, seed=seed), seed=seed, recipe=recipe)


def _spaced(trials: str | Path | Trials | None, *, limit: int, seed: int) -> Trials:
    if trials is None:
        return sample_trials(seed=seed, count=min(limit, _MOST_MADE_UP))
    read = trials if isinstance(trials, Trials) else read_trials(trials)
    kept = np.unique(np.linspace(0, len(read) - 1, min(limit, len(read))).astype(int))
    return read.take(kept)
