"""How many draws a comparison inside networks rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def draws_left(frame: pd.DataFrame, name: str, *, networks: Sequence[str] | None = None) -> float:
    """Degrees of freedom of a column of answers that differs inside networks.

    Conditions of one unit differ by what that unit makes of them, so that a comparison inside
    units rests on as many draws as there are units that show both sides, less one a network.
    Depth, and what no unit shows both sides of, rests on layers and on units, less a mean and a
    slope a network.

    Parameters
    ----------
    frame : DataFrame
        Columns ``network``, ``unit``, ``layer`` and `name`.
    name : str
        The column.
    networks : sequence of str, optional
        Those compared; all by default.

    Returns
    -------
    df : float
        At least 1; infinite for a column that is not there.

    Examples
    --------
    >>> rows = {"network": ["a"] * 6, "layer": ["l"] * 6, "unit": [1, 1, 2, 2, 3, 3]}
    >>> draws_left(pd.DataFrame({**rows, "hard99": [0, 1, 0, 1, 0, 1]}), "hard99")
    2.0
    """
    if name not in frame:
        return float(np.inf)
    if networks is not None:
        frame = frame[frame["network"].astype(str).isin(list(networks))]
    if name == "depth":
        return _between(frame, "layer", name)
    sides = frame.groupby(["network", "unit"], observed=True)[name].nunique()
    both = sides[sides > 1]
    if both.empty:
        return _between(frame, "unit", name)
    return float(max(len(both) - both.index.get_level_values("network").nunique(), 1))


def _between(frame: pd.DataFrame, group: str, name: str) -> float:
    varied = frame.groupby("network", observed=True)[name].transform("nunique") > 1
    counts = frame[varied].groupby("network", observed=True)[group].nunique()
    return float(max((counts - 2).sum(), 1))
