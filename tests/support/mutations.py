"""Records and bytes spoiled at random, the same for the same seed."""

from __future__ import annotations

import copy
import random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**63,
    -(10**400),
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    "0",
    "nan",
    "logit",
    "\x00",
    "\ud800",
    "é" * 300,
    [],
    [[]],
    [None, "a", {}],
    {},
    {"": 0},
    {"a": {"a": {"a": []}}},
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every part of a record."""
    found = [at]
    if isinstance(value, dict):
        for name in value:
            found += places(value[name], (*at, name))
    elif isinstance(value, list):
        for row in range(len(value)):
            found += places(value[row], (*at, row))
    return found


def spoiled(record: Any, draw: random.Random) -> Any:
    """A copy with one to three parts replaced, removed, doubled or moved."""
    record = copy.deepcopy(record)
    for _ in range(draw.randint(1, 3)):
        where = draw.choice(places(record))
        if not where:
            if draw.random() < 0.05:
                return copy.deepcopy(draw.choice(STRANGE))
            continue
        parent = record
        for step in where[:-1]:
            parent = parent[step]
        action, last = draw.randrange(5), where[-1]
        if action == 0:
            del parent[last]
        elif action == 1 and isinstance(parent, dict):
            parent[f"{last}_"] = parent.pop(last)
        elif action == 2 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        elif action == 3 and isinstance(parent[last], float):
            parent[last] = parent[last] * draw.choice((-1, 1e9, 1e-9, 0.5))
        else:
            parent[last] = copy.deepcopy(draw.choice(STRANGE))
    return record


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes flipped, cut, doubled or filled with junk."""
    if not data:
        return data
    for _ in range(draw.randint(1, 4)):
        at, action = draw.randrange(len(data) + 1), draw.randrange(4)
        end = min(len(data), at + draw.randint(1, 16))
        if action == 0:
            junk = bytes(draw.randrange(256) for _ in range(end - at))
        elif action == 1:
            junk = b""
        elif action == 2:
            junk = data[at:end] * 2
        else:
            junk = draw.choice((b"\x00", b"\xff" * 8, b"[[", b"{", b'"""', b"a.a.a.a", b"1e999"))
        data = data[:at] + junk + data[end:] if len(data) < 100_000 else data[:at]
        if not data:
            return data
    return data
