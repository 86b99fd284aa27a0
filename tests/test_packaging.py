"""Every declared dependency is imported, every imported one declared, none twice."""

from __future__ import annotations

import ast
import configparser
import re
import sys
import tomllib
import zlib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from imi_bench.errors import MissingExtraError
from imi_bench.extras import require

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, SETUPTOOLS = CONFIGURATION["project"], CONFIGURATION["tool"]["setuptools"]
# Imported by another name than they are installed by, where the test may run without them.
INSTALLED_AS = {
    "open_clip": "open-clip-torch",
    "huggingface_hub": "huggingface-hub",
    "sklearn": "scikit-learn",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def others(lines: list[str]) -> list[str]:
    """Without references from one extra to another."""
    return [line for line in lines if not line.startswith("imi-bench[")]


def declared(lines: list[str]) -> list[str]:
    return [normal(re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0]) for line in others(lines)]


@cache
def imports(*folders: str) -> dict[str, set[str]]:
    """Distribution to the files that import it, lazily or by `require`."""
    known = {name: normal(found[0]) for name, found in packages_distributions().items()}
    known |= INSTALLED_AS
    found: dict[str, set[str]] = {}
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    own = {"imi_bench", "support", *(path.stem for path in (ROOT / "benchmarks").glob("*.py"))}
    for path in paths:
        for module in modules_in(ast.parse(path.read_text(encoding="utf-8"))):
            top = module.partition(".")[0]
            if top not in own and top not in sys.stdlib_module_names:
                name = known.get(top, normal(top))
                found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


def modules_in(tree: ast.Module) -> list[str]:
    modules: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.append(node.module or "")
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require" and node.args:
            first = node.args[0]
            modules += [first.value] if isinstance(first, ast.Constant) else []
    return modules


CORE = declared(PROJECT["dependencies"])
EXTRAS = {extra: declared(lines) for extra, lines in PROJECT["optional-dependencies"].items()}


def test_none_twice() -> None:
    every = CORE + [name for names in EXTRAS.values() for name in names]
    assert sorted(set(every)) == sorted(every)


@pytest.mark.whole
def test_every_import_is_declared() -> None:
    known = {*CORE, *(name for names in EXTRAS.values() for name in names)}
    assert not undeclared(imports("imi_bench"), known)


@pytest.mark.whole
def test_what_tests_and_scripts_import_is_declared() -> None:
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    brought = {"mkdocs", "no-such-package"}  # one comes with mkdocs-material, one nowhere
    known = {*CORE, *(name for names in EXTRAS.values() for name in names), *brought}
    known |= set(declared(tox["testenv"]["deps"].split("\n")))
    assert not undeclared(imports("tests", "benchmarks", "docs"), known)


def undeclared(found: dict[str, set[str]], known: set[str]) -> dict[str, list[str]]:
    return {name: sorted(files)[:3] for name, files in found.items() if name not in known}


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_who_misses_a_package_is_told_its_extra(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported_as = {name: module for module, name in INSTALLED_AS.items()}
    for name in EXTRAS[extra]:
        module = imported_as.get(name, name)
        if module == "pytest":
            continue
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(MissingExtraError, match=rf"pip install 'imi-bench\[{extra}\]'"):
            require(module, for_="this test")


@pytest.mark.whole
def test_every_declared_is_imported() -> None:
    found = imports("imi_bench")
    unused = [name for name in CORE if name not in found]
    unused += [
        f"{name} ({e})" for e, names in EXTRAS.items() for name in names if name not in found
    ]
    assert not unused


def test_lower_bounds_are_given() -> None:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    assert [line for lines in groups for line in others(lines) if ">=" not in line] == []


def folder_of(package: str) -> Path:
    return ROOT / SETUPTOOLS["package-dir"].get(package, package.replace(".", "/"))


def test_every_room_is_packed() -> None:
    rooms = {path.parent for path in (ROOT / "imi_bench").rglob("*.py")}
    rooms |= {ROOT / name for name in ("observers", "leaderboards")}
    assert {folder_of(name) for name in SETUPTOOLS["packages"]} == rooms


def files_of(table: str) -> set[Path]:
    return {
        path
        for package, patterns in SETUPTOOLS[table].items()
        for pattern in patterns
        for path in folder_of(package).glob(pattern)
        if path.is_file()
    }


def test_the_wheel_is_small() -> None:
    """Under 3 MB: each file deflated, its two headers of a zip (76 bytes and twice its name), and
    its line of the record, whose hash alone takes some 46 bytes however it is packed."""
    code = {path for name in SETUPTOOLS["packages"] for path in folder_of(name).glob("*.py")}
    left_out = files_of("exclude-package-data")
    assert left_out
    kept = code | files_of("package-data") - left_out
    sizes = [
        len(zlib.compress(path.read_bytes())) + 76 + 2 * len(str(path.relative_to(ROOT))) + 46
        for path in kept
    ]
    assert sum(sizes) < 3_000_000


def test_every_file_of_a_room_is_packed() -> None:
    """What no pattern of package-data takes along would be missing from the wheel alone."""
    packed = files_of("package-data")
    there = {
        path
        for name in ("imi_bench", "observers", "leaderboards")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".html"} and path.name != "MAP.md"
    }
    there |= set((ROOT / "imi_bench").rglob("*.html"))
    assert sorted(there - packed) == []
