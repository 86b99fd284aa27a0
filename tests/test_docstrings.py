"""One dialect of docstrings: every parameter and attribute has its type in the type slot."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.docstrings import documented, entries

PACKAGE = Path(__file__).resolve().parents[1] / "imi_bench"


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
