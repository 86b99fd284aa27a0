"""Sentences and marks of the paper's page that once said what the numbers did not bear."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special, stats
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError, ModelError, NotEnoughDataError
from imi_bench.glmm.ordinal import Thresholds
from imi_bench.glmm.posthoc import compare_groups
from imi_bench.release.multiverse import CHOICES, Multiverse
from imi_bench.release.published import Condition
from imi_bench.report.paper import page
from imi_bench.report.paper.clusters import people_factor
from imi_bench.report.paper.confidence import type_two_area
from imi_bench.report.paper.data import PaperData, read_paper
from imi_bench.report.paper.exclusions import exclusions
from imi_bench.report.paper.learning import learning_slope
from imi_bench.report.paper.modes import mode_numbers
from imi_bench.report.paper.page import paper
from imi_bench.report.paper.pairs import pairs
from imi_bench.report.paper.panel import COLOURS, counted, look
from imi_bench.report.paper.reliability import reliability
from imi_bench.report.paper.spread import unit_spread
from imi_bench.report.paper.truth import TrueValues
from imi_bench.report.style import styled
from imi_bench.scores.people import answers_needed
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release
from imi_bench.vision.layer_names import paper_layers

CONDITIONS = tuple(
    Condition(name, mode)
    for name in ("resnet50", "googlenet", "convnext_b")
    for mode in ("natural", "synthetic")
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PaperData:
    """Few answers a unit: many numbers are at their bounds or undefined."""
    small = SimulationParameters(
        conditions=CONDITIONS, units=12, units_hard=12, participants=8, main_trials=10
    )
    release = simulate_release(ReleaseParameters(small), seed=3)
    table, _ = write_release(release, tmp_path_factory.mktemp("claims") / "simulated.csv")
    return read_paper(table, ordinal=False)


def test_a_p_value_of_one_is_not_written_below_one(data: PaperData) -> None:
    assert data.effects is not None
    group = data.effects.groups["natural"]
    same = replace(group, pairs=np.ones_like(group.pairs))
    found = replace(data.effects, groups={"natural": same})
    with styled(COLOURS):
        (plot,) = pairs(replace(data, effects=found)).plots
    written = re.findall(r">\s*([\d.<&lt;]+)\s*<", plot.svg)
    assert written.count("1") >= 3
    assert ".999" not in written


def test_answers_needed_are_those_of_the_reliability_in_the_sentence(data: PaperData) -> None:
    with styled(COLOURS):
        panel = reliability(data)
    easy = panel.tables["reliability"]
    said = re.findall(
        r"([\d.-]+)(?: \[[^]]*\])? with (\w+) references(?:(?! and ).)*?takes (\d+) ", panel.answer
    )
    assert said
    for value, mode, answers in said:
        part = easy[(easy["mode"] == mode) & easy["split_half"].notna()]
        median = part["split_half"].median()
        assert float(value) == pytest.approx(median, abs=0.006)
        each = part["answers_a_unit"].median()
        wanted = answers_needed(median, answers=each, wanted=0.9)
        assert float(answers) == pytest.approx(wanted, abs=0.6)
    assert easy["high"].max() <= 1.0
    lost = easy["split_half"].isna().any()
    assert any(note.startswith("Without a reliability") for note in panel.notes) == lost


def test_undefined_numbers_change_no_sign() -> None:
    levels = pd.DataFrame([dict.fromkeys(CHOICES, "published")] * 4)
    levels.loc[1:, "row_min"] = "stricter"
    frame = levels.assign(gap=[0.2, np.nan, 0.1, 0.3], turned=[0.2, np.nan, -0.1, 0.1])
    many = Multiverse(frame, ("gap", "turned"), 4, "mine", simulated=True)
    table = many.to_frame().set_index("number")
    assert table["same_sign"].tolist() == [1.0, pytest.approx(2 / 3)]
    assert table["undefined"].tolist() == [1, 1]


@pytest.mark.whole
def test_a_rule_whose_rejected_are_not_in_the_table_is_not_called_laxer(
    data: PaperData, tmp_path: Path
) -> None:
    whole = pd.read_csv(data.name, low_memory=False)
    kept = whole[whole["passed_checks"]]
    assert kept["multi_participation"].any()
    kept.to_csv(tmp_path / "kept.csv", index=False)
    with styled(COLOURS):
        whole_said = exclusions(data).answer
        kept_said = exclusions(read_paper(tmp_path / "kept.csv", ordinal=False)).answer
    sets = [int(re.findall(r"Under ([\d,]+) sets", said)[0]) for said in (whole_said, kept_said)]
    # Two levels of each of five rules; multiple participation is dropped or not.
    assert sets[0] > sets[1] == 2**5 * 2
    assert "What a laxer rule on catch ratio, row min" in kept_said
    assert "drop multiple would" not in kept_said


def test_networks_that_share_a_colour_differ_in_marker() -> None:
    names = [f"network {k}" for k in range(40)]
    page = cast("PaperData", SimpleNamespace(networks=lambda: names))
    assert len({look(page, name) for name in names}) == 40


def test_equivalence_is_called_by_the_adjusted_p(data: PaperData) -> None:
    assert data.effects is not None
    table = data.effects.to_frame().dropna(subset=["equivalence_bound"])
    assert len(table)
    for row in table.itertuples():
        wanted = (
            "equivalent"
            if cast("float", row.equivalence_p_holm) < 0.05
            else "different"
            if cast("float", row.p_holm) < 0.05
            else "inconclusive"
        )
        assert row.equivalence_verdict == wanted


def test_two_ordered_answers_have_no_thresholds_to_fit() -> None:
    with pytest.raises(ModelError, match="binomial"):
        Thresholds("logit", ("wrong", "right"), anchored=True)


def test_one_answer_a_unit_tells_nothing_of_units() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(NotEnoughDataError, match="one answer a unit"):
        unit_spread(np.ones(20), np.ones(20), ["one"] * 20, rng=rng)


def _answers(person_sd: float) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    person, unit = np.divmod(np.arange(30 * 40), 40)
    p = 0.7 + rng.normal(0, person_sd, 30)[person] + rng.normal(0, 0.1, 40)[unit]
    return pd.DataFrame(
        {
            "network": "one",
            "participant": person,
            "unit_id": unit,
            "correct": (rng.random(len(p)) < p).astype(float),
        }
    )


def test_people_widen_the_shares_of_units() -> None:
    alike, different = (people_factor(_answers(sd))["one"] for sd in (0.0, 0.15))
    # Variance of people's mean, 0.15^2 / 30, beside that of units, (0.1^2 + 0.21 / 30) / 40.
    of_units = (0.1**2 + 0.21 / 30) / 40
    wanted = np.sqrt(1 + (0.15**2 / 30) / of_units)
    # Alike people differ by chance alone: 0.21 / 40, known to sqrt(2 / 29) of it; four of these.
    assert 1.0 <= alike < np.sqrt(1 + 4 * np.sqrt(2 / 29) * (0.21 / 40) / 30 / of_units)
    assert different == pytest.approx(wanted, rel=0.25)
    rng = np.random.default_rng(2)
    true = special.expit(1.0 + 0.8 * rng.standard_normal(60))
    hits = rng.binomial(30, true).astype(float)
    found = unit_spread(hits, np.full(60, 30.0), ["one"] * 60, rng=rng)
    wide = found.counting_people({"one": 2.0})
    assert np.ptp(wide.levels) == pytest.approx(2 * np.ptp(found.levels))
    assert wide.level == pytest.approx(found.level)
    value, low, high = found.share(0.7, above=False)
    again, lower, higher = wide.share(0.7, above=False)
    assert again == value
    assert lower < low < high < higher


def test_intervals_of_modes_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    clear = rng.normal(0, 0.12, 60)
    p = np.clip(np.stack([0.8 + clear, 0.65 + 0.7 * clear + rng.normal(0, 0.1, 60)], 1), 0, 1)
    p = rng.binomial(30, p) / 30
    columns = pd.MultiIndex.from_product([["p", "answers"], ["natural", "synthetic"]])
    index = pd.MultiIndex.from_product([["one"], range(60)], names=["network", "unit_id"])
    wide = pd.DataFrame(np.column_stack([p, np.full((60, 2), 30.0)]), index, columns)
    found = mode_numbers(wide, np.random.default_rng(0)).loc["correlation"]

    def r(x: Any, y: Any, axis: int = -1) -> Any:
        return stats.pearsonr(x, y, axis=axis).statistic

    wanted = stats.bootstrap(
        (p[:, 0], p[:, 1]), r, paired=True, method="BCa", n_resamples=2000, rng=4
    ).confidence_interval
    assert found["value"] == pytest.approx(r(p[:, 0], p[:, 1]))
    assert [found["low"], found["high"]] == pytest.approx([wanted.low, wanted.high], abs=0.04)


@pytest.mark.whole
def test_the_verb_with_two_of_its_panels(
    data: PaperData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a table to page, figures, tables and record; with all twelve: `test_paper.py`."""
    monkeypatch.setattr(page, "PANELS", (page.by_network, pairs))
    options = ("--responses", data.name, "--out", tmp_path / "out", "--no-ordinal", "--json")
    result = CliRunner().invoke(app, ["paper", *map(str, options)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["simulated"] is True
    assert [one["key"] for one in told["panels"]] == ["networks", "pairs"]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["panels"] == told["panels"]
    written = (tmp_path / "out" / "index.html").read_text()
    assert "Simulated data." in written
    assert all(one["answer"] for one in told["panels"])
    names = {path.name for path in (tmp_path / "out").rglob("*.*")}
    assert {"1-networks-paper.svg", "1-networks-paper.png"} <= names
    assert any(name.endswith(".tex") for name in names)


@pytest.mark.whole
def test_figures_of_an_earlier_page_go(data: PaperData, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paper(data.name, out=out, ordinal=False)
    made = {path.name for path in out.rglob("*.*")}
    for name in ("figures/11-machines-old.svg", "tables/11-machines-old.csv", "figures/mine.svg"):
        (out / name).write_text("old")
    paper(data.name, out=out, ordinal=False)
    assert {path.name for path in out.rglob("*.*")} == {*made, "mine.svg"}


def test_a_folder_of_tables_names_them(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"one\.csv"):
        read_paper(tmp_path)


def test_networks_of_the_same_ranks_have_a_p_of_one() -> None:
    proportions = np.random.default_rng(4).integers(1, 13, 12) / 12
    for count in range(2, 15):
        same = {str(k): proportions for k in range(count)}
        found = compare_groups(same, n_resamples=50, seed=0)
        assert found.statistic == pytest.approx(0, abs=1e-9)
        assert found.p == pytest.approx(1)


def test_the_truth_of_learning_and_insight_is_not_a_draw(data: PaperData) -> None:
    """Intervals were judged by the truth of 300 drawn people a condition: half an error off."""
    true = data.true
    assert true is not None
    learning = TrueValues(replace(true.parameters, learning=0.3), true.intercepts, true.evidence)
    own = true.study
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    place = np.linspace(0, 1, own.main_trials)
    right = np.zeros(own.main_trials)
    for condition, level in true.intercepts.items():
        depth = np.linspace(0, 1, len(paper_layers(condition.network)))
        eta = level + own.depth_effect * (depth[:, None, None] - 0.5) + 0.3 * (place[:, None] - 0.5)
        eta = eta + own.random_sd(condition.mode) * nodes
        both = [special.expit(eta + side * own.side_bias) for side in (1, -1)]
        p = own.lapse / 2 + (1 - own.lapse) * np.mean(both, axis=0)
        right += (p @ weights / weights.sum()).mean(axis=0) / len(true.intercepts)
    exact = np.polyfit(place, right, 1)[0]
    people = learning.expected
    found = learning_slope(people).value
    assert found == pytest.approx(
        exact, abs=3.5 * people["correct"].std() / np.sqrt(len(people) / 12)
    )
    assert people["correct"].mean() == pytest.approx(right.mean(), abs=0.01)

    for mode in ("natural", "synthetic"):
        drawn = type_two_area(learning.people[learning.people["mode"] == mode])
        assert drawn.low - 0.01 < learning.insight(mode) < drawn.high + 0.01
        p = learning.population.loc[learning.population["mode"] == mode, "p"]
        assert learning.share(mode, 0.55, above=False) == pytest.approx((p < 0.55).mean(), abs=0.01)
        assert learning.share(mode, 0.9, above=True) == pytest.approx((p > 0.9).mean(), abs=0.01)


def _session(people: int = 12, blocks: int = 2, length: int = 20) -> pd.DataFrame:
    """Two blocks of easy and hard questions; nobody learns, the last are hard for most."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(people):
        first = person < 1
        for place in range(blocks * length):
            natural = (place // length + first) % 2 == 0
            right = rng.random() < (0.95 if natural else 0.6)
            rows.append((person, place + 1.0, "natural" if natural else "synthetic", float(right)))
    return pd.DataFrame(rows, columns=["participant", "order", "mode", "correct"])


def test_learning_is_told_apart_from_what_was_shown_when() -> None:
    rows = _session()
    blind = learning_slope(rows.drop(columns="mode"))
    found = learning_slope(rows)
    design = pd.get_dummies(rows[["participant", "mode"]].astype(str), dtype=float)
    design = design.drop(columns="mode_natural").assign(order=rows["order"])
    fit = sm.OLS(rows["correct"], design).fit()
    without = []
    for person in range(12):
        kept = rows["participant"] != person
        part = design[kept].drop(columns=f"participant_{person}")
        without.append(sm.OLS(rows["correct"][kept], part).fit().params["order"])
    se = np.sqrt(11 / 12 * np.square(np.array(without) - fit.params["order"]).sum())
    half = stats.t.ppf(0.975, 11) * 39 * se
    assert found.value == pytest.approx(39 * fit.params["order"])
    assert found.high - found.value == pytest.approx(half)
    assert blind.high < 0
    assert found.low < 0 < found.high

    alone = rows[rows["mode"] == "natural"]
    each = [np.polyfit(g["order"], g["correct"], 1)[0] for _, g in rows.groupby("participant")]
    assert blind.value == pytest.approx(39 * np.mean(each))
    assert learning_slope(alone).clusters == 12
    together = rows.assign(mode=np.where(rows["order"] > 20, "synthetic", "natural"))
    assert np.isfinite(learning_slope(together).value)


def test_numbers_of_references_that_are_taken_together_are_said(data: PaperData) -> None:
    assert not data.together
    number = np.where(np.arange(len(data.frame)) % 2, "9+9", "1")
    mixed = replace(data, frame=data.frame.assign(references=number))
    assert counted(mixed).endswith("2 numbers of references together")
    assert mixed.together == ("1", "9+9")
