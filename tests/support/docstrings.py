"""What a NumPy docstring says of each parameter and attribute."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.source import statements

_SECTIONS = frozenset({"Parameters", "Attributes"})
_NAMES = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : (.*))?$")
_QUOTED = re.compile(r"``?[^`]*``?|\"[^\"]*\"|'[^']*'|\{[^}]*\}|\([^)]*\)|\[[^\]]*\]")
_CLASS = re.compile(r"(?:[a-z_]+\.)*[A-Z]\w*")
_VOCABULARY = """
    str int float bool bytes object None callable path dict list tuple set frozenset sequence
    mapping iterable iterator array array_like array-like ndarray number integer any type module
    file float64 float32 int64 int32 intp uint8 bool_ object_ optional or of and as to from with a
    pair what takes read_answers function string slice
"""
_WORDS = frozenset(_VOCABULARY.split())


class Entry(NamedTuple):
    """One documented name, or several together."""

    where: str
    names: str
    slot: str | None
    description: str

    @property
    def has_type(self) -> bool:
        """Whether the type slot holds a type, or the entry refers to where it stands."""
        if self.slot is None:
            return self.description.startswith(("As ", "See "))
        words = re.findall(r"[A-Za-z_][\w.\-]*", _QUOTED.sub(" ", self.slot))
        return not self.slot.endswith(".") and all(
            word in _WORDS or _CLASS.fullmatch(word) for word in words
        )


def entries(docstring: str, *, where: str = "") -> Iterator[Entry]:
    """Each entry under Parameters and Attributes."""
    lines, section = docstring.splitlines(), ""
    for row, line in enumerate(lines):
        after = lines[row + 1].strip() if row + 1 < len(lines) else ""
        if after and not after.strip("-"):
            section = line.strip()
        named = _NAMES.match(line)
        if section in _SECTIONS and named and line.strip() not in _SECTIONS and line[0] != "-":
            said = "" if row + 1 == len(lines) or not lines[row + 1].startswith(" ") else after
            yield Entry(where, named[1], named[2], said)


def documented(package: Path) -> Iterator[Entry]:
    """All entries of a package's classes and functions."""
    for path in sorted(package.rglob("*.py")):
        for node in statements(path):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found = ast.get_docstring(node) or ""
                yield from entries(found, where=f"{path.relative_to(package)}, {node.name}")
