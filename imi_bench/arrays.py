"""Names of the array types that annotations use, each one dtype of any shape; read-only views."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]
Strings = NDArray[np.object_]


def read_only(values: Array) -> Array:
    """The same numbers, which nobody can write into through what is given.

    Parameters
    ----------
    values : array
        Stays as it is.

    Returns
    -------
    array
        A view of it.

    Examples
    --------
    >>> read_only(np.zeros(2))[0] = 1
    Traceback (most recent call last):
    ...
    ValueError: assignment destination is read-only
    """
    view = values.view()
    view.setflags(write=False)
    return view
