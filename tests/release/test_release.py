"""Reading the released table: conversions by hand, every expectation broken once, many at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imi_bench.effects.study import catch_lapse
from imi_bench.errors import InputError, NotEnoughDataError, ResponseError
from imi_bench.release.cells import REQUIRED
from imi_bench.release.published import Condition
from imi_bench.release.study_files import read_answers
from imi_bench.release.table import ReleasedTable, inspect_release, read_release, read_responses
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release

CONDITIONS = (
    Condition("resnet50", "natural"),
    Condition("clip-resnet50", "natural", "hard95"),
    Condition("resnet50", "synthetic"),
)


def row(**changes: object) -> dict:
    """A correct answer with the upper row: the maximal query was on top."""
    return {
        "rt": 2500.0,
        "button_pressed": 2,
        "switched_queries": True,
        "confidence": 3,
        "choice": "b",
        "correct": True,
        "catch_trial": False,
        "is_demo": False,
        "participant_id": "P0001",
        "batch": 3,
        "channel": 7,
        "layer": "layer1_0_conv1",
        "mode": "natural",
        "model": "resnet50",
        "passed_checks": True,
        "multi_participation": False,
        **changes,
    }


CATCH = {
    "catch_trial": True,
    "batch": -1,
    "mode": "catch_trial",
    "model": "catch/manual",
    "layer": "manual_4c_0_4",
    "channel": 1,
}
PRACTICE = {"is_demo": True, "batch": "", "mode": "", "model": "", "layer": "", "channel": ""}


def write(path: Path, *rows: dict) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = simulate_release(ReleaseParameters(SimulationParameters(CONDITIONS)), seed=7)
    return write_release(release, tmp_path_factory.mktemp("release") / "responses_all.csv")[0]


# ---------------------------------------------------------------------------- what it becomes


def test_conversions_by_hand(tmp_path: Path) -> None:
    path = write(
        tmp_path / "responses_main.csv",
        row(),
        row(
            mode="optimized",
            model="clip-resnet50_hard95",
            switched_queries=False,
            button_pressed=4,
            confidence=2,
            rt="",
        ),
        row(participant_id="P0002", choice="a", correct=False, button_pressed=5, rt=1000),
        row(**CATCH),
        row(**PRACTICE),
        row(participant_id="P0003", passed_checks=False),
        row(participant_id="P0004", multi_participation=True),
    )
    study = read_responses(path)
    frame = study.to_frame().sort_values("trial_id", kind="stable").reset_index(drop=True)
    assert frame["trial_id"].tolist() == [
        "clip-resnet50/layer1_0_conv1/7/synthetic/hard95/3",
        *["resnet50/layer1_0_conv1/7/natural/easy/3"] * 2,
    ]
    assert frame["chose_first"].tolist() == [0.0, 1.0, 0.0]
    assert frame["correct"].tolist() == [True, True, False]
    assert frame["confidence"].tolist() == [2.0, 3.0, 3.0]
    np.testing.assert_array_equal(frame["seconds"], [np.nan, 2.5, 1.0])
    assert not study.responses.simulated
    assert study.responses.source == "answers of responses_main.csv"
    assert len(study.trials) == 2
    table = read_release(path)
    assert (len(table), table.main.sum()) == (7, 5)


def test_catch_and_practice_rows_are_no_answers_on_a_unit(tmp_path: Path) -> None:
    table = read_release(write(tmp_path / "r.csv", row(), row(**CATCH)))
    with pytest.raises(ResponseError, match="catch and practice trials are not answers"):
        table.study(np.array([True, True]))


@pytest.mark.whole
def test_order_of_columns_and_rows_and_more_columns_do_not_matter(simulated: Path) -> None:
    frame = pd.read_csv(simulated, dtype=str, keep_default_na=False)
    mixed = frame.sample(frac=1, random_state=1)[sorted(frame.columns, reverse=True)]
    mixed["another"] = "x, y"
    other = simulated.with_name("mixed.csv")
    mixed.to_csv(other, index=False)
    assert read_responses(other).hash == read_responses(simulated).hash


def test_only_columns_in_use_are_required(simulated: Path) -> None:
    frame = pd.read_csv(simulated, dtype=str, keep_default_na=False)
    few = simulated.with_name("few.csv")
    frame[list(REQUIRED)].to_csv(few, index=False)
    table = read_release(few)
    assert len(table.study().responses) == len(CONDITIONS) * 63 * 40
    assert not table.simulated  # neither `stimulus` nor a truth file is there any more


def test_agrees_with_pandas(simulated: Path) -> None:
    frame = pd.read_csv(simulated)
    kept = frame[frame["passed_checks"] & ~frame["multi_participation"]]
    kept = kept[~kept["catch_trial"] & ~kept["is_demo"]]
    expected = kept.groupby(["model", "mode", "layer", "channel"])["correct"].mean()
    ours = read_responses(simulated).to_frame()
    means = ours.groupby(["network", "difficulty", "mode", "layer", "unit"])["correct"].mean()
    assert len(ours) == len(kept)
    np.testing.assert_allclose(np.sort(means), np.sort(expected))
    np.testing.assert_allclose(ours["seconds"].sum(), kept["rt"].sum() / 1000)


def test_truth_file_beside_it_marks_a_table_as_simulated(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", row())
    assert not read_release(path).simulated
    (tmp_path / "r.truth.json").write_text('{"simulated": true}')
    assert read_release(path).study().responses.simulated
    (tmp_path / "r.truth.json").write_text("{")
    with pytest.raises(ResponseError, match="unreadable truth file"):
        read_release(path)


def test_whole_floats_are_integers(tmp_path: Path) -> None:
    table = read_release(write(tmp_path / "r.csv", row(channel="7.0", batch="3.0")))
    assert table.study().trials.unit.tolist() == [7]


# ---------------------------------------------------------------------------- what it refuses

BROKEN = {
    "unknown network": (row(model="resnet51"), "model", "'resnet51'"),
    "unknown difficulty suffix": (row(model="resnet50_hard42"), "model", "'resnet50_hard42'"),
    "not a boolean": (row(correct="yes"), "correct", "'yes'"),
    "out of range": (row(batch=11), "batch", "'11'"),
    "main trial with a batch out of range": (row(batch=-1), "batch", "-1.0"),
    "not an integer": (row(channel="7.5"), "channel", "'7.5'"),
    "not a number": (row(rt="fast"), "rt", "'fast'"),
    "impossible response time": (row(rt=-1), "rt", "-1.0"),
    "unknown choice": (row(choice="c"), "choice", "'c'"),
    "unknown mode": (row(mode="synthetic"), "mode", "'synthetic'"),
    "contradicts 'choice'": (row(correct=False), "correct", "False"),
    "contradicts 'choice' and 'switched_queries'": (row(button_pressed=4), "button_pressed", "4.0"),
    "empty cell": (row(confidence=""), "confidence", ""),
    "catch trial with another value": (row(**{**CATCH, "batch": 3}), "batch", "3"),
    "duplicate answer": (row(participant_id="P0009", confidence=1), "participant_id", "'P0009'"),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_each_broken_expectation_is_reported(problem: str, tmp_path: Path) -> None:
    bad, column, example = BROKEN[problem]
    good = [row(participant_id=f"P{i:04}") for i in range(5, 10)]
    path = write(tmp_path / "r.csv", *good, {**bad, "participant_id": "P0009"}, row())
    if problem != "duplicate answer":
        path = write(tmp_path / "r.csv", *good, bad, row(participant_id="P0010"))
    table = inspect_release(path)
    found = {(v.problem, v.column): v for v in table.violations}
    violation = found[problem, column]
    assert violation.rows.tolist() == [6]
    if example:
        assert violation.example == example
    with pytest.raises(ResponseError) as caught:
        read_release(path)
    assert f"{problem} in '{column}' (1 row: 6" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert table.skipped == 1
    assert 6 not in table.frame["row"].tolist()


def test_all_of_them_in_one_report(tmp_path: Path) -> None:
    rows = [row(participant_id=f"P{i:04}") for i in range(20)]
    for i in (1, 5, 9):
        rows[i]["model"] = "alexnet"
    rows[2]["correct"] = "TRUE"
    rows[3]["button_pressed"] = 6
    path = write(tmp_path / "r.csv", *rows)
    with pytest.raises(ResponseError) as caught:
        read_release(path)
    message = str(caught.value)
    assert "3 rows: 2, 6, 10" in message
    assert "not a boolean in 'correct' (1 row: 3; such as 'TRUE')" in message
    assert "out of range in 'button_pressed' (1 row: 4; such as '6')" in message
    assert "imi-bench data verify" in message
    table = inspect_release(path)
    assert (len(table), table.skipped) == (15, 5)
    assert len(table.study().responses) == 15


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    frame = pd.DataFrame([row()]).drop(columns=["correct", "batch"])
    frame.to_csv(tmp_path / "r.csv", index=False)
    with pytest.raises(ResponseError, match=r"missing columns.*wanted correct, batch"):
        inspect_release(tmp_path / "r.csv")


def test_rows_with_too_few_or_too_many_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", *(row(participant_id=f"P{i}", batch=i) for i in range(1, 5)))
    lines = path.read_text().splitlines()
    lines[2] += ",surplus"
    lines[4] = lines[4].replace("natural", "unnatural")
    path.write_text("\n".join(lines) + "\n")
    table = inspect_release(path)
    found = {v.problem: v.rows.tolist() for v in table.violations}
    assert found == {"wrong number of fields": [2], "unknown mode": [4]}
    assert table.skipped == 2
    assert table.frame["row"].tolist() == [1, 3]


def test_a_row_with_too_many_fields_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    """Arrow cannot tell of such a row, and would print a traceback of its own."""
    path = write(tmp_path / "r.csv", row(), row())
    path.write_bytes(path.read_bytes().rstrip() + b",\x8f,more\n")
    with pytest.raises(ResponseError, match=r"^not a CSV table: .*can't decode byte 0x8f"):
        inspect_release(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.pd.pkl", b"anything", "pickle is never opened"),
        ("r.csv", b"\x80\x04\x95", "pickle is never opened"),
        ("r.csv", b"", "missing columns.*found an empty file"),
        ("r.csv", b"a,b,a\n1,2,3\n", "column named twice.*found a"),
        ("r.csv", b"\xff\xfe\x00", "not a CSV table"),
        ("r.csv", b"<html>not here</html>", "missing columns"),
    ],
)
def test_files_that_are_no_table(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ResponseError, match=message):
        read_release(tmp_path / name)


def test_broken_bytes_further_down(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", row(), row(participant_id="P0002"))
    path.write_bytes(path.read_bytes().replace(b"P0002", b"P\xff02"))
    with pytest.raises(ResponseError, match="not a CSV table"):
        read_release(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ResponseError, match=r"no table of answers.*imi-bench data fetch"):
        read_responses(tmp_path / "responses_main.csv")


def test_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    pd.DataFrame([row()]).iloc[:0].to_csv(tmp_path / "r.csv", index=False)
    table = read_release(tmp_path / "r.csv")
    assert isinstance(table, ReleasedTable)
    assert len(table) == 0


def test_people_with_several_experiments_may_meet_a_trial_again(tmp_path: Path) -> None:
    twice = [
        row(multi_participation=True, task_id=f"natural-{i}", response_index=0) for i in (1, 2)
    ]
    assert not inspect_release(write(tmp_path / "r.csv", *twice)).violations
    again = {**twice[0], "task_id": "natural-2"}
    table = inspect_release(write(tmp_path / "r.csv", *twice, again))
    assert [v.problem for v in table.violations] == ["duplicate answer"]


def test_hash_depends_on_answers_alone(tmp_path: Path) -> None:
    first = read_responses(write(tmp_path / "a.csv", row(), row(participant_id="P0002")))
    moved = read_responses(write(tmp_path / "b.csv", row(participant_id="P0002"), row()))
    other = read_responses(write(tmp_path / "c.csv", row(), row(participant_id="P0002", rt=2501)))
    assert first.hash == moved.hash != other.hash


def test_the_study_knows_how_its_people_answered_catch_trials(simulated: Path) -> None:
    study = read_responses(simulated)
    rows = pd.read_csv(simulated)
    kept = rows["participant_id"].isin(set(study.responses.participant))
    caught = rows[kept & rows["catch_trial"] & ~rows["is_demo"]]
    assert len(caught) > 100
    assert study.catch_answers == (int((~caught["correct"]).sum()), len(caught))
    rate, count = catch_lapse(study)
    assert (rate, count) == (2 * float((~caught["correct"]).mean()), len(caught))
    with pytest.raises(NotEnoughDataError, match="no catch trials"):
        catch_lapse(replace(study, catch_answers=None))


def test_spaces_around_a_name_do_not_make_another_person_or_layer(tmp_path: Path) -> None:
    for column in ("participant_id", "layer"):
        table = pd.DataFrame([row(), row(channel=8)])
        table.loc[1, column] += " "
        table.to_csv(tmp_path / "table.csv", index=False)
        with pytest.raises(ResponseError, match=rf"spaces around a name in '{column}' \(1 row: 2"):
            read_release(tmp_path / "table.csv")


@pytest.mark.parametrize(("times", "fine"), [((2.5, 3.1), False), ((0, 2500), True)])
def test_times_in_seconds_are_not_taken_for_milliseconds(
    times: tuple[float, float], fine: bool, tmp_path: Path
) -> None:
    table = pd.DataFrame([row(rt=rt, channel=k) for k, rt in enumerate(times)])
    table.to_csv(tmp_path / "table.csv", index=False)
    found = [str(one) for one in inspect_release(tmp_path / "table.csv").violations]
    assert (not found) if fine else ("no times in milliseconds" in found[0])


def test_semicolons_get_their_remedy(tmp_path: Path) -> None:
    pd.DataFrame([row()]).to_csv(tmp_path / "table.csv", index=False, sep=";")
    with pytest.raises(ResponseError, match="save it with commas"):
        read_release(tmp_path / "table.csv")


def test_milliseconds_are_not_taken_for_seconds() -> None:
    facts = {"network": "net", "layer": "a", "unit": 1, "mode": "natural", "difficulty": "easy"}
    table = pd.DataFrame(
        [{**facts, "batch": k, "trial_id": f"t{k}", "participant": "p"} for k in range(3)]
    ).assign(catch=False, correct=True, seconds=[900.0, 2.5, 3.0])
    assert len(read_answers(table).responses) == 3
    with pytest.raises(InputError, match="can only be milliseconds"):
        read_answers(table.assign(seconds=[900.0, 2500.0, 3000.0]))
