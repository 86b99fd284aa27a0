"""The tables: valid or not constructible, independent of order, blind where they must be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from support.made_trials import N_IMAGES, make_index, make_trials

from imi_bench.errors import InputError, TrialError
from imi_bench.glmm.tables import read_table
from imi_bench.provenance import write_table
from imi_bench.tables import (
    DecisionVariables,
    Responses,
    Study,
    TrialIndex,
    Trials,
    shown_first_is_positive,
    split_difficulty,
)
from imi_bench.tables.columns import column
from imi_bench.tables.images import Images


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("clip-resnet50_hard95", ("clip-resnet50", "hard95")),
        ("resnet50", ("resnet50", "easy")),
        ("a_hard85_hard99", ("a_hard85", "hard99")),
        ("_hard95", ("_hard95", "easy")),
        ("net_hard", ("net_hard", "easy")),
    ],
)
def test_split_difficulty(name: str, parts: tuple[str, str]) -> None:
    assert split_difficulty(name) == parts


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("mode", ["natural", "optimized"], r"unknown mode: trial 't1'.*'optimized'.*natural or"),
        ("difficulty", ["easy", "hard"], r"unknown difficulty: trial 't1'.*'hard'"),
        ("trial_id", ["a", "a"], r"not unique: 'a': found 2 rows"),
        ("unit", [1], r"unequal length"),
    ],
)
def test_an_invalid_index_does_not_exist(column: str, values: list[object], message: str) -> None:
    with pytest.raises(TrialError, match=message):
        make_index(2, **{column: values})


@pytest.mark.parametrize(
    "columns",
    [
        {"unit": [0.5, 1.0]},
        {"unit": [np.nan, 1.0]},
        {"unit": ["one", "two"]},
        {"catch": ["False", "True"]},
        {"catch": [0, 2]},
        {"batch": [None, 1]},
    ],
    ids=str,
)
def test_a_value_is_never_changed_to_fit(columns: dict[str, list[object]]) -> None:
    with pytest.raises(
        InputError,
        match=r"column of another type: (unit|batch|catch): found .*, wanted (int64|bool)",
    ):
        make_index(2, **columns)


# Nanoseconds with pandas 2, microseconds with pandas 3; bytes, lists and half of a complex number
# were read as numbers by some versions of NumPy.
@pytest.mark.parametrize(
    "seconds",
    [
        pd.to_timedelta([2, 3, 4], unit="s"),
        pd.to_datetime([2, 3, 4], unit="s"),
        np.array([pd.Timedelta(k, "s") for k in (2, 3, 4)], dtype=object),
        np.array([2 + 1j, 3, 4]),
        np.array([b"2", b"3", b"4"]),
        np.array([np.array([2.0]), np.array([3.0]), None], dtype=object),
    ],
    ids=lambda one: str(one.dtype),
)
def test_times_and_other_things_are_no_numbers(seconds: object) -> None:
    with pytest.raises(InputError, match=r"column of another type: .*found .*, wanted float64"):
        make_responses(seconds=seconds)


@pytest.mark.parametrize(
    "change",
    [
        {"unit": [True, False]},
        {"trial_id": pd.to_datetime([2, 3], unit="s")},
        {"trial_id": [b"a", b"b"]},
    ],
    ids=str,
)
def test_truths_are_no_units_and_times_no_names(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="column of another type"):
        make_index(2, **change)


def test_missing_numbers_are_nan_of_whatever_kind() -> None:
    frame = pd.DataFrame({"seconds": [1.5, None, 2.5]}).convert_dtypes()
    for seconds in (frame["seconds"], [1.5, None, 2.5], np.array([1.5, pd.NA, 2.5], dtype=object)):
        np.testing.assert_array_equal(make_responses(seconds=seconds).seconds, [1.5, np.nan, 2.5])


def test_two_columns_of_a_name_are_refused() -> None:
    frame = make_index(2).to_frame()
    with pytest.raises(TrialError, match="two columns of the same name: trial table: found unit"):
        TrialIndex.from_frame(pd.concat([frame, frame[["unit"]]], axis=1))


def test_numbers_that_mean_the_same_fit() -> None:
    index = make_index(2, unit=[0.0, 7.0], catch=[0, 1], batch=np.array([1, 2], dtype=object))
    assert index.unit.tolist() == [0, 7]
    assert index.catch.tolist() == [False, True]


def test_index_cannot_be_changed() -> None:
    index = make_index(2)
    with pytest.raises(ValueError, match="read-only"):
        index.unit[0] = 7


def test_index_round_trip_and_ids() -> None:
    index = make_index(4)
    again = TrialIndex.from_frame(index.to_frame())
    pd.testing.assert_frame_equal(again.to_frame(), index.to_frame())
    assert index.unit_id.tolist() == [
        "net/layer0/0",
        "net/layer1/0",
        "net/layer2/1",
        "net/layer0/1",
    ]
    assert index.condition_id[1] == "net/layer1/0/synthetic/easy"
    ids = TrialIndex.canonical_ids(index.to_frame().assign(catch=[True, False, False, False]))
    assert ids[0] == "net/layer0/0/natural/easy/1/catch"
    with pytest.raises(TrialError, match=r"missing columns.*wanted catch"):
        TrialIndex.from_frame(index.to_frame().drop(columns="catch"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": np.zeros((3, 2), int)}, "wrong shapes"),
        ({"queries": np.full((4, 2), 5)}, "two queries are the same image: trial 't0'"),
        ({"negative": np.full((4, 3), N_IMAGES)}, "row out of range.*to 40.*0 to 39"),
        ({"negative": np.full((4, 3), -1)}, "row out of range"),
        ({"query_activations": np.zeros(4)}, "wrong shape: query_activations"),
    ],
)
def test_invalid_trials_do_not_exist(change: dict[str, object], message: str) -> None:
    good = make_trials(4)
    fields = {
        name: getattr(good, name) for name in ("index", "images", "positive", "negative", "queries")
    }
    with pytest.raises(TrialError, match=message):
        Trials(**{**fields, **change})


@given(st.permutations(range(12)))
def test_hash_ignores_the_order_of_rows_and_images(order: list[int]) -> None:
    trials = make_trials()
    assert trials.take(np.array(order)).hash == trials.hash
    shuffle = np.random.default_rng(sum(order[:3])).permutation(N_IMAGES)
    images, _ = Images.collect([trials.images.sources[i] for i in shuffle])
    place = np.argsort(shuffle)
    moved = Trials(
        trials.index, images, place[trials.positive], place[trials.negative], place[trials.queries]
    )
    assert moved.hash == trials.hash


def test_hash_sees_every_part() -> None:
    trials = make_trials()
    swapped = Trials(
        trials.index, trials.images, trials.positive, trials.negative, trials.queries[:, ::-1]
    )
    unit = trials.index.unit.copy()
    unit[0] = 99
    renamed = make_index(12, unit=unit)
    other_unit = Trials(renamed, trials.images, trials.positive, trials.negative, trials.queries)
    hashes = {trials.hash, swapped.hash, other_unit.hash, trials.take(np.arange(11)).hash}
    assert len(hashes) == 4


def test_sides_by_hand() -> None:
    bit = hashlib.sha256(b"sides|7|net/unit").digest()[0] & 1 == 1
    assert shown_first_is_positive(["net/unit"], seed=7).tolist() == [bit]


@given(st.permutations(range(12)), st.integers(0, 5))
def test_sides_depend_on_neither_order_nor_company(order: list[int], seed: int) -> None:
    trials = make_trials()
    first = dict(
        zip(trials.index.trial_id, trials.blind(seed=seed).key.first_is_positive, strict=True)
    )
    few = trials.take(np.array(order[:5]))
    for trial, side in zip(
        few.index.trial_id, few.blind(seed=seed).key.first_is_positive, strict=True
    ):
        assert first[trial] == side


def test_sides_are_fair_and_follow_the_seed() -> None:
    ids = [f"net/layer/{i}/natural/easy/1" for i in range(4000)]
    one, two = (shown_first_is_positive(ids, seed=seed) for seed in (0, 1))
    assert binomtest(int(one.sum()), len(ids)).pvalue > 1e-4
    assert binomtest(int((one == two).sum()), len(ids)).pvalue > 1e-4


def test_blind_trials_show_the_same_pixels() -> None:
    trials = make_trials()
    blind = trials.blind(seed=3)
    assert blind.images.hashes.tolist() == sorted(trials.images.hashes)
    for row, positive_first in enumerate(blind.key.first_is_positive):
        shown = trials.queries[row] if positive_first else trials.queries[row][::-1]
        for ours, theirs in (
            (shown, blind.queries[row]),
            (trials.positive[row], blind.positive[row]),
            (trials.negative[row], blind.negative[row]),
        ):
            for one, other in zip(ours, theirs, strict=True):
                assert np.array_equal(trials.images.decode(one), blind.images.decode(other))


def test_an_observer_gets_no_key_and_no_names() -> None:
    shown = make_trials().blind(seed=0).without_key(slice(0, 2))
    assert shown.key is None
    assert len(shown) == 2
    assert shown.images.sources == ()


def decided(values: list[float], **columns: object) -> DecisionVariables:
    count = len(values)
    facts: dict[str, object] = {
        "trial_id": [f"t{i}" for i in range(count)],
        "decision_variable": values,
        "status": ["tie" if v == 0 else "error" if np.isnan(v) else "ok" for v in values],
        "shown_first": ["positive", "negative"] * (count // 2) + ["positive"] * (count % 2),
        "seconds": np.zeros(count),
    }
    return DecisionVariables("someone", **{**facts, **columns})


def test_credit_by_hand() -> None:
    decisions = decided([2.0, 2.0, -1.0, -1.0, 0.0, np.nan])
    assert decisions.toward_correct[:4].tolist() == [2, -2, -1, 1]
    assert decisions.credit.tolist() == [1, 0, 0, 1, 0.5, 0.5]
    assert decisions.answered.tolist() == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        ([1.0, np.inf], {"status": ["ok", "ok"]}, r"infinite.*trial 't1'"),
        ([1.0, 0.0], {"status": ["ok", "ok"]}, "status tie exactly where"),
        ([1.0, 2.0], {"status": ["ok", "tie"]}, "status tie exactly where"),
        ([1.0, 2.0], {"status": ["ok", "refused"]}, "a number where the status is ok"),
        ([1.0, np.nan], {"status": ["ok", "ok"]}, "a number where the status is ok"),
        ([1.0, 2.0], {"status": ["ok", "fine"]}, "unknown status"),
        ([1.0, 2.0], {"shown_first": ["left", "positive"]}, "unknown shown_first"),
        ([1.0, 2.0], {"trial_id": ["a", "a"]}, "repeated trial_id"),
        ([1.0, 2.0], {"seconds": [0.0]}, "unequal length"),
    ],
)
def test_invalid_decisions_do_not_exist(
    values: list[float], columns: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        decided(values, **columns)


@settings(max_examples=15)
@given(
    st.lists(
        st.one_of(st.just(0.0), st.just(np.nan), st.floats(-1e6, 1e6, allow_subnormal=True)),
        min_size=1,
        max_size=12,
    )
)
def test_decisions_round_trip(values: list[float]) -> None:
    key = make_trials(len(values)).blind(seed=0).key
    decisions = DecisionVariables.from_values(np.array(values), observer="someone", key=key)
    again = DecisionVariables.from_frame(decisions.to_frame())
    pd.testing.assert_frame_equal(again.to_frame(), decisions.to_frame())


def test_decisions_from_disk(tmp_path: Path) -> None:
    decisions = decided([1.0, np.nan, 0.0])
    decisions.to_frame().to_parquet(tmp_path / "decisions.parquet", index=False)
    again = DecisionVariables.read(tmp_path)
    pd.testing.assert_frame_equal(again.to_frame(), decisions.to_frame())
    with pytest.raises(InputError, match="no decisions"):
        DecisionVariables.read(tmp_path / "nowhere")
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(InputError, match="not a Parquet file"):
        DecisionVariables.read(tmp_path / "bad.parquet")
    two = pd.concat([decisions.to_frame(), decisions.to_frame().assign(observer="other")])
    with pytest.raises(InputError, match="one observer"):
        DecisionVariables.from_frame(two)


def make_responses(**columns: object) -> Responses:
    facts: dict[str, object] = {
        "trial_id": ["t0", "t1", "t0"],
        "participant": ["a", "a", "b"],
        "correct": [True, False, True],
        "chose_first": [1, 0, np.nan],
        "confidence": [3, 1, np.nan],
        "seconds": [1.0, 2.0, np.nan],
    }
    return Responses(**{**facts, **columns}, simulated=True, source="a test")


def test_study_joins_answers_to_their_trials() -> None:
    study = Study(make_index(2), make_responses())
    assert study.rows.tolist() == [0, 1, 0]
    frame = study.to_frame()
    assert frame["unit_id"].tolist() == ["net/layer0/0", "net/layer1/0", "net/layer0/0"]
    assert frame["participant"].tolist() == ["a", "a", "b"]


def test_study_hash_ignores_order() -> None:
    study = Study(make_index(2), make_responses())
    again = Study(make_index(2).take(np.array([1, 0])), make_responses().take(np.array([2, 0, 1])))
    assert again.hash == study.hash
    assert Study(make_index(2), make_responses(correct=[True, True, True])).hash != study.hash


def test_invalid_answers_do_not_exist() -> None:
    with pytest.raises(InputError, match=r"duplicate answer.*'a' twice on 't0'"):
        make_responses(participant=["a", "a", "a"])
    with pytest.raises(InputError, match=r"not in the study.*'t1'"):
        Study(make_index(1), make_responses())


def test_names_that_only_spaces_tell_apart_are_refused() -> None:
    with pytest.raises(InputError, match="participant: found 'p1' and 'p1 '"):
        column(np.array(["p1", "p2", "p1 "], dtype=object), str, name="participant")
    assert len(column(np.array(["p1 ", "p1 "], dtype=object), str)) == 2


@pytest.mark.parametrize("name", ["t.xlsx", "t.json", "t", "t.csv.gz", "t.html", "t.tex", "t.txt"])
def test_a_table_is_written_as_its_name_says_or_not_at_all(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a name that ends in \.csv, \.tsv or \.parquet"):
        write_table(tmp_path / name, pd.DataFrame({"a": [1]}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.parquet", "t.PARQUET"])
def test_what_was_written_as_a_table_is_read_again(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.25], "b": ["x, y", "z"], "c": [True, False]})
    write_table(tmp_path / name, frame)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("confidence", 0.0, "confidence, row 1 .*found 0, wanted 1 to 3"),
        ("confidence", 6.0, "wanted 1 to 3"),
        ("seconds", -1.0, "seconds, row 1"),
        ("seconds", np.inf, "seconds, row 1"),
    ],
)
def test_confidence_and_seconds_that_cannot_be(name: str, value: float, message: str) -> None:
    columns = {
        "trial_id": ["t1", "t2"],
        "participant": ["p", "p"],
        "correct": [True, False],
        "chose_first": np.full(2, np.nan),
        "confidence": np.full(2, np.nan),
        "seconds": np.full(2, np.nan),
    }
    Responses(**columns, simulated=True, source="by hand")
    with pytest.raises(InputError, match=message):
        Responses(**{**columns, name: np.array([np.nan, value])}, simulated=True, source="by hand")


@pytest.mark.parametrize("wrong", ["unit > 3 and mode", "not mode", "unit & catch", "~layer"])
def test_text_is_no_condition(wrong: str) -> None:
    trials = make_trials()
    with pytest.raises(TrialError, match="expression cannot be evaluated"):
        trials.query(wrong)
    least = int(trials.index.unit.min())
    found = trials.query(f"unit == {least} & not catch | unit < {least}")
    assert found.index.unit.tolist() == [least] * len(found)
    assert len(found) > 0
