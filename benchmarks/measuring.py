"""What the scripts beside this file share: runs by turns, peaks of memory, tables, records."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SHARED = Path(os.environ.get("IMI_BENCH_SHARED", Path(__file__).parents[2] / "shared"))


def by_turns(runs: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Wall and processor seconds of runs by turns, (repeats, 2) each; a first turn is left out.

    What a run gives back is called once the clocks have stopped, where it can be.
    """
    seconds = {name: np.empty((repeats + 1, 2)) for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            afterwards = run()
            seconds[name][turn] = time.perf_counter() - wall, time.process_time() - processor
            if callable(afterwards):
                afterwards()
    return {name: values[1:] for name, values in seconds.items()}


def again(*arguments: str) -> list[float]:
    """Numbers that the running script prints when it runs so in a process of its own."""
    command = [sys.executable, sys.argv[0], *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(number) for number in said.split()]


def peak_mib() -> float:
    """High-water mark of this process (Linux); `getrusage` would inherit the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def table(rows: Sequence[Mapping[str, Any]], *, heading: bool = True) -> None:
    """Print Markdown: a line a row, a column a name."""
    if heading and rows:
        print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(_shown, row.values())) + " |", flush=True)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3{'g' if value < 0.1 else 'f'}}"
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)


def means(frame: pd.DataFrame, by: list[str], value: str = "correct") -> pd.DataFrame:
    """Mean over units of each unit's mean of `value`, with a 95% interval over units."""
    unit = frame.groupby([*by, "layer", "unit"], sort=False)[value].mean().dropna()
    grouped = unit.groupby(by, sort=False)
    mean, half = grouped.mean(), 1.96 * grouped.std() / grouped.count() ** 0.5
    ends = {"mean": mean, "low": mean - half, "high": mean + half}
    return pd.DataFrame({**ends, "half": half, "units": grouped.count()})


def means_table(
    frame: pd.DataFrame, rows: list[str], columns: list[str], value: str = "correct"
) -> str:
    """Markdown of `means` with half the width of their intervals, rows as they come first."""
    found = means(frame, [*rows, *columns], value)
    half = found["half"].map(lambda width: "" if np.isnan(width) else f" ± {width:.3f}")
    cells = (found["mean"].map("{:.3f}".format) + half).unstack(columns).fillna("")
    cells = cells.loc[list(dict.fromkeys(found.index.droplevel(columns)))]
    heads = [*rows, *(", ".join(c) if isinstance(c, tuple) else str(c) for c in cells.columns)]
    text = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for index, row in zip(cells.index, cells.to_numpy(), strict=True):
        keys = index if isinstance(index, tuple) else (index,)
        shown = [f"{k:,}" if isinstance(k, int) else str(k) for k in keys]
        text.append("| " + " | ".join([*shown, *row]) + " |")
    return "\n".join(text)


def write_record(path: Path | None, record: Any) -> None:
    """Write a record as JSON where a file was asked for."""
    if path is not None:
        from imi_bench.provenance import plain, write_json

        write_json(path, plain(record))
