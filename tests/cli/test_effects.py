"""`imi-bench effects`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner, Result

from imi_bench.cli.app import app
from imi_bench.effects.analysis import analyse
from imi_bench.effects.table import people_table
from imi_bench.effects.truth import read_truth
from imi_bench.errors import InputError, NotComparableError
from imi_bench.release.study_files import write_study
from imi_bench.report.effects import draw_effects
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import decisions, simulate_study

SMALL_COUNTS = {"units": 10, "units_hard": 10, "participants": 8, "main_trials": 10, "batches": 2}
SMALL = SimulationParameters.from_json(SMALL_COUNTS)


@pytest.mark.whole
def test_json_and_files(tmp_path: Path) -> None:
    write_study(simulate_study(SMALL, seed=1).study, tmp_path / "study")
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["effects", "--responses", str(tmp_path / "study"), "--out", str(out), "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["simulated"] is True
    assert found["networks"] == 9
    first = found["effects"][0]
    assert first["key"] == "parameters"
    assert first["method"] == "two-stage t(7)"
    assert first["equivalence"]["bound"] == 0.35
    for name in (
        "effects.csv",
        "networks.csv",
        "effects.tex",
        "refit.R",
        "effects.png",
        "means.png",
    ):
        assert (out / name).stat().st_size > 0


def test_no_file_is_one_line() -> None:
    result = CliRunner().invoke(app, ["effects", "--responses", "nowhere.csv"])
    assert isinstance(result.exception, InputError)
    assert "nowhere.csv" in str(result.exception)
    assert result.exception.exit_code == 2


@pytest.mark.whole
def test_an_observer_of_other_trials_is_not_compared(tmp_path: Path) -> None:
    simulated = simulate_study(SMALL, seed=1)
    write_study(simulated.study, tmp_path / "study")
    frame = decisions(simulated.truth, slope=2.0, seed=2).to_frame()
    frame["trial_id"] = "elsewhere/" + frame["trial_id"]
    (tmp_path / "run").mkdir()
    frame.to_parquet(tmp_path / "run" / "decisions.parquet")
    result = run("effects", "--responses", tmp_path / "study", "--decisions", tmp_path / "run")
    assert isinstance(result.exception, NotComparableError)
    assert "none of people's trials" in str(result.exception)


@pytest.mark.whole
def test_only_known_properties_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = simulate_study(SMALL, seed=1).study
    people = analyse(people_table(study))
    drawn = []
    save = Figure.savefig

    def kept(canvas: Figure, *args: Any, **options: Any) -> None:
        drawn.append(canvas)
        save(canvas, *args, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    draw_effects(people, tmp_path / "all.png")
    unknown = people.properties.assign(parameters=np.nan, top1=np.nan)
    draw_effects(replace(people, properties=unknown), tmp_path / "two.png")
    unknown = unknown.assign(year=np.nan, training_images=np.nan)
    draw_effects(replace(people, properties=unknown), tmp_path / "none.png")
    labels = [[axes.get_xlabel() for axes in canvas.axes[:-1]] for canvas in drawn]
    assert labels == [
        ["parameters", "training images", "ImageNet accuracy", "year"],
        ["training images", "year"],
        [],
    ]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study in the released format, its truth beside it."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "parameters.json").write_text(json.dumps({"study": SMALL_COUNTS}))
    table = folder / "responses_all.csv"
    simulated = run("data", "simulate", "--out", table, "--parameters", folder / "parameters.json")
    assert simulated.exit_code == 0, simulated.output
    return table


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def effects_of(*arguments: object) -> dict[str, Any]:
    result = run("effects", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def by_key(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in found["effects"]}


@pytest.fixture(scope="module")
def plain(released: Path) -> dict[str, Any]:
    """The JSON of the simulated study, analysed once."""
    return effects_of("--responses", released)


@pytest.fixture(scope="module")
def shown(released: Path) -> str:
    """What is printed of it."""
    return str(run("effects", "--responses", released).stdout)


def test_imi_not_fetched_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path))
    error = run("effects", "--responses", "imi").exception
    assert isinstance(error, InputError)
    assert "no released table here" in str(error)
    assert str(error).endswith("run `imi-bench data fetch`")
    assert "\n" not in str(error)


@pytest.mark.whole
def test_imi_fetched_is_the_same_as_its_file(
    released: Path, plain: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path))
    fetched = run("data", "fetch", "--from", released.parent)
    assert fetched.exit_code == 0, fetched.output
    found = effects_of("--responses", "imi")
    for one, other in zip(found["effects"], plain["effects"], strict=True):
        assert (one["estimate"], one["p"]) == (other["estimate"], other["p"])


@pytest.mark.whole
def test_true_values_stand_beside_the_estimates(
    released: Path, plain: dict[str, Any], shown: str
) -> None:
    path = released.with_suffix(".truth.json")
    put_in = json.loads(path.read_text())["parameters"]["study"]["depth_effect"]
    seen = read_truth(path).found_with(lapse=False)
    found = by_key(plain)
    assert 0.8 * put_in < found["depth"]["truth"] < put_in, "guesses leave less of the log-odds"
    for key in ("depth", "synthetic", "hard85"):
        told = found[key]["truth"]
        assert told == pytest.approx(np.mean(list(seen.by_network[key].values()))), key
    assert "true value" in shown
    row = next(line for line in shown.splitlines() if line.strip().startswith("depth "))
    assert row.split()[-1] == f"{found['depth']['truth']:+.3f}"


@pytest.mark.whole
def test_the_table_has_both_p_values_and_the_sentences(plain: dict[str, Any], shown: str) -> None:
    found = by_key(plain)
    assert "p (Holm)" in shown
    row = next(line for line in shown.splitlines() if line.strip().startswith("top1 "))
    assert f"{found['top1']['p']:.4f}" in row
    assert f"{found['top1']['p_holm']:.4f}" in row
    for one in found.values():
        assert f"{one['question']} {one['sentence']}" in shown
    assert "Cannot be answered: 2 networks were shown harder queries" in shown


@pytest.mark.whole
def test_networks_of_ones_own_replace_the_cards(
    released: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    names = ["googlenet", "resnet50", "convnext_b", "densenet_201", "absent"]
    own = pd.DataFrame({"network": names, "parameters": [1e6, 1e7, 1e8, 1e9, 1.0]})
    own.to_csv(tmp_path / "own.csv", index=False)
    result = run("effects", "--responses", released, "--networks", tmp_path / "own.csv", "--json")
    assert "not analysed" in result.stderr
    assert "absent" in result.stderr
    found, cards = by_key(json.loads(result.stdout)), by_key(plain)
    assert found["parameters"]["estimate"] != cards["parameters"]["estimate"]
    assert found["parameters"]["equivalence"]["bound"] == 0.35
    assert found["top1"]["estimate"] == pytest.approx(cards["top1"]["estimate"])


@pytest.mark.whole
def test_layers_of_ones_own_bring_their_width(
    released: Path, plain: dict[str, Any], tmp_path: Path
) -> None:
    layers = pd.read_csv(released)[["model", "layer", "channel"]].dropna().drop_duplicates()
    layers["network"] = layers.pop("model").str.replace(r"_hard\d\d$", "", regex=True)
    layers = layers.rename(columns={"channel": "unit"}).drop_duplicates(ignore_index=True)
    layers["width"] = 64 * 2 ** (layers["unit"].astype(int) % 3)
    layers["depth"] = np.linspace(0, 1, len(layers))
    layers.to_csv(tmp_path / "layers.csv", index=False)
    found = by_key(effects_of("--responses", released, "--columns", tmp_path / "layers.csv"))
    assert found["width"]["topic"] == "layer width"
    assert found["width"]["networks"] == 9
    assert found["depth"]["estimate"] != by_key(plain)["depth"]["estimate"]


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--networks", None, "no such file"),
        ("--networks", "", "not a table"),
        ("--networks", "network,params\nresnet50,1\n", "any of parameters"),
        ("--networks", "network,parameters\nresnet50,1\nresnet50,2\n", "network given twice"),
        ("--columns", None, "no such file"),
        ("--columns", "layer,depth\nlayer1,0.5\n", "columns network and layer"),
        ("--columns", "network,layer\nresnet50,layer1\n", "any of depth, type, width"),
        ("--columns", "network,layer,depth\nresnet50,a,0.5\n", "layer without a value"),
        ("--columns", "network,layer,depth\nresnet50,a,0.5\nresnet50,a,1\n", "two values"),
        ("--columns", "network,layer,depth\nresnet50,a,2\n", "resnet50 a: found 2"),
    ],
)
def test_tables_that_are_none_are_one_line(
    released: Path, tmp_path: Path, option: str, text: str | None, said: str
) -> None:
    table = tmp_path / "given.csv"
    if text is not None:
        table.write_text(text)
    error = run("effects", "--responses", released, option, table).exception
    assert isinstance(error, InputError)
    assert said in str(error)
    assert error.exit_code == 2


def test_interest_above_zero(released: Path) -> None:
    error = run("effects", "--responses", released, "--interest", "0").exception
    assert isinstance(error, InputError)
    assert "above 0" in str(error)


@pytest.mark.whole
def test_an_observer_beside_people(tmp_path: Path) -> None:
    simulated = simulate_study(SMALL, seed=1)
    write_study(simulated.study, tmp_path / "study")
    machine = decisions(simulated.truth, noise=1.5, seed=0)
    (tmp_path / "run").mkdir()
    machine.to_frame().to_parquet(tmp_path / "run" / "decisions.parquet")
    paths = ["--responses", tmp_path / "study", "--decisions", tmp_path / "run"]
    found = effects_of(*paths, "--out", tmp_path / "out")
    (observer,) = found["observers"]
    assert observer["who"] == machine.observer
    synthetic = next(one for one in observer["differences"] if one["key"] == "synthetic")
    assert synthetic["people"] == by_key(found)["synthetic"]["estimate"]
    assert synthetic["observer"] == by_key(observer)["synthetic"]["estimate"]
    assert synthetic["p_holm"] >= synthetic["p"]
    for name in ("differences.json", "effects.csv", "effects.png"):
        assert (tmp_path / "out" / machine.observer / name).stat().st_size > 0
    assert f"Does {machine.observer} show people's effects?" in run("effects", *paths).stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--times", "--lapse", "0.02", "--ordinal"], "--times takes no --lapse and no --ordinal"),
        (["--times", "--out", "folder"], "--times takes no --out"),
        (["--slowest", "60"], "give --times too"),
    ],
)
def test_options_that_would_say_nothing_are_refused(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["effects", "--responses", "imi", *options])
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
