"""Which human answers: a path, or the fetched tables by the name `imi`."""

from __future__ import annotations

from typing import Annotated

import typer

from imi_bench.cli.output import note

Answers = Annotated[
    str, typer.Option(help="Released CSV, folder with responses.parquet, or `imi` (fetched).")
]


def say_which(responses: str) -> str:
    """The same name; says on standard error which fetched table `imi` is."""
    from imi_bench.release.study_files import FETCHED, answers_path

    if responses == FETCHED:
        note(f"using {answers_path(responses).name}")
    return responses
