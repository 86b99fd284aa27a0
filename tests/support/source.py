"""Reading the source of the package and of its tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def statements(path: Path) -> Iterator[ast.AST]:
    """Every statement of a file from the outside in; expressions, most of a tree, are left out."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        yield node
        inner = [one for one in ast.iter_child_nodes(node) if not isinstance(one, ast.expr)]
        todo.extend(reversed(inner))
