"""Root and inverse of large matrices, worked on in halves."""

import numpy as np
import pytest

from imi_bench.glmm import large_tiles
from imi_bench.glmm.large_tiles import hands, invert, take_root


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [3, 16, 37, 130])
def test_root_and_inverse_are_numpys(side, threads, monkeypatch):
    monkeypatch.setattr(large_tiles, "LARGE_SIDE", 8)
    shape = np.random.default_rng(side).normal(size=(side, side))
    matrix = shape @ shape.T / side + np.eye(side)
    lower = np.tril_indices(side)
    found = matrix.copy()
    with hands(threads=threads) as together:
        assert take_root(found, together)
        np.testing.assert_allclose(found[lower], np.linalg.cholesky(matrix)[lower], atol=1e-13)
        invert(found, together)
    np.testing.assert_allclose(found[lower], np.linalg.inv(matrix)[lower], atol=1e-12)


@pytest.mark.parametrize("place", [0, 19])
def test_not_positive_definite(place, monkeypatch):
    monkeypatch.setattr(large_tiles, "LARGE_SIDE", 8)
    matrix = np.eye(20)
    matrix[place, place] = -1.0
    with hands(threads=1) as together:
        assert not take_root(matrix, together)


def test_an_error_in_a_thread_is_raised():
    def fails() -> None:
        raise MemoryError

    with pytest.raises(MemoryError), hands(threads=2) as together:
        together([fails])
