"""Over random designs the truth is recovered and 95% intervals hold their promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from imi_bench.glmm import Options, build_design, fit_design


def random_design(rng: np.random.Generator) -> pd.DataFrame:
    people, items = int(rng.integers(60, 120)), int(rng.integers(30, 60))
    p = rng.integers(0, people, 4000)
    item = rng.integers(0, items, 4000)
    return pd.DataFrame(
        {
            "p": p,
            "item": item,
            "x": rng.normal(size=4000),
            "between": rng.normal(size=people)[p],
            "y": rng.integers(0, 2, 4000),
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_recovery_and_coverage(link) -> None:
    truth = np.array([0.4, 0.6, -0.5])
    sd = {"p": 0.8, "item": 0.5}
    rng = np.random.default_rng(99)
    hits, errors, spreads, fits = np.zeros(3), [], [], 200
    for _ in range(fits):
        design = build_design("y ~ x + between + (1|p) + (1|item)", random_design(rng))
        eta = design.fixed @ truth
        for factor in design.factors:
            eta = eta + sd[factor.group] * rng.standard_normal(len(factor.levels))[factor.codes]
        latent = rng.logistic(size=4000) if link == "logit" else rng.standard_normal(4000)
        drawn = design.with_response((eta + latent > 0).astype(float))
        result = fit_design(drawn, options=Options(link=link))
        assert result.converged
        low, high = result.interval().T
        hits += (low < truth) & (truth < high)
        errors.append((result.estimate - truth) / result.se)
        spreads.append([effect.sd[0] / sd[effect.group] for effect in result.random])
    # 200 fits: a coverage of 0.95 lies in 0.90 to 0.985 with probability above 0.998.
    assert ((hits / fits > 0.90) & (hits / fits < 0.985)).all(), hits / fits
    assert np.abs(np.mean(errors, axis=0)).max() < 0.25
    np.testing.assert_allclose(np.mean(spreads, axis=0), 1.0, atol=0.05)
