"""One person's session, and its states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imi_bench.collect.experiment import Screen

__all__ = ["RUNNING", "Session", "names"]

# consent -> instructions -> practice -> main -> comment -> done; or refused, withdrawn, expired
RUNNING = ("consent", "instructions", "practice", "main", "comment")


@dataclass(frozen=True)
class Session:
    """One person's session, as stored."""

    session: str
    public: str
    participant: int
    task: int
    place: int
    seed: int
    script: tuple[Screen, ...]
    state: str
    simulated: bool
    begun: float
    seen: float
    consented: float | None
    instructed: float | None
    instruction_seconds: float | None
    finished: float | None
    comment: str | None
    verdict: dict[str, Any] | None


def names(sessions: Sequence[Session]) -> dict[str, str]:
    """Anonymous names by session: P0001 for the first participant."""
    return {s.session: f"P{s.participant:04d}" for s in sessions}
