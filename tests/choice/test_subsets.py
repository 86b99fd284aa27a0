"""Subsets fitted together are the fits of each alone; the climbs of many are those of one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from imi_bench.choice.fitting import fit_psychometric, fit_subsets
from imi_bench.choice.psychometric import PsychometricFit
from imi_bench.choice.scoring import maximise, maximise_each
from imi_bench.errors import NotEnoughDataError

LAPSED, COIN, SHARP = 0, 1, 2


def table(kind: int, size: int = 2400) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(kind)
    x = rng.normal(0.5, 2, size)
    p = {LAPSED: 0.05 + 0.9 / (1 + np.exp(-x)), COIN: np.full(size, 0.5), SHARP: (x > 0) * 1.0}
    return {
        "evidence": x,
        "successes": rng.binomial(5, p[kind]).astype(float),
        "trials": np.full(size, 5.0),
        "group": np.where(np.arange(size) % 2, "natural", "synthetic"),
        "cluster": np.arange(size) // 12,
    }


def same(one: PsychometricFit, other: PsychometricFit) -> None:
    assert (one.state, one.n, one.clusters) == (other.state, other.n, other.clusters)
    assert one.names == other.names
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-12)
    for name, slope in one.slopes.items():
        assert slope.value == pytest.approx(other.slopes[name].value, rel=1e-6)
    assert one.lapse.value == pytest.approx(other.lapse.value, abs=1e-7)
    assert one.covariance == pytest.approx(other.covariance, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize("kind", [LAPSED, COIN, SHARP])
@pytest.mark.parametrize("columns", [(), ("group",), ("group", "cluster")])
@pytest.mark.parametrize("bias", [False, True])
def test_each_subset_is_fitted_as_if_it_were_alone(kind, columns, bias) -> None:
    rows = table(kind)
    more = {name: rows[name] for name in columns}
    fold = np.arange(2400) // 12 % 4
    keep = np.stack([np.ones(2400, bool), *(fold != f for f in range(3)), np.arange(2400) % 2 > 0])
    facts = {"link": "probit" if bias else "logit", "bias": bias}
    together = fit_subsets(
        rows["evidence"],
        keep=keep,
        successes=rows["successes"],
        trials=rows["trials"],
        **more,
        **facts,
    )
    for kept, fit in zip(keep, together, strict=True):
        alone = fit_psychometric(
            rows["evidence"][kept],
            successes=rows["successes"][kept],
            trials=rows["trials"][kept],
            **{name: column[kept] for name, column in more.items()},
            **facts,
        )
        same(fit, alone)


def test_a_subset_of_one_mode_has_no_slope_of_the_other() -> None:
    rows = table(LAPSED)
    keep = np.stack([np.ones(2400, bool), rows["group"] == "natural"])
    both, natural = fit_subsets(
        rows["evidence"],
        keep=keep,
        successes=rows["successes"],
        trials=rows["trials"],
        group=rows["group"],
    )
    assert set(both.slopes) == {"natural", "synthetic"}
    assert set(natural.slopes) == {"natural"}


def test_evidence_may_differ_by_subset() -> None:
    rows = table(LAPSED)
    scales = np.array([1.0, 3.0])
    one, other = fit_subsets(
        rows["evidence"] * scales[:, None],
        keep=np.ones((2, 2400), bool),
        successes=rows["successes"],
        trials=rows["trials"],
    )
    assert other.slopes["all"].value * 3 == pytest.approx(one.slopes["all"].value, rel=1e-6)


def test_a_subset_without_answers_is_refused() -> None:
    keep = np.array([[True, True], [False, False]])
    with pytest.raises(NotEnoughDataError):
        fit_subsets([1.0, 2.0], keep=keep, successes=[1.0, 0.0])


class Bowls:
    """Concave quadratics with different middles: maxima at the nearest point of the box."""

    def __init__(self, middle: np.ndarray, bent: np.ndarray) -> None:
        self.middle, self.bent = middle, bent

    def value(self, theta, which):
        off = theta - self.middle[which]
        return -0.5 * np.einsum("ki,kij,kj->k", off, self.bent[which], off)

    def step(self, theta, which):
        off = theta - self.middle[which]
        return -np.einsum("kij,kj->ki", self.bent[which], off), self.bent[which]


def test_many_climbs_end_where_each_alone_and_an_outside_optimiser_end() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(30, 3, 3))
    bowls = Bowls(rng.normal(0, 2, (30, 3)), root @ root.swapaxes(1, 2) + 0.1 * np.eye(3))
    low, high = np.full((30, 3), -1.0), np.full((30, 3), 1.0)
    found = maximise_each(bowls, start=np.zeros((30, 3)), low=low, high=high)
    for k, end in enumerate(found):
        which = np.array([k])
        alone = maximise(
            lambda t, which=which: float(bowls.value(t[None], which)[0]),
            lambda t, which=which: tuple(part[0] for part in bowls.step(t[None], which)),
            start=np.zeros(3),
            low=low[k],
            high=high[k],
        )
        assert end.theta == pytest.approx(alone.theta, abs=1e-9)
        outside = optimize.minimize(
            lambda t, which=which: -bowls.value(t[None], which)[0],
            np.zeros(3),
            bounds=[(-1, 1)] * 3,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        assert end.value == pytest.approx(-outside.fun, abs=1e-6)


def test_what_may_not_move_stays() -> None:
    bowls = Bowls(np.ones((1, 2)), np.eye(2)[None])
    fixed = np.array([[0.25, 0.5]])
    (end,) = maximise_each(bowls, start=fixed, low=fixed, high=fixed)
    assert end.theta.tolist() == [0.25, 0.5]
    assert end.converged
    assert end.at_bound.all()
