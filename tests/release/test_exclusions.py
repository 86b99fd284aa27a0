"""Exclusion rules: each criterion by hand, its edge, and the release's own verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imi_bench.errors import InputError, ResponseError
from imi_bench.release.assignments import Measures, measure
from imi_bench.release.exclusions import Rules, agreement, exclude
from imi_bench.release.published import Condition
from imi_bench.release.table import ReleasedTable, read_release
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release

CONDITIONS = (
    Condition("resnet50", "natural"),
    Condition("resnet50", "synthetic"),
    Condition("googlenet", "natural"),
    Condition("clip-resnet50", "natural", "hard85"),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    release = simulate_release(ReleaseParameters(SimulationParameters(CONDITIONS)), seed=2)
    return write_release(release, tmp_path_factory.mktemp("release") / "responses_all.csv")[0]


@pytest.fixture(scope="module")
def table(path: Path) -> ReleasedTable:
    return read_release(path)


@pytest.fixture(scope="module")
def measures(table: ReleasedTable) -> Measures:
    return measure(table)


def assignment(
    *,
    catch_right: int = 5,
    lower: int = 20,
    total: float | None = 600.0,
    instruction: float | None = 40.0,
    attempts: int = 1,
    person: str = "P0001",
    multiple: bool = False,
    task: str = "natural-1",
    practice_rows: bool = True,
) -> list[dict]:
    """One person's rows, 40 main and 5 catch, in the upper row except `lower` of them."""
    rows: list[dict] = []
    printed = {
        "total_response_time_details": "" if total is None else str({"total_time": total}),
        "instruction_time_details": "" if instruction is None else str({"total_time": instruction}),
        "demo_trials_details": str({"n_demo_trials_blocks": attempts}),
    }
    for i in range(45):
        catch, correct = i >= 40, i < 40 or i - 40 < catch_right
        upper = i >= lower
        rows.append(
            {
                "rt": 1000,
                "button_pressed": 0 if upper else 3,
                "confidence": 1,
                "switched_queries": upper == correct,
                "choice": "b" if correct else "a",
                "correct": correct,
                "catch_trial": catch,
                "is_demo": False,
                "participant_id": person,
                "task_id": task,
                "response_index": 0,
                "batch": -1 if catch else 1,
                "channel": i,
                "layer": "layer1_0_conv1",
                "mode": "catch_trial" if catch else "natural",
                "model": "catch/manual" if catch else "resnet50",
                "trial_index": 100 + i,
                "time_elapsed": 10_000 + 5_000 * i,
                "passed_checks": True,
                "multi_participation": multiple,
                **printed,
            }
        )
    for attempt in range(attempts if practice_rows else 0):
        for i in range(4):
            empty = dict.fromkeys(("batch", "channel", "layer", "mode", "model"), "")
            rows.append(
                {
                    **rows[0],
                    **empty,
                    "is_demo": True,
                    "trial_index": 4 + 6 * attempt + i,
                    "time_elapsed": 9_000,
                }
            )
    return rows


def read(tmp_path: Path, *rows: list[dict]) -> ReleasedTable:
    pd.DataFrame([one for part in rows for one in part]).to_csv(tmp_path / "r.csv", index=False)
    return read_release(tmp_path / "r.csv")


# ---------------------------------------------------------------------------- by hand


def test_measures_by_hand(tmp_path: Path) -> None:
    table = read(tmp_path, assignment(catch_right=3, lower=11, attempts=2, total=700.5))
    values = measure(table).frame.iloc[0]
    assert values["catch_ratio"] == pytest.approx(3 / 5)
    assert values["row_min"] == 11
    assert values["total_time"] == 700.5
    assert values["instruction_time"] == 40
    assert values["demo_attempts"] == 2


def test_without_practice_rows_the_details_count_attempts(tmp_path: Path) -> None:
    table = read(tmp_path, assignment(attempts=3, practice_rows=False))
    assert measure(table).frame["demo_attempts"].tolist() == [3]


def test_without_details_the_clock_of_the_rows_is_a_lower_bound(tmp_path: Path) -> None:
    # From the practice trials at 9 s to the last answer at 10 + 5 * 44 = 230 s.
    table = read(tmp_path, assignment(total=None))
    assert measure(table).frame["total_time"].tolist() == [221.0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"catch_right": 4}, None),
        ({"catch_right": 3}, "catch ratio"),
        ({"lower": 5}, None),
        ({"lower": 4}, "row min"),
        ({"lower": 40}, None),
        ({"lower": 41}, "row min"),
        ({"total": 135.0}, None),
        ({"total": 134.9}, "total time"),
        ({"total": 2500.0}, None),
        ({"total": 2500.1}, "total time"),
        ({"instruction": 15.0}, None),
        ({"instruction": 14.9}, "instruction time"),
        ({"instruction": 180.1}, "instruction time"),
        ({"attempts": 3}, None),
        ({"attempts": 4}, "demo attempts"),
        ({"multiple": True}, "multiple participation"),
    ],
)
def test_published_rules_at_their_edges(changes: dict, reason: str | None, tmp_path: Path) -> None:
    excluded = exclude(read(tmp_path, assignment(**changes)))
    assert excluded.reasons_of(0) == ((reason,) if reason else ())
    assert excluded.kept.sum() == (0 if reason else 40)


def test_catch_and_practice_rows_have_that_reason(tmp_path: Path) -> None:
    excluded = exclude(read(tmp_path, assignment()))
    assert excluded.reasons_of(44) == ("catch trial",)
    assert excluded.reasons_of(45) == ("practice trial",)
    counts = excluded.to_frame().set_index("reason")
    assert counts.loc["catch trial", "rows"] == 5
    assert counts.loc["practice trial", "rows_only"] == 4
    assert counts.loc["catch ratio", "participants"] == 0


def test_a_part_of_a_table_is_judged_by_what_is_printed(
    path: Path, measures: Measures, tmp_path: Path
) -> None:
    assert not measures.frame["in_part"].any()
    head = pd.read_csv(path, dtype=str, keep_default_na=False, nrows=3_000)
    main = head[(head["catch_trial"] == "False") & (head["is_demo"] == "False")]
    main.iloc[::3].to_csv(tmp_path / "part.csv", index=False)
    part = measure(read_release(tmp_path / "part.csv")).frame
    assert part["in_part"].all()
    assert len(part) > 50
    names = ["row_min", "catch_ratio", "demo_attempts", "total_time", "instruction_time"]
    whole = measures.frame[names].head(len(part))
    pd.testing.assert_frame_equal(part[names], whole, check_dtype=False)


def test_unreadable_details_drop_as_unknown_and_are_counted(tmp_path: Path) -> None:
    rows = assignment(person="P0002")
    for one in rows:
        one["instruction_time_details"] = "__import__('os').getcwd()"
    table = read(tmp_path, assignment(), rows)
    measures = measure(table)
    assert measures.unreadable == {"instruction_time_details": 1}
    excluded = exclude(table, measures=measures)
    assert excluded.kept.sum() == 40
    assert excluded.reasons_of(49) == ("instruction time unknown",)


def test_rule_that_nothing_can_judge(tmp_path: Path) -> None:
    table = read(tmp_path, assignment(instruction=None))
    with pytest.raises(ResponseError, match=r"instruction_time cannot be judged.*leave this rule"):
        exclude(table)
    lenient = Rules.published().with_(instruction_time=(None, None))
    assert exclude(table, lenient).kept.sum() == 40


def test_same_task_name_in_two_experiments_is_two_assignments(tmp_path: Path) -> None:
    other = assignment(total=500.0, catch_right=2, multiple=True)
    for one in other:
        one["model"] = "googlenet" if one["model"] == "resnet50" else one["model"]
    table = read(tmp_path, assignment(multiple=True), other)
    assert measure(table).frame["catch_ratio"].tolist() == [1.0, 0.4]


def test_second_answer_to_a_trial_is_dropped(tmp_path: Path) -> None:
    table = read(
        tmp_path, assignment(multiple=True), assignment(multiple=True, task="natural-2", total=500)
    )
    excluded = exclude(table, Rules.published().with_(drop_multiple=False))
    assert excluded.kept.sum() == 40
    assert excluded.reasons_of(49) == ("repeated answer",)
    table.study(excluded.kept)


def test_no_catch_trials_passes_as_in_the_release(tmp_path: Path) -> None:
    table = read(tmp_path, [one for one in assignment() if not one["catch_trial"]])
    assert exclude(table).kept.sum() == 40


def test_unknown_rule() -> None:
    with pytest.raises(InputError, match="unknown rule"):
        Rules().with_(catch=1)


# ---------------------------------------------------------------------------- whole tables


def test_recomputed_rules_are_the_released_ones(table: ReleasedTable) -> None:
    np.testing.assert_array_equal(exclude(table).kept, table.kept_as_released)
    for one in agreement(measure(table)):
        assert (one.disagree, one.unknown) == (0, 0)
        assert one.both_pass > 0
        assert one.both_fail > 0


@pytest.mark.whole
def test_disagreement_is_seen(path: Path) -> None:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    once = (frame["passed_checks"] == "True") & (frame["multi_participation"] == "False")
    person = frame.loc[once, "participant_id"].iloc[0]
    frame.loc[frame["participant_id"] == person, ["passed_checks", "catch_trials_result"]] = "False"
    other = path.with_name("changed.csv")
    frame.to_csv(other, index=False)
    changed = {one.criterion: one for one in agreement(measure(read_release(other)))}
    assert changed["catch_ratio"].only_recomputed == 1
    assert changed["passed_checks"].only_recomputed == 1
    assert changed["row_min"].disagree == 0


bound = st.one_of(st.none(), st.floats(0, 60))


@given(
    st.one_of(st.none(), st.floats(0, 1)),
    bound,
    bound,
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 5)),
)
@settings(max_examples=25, deadline=None)
def test_kept_and_dropped_are_everything(
    table: ReleasedTable,
    measures: Measures,
    catch: float | None,
    row: float | None,
    short: float | None,
    multiple: bool,
    attempts: int | None,
) -> None:
    rules = Rules(catch, row, (None, None), (short, None), attempts, multiple)
    excluded = exclude(table, rules, measures=measures)
    dropped = excluded.why.any(axis=1)
    np.testing.assert_array_equal(excluded.kept, ~dropped)
    assert excluded.kept.sum() + dropped.sum() == len(table)
    # A laxer rule keeps at least as much, but for second answers to a trial.
    laxer = exclude(table, rules.with_(catch_ratio=None), measures=measures)
    repeated = laxer.why[:, laxer.reasons.index("repeated answer")]
    assert (laxer.kept | repeated)[excluded.kept].all()
