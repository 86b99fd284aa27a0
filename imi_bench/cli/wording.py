"""Arguments of the library's messages as the options of the verb that printed them.

The library names arguments as Python has them: ``by=``, ``near='keep'``, ``force=True``. On the
command line the same line says ``--by``, ``--near keep``, ``--force``, if the verb has the option.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from imi_bench.errors import ImiBenchError

__all__ = ["in_options", "naming_options"]

_ARGUMENT = re.compile(
    r"(?<![\w?&./'-])(?P<name>[a-z][a-z0-9_]*)="
    r"(?:'(?P<text>[^']*)'|(?P<bare>True|False|\d+|[A-Z][A-Z/]+)(?!\w))?(?![\w'([{])"
)
_ALSO = {"people": "responses", "study": "responses", "answers": "responses"}
_OPTIONS: ContextVar[Mapping[str, tuple[str, str | None]]] = ContextVar("options")


def in_options(message: str) -> str:
    """The message with the options of the verb that runs in place of arguments.

    Examples
    --------
    >>> in_options("add by=")  # no verb runs
    'add by='
    """
    options = _OPTIONS.get({})

    def option(found: re.Match[str]) -> str:
        name = found["name"] if found["name"] in options else _ALSO.get(found["name"], "")
        if name not in options:
            return found[0]
        yes, no = options[name]
        if found["bare"] in ("True", "False"):
            return (yes if found["bare"] == "True" else no) or found[0]
        value = found["text"] or found["bare"]
        return f"{yes} {value}" if value else yes

    return _ARGUMENT.sub(option, message)


@contextmanager
def naming_options(parameters: Iterable[Any]) -> Iterator[None]:
    """While a verb of these parameters runs: its options in what it notes, and in its errors."""
    options = {
        one.name: (longest[0], next(iter(one.secondary_opts), None))
        for one in parameters
        if (longest := sorted((o for o in one.opts if o.startswith("--")), key=len, reverse=True))
    }
    token = _OPTIONS.set(options)
    try:
        yield
    except ImiBenchError as error:
        line = str(error)
        for part in (error.what, error.do):
            told = " ".join(str(part).split()) if part is not None else ""
            line = line.replace(told, in_options(told)) if told else line
        error.args = (line,)
        raise
    finally:
        _OPTIONS.reset(token)
