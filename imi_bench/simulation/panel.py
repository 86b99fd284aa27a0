"""Simulated participants with a stated choice model, for the mini-benchmark.

A participant p who reads the evidence e of a trial (see `evidence`; signed toward the query shown
first) chooses the first query with probability

    P(first) = lapse/2 + (1 - lapse) * logistic(slope * exp(s) * e + b_p)
    s = network + unit + mode + visible + participant    effects on log sensitivity
    b_p                                                  the participant's bias to the first side

*visible* is a linear function of what anyone can see or look up (depth of the layer, vividness and
agreement of the references); worlds of version 1 have none.

Effects scale the sensitivity, so that a trial without evidence stays at chance for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from imi_bench.arrays import Floats, Ints
from imi_bench.errors import InputError
from imi_bench.simulation.scenes import ATTRIBUTES, Scenes
from imi_bench.tables import Responses, TrialIndex
from imi_bench.text import plural

SOURCE = "simulated panel of the mini-benchmark"


@dataclass(frozen=True, eq=False)
class PanelTruth:
    """The choice model and all its effects.

    Attributes
    ----------
    slope : float
        Logit per unit of evidence at log sensitivity 0.
    lapse : float
        Share of answers given without looking, 0 to 1; half of them are correct.
    network, unit, mode : mapping of str to float
        Effects on log sensitivity by network, `unit_id` and mode.
    participant, side_bias : mapping of str to float
        Effect on log sensitivity, and bias to the first side in logits, by participant.
    visible : mapping of str to float
        Effect on log sensitivity of one unit of each visible covariate.
    unit_sd : float
        Standard deviation that the effects of units were drawn with.
    """

    slope: float
    lapse: float
    network: Mapping[str, float]
    unit: Mapping[str, float]
    mode: Mapping[str, float]
    participant: Mapping[str, float]
    side_bias: Mapping[str, float]
    visible: Mapping[str, float] = field(default_factory=dict)
    unit_sd: float = 0.25

    @classmethod
    def draw(
        cls,
        *,
        network: Mapping[str, float],
        units: Sequence[str],
        n_participants: int,
        rng: np.random.Generator,
        slope: float = 2.2,
        lapse: float = 0.04,
        synthetic: float = -0.6,
        unit_sd: float = 0.25,
        participant_sd: float = 0.30,
        bias_sd: float = 0.25,
        visible: Mapping[str, float] | None = None,
    ) -> PanelTruth:
        """Draw units' and participants' effects; the rest is as given."""
        people = [f"S{number:04d}" for number in range(1, n_participants + 1)]

        def effects(names: Sequence[str], sd: float) -> dict[str, float]:
            return dict(zip(names, (sd * rng.standard_normal(len(names))).tolist(), strict=True))

        return cls(
            slope=slope,
            lapse=lapse,
            network=dict(network),
            unit=effects(units, unit_sd),
            mode={"natural": 0.0, "synthetic": synthetic},
            participant=effects(people, participant_sd),
            side_bias=effects(people, bias_sd),
            visible=dict(visible or {}),
            unit_sd=unit_sd,
        )

    def sensitivity(
        self,
        index: TrialIndex,
        visible: Mapping[str, Floats] | None = None,
        *,
        unit_effects: bool = True,
    ) -> Floats:
        """(T,) logit per unit of evidence for the average participant.

        Parameters
        ----------
        index : TrialIndex
        visible : mapping of str to (T,) float64, optional
            Values of the covariates that `visible` has effects for.
        unit_effects : bool
            False for the average unit.
        """
        parts = zip(index.network, index.unit_id, index.mode, strict=True)
        effects = np.array(
            [self.network[n] + unit_effects * self.unit[u] + self.mode[m] for n, u, m in parts]
        )
        for name, effect in self.visible.items():
            effects = effects + effect * (visible or {})[name]
        return np.asarray(self.slope * np.exp(effects))

    def probability_correct(
        self, index: TrialIndex, evidence: Floats, visible: Mapping[str, Floats] | None = None
    ) -> Floats:
        """(T,) probability that the average participant, without side bias, is correct."""
        seen = expit(self.sensitivity(index, visible) * evidence)
        return np.asarray(self.lapse / 2 + (1 - self.lapse) * seen)


def attribute_evidence(scenes: Scenes, *, positive: Ints, negative: Ints, queries: Ints) -> Floats:
    """What each attribute says in favour of the strongly activating query.

    For each attribute, d is the share of positive minus the share of negative references that
    have the query's value; an attribute counts d |d|, since people notice what is consistent,
    weighted by the query's vividness and differenced over the two queries.

    Parameters
    ----------
    scenes : Scenes
        N scenes.
    positive, negative : (T, K) int64
        Rows of `scenes`.
    queries : (T, 2) int64
        Column 0 the strongly activating query.

    Returns
    -------
    (T, 5) float64
        Columns in the order of `ATTRIBUTES`; each between -2 and 2.
    """
    counted = _counted(scenes, positive=positive, negative=negative, queries=queries)
    weight = counted * scenes.vividness[queries][:, :, None]
    return np.asarray(weight[:, 0] - weight[:, 1])


def _counted(scenes: Scenes, *, positive: Ints, negative: Ints, queries: Ints) -> Floats:
    """(T, 2, 5) what each attribute of each query counts, before vividness."""
    seen = scenes.codes[queries][:, :, None, :]

    def share(references: Ints) -> Floats:
        return np.asarray((scenes.codes[references][:, None] == seen).mean(axis=2))

    difference = share(positive) - share(negative)
    return np.asarray(difference * np.abs(difference))


def evidence(
    scenes: Scenes,
    *,
    positive: Ints,
    negative: Ints,
    queries: Ints,
    salience: Mapping[str, float] | None = None,
) -> Floats:
    """What a perfect reader of attributes sees in favour of the strongly activating query.

    The sum of `attribute_evidence`, each attribute weighted by its salience (1 without one).

    Returns
    -------
    (T,) float64
        With salience 1 between -10 and 10; 2 where one attribute tells all.

    Examples
    --------
    >>> star, disc = [3, 0, 0, 0, 0], [0, 1, 1, 1, 1]
    >>> scenes = Scenes(np.array([star, disc]), np.ones(2))
    >>> ones = np.zeros((1, 9), int), np.ones((1, 9), int)
    >>> evidence(scenes, positive=ones[0], negative=ones[1], queries=np.array([[0, 1]])).tolist()
    [10.0]
    """
    counted = _counted(scenes, positive=positive, negative=negative, queries=queries)
    salient = np.array([1.0 if salience is None else salience[name] for name in ATTRIBUTES])
    weight = (counted * salient).sum(axis=2) * scenes.vividness[queries]
    return np.asarray(weight[:, 0] - weight[:, 1])


def answer(
    index: TrialIndex,
    truth: PanelTruth,
    *,
    evidence: Floats,
    each: int,
    rng: np.random.Generator,
    visible: Mapping[str, Floats] | None = None,
) -> Responses:
    """Let `each` randomly chosen participants answer every trial.

    Confidence (1 to 3) grows and response time (log-normal, around 4 s) shrinks with the
    magnitude of the logit.

    Raises
    ------
    InputError
        If there are fewer participants than answers a trial.
    """
    people = list(truth.participant)
    if not 1 <= each <= len(people):
        raise InputError(
            "answers a trial out of range",
            found=each,
            wanted=f"1 to {plural(len(people), 'participant')}",
        )
    chosen = np.argsort(rng.random((len(index), len(people))), axis=1)[:, :each]
    ability = np.array(list(truth.participant.values()))[chosen]
    bias = np.array(list(truth.side_bias.values()))[chosen]
    positive_first = rng.random(chosen.shape) < 0.5
    toward_first = np.where(positive_first, 1.0, -1.0) * evidence[:, None]
    logit = truth.sensitivity(index, visible)[:, None] * np.exp(ability) * toward_first + bias
    lapsed = rng.random(chosen.shape) < truth.lapse
    chose_first = rng.random(chosen.shape) < np.where(lapsed, 0.5, expit(logit))
    certainty = np.abs(logit) + rng.normal(0.0, 0.5, chosen.shape)
    return Responses(
        trial_id=np.repeat(index.trial_id, each),
        participant=np.array(people, dtype=object)[chosen.ravel()],
        correct=(chose_first == positive_first).ravel(),
        chose_first=chose_first.ravel().astype(np.float64),
        confidence=(1 + np.digitize(certainty, [0.8, 2.0])).ravel(),
        seconds=np.exp(rng.normal(np.log(4.0) - 0.1 * np.minimum(np.abs(logit), 5), 0.35)).ravel(),
        simulated=True,
        source=SOURCE,
    )
