"""Fingerprints of code: of a function with all it takes from outside, and of a class.

Two that answer differently must never have one fingerprint: answers are reused by it.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import secrets
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from imi_bench.provenance import sha256_bytes, sha256_json

__all__ = ["class_source", "identity"]


def class_source(kind: type) -> dict[str, str]:
    """Name of a class and hash of its source file; of its code where no file holds it.

    A class of a notebook or a prompt has no file, and its cell is edited more often than any.
    """
    method = next((own for own in vars(kind).values() if inspect.isfunction(own)), kind)
    try:
        file = inspect.getsourcefile(method)
        text = None if file is None else Path(file).read_bytes()
    except (TypeError, OSError):
        text = None
    source = sha256_json(_methods(kind)) if text is None else sha256_bytes(text)
    return {"class": kind.__qualname__, "source": source}


def identity(function: Any) -> str:
    """Fingerprint of a function and of what it takes from outside.

    Defaults, closures and the globals it names are part of it. Where one of these cannot be hashed,
    the fingerprint is a new one at every call, so that nothing is reused.
    """
    return sha256_json(_parts(function, set()))


def _parts(value: Any, seen: set[int]) -> Any:
    if isinstance(value, functools.partial):
        bound = [*value.args, *value.keywords.items()]
        return ["partial", _parts(value.func, seen), [_parts(one, seen) for one in bound]]
    if isinstance(value, ModuleType):
        return ["module", value.__name__, str(getattr(value, "__version__", ""))]
    if isinstance(value, FunctionType):
        if id(value) in seen:
            return ["seen", value.__qualname__]
        seen.add(id(value))
        closed = [_content(cell) for cell in value.__closure__ or ()]
        names = sorted(_names(value.__code__) & value.__globals__.keys())
        named = [value.__globals__[name] for name in names]
        outside = [*closed, *named, *(value.__defaults__ or ()), value.__kwdefaults__ or {}]
        own = [_file(value), _code(value.__code__)]  # two functions of one file, by their code
        return ["function", *own, [_parts(one, seen) for one in outside]]
    if inspect.ismethod(value):
        return ["method", _parts(value.__func__, seen), _parts(value.__self__, seen)]
    if inspect.isbuiltin(value):
        return ["named", value.__module__, value.__qualname__]
    if inspect.isclass(value):
        if value.__module__ == "builtins" or id(value) in seen:
            return ["named", value.__module__, value.__qualname__]
        seen.add(id(value))
        return ["class", value.__module__, value.__qualname__, _file(value), _methods(value)]
    try:
        kind = _parts(type(value), seen)  # a pickle names the class and does not hold its code
        return ["value", kind, sha256_bytes(pickle.dumps(value, protocol=5))]
    except Exception:  # whatever a stranger's object raises when it is pickled
        return ["unknown", secrets.token_hex(16)]


def _content(cell: CellType) -> Any:
    """What a function closes over; a name that is not bound yet is the text ``unbound``."""
    try:
        return cell.cell_contents
    except ValueError:
        return "unbound"


def _inner(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _names(code: CodeType) -> set[str]:
    """Global names (and attributes) that a function or one inside it asks for."""
    return {*code.co_names}.union(*(_names(one) for one in _inner(code)))


def _code(code: CodeType) -> list[Any]:
    """What a function does, told apart from another of the same file and name."""
    plain = [one for one in code.co_consts if not isinstance(one, CodeType)]
    constants = [
        sorted(map(repr, one)) if isinstance(one, frozenset) else repr(one) for one in plain
    ]
    variables = [*code.co_names, "|", *code.co_varnames, "|", *code.co_freevars]
    inside = [_code(one) for one in _inner(code)]
    return [sha256_bytes(code.co_code), constants, variables, inside]


def _methods(kind: type) -> list[Any]:
    methods = [one for one in vars(kind).values() if isinstance(one, FunctionType)]
    return [_code(one.__code__) for one in methods]


def _file(value: Any) -> str:
    """Hash of the file a function or class stands in; of its source, or nothing, without one."""
    try:
        file = inspect.getsourcefile(value)
        if file is not None and Path(file).is_file():
            return sha256_bytes(Path(file).read_bytes())
        return sha256_bytes(inspect.getsource(value).encode())
    except (TypeError, OSError):
        return ""
