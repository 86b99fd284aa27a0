"""A judge that ends its process; worker processes can import it, as they cannot a test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imi_bench.leaderboard.archive import Problem


class DeadlyJudge:
    """Reads every submission well but one, as a fault of a library would."""

    @property
    def board(self) -> Any:
        return self

    def _judged(self, path: Path) -> list[Problem]:
        if path.name == "31":
            os.abort()
        return [Problem(".", "", f"read {path.name}")]
