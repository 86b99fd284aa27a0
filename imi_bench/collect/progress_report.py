"""How far a collection is: answers a unit, places, exclusions, time, and what it can show."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.collect.session import RUNNING
from imi_bench.collect.store import Store
from imi_bench.glmm.power import Plan as PowerPlan
from imi_bench.glmm.power import smallest_slope
from imi_bench.plots import bars
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ALIVE_SECONDS = 300


@dataclass(frozen=True, eq=False, repr=False)
class Status(Result):
    """Progress of a collection.

    Attributes
    ----------
    sessions : dict of str to int
        Sessions by state; ``lapsed`` were away for longer than the lease; ``working now``
        answered in the last five minutes.
    conditions : DataFrame
        One row a condition that is asked: ``condition``, ``answers`` (stored, of sessions that
        passed or still run), ``wanted``.
    kept, excluded : int
        Finished sessions that met all criteria, and that did not.
    reasons : dict of str to int
        Excluded sessions by criterion; one may fail several.
    places, places_free : int
        Assignments of all tasks; those that nobody holds.
    minutes : float or None
        Median time of a finished session, from consent to the last answer.
    smallest_slope : float or None
        The slope between networks (log-odds for tenfold parameters) that answers as stored would
        show with power 0.8, all else as `imi-bench power` assumes; None below three networks.
    simulated : bool
        Some participants, images or units are made up.
    """

    sessions: dict[str, int]
    conditions: pd.DataFrame
    kept: int
    excluded: int
    reasons: dict[str, int]
    places: int
    places_free: int
    minutes: float | None
    smallest_slope: float | None
    simulated: bool

    @property
    def title(self) -> str:
        """How many answers there are, of how many that are wanted."""
        answers, wanted = self.conditions["answers"].sum(), self.conditions["wanted"].sum()
        made_up = ", simulated" if self.simulated else ""
        return f"Collection: {int(answers)} of {int(wanted)} answers{made_up}"

    def summary(self) -> str:
        """Ten lines."""
        answers, wanted = self.conditions["answers"], self.conditions["wanted"]
        lines = ["SIMULATED participants or images"] if self.simulated else []
        lines += [
            f"answers      {int(answers.sum())} of {int(wanted.sum())}",
            f"a condition  {int(answers.min())} to {int(answers.max())}, median "
            f"{answers.median():g} of {int(wanted.max())} ({plural(len(answers), 'condition')})",
            f"places       {self.places_free} of {self.places} free",
            "sessions     " + (", ".join(f"{n} {s}" for s, n in self.sessions.items()) or "none"),
            f"finished     {self.kept} kept, {self.excluded} excluded"
            + "".join(f"; {name.replace('_', ' ')} {n}" for name, n in self.reasons.items()),
            f"time         {'-' if self.minutes is None else f'{self.minutes:.1f} min'} a person "
            "(median)",
        ]
        power = (
            "needs answers on three networks"
            if self.smallest_slope is None
            else f"{self.smallest_slope:.2f} log-odds for tenfold parameters seen with 80 %"
        )
        return "\n".join([*lines, f"power        {power}"])

    def to_frame(self) -> pd.DataFrame:
        """Answers by condition."""
        return self.conditions.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the answers of each condition; a tick is what is wanted."""
        names = self.conditions["condition"].astype(str)
        answers = dict(zip(names, self.conditions["answers"].astype(float), strict=True))
        wanted = dict(zip(names, self.conditions["wanted"].astype(float), strict=True))
        return bars(answers, xlabel="answers; | wanted", title=self.title, wanted=wanted, ax=ax)

    def page(self) -> str:
        """A page for the experimenter; reload it to see more."""
        rows = "".join(
            f"<tr><td>{escape(str(c))}</td><td>{a}</td><td>{w}</td></tr>"
            for c, a, w in self.conditions.itertuples(index=False)
        )
        return (
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Progress</title>"
            "<link rel='stylesheet' href='page/study.css'><body><main><div class='card'>"
            f"<h1>Progress</h1><pre>{escape(self.summary())}</pre><table><thead><tr>"
            "<th>condition</th><th>answers</th><th>wanted</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div></main></body></html>"
        )


@checked
def status(store: Store) -> Status:
    """Count what is stored.

    Examples
    --------
    >>> from imi_bench.collect import Store, status  # doctest: +SKIP
    >>> status(Store("answers.db"))  # doctest: +SKIP
    """
    sessions = store.sessions()
    given = store.answers()
    now = time.time()
    states: dict[str, int] = {}
    oldest = now - 60 * store.plan["lease_minutes"]
    for session in sessions:
        lapsed = session.state in RUNNING and session.seen <= oldest
        state = "lapsed" if lapsed else session.state
        states[state] = states.get(state, 0) + 1
    if working := sum(s.state in RUNNING and now - s.seen < _ALIVE_SECONDS for s in sessions):
        states["working now"] = working
    done = [s for s in sessions if s.state == "done" and s.verdict is not None]
    kept = [s for s in done if s.verdict and s.verdict["passed"]]
    reasons: dict[str, int] = {}
    for session in done:
        for name, ok in (session.verdict or {})["kept"].items():
            if not ok:
                reasons[name] = reasons.get(name, 0) + 1
    holding = {(s.task, s.place) for s in kept}
    holding |= {(s.task, s.place) for s in sessions if s.state in RUNNING and s.seen > oldest}
    counting = {s.session for s in sessions if s.state in RUNNING} | {s.session for s in kept}
    main = [a for a in given if a["block"] == "main" and not a["screen"].check]
    main = [a for a in main if a["session"] in counting]
    places = len(store.conditions["tasks"]) * store.plan["assignments"]
    last = {a["session"]: a["received"] for a in given if a["block"] == "main"}
    minutes = [(last[s.session] - (s.consented or s.begun)) / 60 for s in done]
    return Status(
        sessions=states,
        conditions=_conditions(store, main),
        kept=len(kept),
        excluded=len(done) - len(kept),
        reasons=reasons,
        places=places,
        places_free=places - len(holding),
        minutes=statistics.median(minutes) if minutes else None,
        smallest_slope=_slope(store, main),
        simulated=store.simulated or any(s.simulated for s in sessions),
    )


def _conditions(store: Store, main: list[dict[str, Any]]) -> pd.DataFrame:
    known = store.conditions
    columns = ("network", "layer", "unit", "mode", "difficulty")
    label = {row: "/".join(str(known[name][row]) for name in columns) for row in known["main"]}
    counts = dict.fromkeys(label.values(), 0)
    for answer in main:
        counts[label[answer["screen"].trial]] += 1
    wanted = int(known["wanted"][0])
    frame = pd.DataFrame({"condition": list(counts), "answers": list(counts.values())})
    return frame.assign(wanted=wanted)


def _slope(store: Store, main: list[dict[str, Any]]) -> float | None:
    known = store.conditions
    rows = [a["screen"].trial for a in main]
    networks = {known["network"][row] for row in rows}
    units = {(known["network"][row], known["layer"][row], known["unit"][row]) for row in rows}
    if len(networks) < 3:
        return None
    people = {a["session"] for a in main}
    plan = PowerPlan(
        networks=len(networks),
        units=max(1, len(units) // len(networks)),
        answers_per_unit=max(1, len(rows) // len(units)),
        answers_per_participant=max(1, len(rows) // len(people)),
    )
    return smallest_slope(plan, wanted=0.8, alpha=0.05)
