from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "glmm" / "references"


@pytest.fixture
def run(
    imi_bench_main: Callable[..., tuple[int, str, str]],
) -> Callable[..., tuple[int, str, str]]:
    return functools.partial(imi_bench_main, "fit")


def test_json(run) -> None:
    code, out, err = run("y ~ level + (1|g)", str(HERE / "near_separated.csv"), "--json")
    assert code == 0, err
    result = json.loads(out)
    reference = json.loads((HERE / "near_separated.json").read_text())
    assert {"logLik", "converged", "singular", "fixed", "random", "n", "seconds"} <= set(result)
    assert result["logLik"] == pytest.approx(reference["logLik"], abs=0.01)
    assert list(result["fixed"]) == ["(Intercept)", "levelb", "levelc"]
    assert set(result["fixed"]["levelb"]) == {"estimate", "se", "z", "p"}
    assert [set(row) for row in result["random"]] == [{"group", "name", "sd", "corr"}]
    assert result["n"] == 540


def test_summary_and_save(run, tmp_path) -> None:
    target = tmp_path / "fit.json"
    code, out, err = run(
        "y ~ x + (1|school/class)",
        str(HERE / "nested.csv"),
        "--family",
        "gaussian",
        "--method",
        "REML",
        "--save",
        str(target),
    )
    assert code == 0, err
    assert "Linear mixed model fit by REML" in out
    assert len(json.loads(target.read_text())["effects"][0]["levels"]) == 80


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ level + (1|nope)", "no such column"),
        ("y ~ level (1|g)", "a plus sign is missing"),
        ("level ~ y + (1|g)", "the response is not 0 or 1: level"),
    ],
)
def test_bad_input_is_one_line_and_code_2(run, formula, says) -> None:
    code, out, err = run(formula, str(HERE / "near_separated.csv"))
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert not out


@pytest.mark.whole
def test_a_fit_that_did_not_converge_is_shown_and_exits_1(run, tmp_path) -> None:
    rows = "\n".join(f"{int(i % 4 > 1)},{i % 4 // 2},{i % 9}" for i in range(90))
    (tmp_path / "separated.csv").write_text("y,x,g\n" + rows + "\n")
    code, out, err = run("y ~ x + (1|g)", str(tmp_path / "separated.csv"))
    assert code == 1
    assert "NOT CONVERGED" in out
    assert "no finite estimate" in err


def test_how_the_table_was_read_is_said(run, tmp_path) -> None:
    rows = "\n".join(f"{'no' if i % 3 else 'yes'};{i / 8};{i % 9}" for i in range(90))
    (tmp_path / "t.csv").write_text("y;x;g\n" + rows + "\nNA;1;2\n")
    code, _out, err = run("y ~ x + (1|g)", str(tmp_path / "t.csv"))
    assert code == 0
    for said in ("separated by ';'", "dropped 1 of 91 rows: missing in y 1", "success is 'yes'"):
        assert said in err
