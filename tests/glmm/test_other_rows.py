"""Other rows, levels and values than a fit had: the same meaning as before, or refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from imi_bench.effects.analysis import analyse
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.caterpillar import conditional_effects
from imi_bench.glmm.inference import wald
from imi_bench.glmm.intervals import intervals
from imi_bench.scores.compare import compare
from imi_bench.scores.report import score

LEVELS = ("1", "10", "A")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    count = 400
    table = pd.DataFrame(
        {
            "x": rng.normal(size=count).round(3),
            "f": rng.choice(LEVELS, count),
            "two": rng.choice(["10", "b"], count),
            "b": rng.random(count) < 0.5,
            "g": rng.integers(1, 13, count).astype(str),
        }
    )
    line = (
        0.5 * table["x"]
        + 0.8 * (table["two"] == "b")
        + rng.normal(0, 0.5, 13)[table["g"].astype(int)]
    )
    return table.assign(
        y=(rng.random(count) < 1 / (1 + np.exp(-line))).astype(int), z=line.round(4)
    )


@pytest.fixture(scope="module")
def model(table) -> GlmmResult:
    return fit("y ~ x + f + two + b + (1 | g)", table)


@pytest.mark.parametrize("over", ["zero", "conditional"])
def test_labels_that_look_like_numbers_stay_labels(model, table, over) -> None:
    """A file of the rows whose labels are all digits reads as numbers; a factor stays one."""
    rows = table[(table["f"] != "A") & (table["two"] == "10")]
    as_read = rows.assign(
        f=rows["f"].astype(int), two=rows["two"].astype(float), g=rows["g"].astype(int)
    )
    wanted = model.predict(rows, over=over).to_frame()
    pd.testing.assert_frame_equal(model.predict(as_read, over=over).to_frame(), wanted)


def test_a_factor_of_two_levels_is_not_taken_for_a_slope(table) -> None:
    """Its one column has the width of a number's, so that nothing but the values would differ."""
    model = fit("y ~ two + (1 | g)", table)
    rows = table[table["two"] == "10"].head(3)
    read = rows.assign(two=[10, 10, 10])
    assert np.array_equal(model.predict(read).estimate, model.predict(rows).estimate)
    with pytest.raises(ImiBenchError, match=r"a new level of a factor: .*found '11'"):
        model.predict(rows.assign(two=[10, 11, 10]))


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("x", ["1", "2", "q"], "labels where the model's own rows have numbers"),
        ("b", [1, 0, 1], "a new level of a factor"),
        ("x", [None, None, None], "rows with a missing value: found 3 of 3"),
        ("two", [None, "b", "b"], "rows with a missing value: found 1 of 3"),
    ],
)
def test_other_kinds_are_refused(model, table, column, values, words) -> None:
    with pytest.raises(ImiBenchError, match=words):
        model.predict(table.head(3).assign(**{column: pd.Series(values, dtype=object)}))


def test_values_of_a_grid(model) -> None:
    with pytest.raises(InputError, match="not a number: x: found 'q'"):
        model.marginal_means("f", at={"x": ["q"]})


@pytest.mark.parametrize("level", [95.0, 1.0, 0.0, -0.9, float("nan")])
def test_no_interval_of_an_impossible_level(model, level) -> None:
    asked: list[Callable[[], object]] = [
        lambda: model.interval(level),
        lambda: model.to_frame(level=level),
        lambda: wald(model, "x", level=level),
        lambda: model.profile("x", level=level),
        *(
            lambda method=method: intervals(model, method=method, level=level, n=2)
            for method in ("wald", "profile", "bootstrap")
        ),
        lambda: model.marginal_means("f", level=level),
        lambda: model.predict(level=level),
        lambda: conditional_effects(model, level=level),
        lambda: score("no run", "no study", level=level),
        lambda: compare(["no run"], "no study", level=level),
        lambda: analyse(None, level=level),  # type: ignore[arg-type]
    ]
    for one in asked:
        with pytest.raises(InputError, match="no level of an interval"):
            one()


def test_a_mean_is_named_after_what_was_modelled(table) -> None:
    model = fit("log(z + 9) ~ f + (1 | g)", table, family="gaussian")
    assert model.marginal_means("f").quantity == "mean log(z + 9)"


def test_the_message_names_the_weights(table) -> None:
    with pytest.raises(ImiBenchError, match="labels where numbers are wanted: '»f«'"):
        fit("z ~ x + (1 | g)", table, family="gaussian", weights="f")


def test_families_are_all_named(table) -> None:
    with pytest.raises(ImiBenchError, match="binomial, gaussian, ordinal"):
        fit("y ~ x + (1 | g)", table, family="poisson")  # type: ignore[arg-type]


def test_numbers_that_serve_as_labels_are_averaged_over(table) -> None:
    """As emmeans does: every level of factor(k) counts the same, none is held at its mean."""
    numbered = table.assign(k=table["g"].astype(int) % 3 + 1)
    means = fit("y ~ two + factor(k) + (1 | g)", numbered).marginal_means("two")
    named = fit("y ~ two + k + (1 | g)", numbered.assign(k="l" + numbered["k"].astype(str)))
    wanted = named.marginal_means("two")
    assert (means.averaged, dict(means.held)) == (("k",), {})
    np.testing.assert_allclose(means.estimate, wanted.estimate, rtol=1e-6)
    many = table.assign(k=np.arange(len(table)) % 8)
    levels = fit("y ~ factor(k) + (1 | g)", many).marginal_means("k").cells
    assert [cell["k"] for cell in levels] == list(range(8))
