"""Whatever a file holds, its reader returns or refuses in one line; nothing else comes out.

``tox -e fuzz`` tries ``IMI_BENCH_FUZZ`` inputs a reader (100,000 by default); the fast suite a few.
What ever came out otherwise is kept in ``kept.json`` by reader and seed, and tried each time.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from support.escapes import KEPT, Reader, escapes, from_file, kept
from support.made_submissions import good_files, good_toml
from support.mutations import damaged, spoiled

from imi_bench.choice.calibration import Calibration
from imi_bench.choice.psychometric import PsychometricFit
from imi_bench.documents import parse_json, parse_toml
from imi_bench.effects.truth import read_truth
from imi_bench.glmm import fit
from imi_bench.glmm.result import GlmmResult
from imi_bench.leaderboard.archive import read_files
from imi_bench.leaderboard.board import Board, find
from imi_bench.leaderboard.parquet import read_table
from imi_bench.leaderboard.submission import parse
from imi_bench.observers.card import read_card as read_observer_card
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters
from imi_bench.stats.estimate import Estimate
from imi_bench.vision.card import read_card as read_network_card


@cache
def calibration() -> Any:
    path = find("networks-cifar").folder / "calibrations" / "classical.json"
    record = json.loads(path.read_text())
    names = list(record["folds"])
    folds = {name: i for i, name in enumerate(names[:2])}
    return {**record, "folds": folds, "fits": record["fits"][:2]}


@cache
def mixed_model() -> Any:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.integers(0, 2, 60), "x": rng.normal(size=60)})
    frame["g"] = [f"g{i % 6}" for i in range(60)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return json.loads(json.dumps(fit("y ~ x + (1|g)", frame).to_json()))


def truth() -> Any:
    return {
        "parameters": {"study": {"depth_effect": 0.1}},
        "intercepts": [
            {"network": "a", "mode": m, "difficulty": "easy", "logit": 1.0}
            for m in ("natural", "synthetic")
        ],
    }


def card_bytes(folder: str, name: str) -> bytes:
    root = Path(__file__).resolve().parents[2]
    return (root / folder / name).read_bytes()


DECISIONS = {
    "trial_id": "text",
    "observer": "text",
    "decision_variable": "number",
    "status": "text",
    "shown_first": "text",
}


def readers(folder: Path) -> dict[str, Reader]:
    def toml_of_a_dict(record: Any) -> bytes:
        try:
            return tomli_w.dumps(record).encode()
        except (TypeError, ValueError, AttributeError):
            return b"format = 1"

    def submission(record: Any) -> object:
        return parse(good_files() | {"submission.toml": toml_of_a_dict(record)})

    def zipped() -> bytes:
        import zipfile

        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in good_files().items():
                archive.writestr(name, data)
        return stream.getvalue()

    board = tomli_w.dumps(find("networks-cifar").rules.model_dump(exclude_none=True)).encode()
    estimate = Estimate(0.5, 0.4, 0.6, n=10, clusters=3, method="m").to_json()
    return {
        "estimate": Reader(lambda: estimate, spoiled, Estimate.from_json),
        "fit": Reader(lambda: calibration()["overall"], spoiled, PsychometricFit.from_json),
        "calibration": Reader(calibration, spoiled, Calibration.from_json),
        "mixed model": Reader(mixed_model, spoiled, GlmmResult.from_json),
        "release": Reader(
            lambda: ReleaseParameters().to_json(), spoiled, ReleaseParameters.from_json
        ),
        "study": Reader(
            lambda: SimulationParameters().to_json(), spoiled, SimulationParameters.from_json
        ),
        "submission": Reader(lambda: good_toml(), spoiled, submission),
        "truth": Reader(truth, spoiled, from_file("truth.json", read_truth, folder)),
        "observer card": Reader(
            lambda: card_bytes("observers", "classical.toml"),
            damaged,
            from_file("classical.toml", read_observer_card, folder),
        ),
        "network card": Reader(
            lambda: card_bytes("imi_bench/vision/cards", "resnet50.toml"),
            damaged,
            from_file("resnet50.toml", read_network_card, folder),
        ),
        "board": Reader(
            lambda: board,
            damaged,
            from_file("networks-cifar/board.toml", lambda p: Board.read(p.parent), folder),
        ),
        "toml": Reader(lambda: tomli_w.dumps(good_toml()).encode(), damaged, _toml),
        "json": Reader(lambda: json.dumps(calibration()).encode(), damaged, parse_json),
        "parquet": Reader(lambda: good_files()["decisions.parquet"], damaged, _parquet),
        "zip": Reader(zipped, damaged, from_file("s.zip", read_files, folder)),
    }


def _toml(data: bytes) -> object:
    return parse_toml(data.decode("utf-8", "replace"))


def _parquet(data: bytes) -> object:
    return read_table(data, columns=DECISIONS, optional={"seconds": "number"}, rows=1000)


NAMES = (
    "estimate",
    "fit",
    "calibration",
    "mixed model",
    "release",
    "study",
    "submission",
    "truth",
    "observer card",
    "network card",
    "board",
    "toml",
    "json",
    "parquet",
    "zip",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_spoiled_input_is_read_or_refused(name: str, tmp_path: Path) -> None:
    assert not escapes(readers(tmp_path)[name], [*kept(name), *range(150)])


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", NAMES)
def test_no_spoiled_input_escapes(name: str, tmp_path: Path) -> None:
    count = int(os.environ.get("IMI_BENCH_FUZZ", "100000"))
    first = int(os.environ.get("IMI_BENCH_FUZZ_FIRST", "1000"))
    found = escapes(readers(tmp_path)[name], range(first, first + count))
    assert not found, f"keep in {KEPT.name}: {name}: {found[:20]}"
