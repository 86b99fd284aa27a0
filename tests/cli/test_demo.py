"""`imi-bench demo` and `imi-bench report`: what is printed, what is written, which exit code."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imi_bench import study
from imi_bench.provenance import plain

SMALL = {"n_networks": 1, "n_batches": 1, "n_scenes": 200, "size": 24}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of seconds: a small world, two observers, one process."""
    monkeypatch.setattr(study, "build", functools.partial(study.build, **SMALL))
    monkeypatch.setattr(study, "light_observers", lambda: ("chance", "pixel-l2"))
    monkeypatch.setattr("imi_bench.beside.cores", lambda: 1)


@pytest.mark.whole
def test_demo_and_report(
    tmp_path: Path, imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    run = imi_bench_main
    code, out, err = run("demo", "--out", tmp_path)
    assert code == 0
    assert "SIMULATED data: 60 trials of 10 units" in out
    assert out.index("ideal") < out.index("pixel-l2")
    assert out.rstrip().endswith(f"Report: {tmp_path / 'report.html'}")
    assert "[1/7] trials" in err
    page = (tmp_path / "report.html").read_bytes()
    assert b"Simulated data." in page

    code, out, _ = run("report", tmp_path, "--out", tmp_path / "again.html")
    assert (code, out.strip()) == (0, str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_bytes() == page

    code, out, _ = run("demo", "--out", tmp_path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["simulated"] is True
    assert found["observers"]["ideal"]["proportion_correct"]["estimate"]["value"] == 1.0
    assert found["skipped"] == {}
    assert found == plain(study.run_study(study.Plan(tmp_path, study.light_observers())).told())

    code, _, err = run("demo", "--out", tmp_path, "--seed", 5)
    assert code == 2
    assert "error: the folder holds another run" in err


@pytest.mark.whole
def test_report_on_a_single_run(
    tmp_path: Path, shared: Path, imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    """The job on the paper's own stimuli: no people, and the page says so."""
    run = imi_bench_main
    out = tmp_path / "out"
    stimuli = ("--trials", shared / "imi" / "stimuli", "--network", "googlenet")
    kept = ("--out", out, "--cache", tmp_path / "cache")
    code, *_ = run("run", "--observer", "pixel-l2", *stimuli, *kept)
    assert code == 0
    code, text, _ = run("report", out, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["simulated"] is False
    assert found["observers"] == ["pixel-l2", "chance", "one-side"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "No human answers were given" in page
    assert "Simulated data" not in page
    assert "People, as published" in page


def test_report_on_nothing(
    tmp_path: Path, imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = imi_bench_main("report", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: nothing to report on")
