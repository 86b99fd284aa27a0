"""The paper as a page: twelve questions, simulated data marked, numbers from their one source."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.release.borowski import facts
from imi_bench.release.conditions import condition_means
from imi_bench.release.published import Condition
from imi_bench.report.paper.page import Paper, paper
from imi_bench.report.paper.people import over_people, type_two
from imi_bench.report.paper.units import beta_binomial, extremes
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release
from imi_bench.simulation.study import decisions

CONDITIONS = (
    Condition("resnet50", "natural"),
    Condition("resnet50", "synthetic"),
    Condition("googlenet", "natural"),
    Condition("googlenet", "synthetic"),
    Condition("convnext_b", "natural"),
    Condition("resnet50", "natural", "hard95"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paper, Path]:
    folder = tmp_path_factory.mktemp("paper")
    small = SimulationParameters(
        conditions=CONDITIONS, units=24, units_hard=20, participants=20, main_trials=16
    )
    release = simulate_release(ReleaseParameters(small), seed=1)
    table, _ = write_release(release, folder / "simulated.csv")
    machine = decisions(release.truth, slope=1.0, seed=0)
    done = imi.report.paper(table, decisions=[machine], out=folder / "out", ordinal=False)
    return done, folder / "out"


def test_twelve_questions_are_answered(made: tuple[Paper, Path]) -> None:
    done, _ = made
    assert [one.number for one in done.panels] == [*range(1, 13)]
    assert all(one.question.endswith("?") for one in done.panels)
    assert all(one.answer.endswith(".") for one in done.panels)
    refused = [one.key for one in done.panels if one.answer.startswith("Cannot")]
    assert refused == []


def test_simulated_is_said_on_every_figure_and_the_page(made: tuple[Paper, Path]) -> None:
    done, out = made
    plots = [plot for one in done.panels for plot in one.plots]
    assert len(plots) > 10
    assert all("SIMULATED" in plot.svg for plot in plots)
    page = (out / "index.html").read_text()
    assert "Simulated data." in page
    assert json.loads((out / "record.json").read_text())["simulated"] is True
    assert all("SIMULATED" in p.read_text() for p in (out / "tables").glob("*.tex"))


def test_truth_stands_beside_the_estimate(made: tuple[Paper, Path]) -> None:
    done, _ = made
    means = done["networks"].tables["means"]
    assert means["truth"].notna().all()
    easy = means[means["difficulty"] == "easy"]
    assert (easy["truth"] - easy["published"]).abs().max() < 1e-6
    assert (means["mean"] - means["truth"]).abs().max() < 0.12


def test_means_are_those_of_data_info(made: tuple[Paper, Path]) -> None:
    done, _ = made
    known = {m.condition: m.mean.value for m in condition_means(done.data.study)}
    for row in done["networks"].tables["means"].itertuples():
        assert row.mean == known[Condition(row.network, row.mode, row.difficulty)]


def test_the_page_needs_nothing_else(made: tuple[Paper, Path]) -> None:
    _, out = made
    page = (out / "index.html").read_text()
    assert len(page) < 5_000_000
    assert not re.search(r'(?:src|href)="https?:', page)
    assert "mathdefault" not in page
    assert "nan" not in re.sub(r"<[^>]+>", " ", page).lower().split()
    names = {path.name for path in (out / "figures").iterdir()}
    assert {name.removesuffix(".svg") for name in names if name.endswith(".svg")} == {
        name.removesuffix(".png") for name in names if name.endswith(".png")
    }
    assert b"var(--" not in b"".join(p.read_bytes() for p in (out / "figures").glob("*.svg"))


def test_the_machine_is_held_against_people(made: tuple[Paper, Path]) -> None:
    done, _ = made
    table = done["machines"].tables["observer_1"]
    assert len(table) == 5
    assert np.allclose(table["machine"] - table["people"], table["difference"])


def test_real_answers_are_not_called_simulated(shared: Path) -> None:
    path = shared / "people" / "borowski2021" / facts()["tables"]["I"]["file"]
    done = paper(path, ordinal=False)
    assert done.path is None
    assert all("SIMULATED" not in plot.svg for one in done.panels for plot in one.plots)
    assert "2 of 2 published percentages" in done["networks"].answer
    assert "Nobody was left out" in done["exclusions"].answer
    assert done["pairs"].answer == "Cannot be answered: there is one network."


def test_intervals_over_people_are_those_of_a_mean() -> None:
    """With equally many answers each, the ratio's interval is the t interval of people's means."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"participant": np.repeat(np.arange(8), 5), "all": 1})
    rows["correct"] = rng.random(40) < 0.7
    one = over_people(rows, "correct", ["all"]).iloc[0]
    each = rows.groupby("participant")["correct"].mean()
    low, high = stats.t.interval(0.95, 7, each.mean(), stats.sem(each))
    assert (one["low"], one["high"]) == pytest.approx((low, high))


def test_type_two_area_is_the_mann_whitney_share() -> None:
    rows = pd.DataFrame(
        {
            "participant": "a",
            "correct": [1, 1, 1, 0, 0],
            "confidence": [3.0, 2.0, 1.0, 1.0, 2.0],
        }
    )
    known = stats.mannwhitneyu([3, 2, 1], [1, 2]).statistic / 6
    assert type_two(rows)[2] == pytest.approx(known)


def test_beta_binomial_takes_noise_away() -> None:
    rng = np.random.default_rng(1)
    true = rng.beta(6, 2, 4000)
    hits = rng.binomial(20, true).astype(float)
    a, b = beta_binomial(hits, np.full(4000, 20.0))
    assert stats.beta.var(a, b) == pytest.approx(true.var(), rel=0.08)
    assert (hits / 20).var() > 1.3 * true.var()


def test_extremes_are_shrunken(made: tuple[Paper, Path]) -> None:
    done, _ = made
    units = done.data.units
    table = extremes(units[units["difficulty"] == "easy"], count=3)
    assert table["end"].tolist() == ["hardest"] * 3 + ["easiest"] * 3
    mean = units["hits"].sum() / units["answers"].sum()
    hard = table[table["end"] == "hardest"]
    assert (hard["shrunken"] > hard["p"]).all()
    assert (hard["shrunken"] < mean).all()


@pytest.mark.slow
def test_the_verb(shared: Path, tmp_path: Path) -> None:
    path = shared / "people" / "borowski2021" / facts()["tables"]["I"]["file"]
    done = CliRunner().invoke(
        app, ["paper", "--responses", str(path), "--out", str(tmp_path), "--no-ordinal", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["panels"]) == 12
    assert (tmp_path / "index.html").is_file()
