"""Some trials of many, by name and by number, so that a record can say which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imi_bench.arguments import checked
from imi_bench.errors import NotEnoughDataError
from imi_bench.tables.trials import Trials
from imi_bench.text import plural


@checked
def select(
    trials: Trials,
    *,
    network: Sequence[str] = (),
    mode: Sequence[str] = (),
    difficulty: Sequence[str] = (),
    limit: int | None = None,
) -> Trials:
    """Keep the trials of these networks, modes and difficulties, at most so many of them.

    Parameters
    ----------
    trials : Trials
    network, mode, difficulty : sequence of str
        Values to keep; empty for all.
    limit : int, optional
        At most so many trials, evenly spaced over those kept.

    Returns
    -------
    Trials
        Its `source` says what was selected, and so does every record of a run on it.

    Raises
    ------
    UnknownNameError
        A value that no trial has; the message suggests the nearest.
    NotEnoughDataError
        If no trial is left.

    Examples
    --------
    >>> from imi_bench.simulation.world import build
    >>> some = select(build(seed=0).trials, mode=["natural"], limit=5)
    >>> len(some), some.source["selection"]["of"]
    (5, 420)
    """
    wanted = {"network": network, "mode": mode, "difficulty": difficulty}
    chosen = {name: list(values) for name, values in wanted.items() if values}
    if not chosen and limit is None:
        return trials
    kept = trials.where(**chosen)
    if not len(kept):
        raise NotEnoughDataError(
            "no such trial",
            found=plural(len(trials), "other"),
            wanted=" and ".join(f"{n} {' or '.join(v)}" for n, v in chosen.items()),
        )
    if limit is not None:
        kept = kept.spread(limit)
    selection = {**chosen, "limit": limit, "kept": len(kept), "of": len(trials)}
    return replace(kept, source={**trials.source, "selection": selection})
