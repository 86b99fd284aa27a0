"""Reading, checking and simulating the released table: time and memory, beside plain pandas.

    python benchmarks/bench_release.py --rows 150000 --json release.json

The table is simulated. Reading runs in a process of its own, so that its peak memory is its own;
plain pandas reads the same file with its defaults and checks nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import again, peak_mib, write_record

READERS = ("ours: read and check", "ours: and type as a study", "pandas.read_csv, unchecked")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        _read(arguments.read[0], Path(arguments.read[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "responses_all.csv"
        report: dict[str, Any] = {"simulated": True, **_write(path, arguments.rows)}
        turns = np.array(
            [
                [again("--read", reader, str(path)) for reader in READERS]
                for _ in range(arguments.repeats)
            ]
        )
    numbers = [*np.median(turns[..., :2], axis=0).T, turns[..., 2].max(axis=0)]
    names = ("seconds", "processor_seconds", "peak_mib")
    report["readers"] = {
        reader: dict(zip(names, measured, strict=True))
        for reader, measured in zip(READERS, np.array(numbers).T.tolist(), strict=True)
    }
    _print(report)
    write_record(arguments.json, report)


def _write(path: Path, rows: int) -> dict[str, Any]:
    """Simulate, bring to the wanted number of rows by more people of the same answers, write."""
    import pandas as pd

    from imi_bench.simulation.release import SimulatedRelease, simulate_release, write_release

    start = time.perf_counter()
    release = simulate_release(seed=0)
    simulated = time.perf_counter()
    write_release(release, path)
    written = time.perf_counter()
    extra = release.frame.head(rows - len(release.frame)).copy()
    extra["participant_id"] = "Q" + extra["participant_id"].str[1:]
    frame = pd.concat([release.frame, extra], ignore_index=True).head(rows)
    write_release(SimulatedRelease(frame, release.truth, release.parameters), path)
    return {
        "rows": len(frame),
        "megabytes": path.stat().st_size / 1e6,
        "simulate_seconds": simulated - start,
        "write_seconds": written - simulated,
    }


def _read(reader: str, path: Path) -> None:
    """Print wall and processor seconds (imports not counted) and the process' peak in MiB."""
    import pandas as pd

    from imi_bench.release.table import read_release

    start, began = time.perf_counter(), time.process_time()
    if reader == READERS[2]:
        pd.read_csv(path)
    else:
        table = read_release(path)
        if reader == READERS[1]:
            _ = table.study().hash
    print(time.perf_counter() - start, time.process_time() - began, peak_mib())


def _print(report: dict[str, Any]) -> None:
    print(f"{report['rows']:,} rows, {report['megabytes']:.0f} MB (simulated)")
    print(f"simulate {report['simulate_seconds']:.2f} s, write {report['write_seconds']:.2f} s")
    plain = report["readers"][READERS[2]]["seconds"]
    print(f"{'reader':<30}{'seconds':>9}{'ratio':>8}{'CPU s':>8}{'peak MiB':>10}")
    for reader, measured in report["readers"].items():
        ratio = measured["seconds"] / plain
        times = f"{measured['seconds']:>9.2f}{ratio:>8.2f}{measured['processor_seconds']:>8.2f}"
        print(f"{reader:<30}{times}{measured['peak_mib']:>10.0f}")


if __name__ == "__main__":
    main()
