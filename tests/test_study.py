"""The study as a list of steps, on a small world."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import binomtest

from imi_bench.choice.calibration import Calibration
from imi_bench.errors import InputError, MissingExtraError
from imi_bench.provenance import plain
from imi_bench.report.page import write_page
from imi_bench.report.reading import read_report_data
from imi_bench.study import PARTS, STEPS, Plan, StudySoFar, light_observers, made, run_study

SMALL = {"n_networks": 1, "n_batches": 1, "n_scenes": 200, "size": 32}
OBSERVERS = ("chance", "one-side", "pixel-l2")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> StudySoFar:
    return run_study(Plan(tmp_path_factory.mktemp("study"), OBSERVERS, world=SMALL))


def test_steps_are_those_of_the_data_flow() -> None:
    assert [step.name for step in STEPS] == [
        "trials",
        "blind",
        "decide",
        "learn",
        "calibrate",
        "score",
        "report",
    ]
    assert all(step.doc and step.function.__doc__ for step in STEPS)


def test_light_observers_need_no_extra() -> None:
    names = light_observers()
    assert {"chance", "one-side", "pixel-cosine", "pixel-l2", "ssim", "classical"} <= set(names)
    assert not any("clip" in name or "dino" in name for name in names)


@pytest.mark.whole
def test_every_part_is_made(done: StudySoFar) -> None:
    assert [run.name for run in done.runs] == ["ideal", *OBSERVERS]
    assert all(run.calibration is not None for run in done.runs)
    assert set(made(done.summary).scores) == {"ideal", *OBSERVERS}
    assert made(done.page).is_file()
    assert done.exhibit.simulated


@pytest.mark.whole
def test_ideal_at_its_ceiling_and_one_side_at_one_half(done: StudySoFar) -> None:
    credit = {run.name: run.decisions.credit.mean() for run in done.runs}
    assert credit["ideal"] == 1.0
    decided = {run.name: run.decisions for run in done.runs}
    first = decided["one-side"].shown_first.astype(str) == "positive"
    assert credit["one-side"] == first.mean()
    right = decided["chance"].credit
    assert set(right) == {0.0, 1.0}
    assert binomtest(int(right.sum()), len(right)).pvalue > 1e-3


@pytest.mark.whole
def test_no_calibration_saw_the_unit_it_predicts(done: StudySoFar) -> None:
    for run in done.runs:
        calibration = made(run.calibration)
        assert calibration.by == "unit"
        told = calibration.predict(run.decisions, made(done.trials).index)
        assert (told.fold >= 0).all()


@pytest.mark.whole
def test_folders_hold_what_they_should(done: StudySoFar) -> None:
    folder = done.plan.folder
    for name in ("ideal", *OBSERVERS):
        place = folder / "runs" / name
        record = json.loads((place / "run.json").read_text())
        assert record["observer"]["name"] == name
        assert record["simulated"] is True
        assert Calibration.read(place / "calibration.json").observer == name
        assert len(pd.read_parquet(place / "decisions.parquet")) == len(made(done.trials))
    assert json.loads((folder / "responses.json").read_text())["simulated"] is True


@pytest.mark.whole
def test_the_report_from_disk_is_the_report_of_the_run(done: StudySoFar, tmp_path: Path) -> None:
    page = write_page(read_report_data(done.plan.folder), tmp_path / "again.html")
    assert page.read_bytes() == made(done.page).read_bytes()


@pytest.mark.whole
def test_another_run_gives_the_same_page_and_another_seed_another(
    done: StudySoFar, tmp_path: Path
) -> None:
    again = run_study(Plan(tmp_path / "again", OBSERVERS, world=SMALL))
    assert made(again.page).read_bytes() == made(done.page).read_bytes()
    other = run_study(Plan(tmp_path / "other", ("chance",), world=SMALL, seed=1))
    assert made(other.trials).hash != made(done.trials).hash


@pytest.mark.whole
def test_two_processes_give_the_same_page_and_measure(tmp_path: Path) -> None:
    observers = ("ssim", *PARTS, "chance")
    one, two = (
        run_study(Plan(tmp_path / str(n), observers, world=SMALL, processes=n)) for n in (1, 2)
    )
    assert [run.name for run in two.runs] == ["ideal", *observers]
    assert made(two.page).read_bytes() == made(one.page).read_bytes()
    assert plain(two.told()) | {"report": ""} == plain(one.told()) | {"report": ""}
    told = [(study.plan.folder / "learned" / "learned.json").read_bytes() for study in (one, two)]
    assert told[0] == told[1]
    with pytest.raises(InputError, match="another run"):
        run_study(Plan(two.plan.folder, ("chance",), world=SMALL, seed=9, processes=2))


@pytest.mark.whole
def test_a_folder_with_other_runs_is_refused_without_force(done: StudySoFar) -> None:
    files = [path for path in done.plan.folder.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(InputError, match="another run"):
        run_study(Plan(done.plan.folder, ("chance",), world=SMALL, seed=9))
    files = [path for path in done.plan.folder.rglob("*") if path.is_file()]
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.whole
def test_an_observer_without_its_package_is_skipped_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, **options: object) -> None:
        raise MissingExtraError(f"the observer '{name}' needs the package 'torch'")

    monkeypatch.setattr("imi_bench.study.load_observer", missing)
    study = run_study(Plan(tmp_path, ("timm:any",), world=SMALL))
    assert [run.name for run in study.runs] == ["ideal"]
    assert "needs the package" in study.skipped["timm:any"]
    assert "Not run: timm:any" in made(study.page).read_text(encoding="utf-8")


@pytest.mark.whole
def test_a_step_before_its_time() -> None:
    with pytest.raises(InputError, match="a step before this one is missing"):
        STEPS[1].function(StudySoFar(Plan(Path("nowhere"), ())))


@pytest.mark.whole
@pytest.mark.slow
def test_the_whole_demo_orders_the_kinds_of_units(tmp_path: Path) -> None:
    """With all observers: single beats mixed beats noise for those above chance."""
    study = run_study(Plan(tmp_path, light_observers()))
    kinds = pd.Series([study.unit_notes[u].split(":")[0] for u in made(study.trials).index.unit_id])
    for run in study.runs:
        if run.name in ("classical", "hog", "ssim"):
            means = pd.Series(run.decisions.credit).groupby(kinds.to_numpy()).mean()
            assert means["planted single"] > means["planted mixed"] > means["planted noise"] - 0.05
    assert made(study.page).stat().st_size < 8_000_000


@pytest.mark.whole
@pytest.mark.vision
def test_a_small_network_encoder_joins_in(tmp_path: Path) -> None:
    study = run_study(Plan(tmp_path, ("timm:test_resnet?pretrained=false",), world=SMALL))
    assert study.skipped == {}
    assert "random weights, untrained" in made(study.page).read_text(encoding="utf-8")
    assert "torch" in sys.modules
