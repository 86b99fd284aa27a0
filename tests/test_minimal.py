"""The light install alone imports, answers, calibrates, scores and fits; torch is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from imi_bench.choice.calibrate import calibrate
from imi_bench.cli.app import app
from imi_bench.errors import MissingExtraError
from imi_bench.extras import require
from imi_bench.glmm import fit
from imi_bench.observers.catalogue import load_observer
from imi_bench.replay.runner import replay
from imi_bench.scores.report import score
from imi_bench.simulation.world import World


@pytest.fixture(scope="module")
def world(demo_world: World) -> World:
    return demo_world


def test_answers_calibrates_and_scores(world: World, tmp_path: Path) -> None:
    done = replay(load_observer("colour-histogram"), world.trials, cache=tmp_path)
    calibration = calibrate(done.decisions, world.study)
    report = score(done.decisions, world.study, calibration=calibration, n_resamples=200)
    assert report.simulated
    assert 0.5 < report.scores["proportion_correct"].estimate.value < 1


def test_fits_a_mixed_model(world: World) -> None:
    result = fit("correct ~ mode + (1|unit_id) + (1|participant)", world.study.to_frame())
    assert result.converged
    effects = dict(zip(result.names, result.estimate, strict=True))
    assert np.isfinite(list(effects.values())).all()
    assert any("synthetic" in name for name in effects)


def test_lists_observers_in_json() -> None:
    result = CliRunner().invoke(app, ["observers", "list", "--json"])
    assert result.exit_code == 0
    assert "chance" in json.dumps(json.loads(result.stdout))


@pytest.mark.whole
def test_nothing_above_loaded_torch() -> None:
    script = (
        "import imi_bench.glmm, imi_bench.study, imi_bench.leaderboard.verify;"
        "import imi_bench.gate.verdict, sys;"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_an_encoder_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes an import fail as if the package were absent, wherever this runs.
    for name in ("torch", "timm", "open_clip"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'imi-bench\[vision\]'"):
        load_observer("resnet50")


def test_missing_package_is_one_line() -> None:
    with pytest.raises(MissingExtraError, match="needs the package 'no_such_package'"):
        require("no_such_package", for_="this test")
