"""Codings of factors: R's ``contr.treatment``, ``contr.sum``, ``contr.helmert``, ``contr.poly``."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError
from imi_bench.formulas.values import Factor

CONTRASTS = ("treatment", "sum", "helmert", "poly")
_MOST_POLYNOMIAL = 95


def coding(factor: Factor, *, full: bool) -> tuple[Floats, tuple[str, ...]]:
    """Return the row of each level, (levels, k), and what is added to the factor's name.

    Examples
    --------
    >>> import numpy as np
    >>> coding(Factor(np.array([0, 1]), ("a", "b")), full=False)[1]
    ('b',)
    >>> coding(Factor(np.array([0, 1, 2]), ("1", "2", "3"), ordered=True), full=False)[1]
    ('.L', '.Q')
    """
    count = len(factor.levels)
    if full:
        return np.eye(count), factor.levels
    numbered = tuple(str(k) for k in range(1, count))
    match factor.contrasts or ("poly" if factor.ordered else "treatment"):
        case "treatment":
            return np.eye(count)[:, 1:], factor.levels[1:]
        case "sum":
            return np.vstack([np.eye(count - 1), -np.ones((1, count - 1))]), numbered
        case "helmert":
            rows, columns = np.indices((count, count - 1))
            return np.where(rows <= columns, -1.0, (rows == columns + 1) * rows), numbered
    if count > _MOST_POLYNOMIAL:
        raise ModelError(
            "polynomial contrasts of too many levels",
            found=str(count),
            wanted=f"at most {_MOST_POLYNOMIAL}",
        )
    scores = np.arange(1.0, count + 1.0) - (count + 1.0) / 2.0
    basis, root = np.linalg.qr(scores[:, None] ** np.arange(count))
    basis = basis * np.sign(np.diag(root))
    named = (".L", ".Q", ".C", *(f"^{k}" for k in range(4, count)))
    return basis[:, 1:], named[: count - 1]
