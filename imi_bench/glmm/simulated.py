"""A model's own rows with answers drawn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.glmm.result import GlmmResult

if TYPE_CHECKING:
    import pandas as pd


@checked
def simulated_table(result: GlmmResult, *, n: int = 1, seed: int = 0) -> pd.DataFrame:
    """Draw random effects and answers from the model, in columns ``simulated_1`` and so on.

    Parameters
    ----------
    result : GlmmResult
        With its data.
    n : int
        Simulated columns.
    seed : int

    Raises
    ------
    InputError
        If `n` is below one, or the result has no table.

    Examples
    --------
    ``simulated_table(fit("correct ~ depth + (1|unit)", data), n=2)``
    """
    if n < 1:
        raise InputError("nothing to simulate", where="n", found=n, wanted="1 or more")
    if result.design is None or result.design.table is None:
        raise InputError("no rows to simulate", where=result.formula)
    rng = np.random.default_rng(seed)
    drawn = {f"simulated_{k + 1}": _answers(result, result.simulate(rng)) for k in range(n)}
    return result.design.table.assign(**drawn)


def _answers(result: GlmmResult, drawn: Any) -> Any:
    if result.family == "ordinal":
        return np.asarray(result.categories, dtype=object)[drawn.astype(int)]
    return drawn.astype(int) if result.family == "binomial" else drawn
