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
from imi_bench.collect.store import Full, Session, Store

_COMMENT_CHARACTERS = 4_000
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
            if session.state != "done"
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
        """Note that a person agrees; one who does not leaves nothing but that."""
        if body.get("agree") is not True:
            self.store.move(session.session, "refused")
            return {"state": "refused", "code": self.experiment.plan.no_consent_code}
        if session.state == "consent":
            self.store.move(session.session, "instructions", consented=time.time())
        return {"state": "instructions"}

    def instructions(self, session: Session, body: dict[str, Any]) -> dict[str, Any]:
        """Note how long the instructions were read; the first reading counts, further ones add."""
        seconds = _number(body, "seconds", high=86_400)
        total = (session.instruction_seconds or 0.0) + seconds
        state = "practice" if session.state in ("consent", "instructions") else session.state
        self.store.move(session.session, state, instruction_seconds=total, instructed=time.time())
        return {"state": state}

    def practice(self, session: Session) -> dict[str, Any]:
        """The next round of practice, or go on to the main trials after one without a mistake."""
        done: dict[str, list[bool]] = {}
        for given in self.store.answers(session.session):
            if given["block"] != "main":
                done.setdefault(given["block"], []).append(given["correct"] != 0)
        last = f"practice-{len(done)}"
        size = self.experiment.plan.practice
        if done and len(done[last]) < size:
            attempt = len(done)
        elif done and all(done[last]):
            if session.state in ("instructions", "practice"):
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
        if session.state not in ("practice", "main", "comment", "done"):
            raise Refused(409, f"no answers are taken in the state '{session.state}'")
        button = body.get("button")
        screen = screens[number]
        levels = {"choice": 6, "rating": RATING_LEVELS, "intruder": len(screen.right)}
        most = levels[self.experiment.plan.kind]
        if not isinstance(button, int) or isinstance(button, bool) or not 0 <= button < most:
            raise Refused(400, f"button is not one of 0 to {most - 1}")
        correct = self.store.answer(
            session.session,
            block=str(block),
            number=number,
            screen=screen,
            button=button,
            rt=_number(body, "rt", high=86_400_000),
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
            raise Refused(409, f"{len(session.script) - main} trials are not answered yet")
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

    # -- inside ----------------------------------------------------------------------------------

    def _identity(self, body: dict[str, Any], *, simulated: bool) -> tuple[str, dict[str, str]]:
        link, platform, own = body.get("link"), body.get("platform"), body.get("own")
        if isinstance(link, str):
            identity = identity_of(self.store.secret, link)
            if identity is None:
                raise Refused(403, "This link is not valid. Please use it exactly as you got it.")
            return identity, {}
        if isinstance(platform, dict) and isinstance(platform.get("PROLIFIC_PID"), str):
            person = platform["PROLIFIC_PID"][:100]
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
