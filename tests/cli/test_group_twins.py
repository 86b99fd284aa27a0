"""The verbs of groups and their Python twins; no verb is without one."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from support.crowd import striped_trials
from support.made_submissions import good_files, made_board, sealed, write_folder
from support.measured_world import measured_world
from support.verbs import verbs
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.leaderboard.board import Board
from imi_bench.provenance import plain

TESTS = Path(__file__).resolve().parents[1]
# Verbs whose twin is called beside them in another file, and what is called there.
ELSEWHERE = {
    "demo": ("cli/test_demo.py", "run_study("),
    "run": ("cli/test_twins.py", "imi.answer("),
    "report": ("cli/test_twins.py", "imi.report("),
    "calibrate": ("cli/test_twins.py", "imi.calibrate("),
    "score": ("cli/test_twins.py", "imi.score("),
    "compare": ("cli/test_twins.py", "imi.compare("),
    "gate": ("cli/test_twins.py", "imi.gate("),
    "effects": ("cli/test_twins.py", "imi.effects("),
    "fit": ("cli/test_twins.py", "imi.fit("),
    "mis": ("cli/test_twins.py", "imi.machine_interpretability("),
    "stimuli build": ("cli/test_twins.py", "imi.build_trials("),
    "stimuli show": ("cli/test_twins.py", "trials.show("),
    "paper": ("report/test_paper.py", "imi.report.paper("),
    "fewshot": ("fewshot/test_study_files.py", "imi.fewshot("),
    "data fetch": ("release/test_fetch.py", "fetch("),
    "collect serve": ("collect/test_collect.py", "application("),  # the same server, in memory
}
HERE: set[str] = set()


def twin_of(*names: str) -> Any:
    """Mark a test as that of these verbs."""
    HERE.update(names)
    return lambda test: test


def printed(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result.stdout


def verb(*arguments: object, code: int = 0) -> Any:
    """What a verb prints with --json."""
    return json.loads(printed(*arguments, "--json", code=code))


def test_every_verb_has_a_twin() -> None:
    assert set(verbs()) == HERE | set(ELSEWHERE)
    for name, (file, call) in ELSEWHERE.items():
        assert call in (TESTS / file).read_text("utf-8"), name


@twin_of("power")
def test_power() -> None:
    from imi_bench.glmm.power import Plan, Sizing, size_study

    found = size_study(Plan(), slope=0.4)
    told = verb("power", "--slope", 0.4)
    assert told == plain(found)
    assert Sizing.from_json(told) == found


@twin_of("networks list", "networks show")
def test_networks() -> None:
    from imi_bench.vision.card import covariates, resolve

    assert verb("networks", "list") == plain(covariates().to_dict("records"))
    shown = verb("networks", "show", "resnet50")
    assert shown == resolve("resnet50")[0].model_dump(mode="json", exclude_none=True)


@twin_of("networks units")
@pytest.mark.vision
def test_units() -> None:
    pytest.importorskip("torch")
    from imi_bench.networks.units import sample_units
    from imi_bench.vision.loading import load_network

    network = "timm:test_resnet?input_size=32"
    layers = load_network(network, pretrained=False, device="meta").layers
    told = verb("networks", "units", network, "--random")
    assert told == plain([asdict(layer) for layer in layers])
    drawn = verb("networks", "units", network, "--random", "--sample", 4)
    assert drawn["units"] == [str(unit) for unit in sample_units(layers, 4, seed=0)]


@twin_of("observers list", "observers show", "observers fetch")
def test_observers() -> None:
    from imi_bench.observers.card import cards
    from imi_bench.observers.catalogue import card

    assert verb("observers", "list")["cards"] == plain([c.to_json() for c in cards().values()])
    assert verb("observers", "show", "hog") == plain(card("hog").to_json())
    assert verb("observers", "fetch", "hog") == []  # no weights; sources: tests/vision


@twin_of("cache info", "cache prune")
def test_cache(tmp_path) -> None:
    from imi_bench.replay.cache_folder import cache_info, prune_cache

    (tmp_path / "codes-2" / "ab").mkdir(parents=True)
    (tmp_path / "codes-2" / "ab" / "c.npy").write_bytes(b"123")
    same = ["kind", "name", "of", "bytes", "files"]
    listed = verb("cache", "info", "--cache", str(tmp_path))
    assert [{k: one[k] for k in same} for one in listed] == plain(
        cache_info(tmp_path)[same].to_dict("records")
    )
    gone = verb("cache", "prune", "--cache", str(tmp_path), "--yes")
    assert [one["bytes"] for one in gone["folders"]] == [3]
    assert prune_cache(tmp_path).empty


@pytest.mark.whole
@twin_of("doctor")
def test_doctor() -> None:
    from imi_bench.observers.doctor import examine

    told = verb("doctor", "--observer", "pixel-l2", "--limit", 2)
    assert told == plain(examine("pixel-l2", limit=2))
    assert told["trials"] == 2


@pytest.mark.whole
@twin_of("learn")
def test_learn(tmp_path: Path) -> None:
    import imi_bench as imi
    from imi_bench.release.study_files import write_study

    made = measured_world(networks=2)
    write_study(made.world.study, tmp_path / "people")
    given: list[object] = []
    for place, one in enumerate(made.observers[:2]):
        (tmp_path / str(place)).mkdir()
        one.to_frame().to_parquet(tmp_path / str(place) / "decisions.parquet")
        given += ["--decisions", tmp_path / str(place)]
    flags = ("--by", "network", "--boot", 4, "--curves", 1, "--out", tmp_path / "learned")
    told = verb("learn", *given, "--responses", tmp_path / "people", *flags)
    runs = [tmp_path / "0", tmp_path / "1"]
    found = imi.learn(runs, tmp_path / "people", by="network", n_boot=4, curves=1)
    assert told == plain(found.to_json())
    assert told["bits"]["value"] == found.bits.value
    assert {"observer", "bits"} <= set(told["best_single"])
    assert {"value", "low", "high"} <= set(told["difference"])
    assert (tmp_path / "learned" / "learned.html").is_file()


@pytest.mark.whole
@twin_of("data simulate", "data verify", "data info", "data multiverse")
def test_data(tmp_path: Path) -> None:
    from imi_bench.release.description import describe_table, verify_tables
    from imi_bench.release.multiverse import run_multiverse, universes
    from imi_bench.release.table import read_release
    from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release

    condition = {"network": "resnet50", "mode": "natural", "difficulty": "easy"}
    parameters = {"study": {"conditions": [condition]}}
    (tmp_path / "parameters.json").write_text(json.dumps(parameters))
    table, same = tmp_path / "answers.csv", tmp_path / "same.csv"
    told = verb(
        *("data", "simulate", "--out", table, "--seed", 2),
        *("--parameters", tmp_path / "parameters.json"),
    )
    write_release(simulate_release(ReleaseParameters.from_json(parameters), seed=2), same)
    assert table.read_bytes() == same.read_bytes()
    assert told["rows"] == len(pd.read_csv(same, usecols=["model"]))

    assert verb("data", "verify", table)["files"] == plain(verify_tables(table))
    assert verb("data", "info", table) == plain(describe_table(table))
    told = verb("data", "multiverse", table, "--rules", "catch_ratio,drop_multiple")
    among = universes(("catch_ratio", "drop_multiple"))
    mine = plain(run_multiverse(read_release(table), "means", among=among))
    assert {name: told[name] for name in mine} == mine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, and a smaller one beside it."""
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    unit, x = rng.integers(0, 8, 200), rng.normal(size=200).round(3)
    mode = np.where(rng.random(200) < 0.5, "natural", "synthetic")
    eta = 1.0 + x - (mode == "synthetic") + 0.7 * rng.standard_normal(8)[unit]
    correct = (rng.logistic(size=200) < eta).astype(int)
    data = pd.DataFrame({"correct": correct, "unit": unit, "x": x, "mode": mode})
    data.to_csv(folder / "answers.csv", index=False)
    for name, fixed in (("full", "x + mode"), ("small", "x")):
        formula = f"correct ~ {fixed} + (1 | unit)"
        printed("fit", formula, folder / "answers.csv", "--save", folder / f"{name}.json")
    return folder / "full.json"


@twin_of("model anova", "model drop1", "model variance", "model starts", "model correlation")
def test_model_comparisons(model: Path) -> None:
    from imi_bench.glmm.comparison import anova, drop_one, variance_tests
    from imi_bench.glmm.restarts import restarts
    from imi_bench.glmm.saved import load_model
    from imi_bench.glmm.variation import fixed_correlation, variation

    full, small = load_model(model), load_model(model.parent / "small.json")
    told = verb("model", "anova", model.parent / "small.json", model)
    assert told == plain(anova(small, full))
    assert verb("model", "drop1", model) == plain(drop_one(full))
    told = verb("model", "variance", model)
    assert told.pop("tests") == plain(variance_tests(full).tests)
    assert told == plain(variation(full))
    assert verb("model", "starts", model, "--n", 2) == plain(restarts(full, n=2))
    told = verb("model", "correlation", model)
    assert told["correlation"] == plain(fixed_correlation(full).to_numpy())


@pytest.mark.whole
@twin_of("model intervals")
def test_model_intervals(model: Path) -> None:
    from imi_bench.glmm.intervals import Intervals, intervals
    from imi_bench.glmm.saved import load_model

    result = load_model(model)
    asked: tuple[tuple[dict[str, Any], tuple[object, ...]], ...] = (
        ({"effects": ["x"]}, ("--effect", "x")),
        ({"method": "wald"}, ("--method", "wald")),
        ({"method": "bootstrap", "n": 4}, ("--method", "bootstrap", "--n", 4)),
    )
    for options, flags in asked:
        found = intervals(result, **options)
        assert verb("model", "intervals", model, *flags) == plain(found)
        assert plain(Intervals.from_json(found.to_json())) == plain(found)


@twin_of("model ranef", "model means", "model predict", "model simulate")
def test_model_predictions(model: Path, tmp_path: Path) -> None:
    from imi_bench.glmm.caterpillar import conditional_effects
    from imi_bench.glmm.means import marginal_means
    from imi_bench.glmm.prediction import predict
    from imi_bench.glmm.saved import load_model
    from imi_bench.glmm.simulated import simulated_table

    result = load_model(model)
    effects = conditional_effects(result)
    assert verb("model", "ranef", model)["effects"] == plain(effects.to_dict("records"))
    told = verb("model", "means", model, "mode")
    found = marginal_means(result, "mode")
    assert told.pop("contrasts") == plain(found.contrasts().tests)
    assert told == plain(found)
    assert verb("model", "predict", model) == plain(predict(result))
    printed("model", "simulate", model, "--out", tmp_path / "drawn.csv", "--n", 2, "--seed", 3)
    drawn = simulated_table(result, n=2, seed=3)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "drawn.csv"), drawn, check_dtype=False)


@twin_of("model residuals", "model influence")
def test_model_checks(model: Path) -> None:
    from imi_bench.glmm.influence import influence
    from imi_bench.glmm.residuals import simulated_residuals
    from imi_bench.glmm.saved import load_model

    result = load_model(model)
    told = verb("model", "residuals", model, "--n", 50)
    assert told == plain(simulated_residuals(result, n=50, seed=0))
    assert verb("model", "influence", model, "unit") == plain(influence(result, "unit"))


@pytest.mark.whole
@twin_of("collect status", "collect links", "collect export", "collect static", "collect import")
def test_collect(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    from imi_bench.collect import Experiment, Plan, Store, status
    from imi_bench.collect.links import identity_of
    from imi_bench.collect.response_table import export_any
    from imi_bench.collect.static import read_static, write_static
    from imi_bench.stimuli.trial_files import write_trials

    trials = striped_trials(6, batches=1)
    write_trials(trials, tmp_path / "trials")
    printed("collect", "static", "--trials", tmp_path / "trials", "--out", tmp_path / "a")
    write_static(Experiment(trials, Plan()), tmp_path / "b")
    keys = [json.loads((tmp_path / f"{name}.key.json").read_text()) for name in ("a", "b")]
    assert keys[0]["experiment"]["plan"] == keys[1]["experiment"]["plan"]
    key, given = keys[0], []
    for number, screen in enumerate(key["blocks"]["main"]):
        about = {"block": "main", "number": number, "rt": 700, "received": 100.0 + number}
        given.append({**about, "button": 0 if screen[6] else 3})
    result = {"own": "a", "begun": 50.0, "instruction_seconds": 20.0, "answers": given}
    (tmp_path / "result.json").write_text(json.dumps(result))
    mine, theirs = tmp_path / "mine.db", tmp_path / "theirs.db"
    told = (tmp_path / "result.json", "--key", tmp_path / "a.key.json", "--db", theirs)
    printed("collect", "import", *told)
    store, added = read_static([tmp_path / "result.json"], key=tmp_path / "a.key.json", db=mine)
    assert added == 1
    table = export_any(store)
    printed("collect", "export", "--db", theirs, "--out", tmp_path / "out.csv")
    exported = pd.read_csv(tmp_path / "out.csv")
    assert exported["correct"].tolist() == table["correct"].tolist()
    found = plain(status(Store(theirs)))
    assert verb("collect", "status", "--db", theirs) == found
    assert plain(status(store))["conditions"] == found["conditions"]
    lines = printed("collect", "links", 2, "--db", theirs).splitlines()
    secret = Store(theirs).secret
    assert all(identity_of(secret, unquote(line.partition("?t=")[2])) for line in lines)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    (tmp_path / "boards").mkdir()
    return made_board(tmp_path / "boards")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Output of a run on the board's trials."""
    folder, files = tmp_path / "run", good_files()
    folder.mkdir()
    frame = pd.read_parquet(io.BytesIO(files["decisions.parquet"]))
    frame.assign(seconds=0.1, observer="mine").to_parquet(folder / "decisions.parquet")
    (folder / "run.json").write_bytes(files["run.json"])
    return folder


@twin_of("leaderboard list", "leaderboard verify", "leaderboard build", "leaderboard check")
def test_leaderboard(board: Board) -> None:
    from imi_bench.leaderboard.board import listed
    from imi_bench.leaderboard.site import build_board, check_board
    from imi_bench.leaderboard.verify import verify

    where = ("--boards", board.folder.parent)
    rules = [one.rules.model_dump(mode="json") for one in listed(board.folder.parent)]
    assert verb("leaderboard", "list", *where)["boards"] == rules
    assert verb("leaderboard", "verify", "tiny", *where) == plain(verify(board)[0].ordered())
    printed("leaderboard", "build", "tiny", *where)
    written = (board.folder / "board.json").read_bytes()
    build_board(board)
    assert (board.folder / "board.json").read_bytes() == written
    printed("leaderboard", "check", "tiny", *where)
    assert check_board(board).board == "tiny"


@pytest.mark.whole
@twin_of("submit new", "submit validate", "submit pack", "submit pr", "submit schema")
@twin_of("leaderboard add")
def test_submit(board: Board, run: Path, tmp_path: Path) -> None:
    from imi_bench.leaderboard import pack
    from imi_bench.leaderboard.entry import examine, place
    from imi_bench.leaderboard.submission import json_schema

    where = ("--board", "tiny", "--boards", board.folder.parent)
    flags = ("title", "author", "licence", "preprocessing", "weights")
    told = [part for flag in flags for part in (f"--{flag}", "Mine")]
    printed("submit", "new", run, "--out", tmp_path / "a", *where, *told)
    declared = {"board": "tiny", "revision": "1", "title": "Mine", "authors": ["Mine"]}
    declared |= {"licence": "Mine", "preprocessing": "Mine", "weights": {"source": "Mine"}}
    declared |= {"training": {}}
    pack.new(run, out=tmp_path / "b", declared=declared)
    for file in ("submission.toml", "decisions.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    found = examine(tmp_path / "a", board=board)
    assert found.valid
    assert verb("submit", "validate", tmp_path / "a", *where) == plain(found)
    spoilt = write_folder(sealed(good_files() | {"run.json": b"{}"}), tmp_path / "spoilt")
    bad = examine(spoilt, board=board)
    assert not bad.valid
    assert verb("submit", "validate", spoilt, *where, code=1) == plain(bad)
    printed("submit", "pack", tmp_path / "a", "--out", tmp_path / "a.zip")
    pack.pack(tmp_path / "a", out=tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert json.loads(printed("submit", "schema")) == plain(json_schema())

    text = place(tmp_path / "a", board=board).pull_request
    assert printed("submit", "pr", tmp_path / "a", *where).strip() == text.strip()
    printed("submit", "new", run, "--out", tmp_path / "c", *where, *told, "--revision", "2")
    placed = place(tmp_path / "c", board=board)
    printed("leaderboard", "add", tmp_path / "c", "tiny", "--boards", board.folder.parent)
    rows = json.loads((board.folder / "board.json").read_text())["rows"]
    (row,) = (row for row in rows if (row["name"], row["revision"]) == ("mine", "2"))
    assert row["rank"] == placed.row.rank
