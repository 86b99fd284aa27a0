"""Which human answers: a path, or the fetched tables by the name `imi`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.output import note

if TYPE_CHECKING:
    from imi_bench.tables import Study

Answers = Annotated[
    str, typer.Option(help="Released CSV, folder with responses.parquet, or `imi` (fetched).")
]


def read_answers(responses: str) -> tuple[Path, Study]:
    """The file or folder meant, and what it holds.

    Raises
    ------
    InputError
        If there is none.
    """
    from imi_bench.errors import InputError
    from imi_bench.release.fetch import stored
    from imi_bench.release.study_files import read_study

    path = Path(responses)
    if responses == "imi":
        tables = [one.path for one in stored()]
        path = max(tables, key=lambda one: ("all" in one.name, one.stat().st_size))
        note(f"using {path.name}")
    elif not path.exists():
        raise InputError(
            "no such file", where=path, wanted="human answers, or `imi` for the fetched ones"
        )
    return path, read_study(path)
