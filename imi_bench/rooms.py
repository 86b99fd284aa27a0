"""Rooms that are called by their own name.

Some public names are those of rooms: `imi_bench.gate` is a function to a user and a package to
Python, and importing anything from a package binds its name in its parent. So such a room *is*
callable: ``imi_bench.gate(new, against=old)`` calls `imi_bench.gate.verdict.gate`, and
``imi_bench.gate.verdict`` is still the module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["callable_room"]


class CallableRoom(ModuleType):
    """A package that calls one of its functions, which is imported on first use."""

    _function: str

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, for `help` and `inspect.signature`."""
        module, _, name = self._function.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found

    def __reduce_ex__(self, protocol: object) -> tuple[Callable[..., Any], tuple[str]]:
        """A process that a call is sent to imports the room itself."""
        return importlib.import_module, (self.__name__,)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*arguments, **options)


def callable_room(room: str, function: str) -> None:
    """Make a package callable.

    Parameters
    ----------
    room : str
        The package's ``__name__``.
    function : str
        ``module:function``, the module relative to the room.
    """
    module = sys.modules[room]
    module.__class__ = CallableRoom
    module.__dict__["_function"] = f"{room}.{function}"
