"""SIGKILL at random instants over long commands: what a kill leaves, and whether the next goes on.

Each command first runs to its end; its outputs (but for times) are the reference. Then, each time
in a fresh folder, it is killed with its children after a random part of that time and started
again: it must end with 0, give the reference's outputs bit for bit, and leave no temporary file.

    python benchmarks/kills.py [--kills 10] [--only run]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import table
from PIL import Image

import imi_bench as imi
from imi_bench.leaderboard.board import find
from imi_bench.provenance import sha256_columns, sha256_file, sha256_json
from imi_bench.release.study_files import write_study
from imi_bench.simulation.release import simulate_release, write_release
from imi_bench.stimuli.trial_files import write_trials

PROGRAM = [sys.executable, "-c", "from imi_bench.cli.app import main; main()"]
SIZE = {"n_networks": 2, "n_batches": 2, "n_scenes": 400, "size": 32}
IGNORED = {"run.json", "about.json", "record.json"}


def commands(inputs: Path) -> dict[str, Callable[[Path], list[str]]]:
    """Arguments of each command, given the folder it works in."""
    trials = inputs / "stimuli"
    return {
        "run": lambda w: [
            *("run", "--observer", "oriented-energy", "--trials", str(trials)),
            *("--out", str(w / "out"), "--cache", str(w / "cache")),
        ],
        "fetch": lambda w: ["data", "fetch", "--from", str(inputs / "release"), "--to", str(w)],
        "simulate": lambda w: ["data", "simulate", "--out", str(w / "made.csv"), "--force"],
        "build": lambda w: ["leaderboard", "build", str(w / "observers-mini")],
        "stimuli": lambda w: [
            *("stimuli", "build", "--network", "timm:test_resnet?pretrained=false&input_size=32"),
            *("--images", str(inputs / "photos"), "--units", "6", "--batches", "2"),
            *("--out", str(w / "out"), "--device", "cpu"),
        ],
        "site": lambda w: ["leaderboard", "build", "observers-mini", "--site", str(w / "site")],
        "learn": lambda w: [
            *("learn", "--decisions", str(inputs / "pixel-l2")),
            *("--decisions", str(inputs / "colour-histogram"), "--boot", "20"),
            *("--responses", str(inputs / "people"), "--out", str(w / "out")),
        ],
        "calibrate": lambda w: [
            *("calibrate", "--decisions", str(inputs / "pixel-l2")),
            *("--responses", str(inputs / "people"), "--out", str(w / "calibration.json")),
        ],
        "fit": lambda w: [
            *("fit", "correct ~ mode + (1|unit_id) + (1|participant)", str(inputs / "answers.csv")),
            *("--save", str(w / "model.json")),
        ],
        "predict": lambda w: [
            *("model", "predict", str(inputs / "model.json"), "--out", str(w / "told.csv")),
        ],
        "report": lambda w: ["report", str(inputs / "pixel-l2"), "--out", str(w / "page.html")],
        "pack": lambda w: ["submit", "pack", str(w / "sent")],
        "paper": lambda w: [
            *("paper", "--responses", str(inputs / "release" / "responses_main.csv")),
            *("--out", str(w / "out"), "--no-ordinal"),
        ],
        "mis": lambda w: [
            *("mis", "--network", "timm:test_resnet?pretrained=false&input_size=32"),
            *("--images", str(inputs / "photos"), "--observer", "pixel-l2"),
            *("--out", str(w / "out"), "--device", "cpu", "--shard-size", "40"),
            *("--quantile", "0.1"),
        ],
    }


def study(inputs: Path) -> None:
    """Trials, people, a run and a model that the shorter verbs read."""
    trials, people = imi.demo_data(**SIZE)
    write_trials(trials, inputs / "stimuli")
    write_study(people, inputs / "people")
    for name in ("pixel-l2", "colour-histogram"):
        imi.answer(name, inputs / "stimuli", out=inputs / name)
    people.to_frame().assign(correct=people.to_frame()["correct"].astype(int)).to_csv(
        inputs / "answers.csv", index=False
    )
    formula, model = "correct ~ mode + (1|unit_id)", inputs / "model.json"
    whole(["fit", formula, str(inputs / "answers.csv"), "--save", str(model)])


def photographs(folder: Path, count: int = 240) -> None:
    """Random pictures, one file each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")


def prepare(name: str, work: Path) -> None:
    work.mkdir(parents=True)
    if name == "pack":
        board = find("observers-mini")
        shutil.copytree(board.submissions()[0], work / "sent")
    if name == "build":
        shutil.copytree(find("observers-mini").folder, work / "observers-mini")
        for path in (work / "observers-mini").glob("board.*"):
            if path.suffix != ".toml":
                path.unlink()


def outputs(name: str, work: Path) -> dict[str, str]:
    found = {}
    for path in sorted(p for p in work.rglob("*") if p.is_file()):
        if path.name in IGNORED or "cache" in path.relative_to(work).parts:
            continue
        if path.name == "decisions.parquet":
            frame = pd.read_parquet(path)
            found[path.name] = sha256_columns({c: frame[c] for c in frame if c != "seconds"})
        elif path.name == "model.json":  # tells how many seconds the fit took
            lines = [line for line in path.read_text().split(",") if '"seconds"' not in line]
            found[path.name] = sha256_json(lines)
        else:
            found[path.relative_to(work).as_posix()] = sha256_file(path)
    return found


def leftovers(work: Path) -> list[Path]:
    return [p for p in work.rglob(".*") if p.is_file() and p.name != ".DS_Store"]


def once(
    arguments: list[str],
    *,
    kill_after: float | None = None,
    before: Callable[[], None] | None = None,
) -> tuple[int, str]:
    """Run a command: its code, and what it said to stderr; `before` runs in its process."""
    process = subprocess.Popen(
        PROGRAM + arguments,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=before,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        _, said = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -signal.SIGKILL, ""
    return process.returncode, said.decode(errors="replace")


def whole(arguments: list[str]) -> None:
    """Run a command that must end well."""
    code, said = once(arguments)
    if code:
        raise SystemExit(f"{arguments[0]} ends with {code}: {said[-400:]}")


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for a while; its `in` holds all that `commands` read."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study(root / "in")
        photographs(root / "in" / "photos")
        (root / "in" / "release").mkdir()
        write_release(simulate_release(seed=0), root / "in" / "release" / "responses_main.csv")
        yield root


Make = Callable[[Path], list[str]]


def references(only: list[str] | None) -> Iterator[tuple[str, Make, Path, dict[str, str], float]]:
    """Each command run to its end: name, arguments, folder, outputs, seconds."""
    with workshop() as root:
        for name, make in commands(root / "in").items():
            if only and name not in only:
                continue
            prepare(name, root / name / "reference")
            started = time.perf_counter()
            whole(make(root / name / "reference"))
            seconds = time.perf_counter() - started
            yield name, make, root / name, outputs(name, root / name / "reference"), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--only", nargs="*", help="commands, all by default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    for place, (name, make, root, wanted, seconds) in enumerate(references(arguments.only)):
        killed = went_on = same = clean = 0
        for number in range(arguments.kills):
            work = root / str(number)
            prepare(name, work)
            ended, _ = once(make(work), kill_after=rng.uniform(0.05, 1.0) * seconds)
            killed += ended == -signal.SIGKILL
            went_on += once(make(work))[0] == 0
            same += outputs(name, work) == wanted
            clean += not leftovers(work)
        row = {"command": name, "seconds": seconds, "killed": f"{killed} of {arguments.kills}"}
        row |= {"went on": went_on, "the same outputs": same, "nothing left over": clean}
        table([row], heading=place == 0)


if __name__ == "__main__":
    main()
