"""A small simulated study for tests: units, trials, an observer, people with unit effects."""

from __future__ import annotations

import numpy as np

from imi_bench.stats.links import link_named
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex

Panel = tuple[DecisionVariables, Study]


def trial_index(*, units: int, batches: int, networks: int, modes: tuple[str, ...]) -> TrialIndex:
    unit, mode, batch = np.meshgrid(
        np.arange(units), np.arange(len(modes)), np.arange(batches), indexing="ij"
    )
    unit, mode, batch = unit.ravel(), mode.ravel(), batch.ravel()
    return TrialIndex(
        trial_id=[f"u{u}/{m}/{b}" for u, m, b in zip(unit, mode, batch, strict=True)],
        network=[f"net{u % networks}" for u in unit],
        layer=[f"layer{u % 3}" for u in unit],
        unit=unit,
        mode=[modes[m] for m in mode],
        difficulty=["easy"] * len(unit),
        batch=batch,
        catch=np.zeros(len(unit), dtype=bool),
    )


def panel(
    *,
    rng: np.random.Generator,
    units: int = 60,
    batches: int = 10,
    people: int = 3,
    networks: int = 3,
    modes: tuple[str, ...] = ("natural", "synthetic"),
    slope: float = 1.0,
    bias: float = 0.0,
    lapse: float = 0.0,
    unit_sd: float = 0.0,
    evidence_mean: float = 1.0,
    evidence_sd: float = 1.5,
    link: str = "logit",
    know_side: bool = False,
) -> Panel:
    """An observer's decisions and the answers of people who see its evidence.

    Each trial is answered by `people` participants, who see the two queries in orders of their
    own; a unit's effect raises or lowers the evidence for the correct query, in link units.
    """
    index = trial_index(units=units, batches=batches, networks=networks, modes=modes)
    toward = rng.normal(evidence_mean, evidence_sd, len(index))
    effect = rng.normal(0, unit_sd, units)[index.unit] if unit_sd else np.zeros(len(index))
    positive_first = rng.random(len(index)) < 0.5
    decisions = DecisionVariables(
        observer="toy",
        trial_id=index.trial_id,
        decision_variable=np.where(positive_first, toward, -toward),
        status=np.full(len(index), "ok"),
        shown_first=np.where(positive_first, "positive", "negative"),
        seconds=np.zeros(len(index)),
    )
    row = np.repeat(np.arange(len(index)), people)
    seat = np.tile(np.arange(people), len(index))
    human_positive_first = rng.random(len(row)) < 0.5
    sign = np.where(human_positive_first, 1.0, -1.0)
    eta = sign * (slope * toward + effect)[row] + bias
    first = rng.random(len(row)) < lapse / 2 + (1 - lapse) * link_named(link).value(eta)
    responses = Responses(
        trial_id=index.trial_id[row],
        participant=[f"p{s}-{b}" for s, b in zip(seat, index.batch[row], strict=True)],
        correct=first == human_positive_first,
        chose_first=first.astype(float) if know_side else np.full(len(row), np.nan),
        confidence=np.full(len(row), np.nan),
        seconds=np.full(len(row), np.nan),
        simulated=True,
        source="tests/simulated_panel.py",
    )
    return decisions, Study(index, responses)
