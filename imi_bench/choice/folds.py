"""Folds that keep units, or whole networks, together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.provenance import generator
from imi_bench.tables import TrialIndex

FoldsBy = Literal["unit", "network"]

_UNIT_FOLDS = 10


def clusters_of(index: TrialIndex, *, by: FoldsBy) -> NDArray[np.object_]:
    """(T,) the cluster of each trial: its ``network/layer/unit``, or its network.

    Raises
    ------
    InputError
        For any other `by`: folds by row would put a unit on both sides.
    """
    if by == "unit":
        return index.unit_id
    if by == "network":
        return index.network
    raise InputError("folds are made by unit or by network", found=repr(by))


def assign_folds(
    index: TrialIndex, *, by: FoldsBy, n_folds: int | None = None, seed: int = 0
) -> dict[str, int]:
    """Deal the clusters of `index` to folds of equal size (give or take one).

    Units are dealt network by network, so that every fold has its share of each network. The
    result depends on the set of clusters and the seed, not on the order of trials.

    Parameters
    ----------
    index : TrialIndex
    by : {"unit", "network"}
    n_folds : int, optional
        10 (or the number of units, if fewer) by unit, one a network by network.
    seed : int

    Returns
    -------
    dict of str to int
        Fold of each cluster, 0 to n_folds - 1.

    Raises
    ------
    NotEnoughDataError
        Fewer clusters than folds, or fewer than two folds.

    Examples
    --------
    >>> index = TrialIndex(
    ...     trial_id=["a", "b"], network=["n", "n"], layer=["l", "l"], unit=[0, 1],
    ...     mode=["natural"] * 2, difficulty=["easy"] * 2, batch=[1, 1], catch=[False] * 2)
    >>> sorted(assign_folds(index, by="unit", n_folds=2).values())
    [0, 1]
    """
    clusters = clusters_of(index, by=by)
    network_of = dict(zip(clusters.tolist(), index.network.tolist(), strict=True))
    names = sorted(network_of)
    if n_folds is None:
        n_folds = len(names) if by == "network" else min(_UNIT_FOLDS, len(names))
    if not 2 <= n_folds <= len(names):
        raise NotEnoughDataError(
            f"cannot make {n_folds} folds by {by}",
            found=f"{len(names)} {by}s",
            wanted=f"at least two folds, and a {by} for each",
        )
    shuffled = [names[row] for row in generator(seed, "folds", by).permutation(len(names))]
    dealt = sorted(shuffled, key=network_of.__getitem__) if by == "unit" else shuffled
    return {name: row % n_folds for row, name in enumerate(dealt)}
