"""Figures and the self-contained page."""

from imi_bench.rooms import callable_room

callable_room(__name__, "page:report")


def __getattr__(name: str) -> object:
    if name == "paper":
        from importlib import import_module

        return import_module("imi_bench.report.paper")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
