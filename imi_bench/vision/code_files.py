"""Code of somebody else's: what stands in a Python file, and one line for whatever it raises."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from imi_bench.errors import ImiBenchError, InputError, UnknownNameError

__all__ = ["faults_told", "from_file"]


@contextmanager
def faults_told(
    what: str, *, where: object, error: type[InputError] = InputError
) -> Iterator[None]:
    """Tell what another's code raises in one line; ``sys.exit`` too, which would end us unseen."""
    try:
        yield
    except ImiBenchError:
        raise
    except (Exception, SystemExit) as fault:
        said = shorten(f"{type(fault).__name__}: {fault}".rstrip(": "), 240)
        raise error(what, where=where, found=said) from fault


def from_file(path: Path, name: str, *, kind: str, error: type[InputError] = InputError) -> Any:
    """What a Python file has under a name.

    Parameters
    ----------
    path : Path
    name : str
    kind : str
        What is looked for, ``observer`` or ``network``: stands in messages and in the module's
        name.
    error : type
        Which `InputError`.

    Raises
    ------
    InputError
        No file, no Python file, or one that raises when it is imported.
    UnknownNameError
        No such name in it.
    """
    if not path.is_file():
        raise error(f"no {kind} file", where=path, wanted="FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"imi_bench_{kind}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise error("not a Python file", where=path)
    module = importlib.util.module_from_spec(spec)
    with faults_told(f"{kind} file cannot be imported", where=path, error=error):
        spec.loader.exec_module(module)
    if not hasattr(module, name):
        own = [
            public
            for public, value in vars(module).items()
            if not public.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == module.__name__
        ]
        raise UnknownNameError.among(name, own, kind=f"name in {path}")
    return getattr(module, name)
