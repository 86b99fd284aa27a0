"""The paper's own tests: networks compared by the ranks of their units, mode by mode."""

from __future__ import annotations

from imi_bench.effects.table import HARDER, AnswerTable
from imi_bench.errors import NotEnoughDataError
from imi_bench.glmm.posthoc import PostHoc, compare_groups
from imi_bench.tables import MODES


def compare_networks(
    table: AnswerTable, *, seed: int = 0, n_resamples: int = 10_000
) -> dict[str, PostHoc]:
    """Compare networks by their units' proportions correct on the easiest trials of each mode.

    Zimmermann, Klein & Brendel (2023): means with bootstrap intervals over units, Kruskal-Wallis,
    then Conover's test with Holm's adjustment. Modes shown with one network only are left out.

    Parameters
    ----------
    table : AnswerTable
        Answers of people or an observer.
    seed : int
        Of the bootstrap.
    n_resamples : int
        Of the bootstrap.
    """
    frame = table.frame
    easy = frame[(frame[list(HARDER)] == 0).all(axis=1)]
    found = {}
    for code, mode in enumerate(MODES):
        units = easy[easy["synthetic"] == code].groupby(["network", "unit"])["correct"].mean()
        values = {str(name): part.tolist() for name, part in units.groupby(level="network")}
        try:
            found[mode] = compare_groups(values, seed=seed, n_resamples=n_resamples)
        except NotEnoughDataError:
            continue
    return found
