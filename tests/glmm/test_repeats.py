"""The same answers twice are said, in the result and on the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from imi_bench.glmm import fit
from imi_bench.glmm.repeats import repeats

RNG = np.random.default_rng(3)
N = 240
PEOPLE = pd.DataFrame(
    {
        "correct": RNG.integers(0, 2, N),
        "unit": RNG.integers(0, 12, N),
        "participant": [f"p{k % 8}" for k in range(N)],
        "trial_id": [f"t{k // 8}" for k in range(N)],
        "seconds": RNG.gamma(3.0, size=N),
    }
)
FORMULA = "correct ~ 1 + (1|unit)"


def twice(table: pd.DataFrame, rows: int = N) -> pd.DataFrame:
    return pd.concat([table, table.head(rows)]).sample(frac=1.0, random_state=1)


@pytest.mark.parametrize(
    ("names", "rows", "said"),
    [
        (["correct", "unit", "participant", "trial_id"], 3, "3 rows repeat another (same part"),
        (["correct", "unit", "seconds"], 1, "1 row repeats another (same in every column)"),
        (["correct", "unit", "seconds"], N, "240 rows repeat another (same in every column)"),
        (["correct", "unit", "participant"], N, "240 rows repeat another (every row stands 2 "),
    ],
)
def test_rows_that_are_there_again(names, rows, said) -> None:
    assert repeats(PEOPLE[names]) == ""
    assert repeats(twice(PEOPLE[names], rows)).startswith(said)
    assert repeats(PEOPLE[names].sample(frac=0.5, random_state=2)) == ""


def test_another_answer_of_the_same_person_to_the_same_trial_is_one_too() -> None:
    other = twice(PEOPLE, 2).assign(seconds=0.5, correct=1)
    assert repeats(other).startswith("2 rows repeat another (same participant and trial_id)")
    renamed = other.rename(columns={"participant": "participant_id"})
    assert "same participant_id and trial_id" in repeats(renamed)


def test_like_rows_may_be_many_answers() -> None:
    few = pd.DataFrame({"y": [0, 1] * 40, "g": np.repeat([0, 1, 2, 3], 20)})
    assert repeats(few) == ""
    assert repeats(few.assign(cell=[[1]] * 80)) == ""


def test_in_the_result_and_on_the_command_line(imi_bench_main, tmp_path) -> None:
    table = twice(PEOPLE)
    found = fit(FORMULA, table)
    said = "240 rows repeat another (same participant and trial_id): answers counted more than once"
    assert [one for one in found.remarks if one.startswith(said)]
    assert said in found.summary()
    assert fit(FORMULA, PEOPLE).remarks == ()
    table.to_csv(tmp_path / "twice.csv", index=False)
    code, _, err = imi_bench_main("fit", FORMULA, tmp_path / "twice.csv")
    assert code == 0
    assert said in err
