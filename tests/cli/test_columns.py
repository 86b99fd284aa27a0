"""Tables at 80 columns: nothing is cut, whatever the names; a pipe gets whole rows."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_study import SmallStudy
from support.verbs import verbs
from typer.testing import CliRunner

import imi_bench
import imi_bench.cli.output as output
from imi_bench.cli.app import app
from imi_bench.cli.layout import bar, lay

LONG = "an-observer-whose-name-somebody-must-type-to-the-very-end-of-it-v2.1"
WIDTH = 80

words = st.text("abcdefgh0123-[],.", min_size=1, max_size=30)
cells = st.lists(words, max_size=8).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    columns = draw(st.lists(words, min_size=1, max_size=8, unique=True))
    row = st.lists(cells, min_size=len(columns), max_size=len(columns))
    return columns, draw(st.lists(row, min_size=1, max_size=4))


@given(table=tables(), width=st.integers(20, 120))
def test_no_word_is_lost_and_no_line_is_wider(
    table: tuple[list[str], list[list[str]]], width: int
) -> None:
    columns, rows = table
    laid = lay(columns, rows, width=width)
    kept = re.findall(r"\S+", " ".join(laid.lines))
    for row in rows:
        for word in " ".join(row).split():
            assert word in kept
    longest = max(len(word) for row in [columns, *rows] for cell in row for word in cell.split())
    least = len(max(columns[1:], key=len, default="")) + 4 + longest
    assert max(map(len, laid.lines)) <= max(width, least)


def test_columns_go_in_the_stated_order() -> None:
    row = ["a" * 20, "b" * 20, "c" * 20]
    laid = lay(["one", "two", "three"], [row], width=50, spare=["three", "two"])
    assert laid.left_out == ["three"]
    assert "c" * 20 not in "".join(laid.lines)
    assert lay(["one", "two", "three"], [row], spare=["three"]).left_out == []
    assert len(lay(["one"], [["word " * 60]]).lines) == 3


def test_a_bar_shows_value_interval_and_reference() -> None:
    drawn = bar(0.75, 0.5, 1.0, start=0.0, end=1.0, reference=0.25, width=9)
    assert drawn == "\u00b7\u00b7\u2502\u00b7\u2500\u2500\u25cf\u2500\u2500"
    assert bar(math.nan, math.nan, math.nan, start=0.0, end=1.0) == "undefined"
    assert " " not in bar(0.2, -1.0, 2.0, start=0.0, end=1.0, ascii_only=True)


@pytest.fixture(scope="module")
def study(shared_study: SmallStudy) -> SmallStudy:
    made = shared_study
    for run in made.runs:
        decisions = replace(run.decisions, observer=f"{LONG}-{run.decisions.observer}")
        folder = made.folder / f"long-{run.decisions.observer}"
        folder.mkdir()
        decisions.to_frame().to_parquet(folder / "decisions.parquet")
    return made


VERBS: dict[str, Callable[[SmallStudy], tuple[object, ...]]] = {
    "run": lambda s: (
        *("run", "--observer", "chance", "--observer", "pixel-cosine"),
        *("--trials", s.folder / "trials", "--out", s.folder / "several", "--limit", 30),
    ),
    "one run": lambda s: (
        *("run", "--observer", "chance", "--trials", s.folder / "trials"),
        *("--out", s.folder / "another", "--mode", "natural"),
    ),
    "calibrate": lambda s: (
        *("calibrate", "--decisions", s.folder / "long-chance"),
        *("--responses", s.folder / "people"),
    ),
    "score": lambda s: (
        *("score", "--decisions", s.folder / "long-pixel-l2", "--resamples", 50),
        *("--responses", s.folder / "people"),
    ),
    "compare": lambda s: (
        *("compare", s.folder / "long-pixel-l2", s.folder / "long-chance"),
        *("--responses", s.folder / "people", "--resamples", 50),
    ),
    "gate": lambda s: (
        *("gate", s.folder / "pixel-l2", "--against", s.folder / "chance"),
        *("--by", "difficulty"),
    ),
    "doctor": lambda s: ("doctor", "--observer", "chance"),
    "observers list": lambda s: ("observers", "list"),
    "observers show": lambda s: ("observers", "show", "clip-vit-b32"),
    "networks list": lambda s: ("networks", "list"),
    "networks show": lambda s: ("networks", "show", "resnet50"),
    "leaderboard list": lambda s: ("leaderboard", "list"),
    "power": lambda s: ("power", "--slope", 0.2),
}


NAMES = [
    pytest.param(name, marks=pytest.mark.whole) if name == "doctor" else name for name in VERBS
]


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_fits(name: str, study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(part) for part in VERBS[name](study)]
    monkeypatch.setattr(output, "terminal_width", lambda: WIDTH)
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    for line in result.stdout.splitlines():
        table = not line.startswith(("worse", "pass", "cannot"))
        assert len(line) <= WIDTH or max(map(len, line.split())) > WIDTH // 2 or not table, line
    assert "\u2026" not in result.stdout
    if "long-" in " ".join(arguments):
        assert LONG in result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_verb_prints_one_json_object(name: str, study: SmallStudy) -> None:
    arguments = [str(part) for part in VERBS[name](study)]
    if "--out" in arguments:
        arguments[arguments.index("--out") + 1] += "-json"
    result = CliRunner().invoke(app, [*arguments, "--json"])
    told = json.loads(result.stdout)
    assert isinstance(told, dict | list)
    assert told


def test_a_pipe_gets_whole_rows(study: SmallStudy) -> None:
    folders = (study.folder / f"long-{name}" for name in ("pixel-l2", "chance"))
    arguments = ("compare", *folders, "--responses", study.folder / "people", "--resamples", 50)
    result = CliRunner().invoke(app, [str(part) for part in arguments])
    lines = [line for line in result.stdout.splitlines() if line.count(LONG) == 2]
    told = CliRunner().invoke(app, [*(str(part) for part in arguments), "--json"])
    assert len(lines) == len(json.loads(told.stdout)["differences"])


def test_every_table_goes_through_one_printer() -> None:
    for path in (Path(imi_bench.__file__).parent / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich.table"):
                pytest.fail(f"{path.name} draws a table of its own")


def test_every_verb_has_json_and_names_its_values() -> None:
    known = verbs()
    assert len(known) > 40
    server_or_schema = {"collect serve", "submit schema"}
    for name, verb in known.items():
        options = {option for part in verb.params for option in part.opts}
        assert "--json" in options or name in server_or_schema, name
        for part in verb.params:
            kind = getattr(part, "type_descriptor", None)  # before typer 0.2x, click's own types
            closed = kind.is_choice if kind else hasattr(part.type, "choices")
            assert part.metavar is not None or closed, f"{name}: {part.name}"


@pytest.mark.parametrize("width", [80, pytest.param(100, marks=pytest.mark.whole)])
def test_help_fits_and_shows_no_type_of_python(width: int) -> None:
    for name in ("", *verbs()):
        asked = [*name.split(), "--help"]
        told = CliRunner().invoke(app, asked, env={"TERMINAL_WIDTH": str(width)}).stdout
        assert max(map(len, told.splitlines())) <= width
        assert re.findall(r"<(?:list|str|bool|path|int|float)\b|\w\u2026 ", told) == [], name
    told = CliRunner().invoke(app, ["compare", "--help"]).stdout
    assert "Usage: imi-bench compare [OPTIONS] DECISIONS..." in told
