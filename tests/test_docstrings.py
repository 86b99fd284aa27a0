"""One dialect of docstrings: every parameter and attribute has its type in the type slot."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from support.docstrings import documented, entries

PACKAGE = Path(__file__).resolve().parents[1] / "imi_bench"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")


def test_every_documented_name_has_a_type() -> None:
    found = list(documented(PACKAGE))
    assert len(found) > 2000
    without = [f"{e.where}: {e.names} : {e.slot}" for e in found if not e.has_type]
    assert not without, "\n".join(without)


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("n : int", True),
        ("n : int, optional", True),
        ('way : {"a", "b"}', True),
        ("rows : (T,) float64", True),
        ("table : pandas.DataFrame or Path", True),
        ("n : number of answers.", False),
        ("n : how many there are", False),
        ("n", False),
        ("n, m\n    As in `f`.", True),
    ],
)
def test_what_counts_as_a_type(line: str, typed: bool) -> None:
    (entry,) = entries(f"Do.\n\nParameters\n----------\n{line}\n")
    assert entry.has_type is typed


@pytest.mark.whole
@pytest.mark.parametrize("room", sorted({p.relative_to(PACKAGE).parts[0] for p in MODULES}))
def test_every_example_gives_what_it_says(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in MODULES:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if path.relative_to(PACKAGE).parts[0] == room and parts[-1] != "__main__":
            module = importlib.import_module(".".join(("imi_bench", *parts)))
            ran = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
            assert not ran.failed, module.__name__
