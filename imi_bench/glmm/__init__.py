"""Generalised linear mixed models for crossed designs.

Start reading at `imi_bench.glmm.fitting`; the numbers are made in `laplace` and `gaussian`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imi_bench.glmm.build import build_design
    from imi_bench.glmm.design import Design
    from imi_bench.glmm.fitting import deviance, fit, fit_design
    from imi_bench.glmm.options import Options
    from imi_bench.glmm.result import GlmmResult
    from imi_bench.glmm.starts import WarmStart

_HOME = {
    "Design": "design",
    "GlmmResult": "result",
    "Options": "options",
    "WarmStart": "starts",
    "build_design": "build",
    "deviance": "fitting",
    "fit": "fitting",
    "fit_design": "fitting",
}

__all__ = [
    "Design",
    "GlmmResult",
    "Options",
    "WarmStart",
    "build_design",
    "deviance",
    "fit",
    "fit_design",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"imi_bench.glmm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'imi_bench.glmm' has no attribute {name!r}")
