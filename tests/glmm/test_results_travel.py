"""Everything that can be asked of a fitted model prints, renders, goes to JSON and comes back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import imi_bench as imi
from imi_bench.glmm.intervals import intervals
from imi_bench.glmm.posthoc import compare_groups
from imi_bench.provenance import plain
from imi_bench.results import Result


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    rng = np.random.default_rng(0)
    rows = 240
    table = pd.DataFrame(
        {
            "g": rng.integers(0, 12, rows).astype(str),
            "mode": np.where(rng.random(rows) < 0.5, "natural", "synthetic"),
            "x": rng.normal(size=rows),
        }
    )
    chance = 1 / (1 + np.exp(-(0.5 + 0.6 * table["x"] + 0.4 * (table["mode"] == "natural"))))
    table["y"] = (rng.random(rows) < chance).astype(int)
    small, model = imi.fit("y ~ x + (1|g)", table), imi.fit("y ~ x + mode + (1|g)", table)
    groups = {name: rng.normal(size=9) for name in ("a", "b", "c")}
    return {
        "fit": model,
        "anova": small.anova(model),
        "variation": model.variation(),
        "restarts": model.restarts(n=2),
        "marginal_means": model.marginal_means("mode"),
        "predict": model.predict(table.head(5)),
        "residuals": model.residuals(n=50),
        "influence": model.influence("g"),
        "intervals": intervals(model, method="wald"),
        "posthoc": compare_groups(groups, n_resamples=50),
    }


NAMES = (
    *("fit", "anova", "variation", "restarts", "marginal_means", "predict", "residuals"),
    *("influence", "intervals", "posthoc"),
)


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_from_json(results: dict[str, Any], name: str) -> None:
    one = results[name]
    text = json.dumps(plain(one), allow_nan=False)
    again = type(one).from_json(text)
    assert plain(again) == plain(one)
    assert plain(type(one).from_json(json.loads(text))) == plain(one)
    pd.testing.assert_frame_equal(again.to_frame(), one.to_frame(), check_dtype=False)
    assert again.summary() == one.summary()
    with pytest.raises(imi.InputError):
        type(one).from_json({"unknown": 1})


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_and_renders(results: dict[str, Any], name: str) -> None:
    one = results[name]
    assert len(repr(one)) < 2000
    assert "<table" in one._repr_html_()
    assert len(one.to_frame()) > 0
    assert one.summary()
