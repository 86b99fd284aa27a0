"""Reports on one's own runs: beside people's answers, over several, after a move, and refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.small_study import SmallStudy

import imi_bench as imi
from imi_bench.errors import ImageError, InputError, NotComparableError
from imi_bench.replay.output import read_run
from imi_bench.report.reading import read_report_data
from imi_bench.tables import Study


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, shared_study: SmallStudy) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for name in ("trials", "people"):
        shutil.copytree(shared_study.folder / name, folder / name)
    for name in ("pixel-l2", "chance"):
        shutil.copytree(shared_study.folder / name, folder / "runs" / name)
    return folder


@pytest.mark.whole
def test_people_stand_beside_ones_own_observers(work: Path, tmp_path: Path) -> None:
    page = imi.report(work / "runs", responses=work / "people", out=tmp_path / "page.html")
    assert [run.name for run in page.exhibit.machines] == ["pixel-l2"]
    text = page.path.read_text(encoding="utf-8")
    assert "Simulated panel" in text
    assert "Agreement with the panel" in text
    for run in page.exhibit.runs:
        assert run.calibration is not None
    mine = imi.score(work / "runs" / "pixel-l2", work / "people")
    assert f"{mine.scores['unit_pearson'].estimate.value:.3f}" in text


@pytest.mark.whole
def test_without_answers_the_page_says_how_to_add_them(work: Path, tmp_path: Path) -> None:
    both = [work / "runs" / name for name in ("pixel-l2", "chance")]
    page = imi.report(both, out=tmp_path / "page.html")
    text = page.path.read_text(encoding="utf-8")
    assert "No human answers were given" in text
    assert "<code>imi-bench report RUN --responses FILE</code>" in text


@pytest.mark.whole
def test_two_versions_of_one_observer_are_named_by_their_folders(
    work: Path, tmp_path: Path
) -> None:
    for name in ("v1", "v2"):
        shutil.copytree(work / "runs" / "pixel-l2", tmp_path / name)
    data = read_report_data([tmp_path / "v1", tmp_path / "v2"])
    assert [run.name for run in data.machines] == ["pixel-l2 (v1)", "pixel-l2 (v2)"]


@pytest.mark.whole
def test_answers_to_other_trials_are_refused(work: Path) -> None:
    people = imi.read_answers(work / "people")
    index = people.trials
    other = replace(index, trial_id=[f"other-{name}" for name in index.trial_id])
    answers = replace(
        people.responses, trial_id=[f"other-{name}" for name in people.responses.trial_id]
    )
    with pytest.raises(NotComparableError, match="the answers are to other trials"):
        read_report_data(work / "runs" / "chance", responses=Study(other, answers))


@pytest.mark.whole
def test_a_folder_of_another_kind_is_sent_to_its_verb(work: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="imi-bench run --trials"):
        read_report_data(work / "trials")
    with pytest.raises(InputError, match="responses="):
        read_report_data(work / "people")
    with pytest.raises(InputError, match="nothing to report on"):
        read_report_data(tmp_path)


@pytest.mark.whole
def test_a_run_and_its_trials_find_each_other_after_a_move(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "before" / "all")
    trials, out = tmp_path / "before" / "all" / "trials", tmp_path / "before" / "all" / "own"
    imi.answer("chance", trials, out=out)
    (tmp_path / "before").rename(tmp_path / "after")
    moved = tmp_path / "after" / "all"
    assert len(read_run(moved / "own").decisions)
    (moved / "trials").rename(tmp_path / "elsewhere")
    with pytest.raises((InputError, ImageError), match="trials="):
        read_run(moved / "own")
    again = read_run(moved / "own", trials=tmp_path / "elsewhere")
    assert again.trials.hash == again.record["trials"]["hash"]
