"""What a made-up world was made of, and the best score that anyone can reach in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, xlogy

from imi_bench.arrays import Floats, Ints
from imi_bench.errors import UnknownNameError
from imi_bench.simulation.panel import PanelTruth
from imi_bench.simulation.planted import PlantedUnit
from imi_bench.simulation.scenes import ATTRIBUTES, VARIED, Scenes
from imi_bench.tables import TrialIndex

Known = Literal["condition", "covariates", "trial", "participant"]

VISIBLE_EFFECTS: Mapping[str, float] = {"depth": -0.5, "vividness": 1.5, "consistency": 1.5}
"""Effects on people's log sensitivity in worlds of version 2, per unit of the covariate."""
_CENTRES = {"depth": 0.625, "vividness": 0.65, "consistency": 0.7}

TRUTH_COLUMNS = (
    *("kind", "likes", "log_sensitivity", "evidence", "salience", "tuning", "unit_effect"),
    *(f"evidence_{name}" for name in ATTRIBUTES),
)
"""Names under which the truth of a world is tabled: nothing that a measure may learn from."""


@dataclass(frozen=True, eq=False)
class WorldTruth:
    """What the mini-benchmark was made of.

    Attributes
    ----------
    units : tuple of PlantedUnit
    kind : (T,) str
        Kind of each trial's unit.
    evidence : (T,) float64
        What a perfect reader of attributes sees in favour of the strongly activating query; see
        `imi_bench.simulation.panel.evidence`.
    panel : PanelTruth
        The participants' choice model with all its effects.
    index : TrialIndex
    salience : mapping of str to float
        How much each attribute counts for people.
    by_attribute : (T, 5) float64
        What each attribute says; `evidence` is their sum weighted by `salience`.
    visible : mapping of str to (T,) float64
        Covariates that anyone can see or look up; see `visible_covariates`.
    """

    units: tuple[PlantedUnit, ...]
    kind: NDArray[np.object_]
    evidence: NDArray[np.float64]
    panel: PanelTruth
    index: TrialIndex
    salience: Mapping[str, float] = field(default_factory=dict)
    by_attribute: Floats = field(default_factory=lambda: np.empty((0, len(ATTRIBUTES))))
    visible: Mapping[str, Floats] = field(default_factory=dict)

    def units_frame(self) -> pd.DataFrame:
        """One row a unit: id, network, layer, depth, kind, what it likes, its effect."""
        told = ("unit_id", "network", "layer", "depth", "kind", "likes")
        frame = pd.DataFrame({name: [getattr(u, name) for u in self.units] for name in told})
        frame["log_sensitivity"] = [self.panel.unit[u.unit_id] for u in self.units]
        frame.attrs["truth"] = True
        return frame

    def predicted(self, *, known: Known = "trial") -> Floats:
        """(T,) best prediction of an answer's being correct, given what is known.

        Parameters
        ----------
        known : {"condition", "covariates", "trial"}
            The mean of each mode and difficulty alone; the evidence and all that can be seen, the
            unit's own effect averaged over its distribution; also the unit's effect.

        Notes
        -----
        Averaged over the panel and over which query is shown first. The effects of units are
        integrated by Gauss and Hermite's rule with 15 nodes.

        Raises
        ------
        UnknownNameError
            For anything else.
        """
        if known == "trial":
            return self._average(self._sensitivity())
        if known == "condition":
            exact = self.predicted(known="trial")
            cell = pd.Series(exact).groupby([self.index.mode, self.index.difficulty])
            return np.asarray(cell.transform("mean"), dtype=np.float64)
        if known != "covariates":
            raise UnknownNameError.among(known, ["condition", "covariates", "trial"], kind="known")
        of_mean = self.panel.sensitivity(self.index, self.visible, unit_effects=False)
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        scaled = [self._average(of_mean * np.exp(self.panel.unit_sd * node)) for node in nodes]
        return np.asarray((weights / weights.sum()) @ np.stack(scaled))

    def bayes(self, *, known: Known = "trial") -> float:
        """The score that nobody can beat in expectation: bits an answer above chance.

        Parameters
        ----------
        known : {"condition", "covariates", "trial", "participant"}
            As in `predicted`; "participant" also who answers and which query was shown first.

        Returns
        -------
        float
            1 plus the mean expected log2 probability of an answer under the best prediction.

        Examples
        --------
        >>> from imi_bench.simulation.world import build
        >>> truth = build(n_networks=1, n_batches=1, n_scenes=200, size=8).truth
        >>> scores = [truth.bayes(known=k) for k in ("condition", "trial", "participant")]
        >>> scores == sorted(scores)
        True
        """
        if known == "participant":
            return float(1 + _expected(*[self._of_people(self._sensitivity())] * 2).mean())
        exact = self.predicted(known="trial")
        return float(1 + _expected(exact, self.predicted(known=known)).mean())

    def _sensitivity(self) -> Floats:
        return self.panel.sensitivity(self.index, self.visible)

    def _of_people(self, sensitivity: Floats) -> Floats:
        """(T, P, 2) probability of each participant's being correct, by the side of q+."""
        panel = self.panel
        ability = np.exp(np.array(list(panel.participant.values())))
        bias = np.array(list(panel.side_bias.values()))
        logit = (sensitivity * self.evidence)[:, None] * ability
        sides = np.stack([logit + bias, logit - bias], axis=-1)
        return np.asarray(panel.lapse / 2 + (1 - panel.lapse) * expit(sides))

    def _average(self, sensitivity: Floats) -> Floats:
        return np.asarray(self._of_people(sensitivity).mean(axis=(1, 2)))


def _expected(truth: Floats, told: Floats) -> Floats:
    """Expected log2 probability of an answer."""
    return np.asarray((xlogy(truth, told) + xlogy(1 - truth, 1 - told)) / np.log(2))


def visible_covariates(
    scenes: Scenes, *, depth: Floats, positive: Ints, negative: Ints
) -> dict[str, Floats]:
    """What anyone can see of a trial's references, or look up of its layer; centred.

    Parameters
    ----------
    scenes : Scenes
    depth : (T,) float64
        Of each trial's layer.
    positive, negative : (T, K) int64
        Rows of `scenes`.

    Returns
    -------
    dict
        ``depth``; ``vividness``, the mean over all references; ``consistency``, of the attribute
        on which the positive references agree most, the share that has the commonest value.
    """
    codes = scenes.codes[positive]
    agreement = np.zeros(codes.shape[0])
    for attribute, values in enumerate(ATTRIBUTES.values()):
        counts = np.stack(
            [(codes[:, :, attribute] == v).mean(axis=1) for v in range(VARIED + 1, len(values))]
        )
        agreement = np.maximum(agreement, counts.max(axis=0))
    shown = np.concatenate([positive, negative], axis=1)
    found = {
        "depth": depth,
        "vividness": scenes.vividness[shown].mean(axis=1),
        "consistency": agreement,
    }
    return {name: values - _CENTRES[name] for name, values in found.items()}
