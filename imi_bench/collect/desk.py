"""What the server does for one person: let in, judge, store, tell. No HTTP in here."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict
from typing import Any

from imi_bench.collect.experiment import RATING_LEVELS, Experiment
from imi_bench.collect.judgement import judge
from imi_bench.collect.links import identity_of
from imi_bench.collect.pictures import Addresses, Pictures
from imi_bench.collect.session import Session
from imi_bench.collect.store import Full, Store
from imi_bench.text import plural

_COMMENT_CHARACTERS = 4_000
LOCK_MS = 1490  # the page opens its buttons after 1,500 ms; clocks are rounded
_SESSIONS_IN_MEMORY = 512


class Refused(Exception):  # noqa: N818 - becomes a response
    """An answer that is no: an HTTP status and a sentence for the person."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


class Desk:
    """What the server does for a person; no HTTP in here.

    Parameters
    ----------
    experiment : Experiment
    store : Store
    open_door : bool
        Whether people without a link may take part; each browser is then a person.
    """

    def __init__(self, experiment: Experiment, store: Store, *, open_door: bool = False) -> None:
        self.experiment, self.store, self.open_door = experiment, store, open_door
        self.pictures = Pictures(experiment.images)
        self._lock = threading.Lock()
        self._addresses: OrderedDict[str, Addresses] = OrderedDict()

    def enter(self, body: dict[str, Any]) -> dict[str, Any]:
        """Let a person in, or back in; everything that her page needs to go on."""
        simulated = body.get("simulated") is True
        identity, detail = self._identity(body, simulated=simulated)
        try:
            session = self.store.enter(
                identity, self.experiment, detail=detail, simulated=simulated
            )
        except Full:
            raise Refused(410, "Every place is taken. Thank you for your interest.") from None
        return self.state(session)

    def state(self, session: Session) -> dict[str, Any]:
        """Where a session stands."""
        plan = self.experiment.plan
        shown: dict[str, Any] = {
            "session": session.session,
            "state": session.state,
            "kind": plan.kind,
            "feedback": plan.feedback,
            "title": plan.title,
            "contact": plan.contact,
            "simulated_images": self.experiment.trials.simulated,
        }
        if session.state in ("expired", "refused", "withdrawn"):
            return {**shown, "code": plan.no_consent_code if session.state == "refused" else ""}
        given = self.store.answers(session.session)
        main = {a["number"] for a in given if a["block"] == "main"}
        task = self.experiment.tasks[session.task - 1]
        addresses = self._of(session)
        shown |= {
            "mode": task.mode,
            "references": len(session.script[0].right),
            "trials": [
                addresses.screen(screen, block="main", number=number)
                for number, screen in enumerate(session.script)
                if number not in main
            ]
            if session.state == "main"
            else [],
            "total": len(session.script),
            "answered": len(main),
            "right": sum(bool(a["correct"]) for a in given if a["block"] == "main"),
            "practice_rounds": len({a["block"] for a in given if a["block"] != "main"}),
        }
        if session.state == "done":
            shown["code"] = plan.completion_code
        return shown

    def consent(self, session: Session, body: dict[str, Any]) -> dict[str, Any]:
        """Note that a person agrees, or not; asked once, and nothing changes it afterwards."""
        if session.state != "consent":
            code = self.experiment.plan.no_consent_code if session.state == "refused" else ""
            return {"state": session.state, "code": code}
        if body.get("agree") is not True:
            self.store.move(session.session, "refused")
            return {"state": "refused", "code": self.experiment.plan.no_consent_code}
        self.store.move(session.session, "instructions", consented=time.time())
        return {"state": "instructions"}

    def instructions(self, session: Session) -> dict[str, Any]:
        """Note that the instructions were read, how long by this clock; the first time counts."""
        if session.state != "instructions":
            return {"state": session.state}
        now = time.time()
        since = session.begun if session.consented is None else session.consented
        self.store.move(
            session.session, "practice", instruction_seconds=now - since, instructed=now
        )
        return {"state": "practice"}

    def practice(self, session: Session) -> dict[str, Any]:
        """The next round of practice, or go on to the main trials after one without a mistake."""
        if session.state not in ("practice", "main"):
            raise Refused(409, f"no practice in the state '{session.state}'")
        done: dict[str, list[bool]] = {}
        for given in self.store.answers(session.session):
            if given["block"] != "main":
                done.setdefault(given["block"], []).append(given["correct"] != 0)
        last = f"practice-{len(done)}"
        size = self.experiment.plan.practice
        if done and len(done[last]) < size:
            attempt = len(done)
        elif done and all(done[last]):
            if session.state == "practice":
                self.store.move(session.session, "main")
            return {"state": "main", "trials": []}
        else:
            attempt = len(done) + 1
        block = f"practice-{attempt}"
        screens = self._practice_screens(session, attempt)
        given_already = len(done.get(block, ()))
        addresses = self._of(session)
        return {
            "state": "practice",
            "round": attempt,
            "trials": [
                addresses.screen(screen, block=block, number=number)
                for number, screen in enumerate(screens)
            ][given_already:],
        }

    def answer(self, session: Session, body: dict[str, Any]) -> dict[str, Any]:
        """Judge and store one answer; only then tell whether it was right."""
        block, number = body.get("block"), body.get("number")
        screens = self._screens(session, block)
        if not isinstance(number, int) or isinstance(number, bool):
            raise Refused(400, "number is not a whole number")
        if not 0 <= number < len(screens):
            raise Refused(404, "no such trial")
        self._in_turn(session, str(block), number)
        button = body.get("button")
        screen = screens[number]
        levels = {"choice": 6, "rating": RATING_LEVELS, "intruder": len(screen.right)}
        most = levels[self.experiment.plan.kind]
        if not isinstance(button, int) or isinstance(button, bool) or not 0 <= button < most:
            raise Refused(400, f"button is not one of 0 to {most - 1}")
        rt = _number(body, "rt", high=86_400_000)
        if rt < LOCK_MS and not session.simulated:
            raise Refused(400, f"answered before the buttons open ({LOCK_MS} ms)")
        correct = self.store.answer(
            session.session,
            block=str(block),
            number=number,
            screen=screen,
            button=button,
            rt=rt,
        )
        if not self.experiment.plan.feedback and block == "main":
            return {"stored": True}
        given = self.store.answers(session.session)
        right = sum(bool(a["correct"]) for a in given if a["block"] == "main")
        return {"stored": True, "correct": correct, "right": right}

    def finish(self, session: Session, body: dict[str, Any]) -> dict[str, Any]:
        """End a session whose trials are all answered, and judge it."""
        given = self.store.answers(session.session)
        main = sum(a["block"] == "main" for a in given)
        if main < len(session.script):
            raise Refused(409, f"{plural(len(session.script) - main, 'trial')} not answered yet")
        if session.state != "done":
            verdict = judge(session, given, rules=self.experiment.plan.rules)
            comment = str(body.get("comment") or "")[:_COMMENT_CHARACTERS]
            self.store.move(
                session.session,
                "done",
                finished=time.time(),
                comment=comment,
                verdict=json.dumps(verdict),
            )
        return {"state": "done", "code": self.experiment.plan.completion_code}

    def note(self, session: Session, body: dict[str, Any]) -> dict[str, Any]:
        """Record what happened on the page, such as a lost connection."""
        kind = str(body.get("kind"))[:40]
        self.store.note(session.session, kind, str(body.get("detail", ""))[:400])
        return {"stored": True}

    def withdraw(self, session: Session) -> dict[str, Any]:
        """Delete everything of a person."""
        self.store.withdraw(session.session)
        return {"state": "withdrawn"}

    def image(self, public: str, name: str) -> bytes:
        """The PNG file behind an address."""
        session = self.store.session_behind(public)
        if session is None:
            raise Refused(404, "no such image")
        addresses = self._of(self.store.session(session))
        found = addresses.behind(name)
        if found is None:
            raise Refused(404, "no such image")
        row, beside = found
        return self.pictures.served(row, beside=beside)

    def _in_turn(self, session: Session, block: str, number: int) -> None:
        """Refuse an answer that is not the next one, nor one that was given before."""
        allowed = ("main", "done") if block == "main" else ("practice", "main")
        if session.state not in allowed:
            raise Refused(409, f"no such answers are taken in the state '{session.state}'")
        given: dict[str, set[int]] = {}
        for one in self.store.answers(session.session):
            given.setdefault(one["block"], set()).add(one["number"])
        own = given.get(block, set())
        if number in own:
            return
        rounds = [len(given[name]) for name in given if name != "main"]
        late = block != "main" and (
            session.state == "main"
            or int(block.partition("-")[2]) > len(rounds) + 1
            or (not own and any(n < self.experiment.plan.practice for n in rounds))
        )
        if late or number != len(own):
            raise Refused(409, "not the next trial")

    # -- inside ----------------------------------------------------------------------------------

    def _identity(self, body: dict[str, Any], *, simulated: bool) -> tuple[str, dict[str, str]]:
        link, platform, own = body.get("link"), body.get("platform"), body.get("own")
        if isinstance(link, str):
            identity = identity_of(self.store.secret, link)
            if identity is None:
                raise Refused(403, "This link is not valid. Please use it exactly as you got it.")
            return identity, {}
        if isinstance(platform, dict) and isinstance(platform.get("PROLIFIC_PID"), str):
            person = platform["PROLIFIC_PID"].strip().casefold()[:100]
            if not person:
                raise Refused(403, "The link lacks PROLIFIC_PID.")
            kept = {k: str(platform.get(k, ""))[:100] for k in ("STUDY_ID", "SESSION_ID")}
            return f"prolific:{person}", kept
        if self.open_door and isinstance(own, str) and 16 <= len(own) <= 64:
            return f"{'simulated' if simulated else 'own'}:{own}", {}
        raise Refused(403, "Taking part needs a link. Please ask whoever sent you here for one.")

    def _of(self, session: Session) -> Addresses:
        with self._lock:
            found = self._addresses.get(session.session)
            if found is not None:
                self._addresses.move_to_end(session.session)
                return found
        made = Addresses(self.store.secret, session.session, public=session.public)
        for number, screen in enumerate(session.script):
            made.screen(screen, block="main", number=number)
        rounds = {a["block"] for a in self.store.answers(session.session)} - {"main"}
        for attempt in range(1, len(rounds) + 2):
            for number, screen in enumerate(self._practice_screens(session, attempt)):
                made.screen(screen, block=f"practice-{attempt}", number=number)
        with self._lock:
            self._addresses[session.session] = made
            while len(self._addresses) > _SESSIONS_IN_MEMORY:
                self._addresses.popitem(last=False)
        return made

    def _practice_screens(self, session: Session, attempt: int) -> tuple[Any, ...]:
        task = self.experiment.tasks[session.task - 1]
        return self.experiment.practice_round(task, seed=session.seed, attempt=attempt)

    def _screens(self, session: Session, block: Any) -> tuple[Any, ...]:
        if block == "main":
            return session.script
        kind, _, attempt = str(block).partition("-")
        if kind != "practice" or not attempt.isdecimal() or not 1 <= int(attempt) <= 1000:
            raise Refused(404, "no such block")
        return self._practice_screens(session, int(attempt))


def _number(body: dict[str, Any], name: str, *, high: float) -> float:
    value = body.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refused(400, f"{name} is not a number")
    if not math.isfinite(value) or not 0 <= value <= high:
        raise Refused(400, f"{name} is out of range")
    return float(value)
