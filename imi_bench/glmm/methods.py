"""What a fitted model can be asked: the functions that `GlmmResult` carries as methods.

These functions refit the model, so their modules need `GlmmResult`, and `GlmmResult` cannot import
them. It finds them here by name when they are called. To add a method, add its home to the table
and a method of the same signature, with types, to `GlmmResult`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

HOME: Mapping[str, str] = {
    "bootstrap": "bootstrap",
    "likelihood_ratio": "inference",
    "profile": "profile",
    "wald": "inference",
    "drop_one": "comparison",
    "anova": "comparison",
    "variance_tests": "comparison",
    "variation": "variation",
    "restarts": "restarts",
    "marginal_means": "means",
    "predict": "prediction",
    "simulated_residuals": "residuals",
    "influence": "influence",
}
"""The module of each function."""


def method(name: str) -> Callable[..., Any]:
    """The function of that name; its first argument is the fitted model.

    Examples
    --------
    >>> method("wald").__name__
    'wald'
    """
    found: Callable[..., Any] = getattr(import_module(f"imi_bench.glmm.{HOME[name]}"), name)
    return found
