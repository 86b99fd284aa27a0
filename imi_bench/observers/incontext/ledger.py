"""Every answer of a model, once paid for, and what it cost: one SQLite file.

Answers are kept by the hash of what was asked of which model; refusals and errors are not, so that
they are asked again. No key, header or address with credentials is ever written.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imi_bench.documents import reading
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.text import plural

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
  moment REAL NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL, seconds REAL NOT NULL,
  input_tokens REAL, output_tokens REAL, cost REAL);
"""


class BudgetError(ImiBenchError):
    """The next call would go over what was allowed; all answers so far are kept."""

    exit_code = 3


class Ledger:
    """Answers and costs on disk.

    Parameters
    ----------
    path : str or Path
        Made where it does not exist.
    max_requests : int, optional
        Most calls of this process.
    max_cost : float, optional
        Most money, in the currency of the prices, over the whole file.

    Raises
    ------
    InputError
        The file is no ledger.
    """

    def __init__(
        self, path: str | Path, *, max_requests: int | None = None, max_cost: float | None = None
    ) -> None:
        for name, most in (("max_requests", max_requests), ("max_cost", max_cost)):
            if most is not None and not most >= 0:
                raise InputError(f"a budget: {name}", found=most, wanted="0 or more")
        self.path = Path(path)
        self.max_requests, self.max_cost = max_requests, max_cost
        self.requests = 0
        self._lock = threading.Lock()
        with _readable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, check_same_thread=False, isolation_level=None, timeout=30
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)

    def known(self, key: str) -> Scored | None:
        """The answer kept under that key."""
        with self._lock, _readable(self.path):
            row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            return None if row is None else Scored.from_json(json.loads(row[0]))

    @property
    def holds_answers(self) -> bool:
        """Whether any answer is kept."""
        with self._lock, _readable(self.path):
            return self._db.execute("SELECT 1 FROM answers LIMIT 1").fetchone() is not None

    def spent(self) -> float:
        """Money so far, over the whole file."""
        with self._lock, _readable(self.path):
            return self._spent()

    def allow(self) -> None:
        """Take one call from the budget.

        Raises
        ------
        BudgetError
            Nothing is left of it.
        """
        with self._lock:
            if self.max_requests is not None and self.requests >= self.max_requests:
                raise BudgetError(
                    "the budget of requests is used up",
                    where=self.path,
                    found=plural(self.requests, "request"),
                    wanted=f"at most {self.max_requests}",
                    do="run again with a larger max_requests=: answers so far are kept",
                )
            if self.max_cost is not None and (spent := self._spent()) >= self.max_cost:
                raise BudgetError(
                    "the budget of money is used up",
                    where=self.path,
                    found=f"{spent:.4g}",
                    wanted=f"below {self.max_cost:g}",
                    do="run again with a larger max_cost=: answers so far are kept",
                )
            self.requests += 1

    def keep(self, key: str, answer: Scored, *, model: str, seconds: float) -> None:
        """Store an answer (not a refusal or error) and the call that gave it."""
        usage = answer.usage
        with self._lock, _readable(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            if answer.outcome == "ok":
                self._db.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?)",
                    (key, json.dumps(answer.to_json())),
                )
            self._db.execute(
                "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    time.time(),
                    model,
                    answer.outcome,
                    seconds,
                    usage.get("input_tokens"),
                    usage.get("output_tokens"),
                    usage.get("cost"),
                ),
            )
            self._db.execute("COMMIT")

    def totals(self) -> dict[str, Any]:
        """Calls by outcome, tokens, money and seconds over the whole file.

        ``calls_without_tokens`` are those of which the server told no tokens: they are in no sum.
        """
        with self._lock, _readable(self.path):
            outcomes = dict(
                self._db.execute("SELECT outcome, count(*) FROM calls GROUP BY outcome").fetchall()
            )
            row = self._db.execute(
                "SELECT sum(input_tokens), sum(output_tokens), sum(cost), sum(seconds) FROM calls"
            ).fetchone()
            (untold,) = self._db.execute(
                "SELECT count(*) FROM calls WHERE input_tokens IS NULL"
            ).fetchone()
        names = ("input_tokens", "output_tokens", "cost", "seconds")
        known = {"calls": outcomes, "calls_without_tokens": untold}
        return {**known, **{n: v for n, v in zip(names, row, strict=True)}}

    def _spent(self) -> float:
        return float(self._db.execute("SELECT coalesce(sum(cost), 0) FROM calls").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A file that is no database, or damaged, is one line."""
    try:
        with reading("ledger of answers", where=path):
            yield
    except sqlite3.Error as error:
        raise InputError("no ledger of answers", where=path, found=error) from error
