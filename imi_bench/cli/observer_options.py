"""Options of the verbs that load an observer; a misspelt one is told before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from imi_bench.errors import UnknownNameError


def _one_of(kind: str, known: tuple[str, ...]) -> Callable[[str], str]:
    def checked(name: str) -> str:
        if name not in known:
            raise UnknownNameError.among(name, known, kind=kind)
        return name

    return checked


ObserverName = Annotated[
    str, typer.Option("--observer", help="A name of `imi-bench observers list`, or file.py:Class.")
]
Device = Annotated[
    str,
    typer.Option(
        callback=_one_of("device", ("auto", "cpu", "cuda", "mps")), help="auto, cpu, cuda or mps."
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        callback=_one_of("number type", ("float32", "bf16", "fp16")),
        help="float32, bf16 or fp16.",
    ),
]
