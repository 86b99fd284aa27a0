"""Imports point one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "imi_bench"

# A module may import from its own room and from those before it.
ORDER = (
    "errors extras text provenance progress executors arrays rooms",
    "tables stats pages",
    "vision",
    "stimuli release simulation",
    "observers",
    "replay",
    "networks",
    "mis",
    "choice",
    "scores",
    "formulas",
    "glmm",
    "effects",
    "leaderboard gate",
    "report",
    "study",
    "cli __main__",
    "__init__",
)
FORBIDDEN = (
    ("observers", "choice"),
    ("observers", "scores"),
    ("observers", "release"),
    ("scores", "observers"),
    ("glmm", "observers"),
)
LIGHT = ("torch", "timm", "open_clip", "matplotlib", "seaborn", "statsmodels", "skimage", "sklearn")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imi_bench"):
            module = (node.module or "").removeprefix("imi_bench").removeprefix(".")
            for alias in node.names:
                child = f"{module}.{alias.name}".strip(".")
                is_module = (PACKAGE / child.replace(".", "/")).with_suffix(".py").exists()
                names.add(child if is_module else module)
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.removeprefix("imi_bench.")
                for alias in node.names
                if alias.name.startswith("imi_bench.")
            }
    return names - {""}


def layer_of(name: str) -> int:
    room = name.split(".")[0]
    return next(depth for depth, rooms in enumerate(ORDER) if room in rooms.split())


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    name = module_name(path) or "__init__"
    for other in imported(path):
        assert layer_of(other) <= layer_of(name), f"{name} imports {other}"
        for source, target in FORBIDDEN:
            crosses = name.startswith(source) and other.startswith(target)
            assert not crosses, f"{name} must not know {other}"


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sorted(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import imi_bench",
        "import contextlib, io, imi_bench.cli.app, typer.testing\n"
        "result = typer.testing.CliRunner().invoke(imi_bench.cli.app.app, ['--help'])\n"
        "assert result.exit_code == 0, result.output",
    ],
    ids=["import", "help"],
)
def test_light_start(code: str) -> None:
    loaded = loaded_after(code)
    assert not loaded & set(LIGHT)
    assert "pandas.plotting._core" not in loaded
