"""Small random designs for the mixed-model tests."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.glmm.covariance import Template
from imi_bench.glmm.pattern import analyse
from imi_bench.glmm.problem import Problem
from imi_bench.glmm.random_design import RandomDesign


def random_problem(
    rng: np.random.Generator,
    *,
    levels: tuple[int, ...] = (9, 6, 3),
    widths: tuple[int, ...] = (1, 1, 1),
    rows: int = 120,
    trials: int = 1,
    nested: bool = False,
) -> Problem:
    """A binomial problem with three fixed effects; `nested` puts each factor inside the next."""
    codes = []
    for index, count in enumerate(levels):
        inner = codes[-1] * count // levels[index - 1] if nested and index else None
        drawn = np.concatenate([np.arange(count), rng.integers(0, count, rows - count)])
        codes.append(drawn.astype(np.intp) if inner is None else inner.astype(np.intp))
    values = tuple(
        None if width == 1 else np.column_stack([np.ones(rows), rng.normal(size=(rows, width - 1))])
        for width in widths
    )
    counts = np.full(rows, float(trials))
    return Problem(
        response=rng.binomial(trials, 0.6, rows).astype(float),
        trials=counts,
        offset=0.1 * rng.normal(size=rows),
        basis=np.column_stack([np.ones(rows), rng.normal(size=(rows, 2))]),
        random=RandomDesign(analyse(codes, levels, widths), values),
        templates=tuple(Template((width,)) for width in widths),
    )


def random_theta(rng: np.random.Generator, problem: Problem) -> Floats:
    """A theta with a positive diagonal."""
    theta = 0.5 * rng.normal(size=problem.theta_size)
    return np.where(problem.theta_diagonal, 0.3 + np.abs(theta), theta)


def dense_z(problem: Problem) -> Floats:
    """Z as one dense matrix, columns in the order of the random-effects vector."""
    pattern, blocks = problem.random.pattern, []
    for factor, (count, width) in enumerate(zip(pattern.levels, pattern.widths, strict=True)):
        block = np.zeros((len(pattern.codes[0]), count * width))
        for index in range(width):
            column = problem.random.column(factor, index)
            rows = np.arange(len(block))
            block[rows, pattern.codes[factor] * width + index] = 1.0 if column is None else column
        blocks.append(block)
    return np.hstack(blocks)


def dense_lambda(problem: Problem, factors: list[Floats]) -> Floats:
    """Lambda as one dense matrix."""
    size = problem.random.pattern.size
    full, start = np.zeros((size, size)), 0
    for count, factor in zip(problem.random.pattern.levels, factors, strict=True):
        for _ in range(count):
            stop = start + len(factor)
            full[start:stop, start:stop] = factor
            start = stop
    return full
