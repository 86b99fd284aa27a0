"""The library's messages name arguments; the command line says the same of its options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import imi_bench
from imi_bench.cli.app import app
from imi_bench.cli.wording import in_options, naming_options
from imi_bench.errors import ImiBenchError, InputError

VERBS = get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("verb", "message", "said"),
    [
        ("gate", "add by=", "add --by"),
        ("gate", "needs human answers; add responses=", "needs human answers; add --responses"),
        ("fewshot", "with near='keep', max_cost=: so", "with --near keep, --max-cost: so"),
        ("run", "another out=, or force=True", "another --out, or --force"),
        ("mis", "device='cpu' and people=", "--device cpu and people="),
        ("run", "timm:x?out=1&force=True, by=", "timm:x?out=1&force=True, by="),
        ("gate", "by=(1, 2)", "by=(1, 2)"),
    ],
)
def test_arguments_become_the_verbs_own_options(verb: str, message: str, said: str) -> None:
    with naming_options(VERBS[verb].params):
        assert in_options(message) == said
    assert in_options(message) == message


def test_an_error_of_the_library_is_reworded_where_it_tells_what_to_do_alone() -> None:
    error = InputError("a floor needs its stratum", found="by=", do="add by=")
    with pytest.raises(ImiBenchError) as caught, naming_options(VERBS["gate"].params):
        raise error
    assert str(caught.value) == "a floor needs its stratum: found by=; add --by"


def test_the_library_names_no_option_that_is_not_of_a_command() -> None:
    """But where pytest has options of its own, and where both are named."""
    flag = re.compile(r"[\"' (]--[a-z][a-z-]+")
    known = ("pytest_plugin.py", "packaged_weights.py")
    told = []
    root = Path(imi_bench.__file__).parent
    for path in root.rglob("*.py"):
        if "cli" in path.parts or path.name in known:
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.sub(r"`[^`]*`", "", line)
            says = re.search(r"""\b(do=|found=|wanted=|do = )""", found)
            if says and flag.search(found) and "(--weights)" not in found:
                told.append(f"{path.name}: {line.strip()}")
    assert told == []


def test_every_verb_is_reworded() -> None:
    groups = [*VERBS.values()]
    for group in groups:
        for one in getattr(group, "commands", {"": group}).values():
            assert type(one).invoke is not typer.core.TyperCommand.invoke
