"""From the database to the released table: the same columns, the same values, the same checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.collect.experiment import Screen
from imi_bench.collect.judgement import criteria
from imi_bench.collect.session import Session, names
from imi_bench.collect.store import Store
from imi_bench.errors import NotComparableError, NotEnoughDataError
from imi_bench.provenance import write_table
from imi_bench.release.checks import (
    CATCH_BATCH,
    CATCH_MODE,
    CATCH_MODEL,
    COLLECTED,
    COLLECTED_SIMULATED,
    MODE_OF,
)
from imi_bench.release.columns import COLUMNS
from imi_bench.release.exclusions import Rules

_RELEASED_MODE = {typed: released for released, typed in MODE_OF.items()}
_BEFORE_PRACTICE = 4  # pages before the first practice trial, as the released table counts them


def export(store: Store, out: str | Path | None = None) -> pd.DataFrame:
    """All answers as a table like the released one.

    Parameters
    ----------
    store : Store
    out : str or Path, optional
        Where to write it as CSV, whole or not at all.

    Returns
    -------
    DataFrame
        One row an answer, `COLUMNS` of the release; participants are P0001 and so on. Everybody
        who answered a main trial is in it: ``passed_checks`` says whose answers the rules keep; a
        session that was not finished is not kept. ``stimulus`` is ``collected``, or
        ``collected simulated`` where any participant was simulated. Times are on the server's
        clock, but ``rt`` (ms), which the page measures from the display.

    Raises
    ------
    NotEnoughDataError
        Nobody has answered yet.
    NotComparableError
        A rating or intruder task, which the released table has no columns for: see `other`.
    """
    if store.plan["kind"] != "choice":
        raise NotComparableError(
            "the released table holds two-alternative choices",
            found=f"a task of kind '{store.plan['kind']}'",
            do="use `collect.response_table.other`, or `collect export`, which does",
        )
    return _written(_rows(store)[list(COLUMNS)], out)


def other(store: Store, out: str | Path | None = None) -> pd.DataFrame:
    """Answers of a rating or intruder task, one row each.

    Returns
    -------
    DataFrame
        ``participant_id``, ``trial_id``, ``kind``, ``answer`` (the rating from 1, or the place of
        the chosen image from 1), ``correct`` (NA where there is no right answer), ``rt`` (ms),
        ``catch_trial``, ``is_demo``, ``simulated``.
    """
    sessions, answers = _answered(store)
    people = names(sessions)
    by_name = {s.session: s for s in sessions}
    rows = [
        {
            "participant_id": people[a["session"]],
            "trial_id": store.conditions["trial_id"][a["screen"].trial],
            "kind": store.plan["kind"],
            "answer": a["button"] + 1,
            "correct": pd.NA if a["correct"] is None else bool(a["correct"]),
            "rt": a["rt"],
            "catch_trial": a["screen"].check,
            "is_demo": a["block"] != "main",
            "simulated": by_name[a["session"]].simulated,
        }
        for a in answers
    ]
    return _written(pd.DataFrame(rows).astype({"correct": "boolean"}), out)


def _written(table: pd.DataFrame, out: str | Path | None) -> pd.DataFrame:
    if out is not None:
        write_table(Path(out), table)
    return table


@checked
def export_any(store: Store, out: str | Path | None = None) -> pd.DataFrame:
    """`export` for choices, `other` for the other tasks."""
    return (export if store.plan["kind"] == "choice" else other)(store, out)


def _answered(store: Store) -> tuple[list[Session], list[dict[str, Any]]]:
    answers = store.answers()
    main = {a["session"] for a in answers if a["block"] == "main"}
    sessions = [s for s in store.sessions() if s.session in main]
    if not sessions:
        raise NotEnoughDataError(
            "no answers yet", where=store.path, found="0 main trials answered", wanted="1 or more"
        )
    return sessions, [a for a in answers if a["session"] in main]


def _rows(store: Store) -> pd.DataFrame:
    sessions, answers = _answered(store)
    of_session: dict[str, list[dict[str, Any]]] = {s.session: [] for s in sessions}
    for answer in answers:
        of_session[answer["session"]].append(answer)
    people = names(sessions)
    simulated = any(s.simulated for s in sessions)
    shown = [row for s in sessions for row in _of_session(store, s, of_session[s.session])]
    rows = pd.DataFrame(shown)
    persons = _persons(store, sessions, of_session)
    rows = rows.join(persons.set_index("session"), on="session")
    rows["participant_id"] = rows["session"].map(people)
    rows = rows.astype({"batch": "Int64", "channel": "Int64"})
    anonymous = dict.fromkeys(
        ("min_query", "max_query", "min_references", "max_references"), "anonymized"
    )
    return rows.assign(
        trial_type="2afc-image-confidence-response",
        stimulus=COLLECTED_SIMULATED if simulated else COLLECTED,
        id=rows["task_number"],
        internal_node_id="0.0-" + rows["trial_index"].astype(str) + ".0",
        multi_participation=False,
        **anonymous,
    )


def _of_session(
    store: Store, session: Session, answers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of one session: practice, then main trials with their checks."""
    practice = store.plan["practice"]
    blocks = [a for a in answers if a["block"] != "main"]
    rounds = len({a["block"] for a in blocks})
    first = _BEFORE_PRACTICE + (practice + 2) * rounds
    begun = session.consented if session.consented is not None else session.begun
    rows = []
    for answer in answers:
        demo = answer["block"] != "main"
        attempt = 0 if not demo else int(answer["block"].partition("-")[2]) - 1
        place = _BEFORE_PRACTICE + (practice + 2) * attempt if demo else first
        index = place + answer["number"]
        screen: Screen = answer["screen"]
        switched = screen.answer == 1  # the strongly activating query on top
        correct = bool(answer["correct"])
        rows.append(
            {
                "session": session.session,
                "rt": round(answer["rt"], 1),
                "button_pressed": answer["button"],
                "confidence": answer["button"] % 3 + 1,
                "switched_queries": switched,
                "choice": "b" if correct else "a",
                "correct": correct,
                "time_elapsed": round(1000 * max(0.0, answer["received"] - begun)),
                "trial_index": index,
                "corrected_trial_index": index - first,
                "catch_trial": screen.check and not demo,
                "is_demo": demo,
                **_about(store, screen, demo=demo),
            }
        )
    return rows


def _about(store: Store, screen: Screen, *, demo: bool) -> dict[str, Any]:
    """Columns that name the trial, as the release writes them."""
    if demo:
        return dict.fromkeys(("batch", "channel", "layer", "mode", "model"))
    known = {
        name: values[screen.trial]
        for name, values in store.conditions.items()
        if name in ("network", "layer", "unit", "mode", "difficulty", "batch")
    }
    if screen.check:
        named = {"batch": CATCH_BATCH, "mode": CATCH_MODE, "model": CATCH_MODEL}
    else:
        suffix = "" if known["difficulty"] == "easy" else f"_{known['difficulty']}"
        named = {
            "batch": known["batch"],
            "mode": _RELEASED_MODE[known["mode"]],
            "model": f"{known['network']}{suffix}",
        }
    return {**named, "layer": known["layer"], "channel": known["unit"]}


def _persons(
    store: Store, sessions: list[Session], of_session: dict[str, list[dict[str, Any]]]
) -> pd.DataFrame:
    """One row a session: task, place, and the criteria judged on what was stored."""
    columns = criteria(sessions, of_session, rules=Rules.from_json(store.plan["rules"]))
    mode = {number: mode for number, mode, _ in store.conditions["tasks"]}
    references = [len(s.script[0].right) for s in sessions]
    return columns.assign(
        session=[s.session for s in sessions],
        task_number=[s.task for s in sessions],
        response_index=[s.place for s in sessions],
        task_id=[
            f"{_RELEASED_MODE[mode[s.task]]}_{count}_references-{s.task}"
            for s, count in zip(sessions, references, strict=True)
        ],
    )
