"""The plug-in and the command, on runs written to disk; a real regression turns the gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.observers.catalogue import load_observer
from imi_bench.replay.runner import replay
from imi_bench.simulation.world import build
from imi_bench.tables import Trials

pytest_plugins = ["pytester"]


class Coarse:
    """The pixel observer after throwing away resolution: a regression by construction."""

    name = "coarse"

    def __init__(self, levels: int) -> None:
        self._inner = load_observer("oriented-energy")
        self._levels = levels

    def describe(self) -> dict[str, object]:
        return {"inner": dict(self._inner.describe()), "levels": self._levels}

    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        codes = self._inner.encode(images)
        return np.round(codes / np.abs(codes).max() * self._levels) / self._levels

    def decide(self, trials: object, codes: np.ndarray) -> np.ndarray:
        return self._inner.decide(trials, codes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one observer at full and at hardly any precision of its features."""
    folder = tmp_path_factory.mktemp("runs")
    trials: Trials = build(seed=0).trials
    replay(load_observer("oriented-energy"), trials, out=folder / "main", cache=folder / "cache")
    replay(Coarse(1000), trials, out=folder / "same", cache=folder / "cache")
    replay(Coarse(1), trials, out=folder / "broken", cache=folder / "cache")
    return folder


def test_command(runs: Path, tmp_path: Path) -> None:
    def run(new: str, *more: str) -> object:
        return CliRunner().invoke(
            app, ["gate", str(runs / new), "--against", str(runs / "main"), *more]
        )

    same = run("same", "--max-drop", "0.03", "--json")
    assert same.exit_code == 0, same.output
    assert json.loads(same.stdout)["verdict"] == "pass"
    junit, text = tmp_path / "gate.xml", tmp_path / "gate.md"
    broken = run("broken", "--by", "difficulty", "--junit", str(junit), "--markdown", str(text))
    assert broken.exit_code == 1, broken.output
    assert "worse" in broken.stdout
    assert "<failure" in junit.read_text()
    assert "difficulty=easy" in text.read_text()


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


def test_fixture(runs: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        def test_same(imi_gate):
            assert imi_gate({str(runs / "same")!r}, max_drop=0.03).verdict == "pass"

        def test_broken(imi_gate):
            imi_gate({str(runs / "broken")!r})
        """
    )
    result = pytester.runpytest_inprocess("--imi-baseline", str(runs / "main"))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*worse: accuracy of 'coarse' against 'oriented-energy'*"])


def test_fixture_without_a_baseline_says_what_to_do(runs: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"def test_x(imi_gate): imi_gate({str(runs / 'same')!r})")
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*needs a baseline*--imi-baseline*"])
