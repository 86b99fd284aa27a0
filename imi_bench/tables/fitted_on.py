"""What a learned observer has seen of people: nothing is scored on what it was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from imi_bench.documents import reading
from imi_bench.errors import LeakageError
from imi_bench.provenance import plain
from imi_bench.tables.index import TrialIndex

__all__ = ["FittedOn"]


@dataclass(frozen=True)
class FittedOn:
    """Units, networks and pictures of the answers that an observer was fitted to.

    Attributes
    ----------
    study : str
        Hash of the study.
    units, networks : frozenset of str
        Frozenset of str
        ``network/layer/unit``, and networks.
    images : frozenset of str
        Frozenset of str
        First 16 hexadecimal digits of the content hash of each picture shown; empty if unknown.
    trials : frozenset of str
        Frozenset of str
        Ids of trials, of those a run answered, that show such a picture.
    """

    study: str
    units: frozenset[str]
    networks: frozenset[str]
    images: frozenset[str] = frozenset()
    trials: frozenset[str] = frozenset()

    @classmethod
    def of(cls, described: object) -> Self | None:
        """Read ``fitted_on`` out of an observer's description; None where it was fitted to nobody.

        Raises
        ------
        InputError
            If there is one that cannot be read.
        """
        record = described.get("fitted_on") if isinstance(described, Mapping) else None
        if not record:
            return None
        with reading("statement of what an observer was fitted on"):
            return cls(
                study=str(record.get("study", "")),
                units=frozenset(map(str, record["units"])),
                networks=frozenset(map(str, record["networks"])),
                images=frozenset(str(one)[:16] for one in record.get("images", ())),
                trials=frozenset(map(str, record.get("trials", ()))),
            )

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        record: dict[str, Any] = plain(
            {k: sorted(v) if k != "study" else v for k, v in vars(self).items()}
        )
        return record

    def problem(self, index: TrialIndex) -> str | None:
        """What of a trial table was seen before, in a few words; None for nothing."""
        units = self.units.intersection(index.unit_id.tolist())
        if units:
            return f"unit '{min(units)}' ({len(units)} such units)"
        trials = self.trials.intersection(index.trial_id.tolist())
        if trials:
            return f"pictures of trial '{min(trials)}' ({len(trials)} such trials)"
        return None

    def refuse(self, index: TrialIndex, *, observer: str) -> None:
        """Raise `LeakageError` where a trial's unit or pictures were seen."""
        if (seen := self.problem(index)) is not None:
            raise LeakageError(
                "observer would be scored on what it was fitted on",
                where=f"observer '{observer}'",
                found=seen,
                wanted="units, and pictures, whose answers it never saw",
                do="take its out-of-fold predictions, or other units",
            )
