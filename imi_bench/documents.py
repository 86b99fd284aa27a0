"""TOML and JSON of anyone, read within bounds: the one guarded way in.

A document of a few kilobytes can take minutes and gigabytes to read: dotted keys are quadratic in
`tomllib`, brackets recurse. Size, depth and dots are measured first, in one pass. What a reader
makes of a document is guarded too: a field that is missing, of another type or out of range is
one line that names the file, never a traceback.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from imi_bench.errors import ImiBenchError, InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

__all__ = [
    "MAX_JSON",
    "MAX_TOML",
    "parse_json",
    "parse_model",
    "parse_toml",
    "read_json",
    "read_model",
    "read_toml",
    "reading",
    "validated",
]

MAX_TOML = 256 << 10
MAX_JSON = 64 << 20
MAX_DEPTH = 16
# A quote that opens a string without an end is a token of its own: nothing behind it is TOML.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|"""|"(?:[^"\\\n]|\\.)*"|"|'
    r"'''(?:[^']|'(?!''))*'{3,5}|'''|'[^'\n]*'|'|#[^\n]*|[\[\]{}.,=\n]",
    re.DOTALL,
)
_UNENDED = frozenset(('"""', '"', "'''", "'"))


_PLAIN_ERROR = ImiBenchError.__init__


@contextmanager
def reading(
    what: str, *, where: object = None, error: type[InputError] = InputError
) -> Iterator[None]:
    """Turn what goes wrong while a record is read into one line that names it.

    Parameters
    ----------
    what : str
        Such as ``calibration``.
    where : object, optional
        The file, where there is one.
    error : type
        Which `InputError`.

    Raises
    ------
    InputError
        In place of the errors that a record of another shape causes.

    Examples
    --------
    >>> with reading("estimate", where="x.json"):
    ...     {}["value"]
    Traceback (most recent call last):
    ...
    imi_bench.errors.InputError: not a readable estimate: x.json: found no field 'value'
    """
    try:
        yield
    except ImiBenchError as told:
        if where is None or str(where) in str(told) or type(told).__init__ is not _PLAIN_ERROR:
            raise
        place = where if told.where is None else f"{where}: {told.where}"
        facts = {"found": told.found, "wanted": told.wanted, "do": told.do}
        raise type(told)(told.what, where=place, **facts) from told
    except KeyError as missing:
        name = str(missing.args[0])[:80] if missing.args else ""
        raise error(f"not a readable {what}", where=where, found=f"no field '{name}'") from missing
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as bad:
        found = f"{type(bad).__name__}: {str(bad)[:200]}"
        raise error(f"not a readable {what}", where=where, found=found) from bad


def parse_toml(
    text: str,
    *,
    where: object = None,
    limit: int = MAX_TOML,
    error: type[InputError] = InputError,
) -> dict[str, Any]:
    """Parse TOML of bounded size, depth and number of dots in a key.

    Raises
    ------
    InputError
        Too large, too deep, or not TOML.

    Examples
    --------
    >>> parse_toml("a.b = 1")
    {'a': {'b': 1}}
    """
    if len(text) > limit:
        raise error("not TOML", where=where, found=f"{len(text):,} characters", wanted=f"{limit:,}")
    _measure(text, where, error)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as bad:
        raise error("not TOML", where=where, found=str(bad)[:200]) from bad


def _measure(text: str, where: object, error: type[InputError]) -> None:
    depth = dots = 0
    for token in _TOKEN.finditer(text):
        kind = token[0]
        if kind in _UNENDED:
            return
        if kind in "[{":
            depth, dots = depth + 1, 0
        elif kind in "]}":
            depth, dots = max(0, depth - 1), 0
        elif kind == ".":
            dots += 1
        elif kind in "=,\n":
            dots = 0
        if depth > MAX_DEPTH or dots > MAX_DEPTH:
            line = text.count("\n", 0, token.start()) + 1
            raise error(
                "TOML nested too deep",
                where=where,
                found=f"line {line}",
                wanted=f"{MAX_DEPTH} levels",
            )


def parse_json(text: str | bytes, *, where: object = None, strict: bool = False) -> Any:
    """Parse JSON of bounded size.

    Parameters
    ----------
    text : str or bytes
    where : object, optional
        The file.
    strict : bool
        Also refuse what readers take differently (RFC 8259, I-JSON): names that stand twice, NaN
        and infinity, other encodings than UTF-8, halves of surrogate pairs.

    Raises
    ------
    InputError
        Too large, too deep, or not JSON.

    Examples
    --------
    >>> parse_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    if len(text) > MAX_JSON:
        found, wanted = f"{len(text):,} bytes", f"{MAX_JSON:,}"
        raise InputError("not JSON", where=where, found=found, wanted=wanted)
    try:
        if not strict:
            return json.loads(text)
        plain = text.decode("utf-8") if isinstance(text, bytes) else text
        made = json.loads(
            plain, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite
        )
        if re.search(r"\\u[dD][89a-fA-F]", plain):
            json.dumps(made, ensure_ascii=False).encode("utf-8")
        return made
    except (ValueError, RecursionError) as error:
        found = "too deeply nested" if isinstance(error, RecursionError) else str(error)[:200]
        raise InputError("not JSON", where=where, found=found) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"name {twice[:80]!r} stands twice")
    return made


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"number {text[:40]} is too large")
    return number


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        Missing, too large, too deep, not UTF-8 or not TOML.
    """
    return parse_toml(_text(path, MAX_TOML, "TOML"), where=path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        Missing, too large, too deep, not UTF-8 or not JSON.
    """
    return parse_json(_text(path, MAX_JSON, "JSON"), where=path)


def _text(path: Path, limit: int, kind: str) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise InputError(f"not {kind}", where=path, found="more bytes", wanted=f"{limit:,}")
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is not UTF-8"
        raise InputError(f"not {kind}", where=path, found=found) from error
    except OSError as error:
        raise InputError(f"cannot read {kind}", where=path, found=error.strerror) from error


def parse_model(
    text: str, model: type[Model], *, what: str, where: object, error: type[InputError] = InputError
) -> Model:
    """Read TOML into a pydantic model: cards, rules of boards.

    Parameters
    ----------
    text : str
    model : type
        A pydantic model.
    what : str
        What it should be, such as ``observer card``.
    where : object
        The file.
    error : type
        Which `InputError`.

    Raises
    ------
    InputError
        Not TOML, too large, or a field that is missing, unknown or of another kind.
    """
    with reading(what, where=where, error=error):
        table = parse_toml(text, where=where, error=error)
    return validated(table, model, what=what, where=where, error=error)


def validated(
    table: Mapping[str, Any],
    model: type[Model],
    *,
    what: str,
    where: object,
    error: type[InputError] = InputError,
) -> Model:
    """Read a table into a pydantic model; as `parse_model`.

    Parameters
    ----------
    table : mapping of str to object
    model : type
    what, where, error
        As in `parse_model`.

    Raises
    ------
    InputError
        A field that is missing, unknown or of another kind.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(table)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        parts = [str(part) for part in first["loc"] if not str(part).startswith("<")]
        field = ".".join(parts) or "whole"
        more = f" ({bad.error_count()} faults)" if bad.error_count() > 1 else ""
        raise error(
            f"invalid {what}{more}", where=f"{where}, field '{field}'", found=first["msg"]
        ) from bad


def read_model(
    path: Path | Traversable,
    model: type[Model],
    *,
    what: str,
    error: type[InputError] = InputError,
) -> Model:
    """Read a TOML file into a pydantic model; as `parse_model`, and the file may be missing."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as bad:
        raise error(f"{what} cannot be read", where=path, found=bad) from bad
    return parse_model(text, model, what=what, where=path, error=error)
