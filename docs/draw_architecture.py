"""Draw the tree of rooms into ``architecture.md``, from the imports as they are.

``python docs/draw_architecture.py`` writes the part of the page between its two marks; a test
holds the page against what this gives.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, PAGE = ROOT / "imi_bench", Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- drawn from the imports -->\n", "<!-- end of the drawing -->\n"


def modules() -> dict[str, Path]:
    """Every module by its dotted name below the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def room_of(module: str) -> str:
    """The room of a module; a module of the top level is its own."""
    return module.partition(".")[0]


def imports_of(path: Path) -> set[str]:
    """Rooms and top modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imi_bench"):
            rest = (node.module or "").removeprefix("imi_bench").removeprefix(".")
            found |= {room_of(rest)} if rest else {room_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("imi_bench.")]
            found |= {room_of(name.removeprefix("imi_bench.")) for name in names}
    return found


def graph() -> dict[str, set[str]]:
    """Each room with the rooms it imports; top modules that all may use are left out."""
    rooms = {room_of(name) for name in modules() if "." in name} | {"study"}
    arrows: dict[str, set[str]] = {room: set() for room in rooms}
    for name, path in modules().items():
        if (room := room_of(name)) in rooms:
            arrows[room] |= (imports_of(path) & rooms) - {room}
    return arrows


def levels(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by the longest way down from them: the first import no room."""
    depth: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in depth:
            depth[room] = 1 + max((of(other) for other in arrows[room]), default=-1)
        return depth[room]

    for room in arrows:
        of(room)
    return [
        sorted(room for room in arrows if depth[room] == level)
        for level in range(max(depth.values()) + 1)
    ]


def nearest(room: str, arrows: dict[str, set[str]]) -> list[str]:
    """The rooms that it imports and that none of its other rooms imports too."""

    def below(other: str) -> set[str]:
        return arrows[other].union(*(below(one) for one in arrows[other]))

    own = arrows[room]
    return sorted(own.difference(*(below(other) for other in own)))


def says(room: str) -> str:
    """First line of its docstring."""
    path = PACKAGE / f"{room}.py" if room == "study" else PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def drawing() -> str:
    """The Markdown between the marks: a table of the rooms, lowest first."""
    arrows = graph()
    lines = [
        "| level | room | what it holds | stands on |",
        "| ---: | --- | --- | --- |",
    ]
    for level, rooms in enumerate(levels(arrows)):
        lines += [
            f"| {level} | `{room}` | {says(room)} | "
            f"{', '.join(f'`{other}`' for other in nearest(room, arrows)) or '–'} |"
            for room in rooms
        ]
    return "\n" + "\n".join(lines) + "\n\n"


def page() -> str:
    """The whole page with the drawing as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + drawing() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
