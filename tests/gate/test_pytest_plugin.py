"""The plug-in and the command, on runs written to disk; a real regression turns the gate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from imi_bench.choice.calibrate import calibrate
from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.gate.verdict import gate
from imi_bench.leaderboard.board import find
from imi_bench.observers.catalogue import load_observer
from imi_bench.release.study_files import read_answers
from imi_bench.replay.runner import replay
from imi_bench.scores.report import score
from imi_bench.simulation.world import build
from imi_bench.tables import DecisionVariables, Trials

pytest_plugins = ["pytester"]


class Coarse:
    """An observer with fewer levels, and at the fewest one that says the contrary."""

    name = "coarse"

    def __init__(self, levels: int) -> None:
        self._inner = load_observer("hog")
        self._levels = levels

    def describe(self) -> dict[str, object]:
        return {"inner": dict(self._inner.describe()), "levels": self._levels}

    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        codes = np.stack([self._seen(image) for image in images])
        if self._levels == 1:
            return codes
        return np.round(codes / np.abs(codes).max() * self._levels) / self._levels

    _known: ClassVar[dict[bytes, np.ndarray]] = {}

    def _seen(self, image: np.ndarray) -> np.ndarray:
        """The inner code of an image, computed once for all precisions."""
        key = image.tobytes()
        if key not in self._known:
            self._known[key] = self._inner.encode([image])[0]
        return self._known[key]

    def decide(self, trials: object, codes: np.ndarray) -> np.ndarray:
        told = self._inner.decide(trials, codes)
        return -told if self._levels == 1 else told  # a regression that still answers every trial


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one observer at full and at hardly any precision of its features."""
    folder = tmp_path_factory.mktemp("runs")
    trials: Trials = build(seed=0, n_batches=1, n_scenes=240, size=32).trials
    replay(load_observer("hog"), trials, out=folder / "main", cache=folder / "cache")
    replay(Coarse(1000), trials, out=folder / "same", cache=folder / "cache")
    replay(Coarse(1), trials, out=folder / "broken", cache=folder / "cache")
    return folder


@pytest.mark.whole
def test_command(runs: Path, tmp_path: Path) -> None:
    def run(new: str, *more: str) -> object:
        return CliRunner().invoke(
            app, ["gate", str(runs / new), "--against", str(runs / "main"), *more]
        )

    same = run("same", "--max-drop", "0.05", "--json")
    assert same.exit_code == 0, same.output
    said = json.loads(same.stdout)
    assert (said["verdict"], said["simulated"], said["calibration"]) == ("pass", True, "none")
    assert said["comparisons"][0]["coverage_new"] == 1
    junit, text = tmp_path / "gate.xml", tmp_path / "gate.md"
    broken = run("broken", "--by", "difficulty", "--junit", str(junit), "--markdown", str(text))
    assert broken.exit_code == 1, broken.output
    assert "worse" in broken.stdout
    assert "<failure" in junit.read_text()
    assert "difficulty=easy" in text.read_text()


@pytest.mark.whole
def test_annotations_where_a_workflow_runs(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    result = CliRunner().invoke(
        app, ["gate", str(runs / "broken"), "--against", str(runs / "main")]
    )
    assert "::error title=imi-bench gate::worse" in result.output
    assert "worse" in (tmp_path / "summary.md").read_text()


@pytest.mark.whole
def test_fixture(runs: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        def test_same(imi_gate):
            assert imi_gate({str(runs / "same")!r}, max_drop=0.05).verdict == "pass"

        def test_broken(imi_gate):
            imi_gate({str(runs / "broken")!r})
        """
    )
    result = pytester.runpytest_inprocess("--imi-baseline", str(runs / "main"))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*worse: accuracy of 'coarse' against 'hog'*"])


@pytest.mark.whole
def test_fixture_without_a_baseline_says_what_to_do(runs: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"def test_x(imi_gate): imi_gate({str(runs / 'same')!r})")
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*needs a baseline*--imi-baseline*"])


@pytest.mark.whole
def test_ini_rootdir_and_wider_fixtures(runs: Path, pytester: pytest.Pytester) -> None:
    """The baseline of the ini file counts from rootdir, wherever pytest is started."""
    (pytester.path / "runs").symlink_to(runs)
    pytester.makeini(
        "[pytest]\nimi_baseline = runs/main\nimi_max_drop = 0.05\nimi_undecided = pass\n"
    )
    folder = pytester.path / "deep"
    folder.mkdir()
    (folder / "test_gate.py").write_text(
        f"""
import pytest

@pytest.fixture(scope="session")
def verdict(imi_gate):
    return imi_gate({str(runs / "same")!r})

@pytest.fixture(scope="module")
def other(imi_gate):
    return imi_gate({str(runs / "same")!r}, score="accuracy")

def test_it(verdict, other):
    assert verdict.passed and other.passed and verdict.max_drop == 0.05
"""
    )
    pytester.chdir()
    result = pytester.runpytest_inprocess("deep")
    result.assert_outcomes(passed=1)


@pytest.mark.whole
def test_a_missing_run_is_one_line(runs: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"def test_x(imi_gate): imi_gate('nowhere', against={str(runs / 'main')!r})"
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no decisions: nowhere*run `imi-bench run`*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("floors", "says"),
    [
        (["easy=nan"], "floor out of range"),
        (["easy=inf"], "floor out of range"),
        (["easy=-1"], "floor out of range"),
        (["easy=2"], "floor out of range"),
        (["easy=0.5", "easy=0.6"], "two floors for one stratum"),
        (["easy"], "not a floor"),
        (["=0.5"], "not a floor"),
    ],
)
def test_floors_that_are_refused(runs: Path, floors: list[str], says: str) -> None:
    more = [part for floor in floors for part in ("--floor", floor)]
    result = CliRunner().invoke(
        app,
        ["gate", str(runs / "same"), "--against", str(runs / "main"), "--by", "difficulty", *more],
    )
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)


@pytest.mark.whole
def test_a_changed_run_is_refused(runs: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(runs / "broken", changed)
    shutil.copy(runs / "main" / "decisions.parquet", changed)
    with pytest.raises(InputError, match="decisions changed since the run"):
        gate(changed, against=runs / "main")


def test_the_plug_in_imports_nothing_heavy() -> None:
    program = (
        "import pytest, sys; before = set(sys.modules); import imi_bench.gate.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(found.stdout.split()) <= {
        "imi_bench",
        "imi_bench.gate",
        "imi_bench.gate.pytest_plugin",
        "imi_bench.rooms",
    }


@pytest.mark.whole
def test_a_boards_row_as_baseline_and_bits(tmp_path: Path) -> None:
    """One row of the board of simulated images against another, in bits of held-out likelihood."""
    board = find("observers-mini")
    new = tmp_path / "new"
    shutil.copytree(board.folder / "submissions" / "pixel-l2" / "1", new)
    shutil.copy(board.folder / "trials.parquet", new)
    result = CliRunner().invoke(
        app,
        [
            *("gate", str(new), "--against", "observers-mini/classical", "--score", "bits"),
            *("--responses", str(board.folder), "--max-drop", "0.05", "--json"),
        ],
    )
    assert result.exit_code in (0, 1, 3), result.output
    said = json.loads(result.stdout)
    assert (said["baseline"], said["new"], said["simulated"]) == ("classical", "pixel-l2", True)
    assert said["calibration"].startswith("by unit")
    assert len(said["calibration_hashes"]) == 2
    study = read_answers(board.folder)
    mine = DecisionVariables.read(new)
    report = score(mine, study, calibration=calibrate(mine, study), n_resamples=0)
    assert said["comparisons"][0]["new"]["unit"] == "bits/answer"
    assert said["comparisons"][0]["new"]["value"] == pytest.approx(
        report.scores["bits"].estimate.value, abs=0.02
    )
