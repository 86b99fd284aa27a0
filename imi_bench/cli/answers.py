"""Which human answers: a path, or the fetched tables by the name `imi`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.output import note

if TYPE_CHECKING:
    from imi_bench.tables import Study

Answers = Annotated[
    str, typer.Option(help="Released CSV, folder with responses.parquet, or `imi` (fetched).")
]


def people(responses: str) -> Study:
    """The answers meant; says which fetched table `imi` is."""
    from imi_bench.release.study_files import FETCHED, answers_path, read_answers

    if responses == FETCHED:
        note(f"using {answers_path(responses).name}")
    return read_answers(responses)
