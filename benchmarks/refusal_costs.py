"""Time and memory that refusing each hostile submission takes: the worst of them.

Every case is validated in a process of its own, forked from one that has everything loaded;
memory is what its peak exceeds that of a good submission.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.hostile import NETWORKS, OBSERVERS, ZIPS
from support.made_networks import network_board
from support.made_submissions import good_files, made_board, write_folder

from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.panel import Panel
from imi_bench.leaderboard.validate import Expected, validate


def cost(path: Path, board: Board, **known: object) -> tuple[bool, float, float]:
    """Whether it was accepted, CPU seconds, peak in MB."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        started = time.process_time()
        entry, _ = validate(path, board=board, **known)  # type: ignore[arg-type]
        spent = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        os.write(write, json.dumps([entry is not None, spent, peak]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        accepted, spent, peak = json.loads(stream.read())
    os.waitpid(child, 0)
    return accepted, spent, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", type=Path, nargs="*", default=(), help="Parquet files to try")
    extra = parser.parse_args().extra
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        board, networks = made_board(folder, names=()), network_board(folder)
        trials, panel = Expected.of(board.study().trials, board), Panel.of(networks)
        good = write_folder(good_files(), folder / "good")
        _, _, floor = cost(good, board, trials=trials)
        found = []
        for name, (make, _) in OBSERVERS.items():
            path = write_folder(make(), folder / "s" / str(len(found)))
            found.append((name, *cost(path, board, trials=trials)))
        for path in extra:
            files = good_files() | {"decisions.parquet": path.read_bytes()}
            where = write_folder(files, folder / "s" / str(len(found)))
            found.append((path.name, *cost(where, board, trials=trials)))
        for name, (make, _) in NETWORKS.items():
            path = write_folder(make(), folder / "s" / str(len(found)))
            found.append((name, *cost(path, networks, panel=panel)))
        for name, (pack, _) in ZIPS.items():
            path = folder / f"{len(found)}.zip"
            path.write_bytes(pack())
            found.append((name, *cost(path, board, trials=trials)))
    print(f"{len(found)} cases, {sum(accepted for _, accepted, _, _ in found)} accepted")
    slow = max(found, key=lambda one: one[2])
    large = max(found, key=lambda one: one[3])
    print(f"slowest: {slow[0]!r}, {slow[2]:.2f} s of a core")
    print(f"largest: {large[0]!r}, {large[3] - floor:.0f} MB above a good submission's peak")


if __name__ == "__main__":
    main()
