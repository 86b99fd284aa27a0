"""Which exit code: 2 for what is wrong, 3 for what is right but too little."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.small_study import SmallStudy

from imi_bench.errors import ModelError, NotConvergedError, NotEnoughDataError, SmallModelError
from imi_bench.glmm.tables import read_table
from imi_bench.release.study_files import read_answers, write_study


@pytest.mark.parametrize(
    ("column", "said"),
    [("participant", "one person says nothing"), ("unit_id", "one unit says nothing")],
)
def test_effects_of_one(
    imi_bench_main, tmp_path: Path, shared_study: SmallStudy, column, said
) -> None:
    frame = shared_study.people.to_frame()
    alone = read_answers(frame[frame[column] == frame[column].iloc[0]])
    write_study(alone, tmp_path)
    for more in ((), ("--times",)):
        code, out, err = imi_bench_main("effects", "--responses", tmp_path, *more)
        assert (code, out) == (3, ""), err
        assert said in err
        assert "wanted two or more; `imi-bench paper` shows the proportions" in err


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("y ~ 1 + (1|one)", "a grouping factor with one level"),
        ("y ~ label + (1|g)", "a factor with one level"),
        ("right ~ 1 + (1|g)", "the response never varies"),
        ("y ~ none + (1|g)", "no complete row is left"),
    ],
)
def test_fit(imi_bench_main, tmp_path: Path, formula: str, said: str) -> None:
    table = pd.DataFrame({"y": [0, 1, 1, 0], "g": list("aabb"), "right": 1, "none": [None] * 4})
    table.assign(one="x", label="x").to_csv(tmp_path / "t.csv", index=False)
    code, _, err = imi_bench_main("fit", formula, tmp_path / "t.csv")
    assert code == 3
    assert said in err
    code, _, err = imi_bench_main("fit", "nowhere ~ 1 + (1|g)", tmp_path / "t.csv")
    assert code == 2, err


def test_tables_without_rows(tmp_path: Path, shared_study: SmallStudy) -> None:
    (tmp_path / "t.csv").write_text("y,g\n")
    for read in (
        lambda: read_table(tmp_path / "t.csv"),
        lambda: read_answers(shared_study.people.to_frame().head(0)),
    ):
        with pytest.raises(NotEnoughDataError, match=r"an empty table|no answers") as caught:
            read()
        assert caught.value.exit_code == 3


def test_kinds_of_a_model_that_cannot_be() -> None:
    assert [e.exit_code for e in (ModelError, SmallModelError, NotConvergedError)] == [2, 3, 1]
    assert issubclass(SmallModelError, ModelError)
    assert issubclass(NotConvergedError, ModelError)
