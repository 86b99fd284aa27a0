"""Verify and render a board of 500 simulated submissions of 5,000 trials, then one submission more.

Where Chromium and Playwright are at hand, also sorts the page by each of its columns: milliseconds
from the click to the finished layout.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w
from measuring import write_record

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.made_submissions import (
    BOARD_TOML,
    good_files,
    good_toml,
    parquet,
    sealed,
    write_folder,
)

from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.pack import seal
from imi_bench.leaderboard.render import render, render_pages, write
from imi_bench.leaderboard.validate import validate
from imi_bench.leaderboard.verify import verify
from imi_bench.release.study_files import write_study
from imi_bench.tables import Responses, Study, TrialIndex, shown_first_is_positive

UNITS, BATCHES, PEOPLE = 250, 10, 3


def make_study(rng: np.random.Generator) -> Study:
    frame = pd.DataFrame(
        [
            (f"net{u % 9}", "layer", u, mode, difficulty, batch, False)
            for u in range(UNITS)
            for mode, difficulty in (("natural", "easy"), ("synthetic", "easy"))
            for batch in range(BATCHES)
        ],
        columns=["network", "layer", "unit", "mode", "difficulty", "batch", "catch"],
    )
    index = TrialIndex.from_frame(frame.assign(trial_id=TrialIndex.canonical_ids(frame)))
    ease = rng.normal(1, 1, UNITS)[index.unit]
    rows = np.repeat(np.arange(len(index)), PEOPLE)
    count = len(rows)
    return Study(
        index,
        Responses(
            trial_id=index.trial_id[rows],
            participant=np.array([f"p{i % 360}-{i % PEOPLE}" for i in range(count)], dtype=object),
            correct=rng.random(count) < 1 / (1 + np.exp(-ease[rows])),
            chose_first=np.full(count, np.nan),
            confidence=np.full(count, np.nan),
            seconds=np.full(count, np.nan),
            simulated=True,
            source="benchmark",
        ),
    )


def make_board(folder: Path, submissions: int) -> Board:
    rng = np.random.default_rng(0)
    study = make_study(rng)
    folder.mkdir(parents=True)
    write_study(study, folder)
    ranking = {"score": "bits", "rule": "By score.", "n_resamples": 1000}
    rules = {**BOARD_TOML, "board": folder.name, "study_hash": study.hash, "ranking": ranking}
    (folder / "board.toml").write_text(tomli_w.dumps(rules))
    people = pd.Series(study.responses.correct.astype(float)).groupby(study.rows).mean()
    first = shown_first_is_positive(study.trials.trial_id, seed=BOARD_TOML["sides_seed"])
    for number in range(submissions):
        name = f"observer-{number:03d}"
        toward = people.to_numpy() - 0.4 + rng.normal(0, 0.2 + number / 200, len(first))
        frame = pd.DataFrame(
            {
                "trial_id": study.trials.trial_id,
                "observer": name,
                "decision_variable": np.where(first, toward, -toward),
                "status": "ok",
                "shown_first": np.where(first, "positive", "negative"),
            }
        )
        told = good_toml() | {"board": folder.name, "name": name, "title": name}
        files = good_files() | {
            "submission.toml": tomli_w.dumps(told).encode(),
            "decisions.parquet": parquet(frame),
        }
        write_folder(sealed(files), folder / "submissions" / name / "1")
    return Board.read(folder)


def add_one(folder: Path) -> str:
    """A submission more: the first one's decisions under another name, a fifth of them turned."""
    first, name = sorted((folder / "submissions").iterdir())[0] / "1", "observer-more"
    out = folder / "submissions" / name / "1"
    shutil.copytree(first, out)
    frame = pd.read_parquet(out / "decisions.parquet").assign(observer=name)
    frame.loc[::5, "decision_variable"] *= -1
    frame.to_parquet(out / "decisions.parquet", index=False)
    text = (out / "submission.toml").read_text().replace(first.parent.name, name)
    (out / "submission.toml").write_text(text)
    seal(out)
    return name


def sort_milliseconds(page: Path) -> list[float] | None:
    """From a click on each column's heading, twice, to the rows in their new places."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        tab.goto(page.as_uri())
        times = tab.evaluate(SORT)
        browser.close()
    return [float(t) for t in times]


SORT = """async () => {
  const table = document.getElementById("board"), times = [];
  for (const heading of table.tHead.querySelectorAll("th.dt-orderable-asc")) {
    for (let turn = 0; turn < 2; turn++) {
      const moved = new Promise((done) => new MutationObserver((_, watcher) => {
        watcher.disconnect();
        table.getBoundingClientRect();
        done(performance.now());
      }).observe(table.tBodies[0], { childList: true }));
      const started = performance.now();
      heading.click();
      times.push(await moved - started);
    }
  }
  return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--submissions", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="leave the board in this folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["IMI_BENCH_CACHE"] = str(Path(scratch) / "cache")
        folder = (arguments.keep or Path(scratch)) / "bench"
        board = make_board(folder, arguments.submissions)
        trials = len(board.study().trials)
        one = board.submissions()[0]
        started = time.perf_counter()
        entry, problems = validate(one, board=board)
        validated = time.perf_counter() - started
        if entry is None:
            raise SystemExit(str(problems[0]))
        started = time.perf_counter()
        table, details = verify(board)
        verified = time.perf_counter() - started
        started = time.perf_counter()
        write(render(table) | render_pages(table, details=details), folder)
        rendered = time.perf_counter() - started
        added = add_one(folder)
        started = time.perf_counter()
        table, details = verify(Board.read(folder))
        incremental = time.perf_counter() - started
        write(render(table) | render_pages(table, details=details), folder)
        incremental_all = time.perf_counter() - started
        if added not in {row.name for row in table.rows}:
            raise SystemExit("the submission that was added is not on the board")
        size = (folder / "index.html").stat().st_size
        sorts = sort_milliseconds(folder / "index.html")
    result = {
        "submissions": arguments.submissions,
        "trials": trials,
        "validate_one_s": validated,
        "verify_s": verified,
        "render_s": rendered,
        "total_s": verified + rendered,
        "one_more_verify_s": incremental,
        "one_more_total_s": incremental_all,
        "per_submission_ms": 1000 * (verified + rendered) / arguments.submissions,
        "index_bytes": size,
    }
    if sorts is not None:
        result |= {"sort_median_ms": float(np.median(sorts)), "sort_slowest_ms": max(sorts)}
    for name, value in result.items():
        print(f"{name:20} {value:,.3f}" if isinstance(value, float) else f"{name:20} {value:,}")
    write_record(arguments.json, result)


if __name__ == "__main__":
    main()
