"""Where solved trials come from: units set aside, of all trials or of each network or layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from imi_bench.arrays import Ints, Strings
from imi_bench.errors import NotEnoughDataError, UnknownNameError
from imi_bench.provenance import generator
from imi_bench.stimuli.likeness import Likeness
from imi_bench.tables import TrialIndex, Trials
from imi_bench.text import plural

ShotsFrom = Literal["any", "same-network", "same-layer"]
SHOTS_FROM: tuple[ShotsFrom, ...] = get_args(ShotsFrom)
Near = Literal["drop", "keep"]
NEAR: tuple[Near, ...] = get_args(Near)


@dataclass(frozen=True, eq=False)
class Group:
    """Tests that share their solved trials.

    Attributes
    ----------
    label : str
        The network, or network and layer; empty for all tests together.
    pool : Trials
        Where their solved trials come from.
    rows : (n,) int64
        Rows of the tests.
    """

    label: str
    pool: Trials
    rows: Ints


def labels_of(index: TrialIndex, shots_from: ShotsFrom) -> Strings:
    """(T,) the group of each trial.

    Raises
    ------
    InputError
        An unknown way.
    """
    UnknownNameError.unless_among(shots_from, SHOTS_FROM, kind="pool")
    network = index.network.astype(str)
    if shots_from == "any":
        return np.full(len(network), "", dtype=object)
    if shots_from == "same-network":
        return network.astype(object)
    layers = index.layer.astype(str)
    return np.array([f"{n}, {x}" for n, x in zip(network, layers, strict=True)], dtype=object)


def groups(pool: Trials, tests: Trials, *, shots_from: ShotsFrom = "any") -> list[Group]:
    """The tests by what their solved trials come from.

    Parameters
    ----------
    pool, tests : Trials
        As `set_aside` gives them.
    shots_from : {"any", "same-network", "same-layer"}
    """
    if shots_from == "any":
        return [Group("", pool, np.arange(len(tests)))]
    of_pool, of_tests = (labels_of(part.index, shots_from) for part in (pool, tests))
    return [
        Group(str(label), pool.take(np.flatnonzero(of_pool == label)), rows)
        for label in np.unique(of_tests.astype(str))
        for rows in [np.flatnonzero(of_tests == label)]
    ]


def set_aside(
    trials: Trials,
    *,
    units: int,
    seed: int = 0,
    pool: Trials | None = None,
    shots_from: ShotsFrom = "any",
    near: Near = "drop",
) -> tuple[Trials, Trials, tuple[str, ...]]:
    """Split trials into a pool of some units for shots and the rest for tests.

    Parameters
    ----------
    trials : Trials
    units : int
        Units of the pool, drawn by the seed; of each network or layer where `shots_from` asks it.
    seed : int
    pool : Trials, optional
        Where solved trials come from instead; then all of `trials` are to be tested.
    shots_from : {"any", "same-network", "same-layer"}
    near : {"drop", "keep"}
        Tests that show a picture nearly equal to one of the pool (perceptual hash, mirrored too):
        drop them with those that show the same picture, or keep them, for made-up scenes that are
        all alike.

    Returns
    -------
    pool, tests : Trials
        No unit and no picture stands in both: trials of the tests that show a picture of the pool
        (or are about a unit of the one given) are dropped.
    dropped : tuple of str
        Their ids.

    Raises
    ------
    NotEnoughDataError
        Too few units; nothing is left to test.
    """
    UnknownNameError.unless_among(near, NEAR, kind="way with near pictures")
    index, source = trials.index, trials if pool is None else pool
    chosen = _chosen(trials, pool, units=units, seed=seed, shots_from=shots_from)
    inside = np.isin(source.index.unit_id.astype(str), sorted(chosen))
    made = source.take(np.flatnonzero(inside & ~source.index.catch))
    shown, images = made.image_rows, trials.image_rows
    same = np.isin(trials.images.hashes[images].astype(str), made.images.hashes[shown].astype(str))
    alike = np.zeros(len(trials.images), dtype=bool)
    alike[images] = same
    equal_only = _touched(trials, alike)
    rest = ~index.catch
    own_units = np.isin(index.unit_id.astype(str), sorted(chosen))
    if pool is None:
        rest &= ~own_units
    else:
        equal_only |= own_units
    touched = equal_only
    if (rest & ~touched).any():
        left = np.flatnonzero(rest & ~touched)
        asked = np.unique(_cells(trials)[left])
        seen = Likeness.of(trials.images, asked)
        alike[asked] |= seen.alike(Likeness.of(made.images, shown), near=near == "drop")
        touched = touched | _touched(trials, alike)
    tests = np.flatnonzero(rest & ~touched)
    if not len(tests):
        only_near = bool((rest & ~equal_only).any())
        raise NotEnoughDataError(
            "every other trial shares a picture with the shots"
            + ", or shows one that is nearly equal" * only_near,
            found=plural(int(rest.sum()), "trial"),
            do="give the shots from other units and images with pool="
            + ", or keep trials with nearly equal pictures with near='keep'" * only_near,
        )
    return made, trials.take(tests), tuple(index.trial_id[rest & touched].tolist())


def _chosen(
    trials: Trials, pool: Trials | None, *, units: int, seed: int, shots_from: ShotsFrom
) -> set[str]:
    """Ids of the units that are set aside."""
    source = trials if pool is None else pool
    of_source = labels_of(source.index, shots_from).astype(str)
    wanted = np.unique(labels_of(trials.index, shots_from).astype(str))
    chosen: set[str] = set()
    for label in wanted.tolist():
        known = np.unique(source.index.unit_id.astype(str)[of_source == label])
        enough = units < len(known) if pool is None else units <= len(known)
        if not enough:
            raise NotEnoughDataError(
                "too few units to set some aside",
                where=label or None,
                found=plural(len(known), "unit"),
                wanted=f"{units} and more to test" if pool is None else f"{units}",
                do="fewer shots= or pool_units=" + (", or shots_from='any'" if label else ""),
            )
        parts: tuple[Any, ...] = (label,) if label else ()
        chosen |= set(generator(seed, "pool", *parts).permutation(known)[:units].tolist())
    return chosen


def _cells(trials: Trials) -> Ints:
    """(T, 20) rows of the images of each trial."""
    return np.hstack([trials.positive, trials.negative, trials.queries])


def _touched(trials: Trials, alike: Any) -> Any:
    return alike[_cells(trials)].any(axis=1)
