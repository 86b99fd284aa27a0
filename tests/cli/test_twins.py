"""Every verb that computes, and its Python twin, give the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.small_study import SmallStudy
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.provenance import plain


@pytest.fixture(scope="module")
def study(shared_study: SmallStudy) -> SmallStudy:
    return shared_study


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photos.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (120, 24, 24, 3), dtype=np.uint8)
    np.savez(path, images=pixels)
    return path


def verb(*arguments: object) -> Any:
    """What a verb prints with --json."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def test_run(study: SmallStudy, tmp_path: Path) -> None:
    told = verb(
        "run", "--observer", "pixel-l2", "--trials", study.folder / "trials", "--out", tmp_path
    )
    mine = imi.answer("pixel-l2", study.folder / "trials")
    assert told["accuracy"] == plain(mine.accuracy)
    assert imi.answer("pixel-l2", study.folder / "trials", out=tmp_path).reused


Twin = tuple[Callable[[SmallStudy], tuple[object, ...]], Callable[[SmallStudy], Any]]
TWINS: dict[str, Twin] = {
    "calibrate": (
        lambda s: ("--decisions", s.folder / "chance", "--responses", s.folder / "people"),
        lambda s: imi.calibrate(s.runs[1], s.people),
    ),
    "score": (
        lambda s: ("--decisions", s.folder / "chance", "--responses", s.folder / "people"),
        lambda s: imi.score(s.runs[1], s.people),
    ),
    "compare": (
        lambda s: (
            s.folder / "pixel-l2",
            s.folder / "chance",
            "--responses",
            s.folder / "people",
            "--resamples",
            200,
        ),
        lambda s: imi.compare(s.runs, s.people, n_resamples=200),
    ),
    "gate": (
        lambda s: (s.folder / "pixel-l2", "--against", s.folder / "chance"),
        lambda s: imi.gate(s.runs[0], against=s.runs[1]),
    ),
    "effects": (
        lambda s: ("--responses", s.folder / "wide", "--decisions", s.folder / "machine"),
        lambda s: s.effects,  # imi.effects(wide, decisions=[machine])
    ),
}


@pytest.mark.whole
@pytest.mark.parametrize("name", TWINS)
def test_the_same_defaults_give_the_same_json(name: str, study: SmallStudy) -> None:
    arguments, twin = TWINS[name]
    assert verb(name, *arguments(study)) == plain(twin(study))


def test_fit(study: SmallStudy, tmp_path: Path) -> None:
    table, formula = tmp_path / "answers.csv", "correct ~ synthetic + (1 | unit)"
    frame = study.wide.to_frame()
    frame = frame.assign(
        synthetic=(frame["mode"] == "synthetic").astype(int),
        unit=frame["unit_id"],
        correct=frame["correct"].astype(int),
    )[["correct", "synthetic", "unit"]]
    frame.to_csv(table, index=False)
    told, mine = verb("fit", formula, table), plain(imi.fit(formula, frame))
    for name in set(told) - {"seconds"}:
        assert told[name] == mine[name], name


@pytest.mark.whole
def test_report(study: SmallStudy, tmp_path: Path) -> None:
    told = verb("report", study.folder / "chance", "--out", tmp_path / "one.html")
    mine = imi.report(study.folder / "chance", out=tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == mine.path.read_bytes()
    assert told["observers"] == [run.name for run in mine.exhibit.runs]


def test_show(study: SmallStudy, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "sheet.png"
    verb("stimuli", "show", study.folder / "trials", "--out", out, "--count", 3)
    np.testing.assert_array_equal(Image.open(out), study.trials.show(study.trials.over_units(3)))


@pytest.mark.whole
@pytest.mark.vision
def test_build_and_mis(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    network = "timm:test_resnet?input_size=32"
    told = verb(
        *("stimuli", "build", "--network", network, "--images", photos, "--out", tmp_path / "a"),
        *("--units", 3, "--batches", 1, "--references", 2, "--crop", 0, "--random"),
        *("--device", "cpu", "--seed", 5),
    )
    trials = imi.build_trials(
        network,
        photos,
        units=3,
        batches=1,
        references=2,
        crop=None,
        pretrained=False,
        device="cpu",
        seed=5,
    )
    assert told["trials_hash"] == trials.hash
    assert told["left_out"] == trials.source["left_out"]
    assert imi.read_trials(tmp_path / "a").hash == trials.hash
    told = verb(
        *("mis", "--network", network, "--images", photos, "--observer", "pixel-cosine"),
        *("--out", tmp_path / "m", "--tasks", 2, "--references", 2, "--quantile", 0.1),
        *("--random", "--device", "cpu", "--layers", "conv1.*"),
    )
    mine = imi.machine_interpretability(
        network,
        photos,
        observer="pixel-cosine",
        tasks=2,
        references=2,
        quantile=0.1,
        layers="conv1.*",
        pretrained=False,
        device="cpu",
    )
    assert told["layers"] == plain(mine.by_layer().to_dict("records"))
    written = pd.read_parquet(tmp_path / "m" / "scores.parquet")
    pd.testing.assert_frame_equal(written, mine.to_frame())
