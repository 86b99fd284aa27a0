"""What a table's columns become, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imi_bench.errors import ImiBenchError, InputError, ModelError
from imi_bench.glmm import build_design
from imi_bench.glmm.tables import read_table, reading_remarks
from imi_bench.tables.csv_files import read_named


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, name: str = "table.csv") -> pd.DataFrame:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_table(path)

    return write


def said(table: pd.DataFrame) -> str:
    return "; ".join(reading_remarks(table, list(table.columns)))


def test_a_quoted_column_is_labels_even_where_the_first_row_is_missing(written) -> None:
    table = written('"y","f","g"\n1,NA,"20"\n1,"3","24"\n0,"1","3"\n')
    assert list(table["f"].dropna()) == ["3", "1"]
    assert table["y"].dtype.kind == "i"
    assert "f: labels, not numbers" in said(table)
    assert "taken as missing (NA, empty, NaN among numbers): f 1" in said(table)


def test_only_na_and_empty_are_missing(written) -> None:
    table = written("f,x\nNone,1\nnull,2\nNULL,3\nn/a,\nnan,5\n,6\nNA,7\n")
    assert list(table["f"].dropna()) == ["None", "null", "NULL", "n/a", "nan"]
    assert int(table["x"].isna().sum()) == 1
    assert list(written("x\n1\nNaN\n-Inf\n")["x"].fillna(0.0)) == [1.0, 0.0, -np.inf]


def test_semicolons_and_decimal_commas(written) -> None:
    table = written("x;f;k\n1,5;a;1.5\n-2;b;2\n1e3;c;3\n")
    assert list(table["x"]) == [1.5, -2.0, 1000.0]
    assert list(table["k"]) == [1.5, 2.0, 3.0]
    assert "separated by ';'" in said(table)
    assert "x: numbers with a decimal comma" in said(table)
    assert list(written("a\tb\n1\tx\n", "t.tsv")["b"]) == ["x"]
    assert "tabs" in said(written("a\tb\n1\tx\n"))


def test_mixed_columns_are_labels_and_said_so(written) -> None:
    table = written("g\n1\n2\nsix\n")
    assert list(table["g"]) == ["1", "2", "six"]
    assert "not every value is a number, such as 'six'" in said(table)


def test_quotes_hold_separators_quotes_and_lines(written) -> None:
    table = written('"a, b",c\r\n"x, ""y""\nz",1\r\n"q",2\r\n')
    assert list(table["a, b"]) == ['x, "y"\nz', "q"]
    table = written('a,b\n5" x,1\n"6",2\n')
    assert list(table["b"]) == [1, 2]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "not a table"), ("a,b\n", "an empty table"), ("a,b,a\n1,2,3\n", "two columns of the")],
)
def test_no_table(written, text, says) -> None:
    with pytest.raises(ImiBenchError, match=says) as caught:
        written(text)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        read_table(tmp_path / "bad.parquet")


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 40
    return pd.DataFrame(
        {
            "y": np.tile([0, 1, 1, 1], 10),
            "k": np.tile(np.array([2, 7, 9, 200], dtype=np.uint8), 10),
            "True": rng.normal(size=n),
            "Intercept": rng.normal(size=n),
            "my x": rng.normal(size=n),
            "_u": rng.normal(size=n),
            "a|b": rng.normal(size=n),
            "s": np.tile([1, 2, 3, 2], 10),
            "t": np.tile([4, 5, 4, 3], 10),
            "g": np.repeat(np.arange(8), 5),
        }
    )


def test_names_of_every_kind(data) -> None:
    formula = "y ~ True + Intercept + `my x` + _u + `a|b` + (0 + `a|b` | g)"
    design = build_design(formula, data)
    assert design.names == ("(Intercept)", "True", "Intercept", "`my x`", "`_u`", "`a|b`")
    np.testing.assert_array_equal(design.fixed[:, 1], data["True"])
    assert build_design('y ~ Q("my x") + (1|g)', data).names[1] == "`my x`"


def test_small_integers_do_not_wrap(data) -> None:
    design = build_design("y ~ I(k^3) + (1|g)", data)
    assert design.fixed[:, 1].max() == 200.0**3
    counts = data.astype({"s": np.uint8, "t": np.uint8})
    np.testing.assert_array_equal(
        build_design("cbind(s, t - s) ~ 1 + (1|g)", counts).trials, data["t"]
    )


@pytest.mark.parametrize(
    ("answers", "success"),
    [
        (["no", "yes", "yes", "yes"], "'yes', failure 'no'"),
        ([False, True, True, True], ""),
        (pd.Categorical(["b", "a", "a", "a"], ["b", "a"]), "'a', failure 'b'"),
        (["1", "2", "2", "2"], "'2', failure '1'"),
    ],
)
def test_two_answers_of_every_kind(data, answers, success) -> None:
    plain = build_design("y ~ 1 + (1|g)", data)
    design = build_design(
        "answer ~ 1 + (1|g)", data.assign(answer=pd.Series(answers)[np.arange(40) % 4].array)
    )
    np.testing.assert_array_equal(design.response, plain.response)
    assert (f"success is {success}" in " ".join(design.remarks)) == bool(success)


def test_an_offset_is_not_estimated_and_proportions_have_weights(data) -> None:
    design = build_design("y ~ 1 + offset(_u) + offset(2 * True) + (1|g)", data)
    assert design.names == ("(Intercept)",)
    np.testing.assert_allclose(design.offset, data["_u"] + 2 * data["True"])
    counts = build_design("cbind(s, t - s) ~ 1 + (1|g)", data)
    for other in (
        build_design("s/t ~ 1 + (1|g)", data, weights="t"),
        build_design("share ~ 1 + (1|g)", data.assign(share=data["s"] / data["t"]), weights="t"),
        build_design("prop(s, t) ~ 1 + (1|g)", data),
        build_design("s/t ~ 1 + (1|g)", data, weights="s + (t - s)"),
    ):
        np.testing.assert_array_equal(other.response, counts.response)
        np.testing.assert_array_equal(other.trials, counts.trials)


@pytest.mark.parametrize(
    ("text", "weights", "says"),
    [
        ("s/t ~ 1 + (1|g)", None, "give the number of trials as weights"),
        ("s/t ~ 1 + (1|g)", "t - 0.5", "successes out of trials"),
        ("s/t ~ 1 + (1|g)", "nope", "no such column"),
        ("cbind(s, t - s) ~ 1 + (1|g)", "t", "have their weights already"),
        ("y ~ 1 + offset(g > 3) + offset(a) + (1|g)", None, "no such column"),
    ],
)
def test_weights_that_make_no_sense(data, text, weights, says) -> None:
    with pytest.raises(ImiBenchError, match=says):
        build_design(text, data, weights=weights)


def test_columns_of_one_name_are_refused_where_they_are_used(data) -> None:
    double = pd.concat([data, data[["k"]]], axis=1)
    assert build_design("y ~ 1 + (1|g)", double).n == 40
    with pytest.raises(ImiBenchError, match="two columns of the same name: k"):
        build_design("y ~ k + (1|g)", double)


def test_mixed_python_objects(data) -> None:
    mixed = data.assign(
        m=pd.Series([1, "a", 2.5, None] * 10, dtype=object),
        d=pd.Series([1, 2.5, True, 4] * 10, dtype=object),
        when=pd.Timestamp("2020-01-01"),
    )
    design = build_design("y ~ m + (1|g)", mixed)
    assert design.names == ("(Intercept)", "m2.5", "ma")
    assert design.remarks == ("dropped 10 of 40 rows: missing in m 10",)
    assert build_design("y ~ d + (1|g)", mixed).fixed[1, 1] == 2.5
    with pytest.raises(ModelError, match="neither numbers nor labels: when"):
        build_design("y ~ when + (1|g)", mixed)


def test_remarks_reach_the_design(written) -> None:
    rows = "\n".join(f"{i % 3 % 2};{i / 7:.3f}".replace(".", ",") + f";g{i % 6}" for i in range(60))
    design = build_design("y ~ x + (1|g)", written("y;x;g\n" + rows + "\n1;;g0\n"))
    assert any("decimal comma" in remark for remark in design.remarks)
    assert "dropped 1 of 61 rows: missing in x 1" in design.remarks


def test_whole_numbers_with_zeros_in_front_are_said(written) -> None:
    assert "p: numbers, not labels, so that '007' is 7" in said(written("p,y\n007,1\n010,0\n"))
    merged = said(written("p,y\n007,1\n7,0\n0,1\n"))
    assert "(1 label falls together with another)" in merged
    assert said(written("p,y\n7,1\n0,0\n")) == ""


@pytest.mark.parametrize("quote", ["", '"'])
def test_labels_that_only_spaces_tell_apart_are_said(quote: str, written) -> None:
    table = written(f"m,y\n{quote}a{quote},1\n{quote}a {quote},0\n{quote}b{quote},0\n")
    assert "m: two labels that only spaces tell apart: 'a' and 'a '" in said(table)


def test_rows_longer_than_the_header_do_not_shift_the_columns(written, tmp_path) -> None:
    for read in (written("y,x,g\n0,2,a,\n1,3,b,\n"), read_named(tmp_path / "table.csv")):
        assert read.to_dict("list") == {"y": [0, 1], "x": [2, 3], "g": ["a", "b"]}
    with pytest.raises(InputError, match="more fields than the header"):
        written("y,x,g\n0,2,a,9\n1,3,b,9\n")
    with pytest.raises(InputError, match="more fields than the header"):
        read_named(tmp_path / "table.csv")
