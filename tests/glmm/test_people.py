"""Answers of real people: lme4's results on eleven published experiments and a 2-AFC one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.tables import read_table

pytestmark = pytest.mark.slow

EXPERIMENTS = (
    "colour",
    "contrast",
    "edge",
    "high-pass",
    "low-pass",
    "rotation",
    "silhouette",
    "sketch",
    "stylized",
    "uniform-noise",
    "all",
)
UNRELIABLE = "high-pass"  # lme4's standard errors are a thousandth of what they should be


@pytest.fixture(scope="module")
def answers(shared: Path) -> pd.DataFrame:
    table = read_table(shared / "people" / "object_recognition.csv")
    return table.assign(subject=table["experiment"] + " " + table["subject"])


def assert_not_worse(result: GlmmResult, reference: dict[str, Any], *, errors: bool) -> None:
    assert result.n == reference["n"]
    assert result.log_likelihood > reference["logLik"] - 1e-3
    separated = set(result.separated)
    assert result.converged or separated, result.reason
    assert list(result.names) == list(reference["fixed"])
    if result.log_likelihood > reference["logLik"] + 0.02 or not errors or separated:
        return
    for index, name in enumerate(result.names):
        se = reference["se"][name]
        assert abs(result.estimate[index] - reference["fixed"][name]) < 0.05 * se, name
        assert result.se[index] == pytest.approx(se, rel=0.05), name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_object_recognition(name, answers, shared) -> None:
    reference = json.loads((shared / "people" / "lme4.json").read_text())[name]
    own = answers if name == "all" else answers[answers["experiment"] == name]
    result = fit(reference["formula"], own)
    assert_not_worse(result, reference, errors=name != UNRELIABLE)
    if name == "silhouette":
        assert result.separated == ("categorychair",)


def test_two_alternatives(shared) -> None:
    """Borowski and others, experiment I: natural against synthetic references."""
    folder = shared / "people" / "borowski2021"
    table = read_table(folder / "experiment_I_main_practice_catch_repeated_trials_preprocessed.csv")
    shown = table["instr_type"].isin(["natural", "optimized"])
    counted = (table["trial_type"] == "main") & ~table["catch_trial"].astype(bool)
    main = table[shown & counted]
    main = main.assign(
        y=main["correct"].astype(bool).astype(int),
        synthetic=(main["instr_type"] == "optimized").astype(int),
        depth=main["layer"].str.removeprefix("layer_").astype(int),
        s=main["subject_id"],
        u=main["unit_name"].astype(str) + main["channel"].astype(str),
    )
    reference = json.loads((folder / "lme4.json").read_text())["I"]
    result = fit(reference["formula"], main)
    assert np.isfinite(result.se).all()
    assert_not_worse(result, reference, errors=True)
