"""What about the parts makes a gain look better, or surer, than it is: said beside the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.measure.head import HeadRows
from imi_bench.measure.table import Table
from imi_bench.stats.estimate import Estimate

_SAME = 0.9999


def doubts(
    table: Table,
    names: Sequence[str],
    *,
    bits: dict[str, float],
    ceiling: Estimate,
    baseline: Sequence[int] | None,
) -> tuple[str, ...]:
    """One line a doubt.

    Parameters
    ----------
    table : Table
    names : sequence of str
        Of the observers.
    bits : dict of str to float
        Out of fold, of the whole and of each observer alone.
    ceiling : Estimate
        Bits that people predict of one another.
    baseline : sequence of int, optional
        The observers that the best single one was chosen among; None for all.
    """
    rows, found = table.rows, []
    found += [f"'{a}' and '{b}' say the same" for a, b in _alike(rows.evidence, names)]
    for name, column in zip(names, rows.evidence.T, strict=True):
        if np.ptp(column) == 0 or np.ptp(np.abs(column)) == 0:
            found.append(f"'{name}' gives one value on every trial: it weighs nothing but sides")
        elif _against(column, rows):
            found.append(f"'{name}' leans against people: no weight can be negative, its is 0")
    for name, value in bits.items():
        if value > ceiling.value:
            found.append(
                f"'{name}' predicts people at {value:.3f} bits, better than they predict one "
                f"another ({ceiling}): see that nothing in it has read their answers"
            )
    if baseline is not None and len(set(baseline)) < len(names):
        among = ", ".join(names[j] for j in sorted(set(baseline)))
        few = f"{len(set(baseline))} of {len(names)}"
        found.append(f"the best single observer was chosen among {few}: {among}")
    return tuple(found)


def _alike(evidence: Floats, names: Sequence[str]) -> list[tuple[str, str]]:
    size = np.sqrt((evidence**2).sum(axis=0))
    unit = evidence / np.where(size > 0, size, 1.0)
    close = np.triu(unit.T @ unit > _SAME, 1)
    return [(names[i], names[j]) for i, j in np.argwhere(close)]


def _against(column: Floats, rows: HeadRows) -> bool:
    """Whether its votes agree with people's answers less than half the time, by three errors."""
    lead = np.sign(column) * (2 * rows.successes - rows.answers)
    return bool(lead.sum() < -3 * np.sqrt((lead**2).sum()))
