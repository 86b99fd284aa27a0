"""Scripts of ``benchmarks/`` as modules, for tests of what they hold."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def benchmark(name: str) -> ModuleType:
    folder = str(Path(__file__).parents[2] / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
