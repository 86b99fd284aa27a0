"""Answers on disk: SQLite files in which an answer is whole and once, or not at all.

Two files: ``NAME.db`` holds the experiment, the sessions and the answers; ``NAME.people.db`` who
the participants are (link or platform ids), so that the first can be handed on without the second.
Both in WAL mode with synchronous=FULL: what has been acknowledged survives a power cut.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from imi_bench.collect.database import ANSWERS, PEOPLE, connect, readable
from imi_bench.collect.experiment import Experiment, Screen, Task
from imi_bench.collect.session import RUNNING, Session
from imi_bench.errors import InputError, NotComparableError


class Full(Exception):  # noqa: N818 - an answer, not a fault
    """Every place is taken."""


class Store:
    """The answers of one experiment.

    Parameters
    ----------
    path : Path
        ``NAME.db``; made where it does not exist and an experiment is given.
    experiment : Experiment, optional
        Must be the one the file belongs to; None opens an existing file to read.
    begin : dict, optional
        `Experiment.describe` of it, where the experiment itself is not at hand.

    Raises
    ------
    InputError
        No such file, or no database of this program.
    NotComparableError
        The database of another experiment.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        experiment: Experiment | None = None,
        begin: dict[str, Any] | None = None,
    ) -> None:
        begin = experiment.describe() if experiment is not None else begin
        self.path = Path(path)
        if begin is None and not self.path.is_file():
            raise InputError("no such database", where=self.path, wanted="one that `serve` made")
        self._lock = threading.RLock()
        with readable(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = connect(self.path, ANSWERS)
            self._people = connect(self.people_path, PEOPLE)
            if begin is not None:
                self._claim(begin)
            row = self._db.execute(
                "SELECT fingerprint, plan, conditions, simulated, secret FROM experiment"
            ).fetchone()
        if row is None:
            raise InputError("a database without an experiment", where=self.path)
        with readable(self.path):
            self.fingerprint: str = row[0]
            self.plan: dict[str, Any] = json.loads(row[1])
            self.conditions: dict[str, list[Any]] = json.loads(row[2])
        self.simulated = bool(row[3])
        self.secret: bytes = row[4]

    @property
    def people_path(self) -> Path:
        """The file of identities."""
        return self.path.with_suffix(f".people{self.path.suffix}")

    def close(self) -> None:
        """Close both files."""
        with self._lock:
            self._db.close()
            self._people.close()

    # -- one person ----------------------------------------------------------------------------

    def enter(
        self,
        identity: str,
        experiment: Experiment,
        *,
        detail: dict[str, str] | None = None,
        simulated: bool = False,
    ) -> Session:
        """The session of that person: the one she has, or a new one at the neediest task.

        Raises
        ------
        Full
            No place is left.
        """
        with self._lock:
            participant = self._participant(identity, detail or {})
            row = self._db.execute(
                "SELECT session, state, seen FROM sessions WHERE participant = ?", (participant,)
            ).fetchone()
            if row is not None:
                return self._again(row[0])
            with self._writing():
                task, place = self._free_place(experiment)
                seed = secrets.randbits(62)
                session = self._begin(
                    participant,
                    experiment.script(task, seed=seed),
                    begun=time.time(),
                    state="consent",
                    task=task.number,
                    place=place,
                    seed=seed,
                    simulated=simulated,
                )
        if session is None:
            raise InputError("a session of that person was begun elsewhere", where=self.path)
        return self.session(session)

    def _begin(
        self, participant: int, script: Sequence[Screen], *, begun: float, **columns: Any
    ) -> str | None:
        """Insert a session; None where that person has one."""
        session = secrets.token_urlsafe(24)
        made = self._insert(
            "sessions",
            session=session,
            public=secrets.token_urlsafe(15),
            participant=participant,
            script=json.dumps([screen.to_json() for screen in script]),
            begun=begun,
            seen=begun,
            **columns,
        )
        return session if made else None

    def _insert(self, table: str, **columns: Any) -> int:
        """Insert a row unless one of its key is there; how many were inserted."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        into = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
        return self._db.execute(into, (*columns.values(),)).rowcount

    def session(self, session: str) -> Session:
        """A stored session.

        Raises
        ------
        InputError
            There is none of that name.
        """
        columns = [field.name for field in fields(Session)]
        with self._lock, readable(self.path):
            row = self._db.execute(
                f"SELECT {', '.join(columns)} FROM sessions WHERE session = ?",
                (session,),
            ).fetchone()
        if row is None:
            raise InputError("no such session")
        values: dict[str, Any] = dict(zip(columns, row, strict=True))
        with readable(self.path):
            values["script"] = tuple(map(Screen.from_json, json.loads(values["script"])))
            values["simulated"] = bool(values["simulated"])
            values["verdict"] = values["verdict"] and json.loads(values["verdict"])
            return Session(**values)

    def session_behind(self, public: str) -> str | None:
        """The session whose images stand under that public name; None if there is none."""
        with self._lock:
            row = self._db.execute(
                "SELECT session FROM sessions WHERE public = ?", (public,)
            ).fetchone()
        return None if row is None else str(row[0])

    def sessions(self) -> list[Session]:
        """All sessions, by participant."""
        with self._lock, readable(self.path):
            names = self._db.execute("SELECT session FROM sessions ORDER BY participant").fetchall()
        return [self.session(name) for (name,) in names]

    def answers(self, session: str | None = None) -> list[dict[str, Any]]:
        """Stored answers of one session or all, practice first, in the order they were given."""
        with self._lock, readable(self.path):
            rows = self._db.execute(
                "SELECT session, block, number, screen, button, correct, rt, received FROM answers"
                + ("" if session is None else " WHERE session = ?")
                + " ORDER BY session, block DESC, number",
                () if session is None else (session,),
            ).fetchall()
        names = ("session", "block", "number", "screen", "button", "correct", "rt", "received")
        with readable(self.path):
            return [
                {
                    **dict(zip(names, row, strict=True)),
                    "screen": Screen.from_json(json.loads(row[3])),
                }
                for row in rows
            ]

    def answer(
        self, session: str, *, block: str, number: int, screen: Screen, button: int, rt: float
    ) -> bool | None:
        """Judge and store an answer; the first that arrives counts, whatever is sent after.

        Returns
        -------
        bool or None
            Whether the stored answer is right; None where there is no right answer.
        """
        now = time.time()
        given = {"block": block, "number": number, "screen": screen, "button": button, "rt": rt}
        with self._lock, self._writing():
            self._keep(session, given | {"received": now})
            stored = self._db.execute(
                "SELECT correct FROM answers WHERE session = ? AND block = ? AND number = ?",
                (session, block, number),
            ).fetchone()[0]
            self._db.execute("UPDATE sessions SET seen = ? WHERE session = ?", (now, session))
        return None if stored is None else bool(stored)

    def _keep(self, session: str, given: dict[str, Any]) -> None:
        """Insert a judged answer, the first of its number."""
        screen = given["screen"]
        told = {"screen": json.dumps(screen.to_json()), "correct": screen.judge(given["button"])}
        self._insert("answers", session=session, **given | told)

    def add_session(
        self,
        *,
        identity: str,
        task: int,
        seed: int,
        script: Sequence[Screen],
        begun: float,
        instruction_seconds: float,
        comment: str,
        simulated: bool,
        answers: Sequence[dict[str, Any]],
    ) -> str | None:
        """Add a session that was held elsewhere; None where that person's is here already."""
        with self._lock:
            participant = self._participant(identity, {})
            with self._writing():
                (place,) = self._db.execute(
                    "SELECT count(*) FROM sessions WHERE task = ?", (task,)
                ).fetchone()
                session = self._begin(
                    participant,
                    script,
                    begun=begun,
                    state="main",
                    task=task,
                    place=place,
                    seed=seed,
                    simulated=simulated,
                    consented=begun,
                    instruction_seconds=instruction_seconds,
                    comment=comment,
                )
                for given in answers if session is not None else ():
                    self._keep(str(session), given)
        return session

    def move(self, session: str, state: str, **values: Any) -> None:
        """Put a session into a state, with columns that change along."""
        columns = {"state": state, "seen": time.time(), **values}
        listed = ", ".join(f"{name} = ?" for name in columns)
        with self._lock, self._writing():
            self._db.execute(
                f"UPDATE sessions SET {listed} WHERE session = ?",
                (*columns.values(), session),
            )

    def note(self, session: str, kind: str, detail: str = "") -> None:
        """Record an event, such as a reload and the gap it left."""
        with self._lock, self._writing():
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?)", (session, time.time(), kind, detail)
            )

    def events(self, session: str) -> list[tuple[float, str, str]]:
        """Moment, kind and detail of a session's events."""
        with self._lock:
            return self._db.execute(
                "SELECT moment, kind, detail FROM events WHERE session = ? ORDER BY moment",
                (session,),
            ).fetchall()

    def withdraw(self, session: str) -> None:
        """Delete all that a person gave, and who she is; her place is free again."""
        participant = self.session(session).participant
        with self._lock:
            with self._writing():
                self._db.execute("DELETE FROM answers WHERE session = ?", (session,))
                self._db.execute("DELETE FROM events WHERE session = ?", (session,))
                self._db.execute(
                    "UPDATE sessions SET state = 'withdrawn', comment = NULL, verdict = NULL,"
                    " script = '[]', instruction_seconds = NULL WHERE session = ?",
                    (session,),
                )
            (identity,) = self._people.execute(
                "SELECT identity FROM people WHERE participant = ?", (participant,)
            ).fetchone()
            self._people.execute(
                "UPDATE people SET identity = ?, detail = '{}' WHERE participant = ?",
                (self._tombstone(identity), participant),
            )

    def limit_pages(self, count: int) -> None:
        """Let the file grow to `count` pages, or, where it has more, no further.

        A full disk in small; SQLite never makes a file smaller than it is.
        """
        with self._lock:
            self._db.execute(f"PRAGMA max_page_count = {max(count, 1)}")

    def new_identities(self, count: int) -> list[str]:
        """Identities for links: random, never given out before."""
        return [f"link:{secrets.token_urlsafe(9)}" for _ in range(count)]

    # -- inside ----------------------------------------------------------------------------------

    def _claim(self, description: dict[str, Any]) -> None:
        with self._writing():
            self._db.execute(
                "INSERT OR IGNORE INTO experiment VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    description["fingerprint"],
                    json.dumps(description["plan"]),
                    json.dumps(description["conditions"]),
                    description["simulated"],
                    secrets.token_bytes(32),
                    time.time(),
                ),
            )
            (found,) = self._db.execute("SELECT fingerprint FROM experiment").fetchone()
        if found != description["fingerprint"]:
            raise NotComparableError(
                "the database of another experiment",
                where=self.path,
                found=f"trials and plan {found[:12]}",
                wanted=description["fingerprint"][:12],
                do="give another db=, or the trials and options it was begun with",
            )

    def _tombstone(self, identity: str) -> str:
        """What stays of a person who withdrew: a keyed hash, so that she cannot begin anew."""
        if identity.startswith("withdrawn:"):
            return identity
        digest = hashlib.blake2b(identity.encode(), key=self.secret, digest_size=16)
        return f"withdrawn:{digest.hexdigest()}"

    def _participant(self, identity: str, detail: dict[str, str]) -> int:
        gone = self._people.execute(
            "SELECT participant FROM people WHERE identity = ?", (self._tombstone(identity),)
        ).fetchone()
        if gone is not None:
            return int(gone[0])
        self._people.execute(
            "INSERT OR IGNORE INTO people (identity, detail) VALUES (?, ?)",
            (identity, json.dumps(detail)),
        )
        row = self._people.execute(
            "SELECT participant FROM people WHERE identity = ?", (identity,)
        ).fetchone()
        return int(row[0])

    def _again(self, session: str) -> Session:
        """A person comes back: her place may meanwhile be somebody else's."""
        found = self.session(session)
        if found.state not in RUNNING:
            return found
        now = time.time()
        with self._writing():
            taken = self._db.execute(
                "SELECT count(*) FROM sessions WHERE task = ? AND place = ? AND session != ?"
                " AND begun > ? AND state NOT IN ('refused', 'withdrawn', 'expired')",
                (found.task, found.place, session, found.begun),
            ).fetchone()[0]
            if taken:
                self._db.execute(
                    "UPDATE sessions SET state = 'expired' WHERE session = ?", (session,)
                )
            else:
                self._db.execute("UPDATE sessions SET seen = ? WHERE session = ?", (now, session))
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, 'return', ?)",
                (session, now, json.dumps({"gap_seconds": round(now - found.seen, 3)})),
            )
        return self.session(session)

    def _free_place(self, experiment: Experiment) -> tuple[Task, int]:
        """The task with most free places, the fewest begun first; its lowest free place."""
        oldest = time.time() - 60 * experiment.plan.lease_minutes
        running = ", ".join(f"'{state}'" for state in RUNNING)
        held = self._db.execute(
            "SELECT task, place FROM sessions WHERE"
            " (state = 'done' AND json_extract(verdict, '$.passed'))"
            f" OR (state IN ({running}) AND seen > ?)",
            (oldest,),
        ).fetchall()
        taken: dict[int, set[int]] = {}
        for task, place in held:
            taken.setdefault(task, set()).add(place)
        of_mode: dict[str, int] = {}
        size: dict[str, int] = {}
        for task in experiment.tasks:
            of_mode[task.mode] = of_mode.get(task.mode, 0) + len(taken.get(task.number, ()))
            size[task.mode] = size.get(task.mode, 0) + 1
        places = experiment.plan.assignments
        free = [t for t in experiment.tasks if len(taken.get(t.number, ())) < places]
        if not free:
            raise Full
        best = min(
            free,
            key=lambda t: (len(taken.get(t.number, ())), of_mode[t.mode] / size[t.mode], t.number),
        )
        used = taken.get(best.number, set())
        return best, next(i for i in range(places) if i not in used)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
