"""A small board of networks with a calibrated panel of two, and a good submission to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w

from imi_bench.choice.calibrate import calibrate
from imi_bench.leaderboard.board import Board
from imi_bench.networks.units import draw_units
from imi_bench.tables import DecisionVariables, TrialIndex, shown_first_is_positive
from support.made_submissions import (
    BOARD_TOML,
    Files,
    good_toml,
    parquet,
    sealed,
    small_study,
)

PANEL = ("one", "two")
LAYERS = {"stem": 8, "top": 8}
DRAWN = 12
RULES = {
    "board": "nets",
    "kind": "networks",
    "panel": list(PANEL),
    "sides_seed": 3,
    "evidence": {"drawn": DRAWN, "seed": 0, "least_trials": 40},
    "ranking": {"score": "interpretability", "rule": "By score.", "n_resamples": 200},
}


def decisions(index: TrialIndex, name: str, *, scale: float = 1.0) -> pd.DataFrame:
    first = shown_first_is_positive(index.trial_id, seed=3)
    rng = np.random.default_rng(sum(map(ord, name)))
    toward = scale * rng.normal(0.5, 1, len(index))
    return pd.DataFrame(
        {
            "trial_id": index.trial_id,
            "observer": name,
            "decision_variable": np.where(first, toward, -toward),
            "status": "ok",
            "shown_first": np.where(first, "positive", "negative"),
        }
    )


def network_board(parent: Path) -> Board:
    """``parent/nets``: the panel was calibrated on the units of `small_study`."""
    folder = parent / "nets"
    (folder / "calibrations").mkdir(parents=True)
    study = small_study()
    for name in PANEL:
        frame = decisions(study.trials, name).assign(seconds=0.0)
        found = calibrate(DecisionVariables.from_frame(frame), study, n_folds=3)
        found.write(folder / "calibrations" / f"{name}.json")
    rules = {k: v for k, v in BOARD_TOML.items() if k != "trials_hash"} | RULES
    (folder / "board.toml").write_text(tomli_w.dumps(rules))
    return Board.read(folder)


def network_trials(*, batches: int = 4) -> pd.DataFrame:
    drawn = draw_units(LAYERS, DRAWN, seed=0)
    rows = [(unit.layer, unit.channel, batch) for unit in drawn for batch in range(batches)]
    frame = pd.DataFrame(rows, columns=["layer", "unit", "batch"])
    frame = frame.assign(network="other", mode="natural", difficulty="easy", catch=False)
    return frame.assign(trial_id=TrialIndex.canonical_ids(frame))


def network_files(
    trials: pd.DataFrame | None = None,
    *,
    scale: float = 1.0,
    sampling: dict[str, object] | None = None,
) -> Files:
    frame = network_trials() if trials is None else trials
    told = pd.DataFrame()
    if len(frame):
        index = TrialIndex.from_frame(frame.drop_duplicates("trial_id").assign(mode="natural"))
        told = pd.concat([decisions(index, name, scale=scale) for name in PANEL])
    else:
        told = decisions(small_study().trials, "one").iloc[:0]
    toml = good_toml() | {"board": "nets", "name": "net-a", "title": "Net A"}
    toml |= {"sampling": {"layers": LAYERS} if sampling is None else sampling}
    toml = {k: v for k, v in toml.items() if v}
    files = {
        "submission.toml": tomli_w.dumps(toml).encode(),
        "decisions.parquet": parquet(told),
        "trials.parquet": parquet(frame),
        "run.json": json.dumps({}).encode(),
    }
    return sealed(files)
