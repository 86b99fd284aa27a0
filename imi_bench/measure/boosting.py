"""Gradient boosting as one more candidate for the measure head, where units are many.

scikit-learn's histogram boosting on the squashed evidence, features of the sets and covariates;
more evidence towards the correct query never makes a correct answer less likely. Regularised
lightly by few leaves and a slow rate: it is chosen in inner folds like every other candidate, and
from about 200 units it may win there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.extras import require
from imi_bench.measure.head import HeadRows
from imi_bench.stats.squash import LEAST_LAPSE, robust_scale, squash

BOOSTED_FROM = 200
"""Units from which boosting is tried without being asked for."""


@dataclass(frozen=True, eq=False)
class Boosted:
    """A fitted booster.

    Attributes
    ----------
    model : sklearn.ensemble.HistGradientBoostingClassifier
    scales : (J,) float64
        Of the squash, from the rows that were fitted.
    """

    model: Any
    scales: Floats

    def probability(self, rows: HeadRows) -> Floats:
        """(T,) probability that a person is correct; never surer than the least lapse allows."""
        told = self.model.predict_proba(_columns(rows, self.scales))[:, 1]
        return np.asarray(np.clip(told, LEAST_LAPSE / 2, 1 - LEAST_LAPSE / 2))


def fit_boosted(rows: HeadRows, *, seed: int) -> Boosted:
    """Fit to all rows; each trial counts by its answers.

    Raises
    ------
    MissingExtraError
        Without scikit-learn.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 1))
    >>> none, ten = np.empty((400, 0)), np.full(400, 10.0)
    >>> rows = HeadRows(x, none, none, rng.binomial(10, 1 / (1 + np.exp(-x[:, 0]))) * 1.0, ten)
    >>> told = fit_boosted(rows, seed=0).probability(rows)
    >>> bool((np.diff(told[np.argsort(x[:, 0])]) >= 0).all())
    True
    """
    ensemble = require("sklearn.ensemble", for_="gradient boosting")
    scales = np.array([robust_scale(column) for column in rows.evidence.T])
    columns = _columns(rows, scales)
    rising = [1] * len(scales) + [0] * (columns.shape[1] - len(scales))
    model = ensemble.HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=120,
        max_leaf_nodes=6,
        min_samples_leaf=30,
        l2_regularization=10.0,
        monotonic_cst=rising,
        early_stopping=False,
        random_state=seed,
    )
    counts = np.concatenate([rows.successes, rows.answers - rows.successes])
    right = np.repeat([1, 0], len(columns))
    used = counts > 0
    model.fit(np.concatenate([columns, columns])[used], right[used], sample_weight=counts[used])
    return Boosted(model, scales)


def _columns(rows: HeadRows, scales: Floats) -> Floats:
    told = squash(rows.evidence, scales)
    return np.concatenate([told, rows.features, rows.covariates], axis=1)
