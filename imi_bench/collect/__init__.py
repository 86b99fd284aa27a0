"""People answer the same trials in a browser: serve, store, judge, export.

::

    trials -> Experiment (tasks) -> server <-> page          one answer a request
                                      |
                                    Store (SQLite) -> status, export (the released table)

Start reading at `experiment`; `serve` is the one call that a notebook needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imi_bench.collect.experiment import Experiment, Plan
    from imi_bench.collect.progress_report import status
    from imi_bench.collect.response_table import export
    from imi_bench.collect.server import serve
    from imi_bench.collect.store import Store

__all__ = ["Experiment", "Plan", "Store", "export", "serve", "status"]

_HOME = {
    "Experiment": "experiment",
    "Plan": "experiment",
    "Store": "store",
    "export": "response_table",
    "serve": "server",
    "status": "progress_report",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOME:
        return getattr(importlib.import_module(f"imi_bench.collect.{_HOME[name]}"), name)
    raise AttributeError(f"module 'imi_bench.collect' has no attribute {name!r}")
