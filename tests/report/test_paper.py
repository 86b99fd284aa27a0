"""The paper as a page: twelve questions, simulated data marked, numbers from their one source."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.errors import NotEnoughDataError
from imi_bench.release.borowski import facts
from imi_bench.release.conditions import condition_means
from imi_bench.release.multiverse import means, scale
from imi_bench.release.published import Condition
from imi_bench.report.paper.clusters import clustered_means
from imi_bench.report.paper.confidence import type_two_area
from imi_bench.report.paper.data import read_paper
from imi_bench.report.paper.exclusions import exclusions, headlines
from imi_bench.report.paper.layers import by_layer
from imi_bench.report.paper.page import Paper, paper
from imi_bench.report.paper.panel import COLOURS, Panel, Plot
from imi_bench.report.paper.spread import unit_spread
from imi_bench.report.paper.units import extremes
from imi_bench.report.style import styled
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


@pytest.mark.whole
def test_twelve_questions_are_answered(made: tuple[Paper, Path]) -> None:
    done, _ = made
    assert [one.number for one in done.panels] == [*range(1, 13)]
    assert all(one.question.endswith("?") for one in done.panels)
    assert all(one.answer.endswith(".") for one in done.panels)
    refused = [one.key for one in done.panels if one.answer.startswith("Cannot")]
    assert refused == []


@pytest.mark.whole
def test_simulated_is_said_on_every_figure_and_the_page(made: tuple[Paper, Path]) -> None:
    done, out = made
    plots = [plot for one in done.panels for plot in one.plots]
    assert len(plots) > 10
    assert all("SIMULATED" in plot.svg for plot in plots)
    page = (out / "index.html").read_text()
    assert "Simulated data." in page
    assert json.loads((out / "record.json").read_text())["simulated"] is True
    assert all("SIMULATED" in p.read_text() for p in (out / "tables").glob("*.tex"))


@pytest.mark.whole
def test_truth_stands_beside_the_estimate(made: tuple[Paper, Path]) -> None:
    done, _ = made
    means = done["networks"].tables["means"]
    assert means["truth"].notna().all()
    easy = means[means["difficulty"] == "easy"]
    assert (easy["truth"] - easy["published"]).abs().max() < 1e-6
    assert (means["mean"] - means["truth"]).abs().max() < 0.12


@pytest.mark.whole
def test_means_are_those_of_data_info(made: tuple[Paper, Path]) -> None:
    done, _ = made
    known = {m.condition: m.mean.value for m in condition_means(done.data.study)}
    for row in done["networks"].tables["means"].itertuples():
        assert row.mean == known[Condition(row.network, row.mode, row.difficulty)]


@pytest.mark.whole
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


@pytest.mark.whole
def test_the_machine_is_held_against_people(made: tuple[Paper, Path]) -> None:
    done, _ = made
    table = done["machines"].tables["observer_1"]
    assert len(table) == 5
    assert np.allclose(table["machine"] - table["people"], table["difference"])


@pytest.mark.whole
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
    one = clustered_means(rows, "correct", ["all"]).iloc[0]
    each = rows.groupby("participant")["correct"].mean()
    low, high = stats.t.interval(0.95, 7, each.mean(), stats.sem(each))
    assert (one["low"], one["high"]) == pytest.approx((low, high))


def test_two_way_variance_is_that_of_a_balanced_layout() -> None:
    """Every person answers every unit: people's means, units' means, and cells."""
    rng = np.random.default_rng(1)
    people, units = 12, 15
    table = rng.normal(size=(people, 1)) + rng.normal(size=(1, units)) + rng.normal(size=(12, 15))
    rows = pd.DataFrame(
        {
            "participant": np.repeat(np.arange(people), units),
            "unit_id": np.tile(np.arange(units), people),
            "all": 1,
            "y": table.ravel(),
        }
    )
    one = clustered_means(rows, "y", ["all"]).iloc[0]
    parts = table.mean(1).var(ddof=1) / people + table.mean(0).var(ddof=1) / units
    both = table.var(ddof=1) / table.size
    half = stats.t.ppf(0.975, people - 1) * np.sqrt(parts - both)
    assert one["high"] - one["mean"] == pytest.approx(half)


def test_type_two_area_is_the_mann_whitney_share() -> None:
    rows = pd.DataFrame(
        {
            "participant": "a",
            "correct": [1, 1, 1, 0, 0],
            "confidence": [3.0, 2.0, 1.0, 1.0, 2.0],
        }
    )
    known = stats.mannwhitneyu([3, 2, 1], [1, 2]).statistic / 6
    assert type_two_area(rows).value == pytest.approx(known)
    assert np.isnan(type_two_area(rows.assign(correct=1)).value)


def test_noise_of_answers_is_taken_away() -> None:
    """Shares of units at chance and near ceiling, and the variance, of 4,000 known units."""
    rng = np.random.default_rng(1)
    true = 1 / (1 + np.exp(-(1.2 + 0.9 * rng.standard_normal(4000))))
    hits = rng.binomial(20, true).astype(float)
    found = unit_spread(hits, np.full(4000, 20.0), ["a"] * 4000, rng=rng)
    assert found.variance() == pytest.approx(true.var(), rel=0.06)
    assert (hits / 20).var() > 1.3 * true.var()
    for threshold, above, share in (
        (0.55, False, (true < 0.55).mean()),
        (0.9, True, (true > 0.9).mean()),
    ):
        value, low, high = found.share(threshold, above=above)
        assert low < share < high
        assert value == pytest.approx(share, abs=0.02)


@pytest.mark.whole
def test_extremes_are_shrunken(made: tuple[Paper, Path]) -> None:
    done, _ = made
    table = extremes(done.data, count=3)
    assert table["end"].tolist() == ["hardest"] * 3 + ["easiest"] * 3
    hard, easy = (table[table["end"] == end] for end in ("hardest", "easiest"))
    assert (hard["shrunken"] > hard["p"]).all()
    assert (easy["shrunken"] < easy["p"]).all()


@pytest.mark.whole
def test_headlines_are_those_of_the_multiverse(made: tuple[Paper, Path]) -> None:
    done, _ = made
    released = done.data.released
    rows = released.frame.loc[released.kept_as_released]
    answers = pd.DataFrame(
        {
            "network": rows["network"].astype(str).astype("category"),
            "mode": rows["mode"].astype(str).replace("optimized", "synthetic"),
            "difficulty": rows["difficulty"].astype(str),
            "unit_id": rows.groupby(["network", "layer", "channel"], observed=True).ngroup(),
            "correct": rows["correct"].astype(float),
        }
    )
    found = headlines(answers)
    for name, value in {**means(answers), **scale(answers)}.items():
        assert found[name] == pytest.approx(value, nan_ok=True), name


@pytest.mark.whole
def test_truth_stands_in_every_panel(made: tuple[Paper, Path]) -> None:
    """Tables with the truth of the simulation beside the estimate, in all that estimate."""
    done, _ = made
    where = {
        "networks": "means",
        "scale": "effects",
        "modes": "numbers",
        "layers": "types",
        "difficulty": "means",
        "confidence": "accuracy_by_confidence",
        "exclusions": "multiverse",
        "reliability": "reliability",
    }
    for key, name in where.items():
        assert done[key].tables[name]["truth"].notna().any(), key
    shares = done["units"].tables["shares"]
    assert shares[["chance_truth", "ceiling_truth", "noise_truth"]].notna().all().all()
    assert done["machines"].tables["observer_1"]["true_people"].notna().all()
    assert any("truly differ" in note for note in done["pairs"].notes)


@pytest.mark.whole
def test_estimates_lie_near_the_truth(made: tuple[Paper, Path]) -> None:
    done, _ = made
    right = done["confidence"].tables["accuracy_by_confidence"]
    half = (right["high"] - right["low"]) / 2
    assert ((right["mean"] - right["truth"]).abs() < 2 * half).all()
    kept = done["exclusions"].tables["quality"]
    assert ((kept["mean"] - kept["truth"]).abs() < (kept["high"] - kept["low"])).all()


@pytest.mark.whole
def test_an_observer_stands_in_every_panel(made: tuple[Paper, Path]) -> None:
    done, _ = made
    for panel in done.panels:
        if panel.key in ("machines", "missing"):
            continue
        (column,) = panel.beside
        assert column.sentence
        assert "nan" not in column.sentence
        if panel.key in ("exclusions", "scale"):
            continue  # nothing to leave out; three networks are too few for effects of scale
        assert len(column.difference), panel.key
        if "difference" in column.difference:
            table = column.difference
            assert np.allclose(table["machine"] - table["people"], table["difference"])
    assert done["layers"].beside[0].plots


@pytest.mark.whole
def test_the_code_of_each_panel_draws_it(
    made: tuple[Paper, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each snippet is run; the answers are read once."""
    done, _ = made
    told: list[tuple[object, dict[str, object]]] = []

    def read(responses: object, **options: object) -> object:
        told.append((responses, options))
        return done.data

    monkeypatch.setattr("imi_bench.report.paper.data.read_paper", read)
    monkeypatch.chdir(tmp_path)
    with styled(COLOURS):
        for panel in done.panels:
            if panel.key == "missing":
                continue
            exec(panel.code, {})
            assert panel.plots
            for plot in panel.plots:
                assert (tmp_path / f"{plot.name}.svg").read_bytes().startswith(b"<svg")
    assert told == [(done.data.name, {"ordinal": False})] * 11


@pytest.mark.whole
def test_every_published_number_is_computed_or_has_its_reason(made: tuple[Paper, Path]) -> None:
    done, _ = made
    text = resources.files("imi_bench.release").joinpath("published.toml").read_text("utf-8")
    facts = tomllib.loads(text)

    def count(value: object) -> int:
        if isinstance(value, dict):
            return sum(map(count, value.values()))
        if isinstance(value, list):
            return sum(map(count, value))
        return int(isinstance(value, int | float) and not isinstance(value, bool))

    del facts["experiments"]
    table = done["missing"].tables["every_number"]
    flags = 1  # drop_multi_participation
    assert len(table) == count(facts) + flags
    computed = table["here"].notna()
    assert (computed == (table["reason"] == "")).all()
    assert computed.sum() > 20
    assert (table.loc[~computed, "reason"].str.len() > 10).all()
    known = table.set_index("number")
    assert known.loc["design.main_trials", "here"] == 16
    assert known.loc["design.catch_trials", "here"] == known.loc["design.catch_trials", "published"]
    kept = known.loc["exclusions.catch_ratio_min"]
    assert kept["here"] >= kept["published"]


@pytest.mark.slow
def test_answers_left_out_are_found_beside_the_kept_ones(
    made: tuple[Paper, Path], tmp_path: Path
) -> None:
    done, _ = made
    frame = pd.read_csv(done.data.released.path)
    good = frame["passed_checks"] & ~frame["multi_participation"]
    frame[good].to_csv(tmp_path / "responses_main.csv", index=False)
    alone = exclusions(read_paper(tmp_path / "responses_main.csv", ordinal=False))
    assert "only stricter rules could be tried" in alone.answer
    assert "responses_lower_quality.csv" in alone.notes[0]
    frame[~good].to_csv(tmp_path / "responses_lower_quality.csv", index=False)
    both = exclusions(read_paper(tmp_path / "responses_main.csv", ordinal=False))
    whole = done["exclusions"].tables
    assert both.tables["quality"]["mean"].tolist() == whole["quality"]["mean"].tolist()
    numbers = ["published", "lowest", "highest"]
    assert np.allclose(both.tables["multiverse"][numbers], whole["multiverse"][numbers])
    with pytest.raises(NotEnoughDataError, match="was kept"):
        read_paper(tmp_path / "responses_lower_quality.csv", ordinal=False)


@pytest.mark.whole
def test_exemplars_of_the_ends_are_shown() -> None:
    trials, people = imi.demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    data = read_paper(people, stimuli=trials, ordinal=False)
    with styled(COLOURS):
        panel = by_layer(data)
    names = [plot.name for plot in panel.plots]
    assert names == ["5-layers", "5-hardest", "5-easiest"]
    assert all("<image" in plot.svg for plot in panel.plots[1:])
    some = read_paper(people, stimuli=trials[:3], ordinal=False)
    with styled(COLOURS):
        notes = by_layer(some).notes
    assert any("have no images" in note for note in notes)


@pytest.mark.whole
def test_figures_are_drawn_for_phones_as_well(made: tuple[Paper, Path]) -> None:
    done, out = made
    page = (out / "index.html").read_text()
    for plot in (plot for panel in done.panels for plot in panel.plots):
        assert "SIMULATED" in plot.narrow, plot.name
        assert f'id="{plot.name}-narrow-' in page
    assert page.count('class="narrow"') == page.count('class="wide twice"') > 12
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_a_script_without_a_guard_for_processes_may_ask(shared: Path, tmp_path: Path) -> None:
    path = shared / "people" / "borowski2021" / facts()["tables"]["I"]["file"]
    script = tmp_path / "mine.py"
    script.write_text(
        f"import imi_bench as imi\nprint(imi.report.paper({str(path)!r})['modes'].n)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("45 units of 1 network")


@pytest.mark.slow
def test_the_verb(shared: Path, tmp_path: Path) -> None:
    path = shared / "people" / "borowski2021" / facts()["tables"]["I"]["file"]
    done = CliRunner().invoke(
        app, ["paper", "--responses", str(path), "--out", str(tmp_path), "--no-ordinal", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["panels"]) == 12
    assert (tmp_path / "index.html").is_file()


@pytest.mark.whole
def test_every_panel_is_a_short_result_that_travels(made: tuple[Paper, Path]) -> None:
    done, _ = made
    assert len(json.loads(json.dumps(done.to_json(), allow_nan=False))["panels"]) == 12
    for panel in done.panels:
        assert len(repr(panel)) < 2000
        again = Panel.from_json(json.dumps(panel.to_json(), allow_nan=False))
        assert again.summary() == panel.summary()
        assert [(p.name, p.png) for p in again.plots] == [(p.name, p.png) for p in panel.plots]
        for name, table in panel.tables.items():
            found = again.tables[name]
            pd.testing.assert_frame_equal(found, table.reset_index(drop=True), check_dtype=False)


def test_a_panel_shows_itself_without_its_bytes() -> None:
    plot = Plot("1-x", "<b>Means", svg="", file_svg=b"0" * 9999, png=b"1" * 9999)
    table = pd.DataFrame({"a": [1.0, np.nan], "empty": [np.nan, np.nan]})
    panel = Panel("<b>Yes.", "2 people", (plot,), {"means": table}, number=1, question="Well?")
    assert max(len(repr(panel)), len(repr(plot))) < 200
    assert "<b>" not in panel._repr_html_()
    assert panel._repr_html_().count("<img") == 1
    again = Panel.from_json(json.dumps(panel.to_json(), allow_nan=False))
    pd.testing.assert_frame_equal(again.to_frame(), table)
    assert Panel("Cannot tell.", "nobody").to_frame()["answer"].tolist() == ["Cannot tell."]
