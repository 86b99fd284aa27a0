from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.glmm_designs import dense_lambda, dense_z, random_problem, random_theta

from imi_bench.glmm import pattern as pattern_module
from imi_bench.glmm import schur
from imi_bench.glmm.pattern import analyse
from imi_bench.glmm.schur import Factorisation

DESIGNS = {
    "one factor": {"levels": (8,), "widths": (1,)},
    "one factor with slopes": {"levels": (8,), "widths": (3,)},
    "crossed": {"levels": (9, 6, 3), "widths": (1, 1, 1)},
    "crossed with slopes": {"levels": (9, 6, 3), "widths": (2, 3, 1)},
    "nested": {"levels": (24, 8, 4), "widths": (1, 2, 1), "nested": True},
}


def check_against_dense(problem, rng) -> None:
    theta = random_theta(rng, problem)
    weight = 0.1 + rng.random(len(problem.response))
    factors = problem.factors(theta)
    scaled = dense_z(problem) @ dense_lambda(problem, factors)
    dense = np.eye(scaled.shape[1]) + scaled.T @ (weight[:, None] * scaled)
    ours = Factorisation(problem.random.pattern, problem.random.gram(weight), factors)

    assert ours.log_determinant == pytest.approx(np.linalg.slogdet(dense)[1], rel=1e-10)
    right = rng.normal(size=(len(dense), 2))
    np.testing.assert_allclose(ours.solve(right), np.linalg.solve(dense, right), atol=1e-10)
    np.testing.assert_allclose(ours.solve(right[:, 0]), np.linalg.solve(dense, right[:, 0]))

    inverse = np.linalg.inv(dense)
    leverage = np.einsum("ia,ab,ib->i", scaled, inverse, scaled)
    blocks = schur.sandwich(problem.random.pattern, factors, ours.inverse_blocks)
    np.testing.assert_allclose(problem.random.quadratic(blocks), leverage, atol=1e-11)
    start = 0
    for meeting, block in zip(problem.random.pattern.meetings, ours.inverse_blocks, strict=True):
        if meeting.first == meeting.second:
            width = block.shape[1]
            for level in range(len(block)):
                stop = start + width
                np.testing.assert_allclose(
                    block[level], inverse[start:stop, start:stop], atol=1e-11
                )
                start = stop


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS.keys())
@pytest.mark.parametrize("route", ["as chosen", "pairs", "large tiles"])
def test_factorisation_against_dense_algebra(design, route, monkeypatch) -> None:
    if route == "pairs":
        monkeypatch.setattr(pattern_module, "_MAX_SHEET_DOUBLES", -1)
        monkeypatch.setattr(schur, "_PAIR_CHUNK", 40)
    if route == "large tiles":
        monkeypatch.setattr(schur, "_LARGE_TILE", 1)
    rng = np.random.default_rng(5)
    problem = random_problem(rng, **design)
    assert (problem.random.pattern.sheets is None) == (
        route == "pairs" or len(design["levels"]) < 2
    )
    check_against_dense(problem, rng)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    wide=st.integers(1, 3),
)
def test_any_design_against_dense_algebra(seed, levels, wide) -> None:
    rng = np.random.default_rng(seed)
    counts = tuple(sorted(levels, reverse=True))
    widths = (wide,) + (1,) * (len(counts) - 1)
    check_against_dense(random_problem(rng, levels=counts, widths=widths, rows=40), rng)


def test_unlinked_components_get_tiles_of_their_own() -> None:
    lead = np.repeat(np.arange(6), 4)
    unit = np.tile([0, 1, 0, 1], 6) + 2 * (lead // 2)
    model = lead // 2
    pattern = analyse([lead, unit, model], [6, 6, 3], [1, 1, 1])
    assert pattern.tiles.stacks == ((0, 0, 3, 3),)
    assert pattern.border_size == 9


def test_spread_and_collect_are_transposes() -> None:
    rng = np.random.default_rng(1)
    problem = random_problem(rng, widths=(2, 1, 2))
    factors = problem.factors(random_theta(rng, problem))
    rows, effects = rng.normal(size=120), rng.normal(size=problem.random.pattern.size)
    assert rows @ problem.spread(effects, factors) == pytest.approx(
        effects @ problem.collect(rows, factors)
    )


def test_a_single_answer_by_hand() -> None:
    """Two participants, one answer each, weight 3, theta 2: A = diag(1 + 4 * 3)."""
    pattern = analyse([np.array([0, 1])], [2], [1])
    ours = Factorisation(pattern, [np.full((2, 1, 1), 3.0)], [np.array([[2.0]])])
    assert ours.log_determinant == pytest.approx(2 * np.log(13))
    np.testing.assert_allclose(ours.solve(np.array([13.0, 26.0])), [1.0, 2.0])
