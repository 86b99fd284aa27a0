"""What comes out of a reader of spoiled input that should be its result or one line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imi_bench.errors import ImiBenchError

KEPT = Path(__file__).resolve().parents[1] / "fuzz" / "kept.json"


@dataclass(frozen=True)
class Reader:
    """A good input, how it is spoiled, and who reads it."""

    good: Callable[[], Any]
    spoil: Callable[[Any, random.Random], Any]
    read: Callable[[Any], object]


def from_file(name: str, read: Callable[[Path], object], folder: Path) -> Callable[[Any], object]:
    """A reader of a path as one of bytes, or of what is to be JSON."""

    def reader(data: Any) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(data, bytes):
            data = json.dumps(data).encode("utf-8", "surrogatepass")
        path.write_bytes(data)
        return read(path)

    return reader


def escapes(reader: Reader, seeds: Iterable[int]) -> list[tuple[int, str]]:
    """Seeds whose input made the reader raise what it must not."""
    good, found = reader.good(), []
    for seed in seeds:
        spoilt = reader.spoil(good, random.Random(seed))
        try:
            reader.read(spoilt)
        except ImiBenchError:
            continue
        except Exception as error:
            found.append((seed, f"{type(error).__name__}: {error}"[:200]))
    return found


def kept(name: str) -> list[int]:
    """Seeds of this reader that escaped once."""
    return list(json.loads(KEPT.read_text()).get(name, []))
