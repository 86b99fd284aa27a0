"""The paper from tables that lack what a panel wants: it says so, and never says `nan`."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from imi_bench.errors import NotEnoughDataError
from imi_bench.release.published import Condition
from imi_bench.report.paper.data import read_paper
from imi_bench.report.paper.page import PANELS
from imi_bench.report.paper.panel import COLOURS
from imi_bench.report.style import styled
from imi_bench.simulation.joint import JointParameters
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import simulate_study

CONDITIONS = (
    Condition("resnet50", "natural"),
    Condition("resnet50", "synthetic"),
    Condition("googlenet", "natural"),
    Condition("googlenet", "synthetic"),
    Condition("resnet50", "natural", "hard95"),
)


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    small = SimulationParameters(
        conditions=CONDITIONS, units=12, units_hard=10, participants=8, main_trials=8
    )
    return simulate_study(small, joint=JointParameters(), seed=4).study.to_frame()


def _with(rows: pd.DataFrame, **columns: object) -> pd.DataFrame:
    return rows.assign(**columns)


def _of(rows: pd.DataFrame, keep: pd.Series) -> pd.DataFrame:
    return rows[keep].reset_index(drop=True)


Spoil = Callable[[pd.DataFrame], pd.DataFrame]
SPOILED: dict[str, Spoil] = {
    "one network": lambda x: _of(x, x["network"] == "resnet50"),
    "only natural": lambda x: _of(x, x["mode"] == "natural"),
    "only synthetic": lambda x: _of(x, x["mode"] == "synthetic"),
    "only harder queries": lambda x: _of(x, x["difficulty"] == "hard95"),
    "two people": lambda x: _of(x, x["participant"].isin(sorted(set(x["participant"]))[:2])),
    "a person a network": lambda x: _of(
        x, x["participant"].isin(x.groupby("network", observed=True)["participant"].first())
    ),
    "one trial a person": lambda x: x.groupby("participant", observed=True).head(1),
    "one unit": lambda x: _of(x, x["unit_id"] == x["unit_id"].iloc[0]),
    "two units": lambda x: _of(x, x["unit_id"].isin(list(dict.fromkeys(x["unit_id"]))[:2])),
    "no confidence": lambda x: x.drop(columns="confidence"),
    "some confidence": lambda x: _with(
        x, confidence=x["confidence"].where(np.arange(len(x)) % 2 == 0)
    ),
    "one confidence": lambda x: _with(x, confidence=1.0),
    "no times": lambda x: x.drop(columns="seconds"),
    "times of zero": lambda x: _with(x, seconds=0.0),
    "all correct": lambda x: _with(x, correct=True),
    "all wrong": lambda x: _with(x, correct=False),
    "a network all correct": lambda x: _with(
        x, correct=x["correct"] | (x["network"] == "googlenet")
    ),
    "no sides": lambda x: x.drop(columns="chose_first"),
    "another network": lambda x: _with(
        x, network=x["network"].astype(str).replace("googlenet", "mine")
    ),
    "other layers": lambda x: _with(x, layer="block"),
    "columns in another order": lambda x: x[sorted(x.columns)],
    "rows in another order": lambda x: x.sample(frac=1, random_state=1).reset_index(drop=True),
    "confidence tells all": lambda x: _with(x, confidence=np.where(x["correct"], 3.0, 1.0)),
    "confidence tells the contrary": lambda x: _with(
        x, confidence=np.where(x["correct"], 1.0, 3.0)
    ),
    "many unknown networks": lambda x: pd.concat(
        [
            x.assign(
                network=f"n{k}",
                participant=x["participant"].astype(str) + f" {k}",
                unit_id=f"n{k}/" + x["layer"].astype(str) + "/" + x["unit"].astype(str),
            )
            for k in range(11)
        ]
    ).drop_duplicates(["unit_id", "participant", "mode", "difficulty", "batch"]),
    "a name that is markup": lambda x: _with(
        x, network=x["network"].astype(str).replace("googlenet", "<b>&a|$_{}\\x")
    ),
    "a very long name": lambda x: _with(
        x, network=x["network"].astype(str).replace("googlenet", "g" * 200)
    ),
    "coins": lambda x: _with(x, correct=np.arange(len(x)) * 7919 % 13 % 2 == 0),
    "units all or nothing": lambda x: _with(x, correct=x["unit"].astype(int) % 3 != 0),
    "one person": lambda x: _with(x, participant="p"),
    "times of an hour": lambda x: _with(
        x, seconds=np.where(np.arange(len(x)) % 9 == 0, 3600.0, x["seconds"])
    ),
    "one answer a unit": lambda x: x.drop_duplicates(["unit_id", "mode", "difficulty"]),
    "harder queries of another network": lambda x: _of(
        x, (x["network"] == "googlenet") | (x["difficulty"] != "easy")
    ),
    "a kind of references a network": lambda x: _of(
        x, (x["network"] == "googlenet") == (x["mode"] == "natural")
    ),
    "one answer": lambda x: x.head(1),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPOILED)
def test_every_panel_answers_or_says_why_not(answers: pd.DataFrame, kind: str) -> None:
    rows = SPOILED[kind](answers).copy()
    keys = ["network", "layer", "unit", "mode", "difficulty", "batch"]
    rows["trial_id"] = ["/".join(map(str, row)) for row in rows[keys].to_numpy()]
    rows = rows.assign(simulated=True)
    data = read_paper(rows.drop_duplicates(["trial_id", "participant"]), ordinal=True)
    with styled(COLOURS):
        panels = [make(data) for make in PANELS]
    assert [one.number for one in panels] == [*range(1, 13)]
    for one in panels:
        assert one.answer.endswith("."), one.answer
        for said in (one.answer, one.n, *one.notes, *(plot.caption for plot in one.plots)):
            words = re.sub(r"[^a-z]", " ", said.lower()).split()
            assert not {"nan", "none", "inf"} & set(words) - {"none"}, (one.key, said)
            assert "None" not in said.split(), (one.key, said)


def test_without_answers_there_is_no_paper(answers: pd.DataFrame) -> None:
    with pytest.raises(NotEnoughDataError, match="was kept"):
        read_paper(answers.assign(catch=True), ordinal=False)
