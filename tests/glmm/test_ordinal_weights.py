"""Frequency weights of ordered answers: ordinal::clmm's numbers, and repeated rows."""

import numpy as np
import pandas as pd
import pytest

from imi_bench.errors import ModelError
from imi_bench.glmm import fit


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    j, i = (axis.ravel() for axis in np.meshgrid(np.arange(6), np.arange(12)))
    y = 1 + np.minimum(3, ((i * 7 + j * 3 + i * j) % 4 + i % 3 + j // 2) // 2)
    return pd.DataFrame({"y": y, "j": j, "i": i, "w": 1 + (i + j) % 3})


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        (
            "logit",
            [
                -2.57543638,
                1.56619422,
                6.35470604,
                1.21236008,
                0.16844058,
                5.56342437,
                -111.67154661,
            ],
        ),
        (
            "probit",
            [
                -1.44994661,
                0.89287057,
                3.63131284,
                0.69175344,
                0.08833653,
                1.79702228,
                -110.69598219,
            ],
        ),
    ],
)
def test_clmm_gives_the_same(table: pd.DataFrame, link: str, wanted: list[float]) -> None:
    """clmm(y ~ j + (1 | i), weights = w), ordinal 2022.11-16; errors by differences."""
    found = fit("y ~ j + (1|i)", table, family="ordinal", link=link, weights="w")
    numbers = [*found.shape, found.estimate[0], float(found.theta[0] ** 2)]
    np.testing.assert_allclose(numbers, [*wanted[:4], wanted[5]], rtol=1e-4)
    assert found.se[0] == pytest.approx(wanted[4], rel=0.05)
    assert found.log_likelihood == pytest.approx(wanted[-1], abs=1e-6)


def test_a_weight_is_so_many_rows(table: pd.DataFrame) -> None:
    weighted = fit("y ~ j + (1|i)", table, family="ordinal", weights="w")
    repeated = fit("y ~ j + (1|i)", table.loc[table.index.repeat(table["w"])], family="ordinal")
    np.testing.assert_allclose(weighted.estimate, repeated.estimate, rtol=1e-5)
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, rtol=1e-4)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=1e-6)
    with pytest.raises(ModelError, match="repeat each row"):
        weighted.simulate(np.random.default_rng(0))


def test_a_weight_of_zero_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="weight of a row"):
        fit("y ~ j + (1|i)", table.assign(w=0), family="ordinal", weights="w")
