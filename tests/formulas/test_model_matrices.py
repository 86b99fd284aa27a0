"""Columns, labels, numbers: R's ``model.matrix`` on two hundred formulas, and on other rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imi_bench.formulas.matrix import ModelMatrix, model_matrix
from imi_bench.formulas.parse import parse_two_sided
from imi_bench.formulas.terms import expand

HERE = Path(__file__).parent / "references"
STORED = json.loads((HERE / "matrices.json").read_text())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(HERE / "table.csv")


@pytest.fixture(scope="module")
def new_rows() -> pd.DataFrame:
    return pd.read_csv(HERE / "new.csv")


def ours(formula: str, table: pd.DataFrame) -> ModelMatrix:
    response, right = parse_two_sided(f"y ~ {formula}")
    return model_matrix(expand(right, formula, response=response), table)


def assert_equals_r(made: ModelMatrix, reference: dict[str, Any]) -> None:
    assert list(made.recipe.names) == reference["names"]
    assert [name for name in made.recipe.members if name != "(Intercept)"] == reference["labels"]
    assert made.values.shape[1] == len(reference["columns"])
    for name, column, wanted in zip(
        made.recipe.names, made.values.T, reference["columns"], strict=True
    ):
        np.testing.assert_allclose(column, wanted, rtol=1e-9, atol=1e-9, err_msg=name)
    offset = reference["offset"] or np.zeros(len(made.values))
    np.testing.assert_allclose(made.offset, offset, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reference", STORED, ids=lambda one: one["formula"])
def test_columns_are_those_of_r(reference, table) -> None:
    assert_equals_r(ours(reference["formula"], table), reference)


OTHER_ROWS = [one for one in STORED if one["new"] is not None]


@pytest.mark.parametrize("reference", OTHER_ROWS, ids=lambda one: one["formula"])
def test_other_rows_get_the_columns_of_r(reference, table, new_rows) -> None:
    """Three rows with one level of some factors: levels and bases are those of the table."""
    made = ours(reference["formula"], table).recipe.matrix(new_rows)
    wanted = np.array(reference["new"]).reshape(-1, len(new_rows)).T
    np.testing.assert_allclose(made, wanted, rtol=1e-9, atol=1e-9)
