"""The two SQLite files of a collection: their tables, and how they are opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imi_bench.documents import reading
from imi_bench.errors import InputError

__all__ = ["ANSWERS", "PEOPLE", "connect", "readable"]

ANSWERS = """
CREATE TABLE IF NOT EXISTS experiment (
  one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint TEXT NOT NULL, plan TEXT NOT NULL,
  conditions TEXT NOT NULL, simulated INTEGER NOT NULL, secret BLOB NOT NULL, begun REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
  session TEXT PRIMARY KEY, public TEXT NOT NULL UNIQUE,
  participant INTEGER NOT NULL UNIQUE, task INTEGER NOT NULL,
  place INTEGER NOT NULL, seed INTEGER NOT NULL, script TEXT NOT NULL, state TEXT NOT NULL,
  simulated INTEGER NOT NULL, begun REAL NOT NULL, seen REAL NOT NULL, consented REAL,
  instructed REAL, instruction_seconds REAL, finished REAL, comment TEXT,
  verdict TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
  session TEXT NOT NULL, block TEXT NOT NULL, number INTEGER NOT NULL, screen TEXT NOT NULL,
  button INTEGER NOT NULL, correct INTEGER, rt REAL NOT NULL, received REAL NOT NULL,
  PRIMARY KEY (session, block, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  session TEXT NOT NULL, moment REAL NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_task ON sessions (task, place);
"""
PEOPLE = """
CREATE TABLE IF NOT EXISTS people (
  participant INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT UNIQUE, detail TEXT NOT NULL);
"""


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Open a file, made with these tables where it is not there, so that what is kept survives."""
    new = not path.exists()
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    if new:
        path.chmod(0o600)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(schema)
    return db


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Make what SQLite says of a file one line."""
    try:
        with reading("database of a collection", where=path):
            yield
    except sqlite3.Error as error:
        raise InputError(
            "cannot use the database", where=path, found=error, wanted="one that `serve` made"
        ) from error
