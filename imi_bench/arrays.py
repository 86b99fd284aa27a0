"""Names of the array types that annotations use; each is one dtype of any shape."""

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
