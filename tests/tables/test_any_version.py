"""Old and new versions of pandas and NumPy read the same tables, or refuse them alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.made_trials import make_index

from imi_bench.errors import InputError, ResponseError
from imi_bench.glmm import fit
from imi_bench.glmm.tables import read_table
from imi_bench.release.cells import REQUIRED
from imi_bench.release.study_files import read_answers
from imi_bench.release.table import read_responses
from imi_bench.scores.strata import read_columns
from imi_bench.stimuli.trial_table import read_index
from imi_bench.tables import TrialIndex
from imi_bench.tables.csv_files import read_csv

TORN = ["a\0", "a\0b", "\ud800", "ü\0"]


@pytest.mark.parametrize("bad", TORN)
@pytest.mark.parametrize("column", ["trial_id", "network", "layer", "mode"])
def test_no_table_of_trials_holds_it(column: str, bad: str) -> None:
    frame = make_index(2).to_frame().astype({column: object})
    frame.loc[1, column] = frame.loc[0, column] + bad
    with pytest.raises(InputError, match="a NUL or half a character: found"):
        TrialIndex.from_frame(frame)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_name_is_no_name(missing: object) -> None:
    """Otherwise all people without one would be one person, called nan."""
    frame = make_index(2).to_frame().astype({"network": object})
    frame.loc[1, "network"] = missing
    with pytest.raises(InputError, match=r"text: network, row 1 \(1 such row\)"):
        TrialIndex.from_frame(frame)


def test_no_answer_is_dropped_as_if_it_stood_twice() -> None:
    index = make_index(1).to_frame().astype({"network": object})
    answers = pd.concat([index, index.assign(network=index["network"] + "\0")])
    answers = answers.assign(participant=["p", "p\0"], correct=True)
    with pytest.raises(InputError, match="a NUL or half a character"):
        read_answers(answers)


@pytest.mark.parametrize("bad", TORN)
@pytest.mark.parametrize("formula", ["y ~ f + (1 | g)", "y ~ 1 + (1 | f)"])
def test_no_level_of_a_factor_holds_it(formula: str, bad: str) -> None:
    levels = np.array(["a", "b", bad], dtype=object)
    labels = pd.Series(np.tile(levels, 10), dtype=object)
    data = pd.DataFrame({"y": [0, 1] * 15, "f": labels, "g": np.arange(30) % 5})
    kind = pd.CategoricalDtype(pd.Index(levels, dtype=object))
    for column in (labels, pd.Categorical.from_codes([0, 1, 2] * 10, dtype=kind)):
        with pytest.raises(InputError, match="label with a NUL or half a character: f: found"):
            fit(formula, data.assign(f=column))


@pytest.mark.parametrize("reader", [read_csv, read_table, read_columns, read_index])
@pytest.mark.parametrize(
    ("data", "place"),
    [(b"network,layer\na\0b,c\n", "15"), ("network,layer\n".encode("utf-16"), "3")],
    ids=["cell", "utf-16"],
)
def test_no_csv_file_holds_it(
    reader: Callable[[Path], object], data: bytes, place: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"not a CSV table: .*found a NUL at byte {place}"):
        reader(path)


def test_it_is_found_far_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"a\n" + b"1\n" * 600_000 + b"\0\n")
    with pytest.raises(InputError, match="NUL at byte 1,200,002"):
        read_csv(path)


def test_no_released_table_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "responses.csv"
    path.write_text(",".join(REQUIRED) + "\n" + ",".join(["a\0"] * len(REQUIRED)) + "\n")
    with pytest.raises(ResponseError, match=r"not a CSV table: .*found a NUL"):
        read_responses(path)


def test_numbers_are_the_nearest_to_their_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=500) * 10.0 ** rng.integers(-8, 8, 500)
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(["a", *map(repr, numbers.tolist())]))
    for reader in (read_csv, read_table):
        np.testing.assert_array_equal(reader(path)["a"].to_numpy(), numbers)
