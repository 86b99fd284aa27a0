"""Imports point one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import functools
import re
import runpy
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from support.source import statements

PACKAGE = Path(__file__).resolve().parents[1] / "imi_bench"

# A module may import from its own room and from those before it.
ORDER = (
    "errors arguments extras text places provenance progress executors arrays documents rooms "
    "records installation results plots threads beside",
    "tables stats pages",
    "vision",
    "stimuli release simulation",
    "observers",
    "replay",
    "networks",
    "mis",
    "choice",
    "scores",
    "measure",
    "formulas",
    "glmm",
    "effects",
    "collect",
    "fewshot",
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


def modules_of(node: ast.ImportFrom | ast.Import) -> set[str]:
    if isinstance(node, ast.Import):
        inside = [a.name for a in node.names if a.name.startswith("imi_bench.")]
        return {name.removeprefix("imi_bench.") for name in inside}
    if not (node.module or "").startswith("imi_bench"):
        return set()
    module = (node.module or "").removeprefix("imi_bench").removeprefix(".")
    names: set[str] = set()
    for alias in node.names:
        child = f"{module}.{alias.name}".strip(".")
        is_module = (PACKAGE / child.replace(".", "/")).with_suffix(".py").exists()
        names.add(child if is_module else module)
    return names - {""}


@functools.cache
def imported(path: Path) -> tuple[set[str], set[str]]:
    """Modules of the package that a file imports, anywhere in it; and those not for types alone."""
    every: set[str] = set()
    of_types: set[ast.AST] = set()
    working: set[str] = set()
    for node in statements(path):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            of_types.update(inner for each in node.body for inner in ast.walk(each))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            every |= modules_of(node)
            if node not in of_types:
                working |= modules_of(node)
    return every, working


def layer_of(name: str) -> int:
    room = name.split(".")[0]
    return next(depth for depth, rooms in enumerate(ORDER) if room in rooms.split())


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    name = module_name(path) or "__init__"
    for other in imported(path)[0]:
        assert layer_of(other) <= layer_of(name), f"{name} imports {other}"
        for source, target in FORBIDDEN:
            crosses = name.startswith(source) and other.startswith(target)
            assert not crosses, f"{name} must not know {other}"


def test_no_circle_inside_a_room() -> None:
    """Whoever reads a module need not have read it before; names of types alone do not count."""
    graph = {module_name(path): imported(path)[1] for path in MODULES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"circle of imports: {' imports '.join(reversed(error.args[1]))}")


def test_the_page_draws_the_imports_as_they_are() -> None:
    """After a change: ``python docs/draw_architecture.py``."""
    docs = PACKAGE.parent / "docs"
    drawn = runpy.run_path(str(docs / "draw_architecture.py"))["page"]()
    same = (docs / "architecture.md").read_text(encoding="utf-8") == drawn
    assert same, "imports changed: run `python docs/draw_architecture.py` and commit the page"


@pytest.mark.parametrize(
    ("page", "folder"),
    [("docs/architecture.md", "imi_bench"), ("imi_bench/glmm/MAP.md", "imi_bench/glmm")],
)
def test_files_that_pages_name_are_there(page: str, folder: str) -> None:
    text = (PACKAGE.parent / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(named) > 15
    places = (PACKAGE.parent, PACKAGE.parent / folder)
    assert [n for n in sorted(named) if not any((p / n).is_file() for p in places)] == []


def test_functions_that_the_map_names_stand_in_their_files() -> None:
    text = (PACKAGE / "glmm" / "MAP.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+\.py)`, `(\w+)`", text)
    assert len(named) > 5
    for file, function in named:
        assert re.search(
            rf"\bdef {function}\(|\bclass {function}\b",
            (PACKAGE / "glmm" / file).read_text("utf-8"),
        ), (file, function)
    for page in re.findall(r"\]\(([\w./-]+\.md)\)", text):
        assert (PACKAGE / "glmm" / page).resolve().is_file(), page


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
    assert not loaded & {*LIGHT, "numpy", "pandas"}


TESTS = Path(__file__).resolve().parent


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda one: one.stem)
def test_tests_import_public_names_and_no_other_test(path: Path) -> None:
    for node in statements(path):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        parts = [*node.module.split("."), *(one.name for one in node.names)]
        if parts[0] == "imi_bench":
            assert not [one for one in parts if one.startswith("_") and one[:2] != "__"], path
        assert not [one for one in node.module.split(".") if one.startswith("test_")], path


def test_aliases_of_arrays_stand_once() -> None:
    """In `imi_bench.arrays`; what is named after its contents (codes, rows) may add a name."""
    twice = [
        f"{path.relative_to(PACKAGE)}: {line}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"_?[A-Z]\w* *(: TypeAlias)?= *\"?NDArray\[np\.", line)
        and path.name != "arrays.py"
    ]
    assert twice == []


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def place(path: Path, node: ast.expr | ast.stmt) -> str:
    return f"{path.relative_to(PACKAGE)}:{node.lineno}"


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's own code; signature and docstring do not count."""
    body = function.body
    if ast.get_docstring(function) is not None and len(body) > 1:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_functions_and_files_can_be_read_at_a_glance() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        f"{place(path, node)} {node.name}: {lines_of(node)} lines"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, functions) and lines_of(node) > 60
    ]
    assert long == []
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert [f"{p.relative_to(PACKAGE)}: {n} lines" for p, n in sizes.items() if n > 500] == []


def test_many_arguments_are_named() -> None:
    """Eight or more by place tell nobody which is which; `struct.pack` has no names."""
    unnamed = [
        f"{place(path, node)} {ast.unparse(node.func)}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and len(node.args) >= 8
        and not all(isinstance(one, ast.Tuple | ast.Starred) for one in node.args)
        and ast.unparse(node.func) != "struct.pack"
    ]
    assert unnamed == []


def is_truth(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and ast.unparse(node.func) in ("bool", "any", "all")
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return called or negated or isinstance(node, ast.Compare | ast.BoolOp)


def is_sequence(node: ast.expr) -> bool:
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.JoinedStr | ast.List | ast.Tuple)


def test_nothing_is_multiplied_by_a_truth_value() -> None:
    """``"s" * (n != 1)``, ``("a",) * several``: an ``if`` says it."""
    named = ("simulated", "several", "facets", "said", "bounds", "finite")
    products = [
        (path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and is_sequence(node.left)
    ]
    assert [
        f"{place(path, node)} {ast.unparse(node)}"
        for path, node in products
        if is_truth(node.right) or ast.unparse(node.right).rpartition(".")[2] in named
    ] == []


def test_tables_of_functions_name_them() -> None:
    assert [
        f"{place(path, node)} {ast.unparse(node)[:60]}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict) and any(isinstance(v, ast.Lambda) for v in node.values)
    ] == []
