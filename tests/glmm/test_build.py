from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from imi_bench.errors import FormulaError, ImiBenchError, ModelError
from imi_bench.glmm import build_design
from imi_bench.glmm.tables import read_table


@pytest.fixture
def data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 60
    return pd.DataFrame(
        {
            "y": np.tile([0, 1, 1], 20),
            "t": rng.normal(size=n),
            "x": rng.normal(size=n),
            "f": np.tile(list("abc"), 20),
            "one": "same",
            "g": np.repeat([f"g{i}" for i in range(12)], 5),
            "h": np.tile(range(5), 12),
            "hits": 2,
            "size": np.tile([3, 4], 30),
        }
    )


def test_matrices_and_labels_by_hand(data) -> None:
    design = build_design("y ~ f * x + (1 + x | g) + (1 | h)", data)
    assert design.names == ("(Intercept)", "fb", "fc", "x", "fb:x", "fc:x")
    assert design.terms["f"] == (1, 2)
    assert design.terms["f:x"] == (4, 5)
    np.testing.assert_array_equal(design.fixed[:, 1], data["f"] == "b")
    np.testing.assert_array_equal(design.fixed[:, 5], (data["f"] == "c") * data["x"])
    assert [factor.group for factor in design.factors] == ["g", "h"]
    first = design.factors[0]
    assert first.columns == ("(Intercept)", "x")
    assert first.levels == tuple(sorted(set(data["g"])))
    assert [first.levels[code] for code in first.codes] == list(data["g"])
    assert first.theta_names == ("g.(Intercept)", "g.x.(Intercept)", "g.x")
    assert design.theta_names[-1] == "h.(Intercept)"


def test_order_of_categories_is_kept(data) -> None:
    data["f"] = pd.Categorical(data["f"], ["c", "a", "b", "never"])
    assert build_design("y ~ f + (1|g)", data).names == ("(Intercept)", "fa", "fb")


def test_separate_and_double_bars_do_not_correlate(data) -> None:
    for text in ("y ~ x + (1 | g) + (0 + x | g)", "y ~ x + (1 + x || g)"):
        factor = build_design(text, data).factors[0]
        assert factor.columns == ("(Intercept)", "x")
        assert factor.blocks == (1, 1)


def test_nesting(data) -> None:
    design = build_design("y ~ x + (1 | h/f)", data)
    assert [(f.group, len(f.levels)) for f in design.factors] == [("f:h", 15), ("h", 5)]
    row = 7
    inner = design.factors[0]
    assert inner.levels[inner.codes[row]] == f"{data['f'][row]}:{data['h'][row]}"


def test_counts(data) -> None:
    design = build_design("cbind(hits, size - hits) ~ x + (1|g)", data)
    np.testing.assert_array_equal(design.response, data["hits"])
    np.testing.assert_array_equal(design.trials, data["size"])
    other = build_design("prop(hits, size) ~ x + (1|g)", data)
    np.testing.assert_array_equal(other.trials, design.trials)


def test_missing_rows_are_dropped_and_counted(data) -> None:
    data.loc[[3, 9], "x"] = np.nan
    data.loc[11, "g"] = None
    data.loc[20, "t"] = np.nan  # not in the formula
    design = build_design("y ~ x + (1|g)", data)
    assert (design.n, design.dropped) == (57, 3)


@pytest.mark.parametrize(
    ("text", "family", "says"),
    [
        ("y ~ nope + (1|g)", "binomial", "no such column.*'nope'"),
        ("y ~ x + (1|gg)", "binomial", "no such column.*'gg'.*did you mean"),
        ("nope ~ x + (1|g)", "binomial", "no such column.*'nope'"),
        ("y ~ log( + (1|g)", "binomial", "cannot read the formula"),
        ("t ~ x + (1|g)", "binomial", "not 0 or 1: t"),
        ("f ~ x + (1|g)", "binomial", "not 0 or 1: f: found 3 levels such as 'a'"),
        ("f ~ x + (1|g)", "gaussian", "not numbers: f"),
        ("one ~ x + (1|g)", "gaussian", "not numbers: one"),
        ("one ~ x + (1|g)", "binomial", "never varies: one"),
        ("y ~ x + (1|one)", "binomial", "one level.*one"),
        ("y ~ one + (1|g)", "binomial", "one level.*one"),
        ("y ~ x + I(3 * x) + (1|g)", "binomial", r"I\(3 \* x\) is a combination of x"),
        ("y ~ x + I(0 * x) + (1|g)", "binomial", r"I\(0 \* x\) is zero in every row"),
        ("y ~ log(x) + (1|g)", "binomial", r"undefined values: log\(x\)"),
        ("hits ~ x + (1|g)", "gaussian", "never varies"),
        ("cbind(size, hits - size) ~ x + (1|g)", "binomial", "successes out of trials"),
        ("y ~ x + (1|g) + (1 + x|g)", "binomial", "twice: g"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
def test_complaints_name_the_culprit(data, text, family, says) -> None:
    with pytest.raises(ImiBenchError, match=says) as caught:
        build_design(text, data, family=family)
    too_few = "never varies" in says or "one level" in says
    assert caught.value.exit_code == (3 if too_few else 2)
    assert "\n" not in str(caught.value)


def test_one_effect_for_each_row_needs_a_residual(data) -> None:
    data["row"] = range(len(data))
    with pytest.raises(ModelError, match="as many random effects as rows"):
        build_design("t ~ x + (1|row)", data, family="gaussian")


def test_python_variables_are_not_picked_up(data) -> None:
    frame = data["x"]
    with pytest.raises(FormulaError, match="no such column"):
        build_design("y ~ frame + (1|g)", data)
    assert frame is not None


def test_restrictions(data) -> None:
    design = build_design("y ~ f * x + (1 + x | g) + (1 | h)", data)
    assert design.without("f:x").names == ("(Intercept)", "fb", "fc", "x")
    assert design.without("fb:x", "x").terms["f:x"] == (3,)
    held = design.without("f:x").fixing({"x": 2.0})
    np.testing.assert_allclose(held.offset, 2.0 * data["x"])
    assert held.names == ("(Intercept)", "fb", "fc")
    assert [f.group for f in design.without_random("h").factors] == ["g"]
    assert design.without_random("g", "x").factors[0].values is None
    with pytest.raises(ImiBenchError, match="unknown fixed effect"):
        design.without("zz")
    with pytest.raises(ImiBenchError, match="unknown grouping factor"):
        design.without_random("zz")


def test_quoted_columns_are_labels(tmp_path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('"g","y","k"\n"1",0,"2"\n"10",1,"3"\n')
    table = read_table(path)
    assert list(table["g"]) == ["1", "10"]
    assert table["y"].dtype.kind == "i"
    with pytest.raises(ImiBenchError, match="no such file"):
        read_table(tmp_path / "none.csv")
