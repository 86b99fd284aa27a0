"""What a learned observer has seen of people: nothing is scored on what it was fitted on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from imi_bench.documents import reading
from imi_bench.errors import LeakageError
from imi_bench.results import Record
from imi_bench.tables.index import TrialIndex, split_difficulty
from imi_bench.text import plural


@dataclass(frozen=True, repr=False)
class FittedOn(Record):
    """Units, networks and pictures of the answers that an observer was fitted to.

    Attributes
    ----------
    study : str
        Hash of the study.
    units, networks : frozenset of str
        ``network/layer/unit``, and networks.
    images : frozenset of str
        First 16 hexadecimal digits of the content hash of each picture shown; empty if unknown.
    trials : frozenset of str
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

        Statements of the observers that it is made of, anywhere in the description, count too.

        Raises
        ------
        InputError
            If there is one that cannot be read.
        """
        found = [cls._read(record) for record in _statements(described)]
        return found[0].joined(found[1:]) if found else None

    @classmethod
    def _read(cls, record: Any) -> Self:
        with reading("statement of what an observer was fitted on"):
            return cls(
                study=str(record.get("study", "")),
                units=frozenset(map(str, record["units"])),
                networks=frozenset(map(str, record["networks"])),
                images=frozenset(str(one)[:16] for one in record.get("images", ())),
                trials=frozenset(map(str, record.get("trials", ()))),
            )

    def joined(self, others: Iterable[FittedOn]) -> Self:
        """Add what others have seen, such as the observers that one is made of."""
        units, networks, images, trials = self.units, self.networks, self.images, self.trials
        for one in others:
            units, networks = units | one.units, networks | one.networks
            images, trials = images | one.images, trials | one.trials
        return replace(self, units=units, networks=networks, images=images, trials=trials)

    def problem(self, index: TrialIndex) -> str | None:
        """What of a trial table was seen before, in a few words; None for nothing."""
        known = {_as_meant(unit) for unit in self.units}
        units = [unit for unit in set(index.unit_id.tolist()) if _as_meant(unit) in known]
        if units:
            return f"unit '{min(units)}' ({plural(len(units), 'such unit')})"
        trials = self.trials.intersection(index.trial_id.tolist())
        if trials:
            return f"pictures of trial '{min(trials)}' ({plural(len(trials), 'such trial')})"
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


def _as_meant(unit: str) -> str:
    """``ResNet-50_hard95/Layer1.0/007`` and ``resnet50/layer1_0/7`` are one unit."""
    parts = unicodedata.normalize("NFKC", str(unit)).casefold().split("/")
    network, *rest = (re.sub(r"[\W_]+", "_", part.strip()).strip("_") for part in parts)
    network = split_difficulty(network)[0].replace("_", "")  # layer1.0 is not layer10
    return "/".join([network, *(part.lstrip("0") or "0" for part in rest)])


def _statements(described: object) -> Iterator[object]:
    if isinstance(described, Mapping):
        if described.get("fitted_on") is not None:
            yield described["fitted_on"]
        for name, part in described.items():
            if name != "fitted_on":
                yield from _statements(part)
    elif isinstance(described, list | tuple):
        for part in described:
            yield from _statements(part)
