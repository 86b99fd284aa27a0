"""Confidence and response time of simulated answers, jointly with whether they are correct.

Signal detection in logits, for one answer with evidence eta (unit, trial, person, side, practice)::

    z          = eta + e,  e standard logistic          what the person sees
    correct    = z > 0, but for a share `lapse` of answers, which are guesses
    confidence = 1 + [|z| > c1 k] + [|z| > c2 k]        k = exp(confidence_sd * normal), a person's
    log time   = log seconds + pace - certainty_time (min(|z|, 5) - 1.5)
                 - practice_time (place - 1/2) + e'     place from 0 to 1 in the session

Without lapses and with k = 1 the six ordered answers (side and confidence) follow a cumulative
logit model with thresholds -c2, -c1, 0, c1, c2. A guess has z = e, its side at random. Whether an
answer is correct is drawn first, and z given that: the same joint distribution, and the answers do
not depend on what is asked besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.errors import InputError

__all__ = [
    "JointParameters",
    "answer_probabilities",
    "confidences",
    "latent_evidence",
    "log_seconds",
    "seconds",
]

_MOST, _MIDDLE = 5.0, 1.5
PACE_SD, NOISE_SD = 0.25, 0.5
"""Of log seconds: between people (cut off at 0.6) and between answers (at -1.5 and 2)."""


@checked_fields
@dataclass(frozen=True, kw_only=True)
class JointParameters:
    """What confidence, time and practice depend on; the model is at the top of this file.

    Attributes
    ----------
    seconds : float
        Median response time of a trial, about.
    confidence_criteria : (float, float)
        How far evidence must lie from zero, in logits, for confidence 2 and 3.
    confidence_sd : float
        Standard deviation of the log of a person's factor on both.
    certainty_time, practice_time : float
        Fall of log seconds for each logit that evidence lies further out, and from the first
        trial to the last.
    learning : float
        Rise of log-odds correct from the first trial to the last.

    Raises
    ------
    InputError
        Criteria out of order, a negative deviation, a time that is not above 0.
    """

    seconds: float = 6.0
    confidence_criteria: tuple[float, float] = (1.0, 2.5)
    confidence_sd: float = 0.3
    certainty_time: float = 0.15
    practice_time: float = 0.3
    learning: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.confidence_criteria
        if not 0 <= low <= high or not self.confidence_sd >= 0:
            raise InputError(
                "criteria of confidence out of order",
                found=f"{self.confidence_criteria}, deviation {self.confidence_sd}",
                wanted="0 <= first <= second, deviation 0 or more",
            )
        if not self.seconds > 0:
            raise InputError("no response time", found=self.seconds, wanted="above 0 s")


def latent_evidence(
    eta: Floats, correct: Bools, *, lapse: float, rng: np.random.Generator
) -> Floats:
    """Draw z given the answer; its sign says which side was chosen, positive if correct.

    Parameters
    ----------
    eta : (…,) float64
    correct : (…,) bool
    lapse : float
    rng : numpy.random.Generator

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> correct = rng.random(100_000) < expit(1.0)
    >>> z = latent_evidence(np.full(100_000, 1.0), correct, lapse=0.0, rng=rng)
    >>> bool(((z > 0) == correct).all()), round(float(z.mean()), 1)
    (True, 1.0)
    """
    chance = np.where(correct, expit(eta), expit(-eta))
    guess = rng.random(eta.shape) < (lapse / 2) / (lapse / 2 + (1 - lapse) * chance)
    centre = np.where(guess, 0.0, eta)
    below = expit(-centre)  # P(z < 0)
    share = np.clip(rng.random(eta.shape), 1e-12, 1 - 1e-12)
    place = np.where(correct, below + share * (1 - below), share * below)
    return np.asarray(centre + logit(np.clip(place, 1e-15, 1 - 1e-15)))


def confidences(z: Floats, criteria: tuple[float, float], *, scale: Floats | float = 1.0) -> Ints:
    """Confidence 1 to 3 from how far z lies from zero.

    Examples
    --------
    >>> confidences(np.array([0.2, -1.5, 4.0]), (1.0, 2.5)).tolist()
    [1, 2, 3]
    """
    size = np.abs(z)
    return np.asarray(1 + (size > criteria[0] * scale) + (size > criteria[1] * scale), np.int64)


def answer_probabilities(
    eta: Floats, criteria: tuple[float, float], *, lapse: float, scale: Floats | float = 1.0
) -> tuple[Floats, Floats]:
    """Probabilities of the six answers of one trial.

    Parameters
    ----------
    eta : (…,) float64
    criteria : (float, float)
    lapse : float
    scale : float or (…,) float64
        A person's factor on the criteria.

    Returns
    -------
    (…, 3) float64, (…, 3) float64
        Of being right with confidence 1, 2, 3, and of being wrong.

    Examples
    --------
    >>> right, wrong = answer_probabilities(np.array([1.0]), (1.0, 2.5), lapse=0.02)
    >>> round(float(right.sum() + wrong.sum()), 12), round(float(right.sum()), 3)
    (1.0, 0.726)
    """
    ends = np.stack(np.broadcast_arrays(*(c * np.asarray(scale, float) for c in criteria)), axis=-1)
    bounds = np.concatenate(
        [np.zeros_like(ends[..., :1]), ends, np.full_like(ends[..., :1], np.inf)], axis=-1
    )

    def beyond(centre: Floats) -> Floats:  # share of z in each band above zero
        return -np.diff(expit(centre[..., None] - bounds), axis=-1)

    eta = np.asarray(eta, float)
    guess = lapse * beyond(np.zeros_like(eta))  # half of them right, by either side of zero
    return guess + (1 - lapse) * beyond(eta), guess + (1 - lapse) * beyond(-eta)


def log_seconds(z: Floats, place: Floats, joint: JointParameters) -> Floats:
    """What certainty and practice change of the log time of an answer."""
    sure = np.minimum(np.abs(z), _MOST) - _MIDDLE
    return np.asarray(-joint.certainty_time * sure - joint.practice_time * (place - 0.5))


def seconds(
    z: Floats,
    place: Floats,
    person: Ints,
    joint: JointParameters,
    *,
    rng: np.random.Generator,
    pace_sd: float = PACE_SD,
) -> Floats:
    """Response times of answers.

    Parameters
    ----------
    z, place : (R,) float64
        Evidence, and place in the session from 0 to 1.
    person : (R,) int64
        Code of who answers.
    joint : JointParameters
    rng : numpy.random.Generator
    pace_sd : float
        Of people's log seconds.

    Returns
    -------
    (R,) float64
        Seconds.
    """
    pace = np.clip(rng.normal(0, pace_sd, int(person.max()) + 1), -0.6, 0.6)[person]
    noise = np.clip(rng.normal(0, NOISE_SD, len(z)), -1.5, 2)
    return np.asarray(joint.seconds * np.exp(pace + noise + log_seconds(z, place, joint)))
