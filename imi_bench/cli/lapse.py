"""The option --lapse: a number, or how to find one."""

from __future__ import annotations

from typing import Any

from imi_bench.errors import InputError


def lapse_rate(text: str, *words: str) -> Any:
    """Return the number, or one of the words, that stands in --lapse."""
    if text in words:
        return text
    try:
        return float(text)
    except ValueError as error:
        raise InputError(
            "no lapse rate",
            where="--lapse",
            found=text,
            wanted=" or ".join(("a number", *words)),
        ) from error
