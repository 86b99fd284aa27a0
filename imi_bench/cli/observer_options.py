"""Options of the verbs that load an observer; a misspelt one is told before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from imi_bench.errors import InputError, UnknownNameError


def _one_of(kind: str, known: tuple[str, ...]) -> Callable[[str], str]:
    def checked(name: str) -> str:
        UnknownNameError.unless_among(name, known, kind=kind)
        return name

    return checked


def _a_device(name: str) -> str:
    from imi_bench.vision.device import is_device

    return name if is_device(name) else _one_of("device", ("auto", "cpu", "cuda", "mps"))(name)


def _look_there(folder: Path | None) -> Path | None:
    """Let this process and those it starts find weights in the folder."""
    if folder is not None:
        from imi_bench.vision.weight_files import WEIGHTS_VARIABLE

        if not folder.is_dir():
            raise InputError("no such folder of weights", where=folder, wanted="a folder")
        os.environ[WEIGHTS_VARIABLE] = str(folder.resolve())
    return folder


Device = Annotated[
    str,
    typer.Option(callback=_a_device, help="auto, cpu, cuda, cuda:N or mps."),
]
Dtype = Annotated[
    str,
    typer.Option(
        callback=_one_of("number type", ("float32", "bf16", "fp16")),
        help="float32, bf16 or fp16.",
    ),
]
WeightsFolder = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        envvar="IMI_BENCH_WEIGHTS",
        callback=_look_there,
        help="Folder of NAME.safetensors (`observers fetch --to`), looked into first.",
    ),
]
