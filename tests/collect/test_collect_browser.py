"""Whole sessions in a headless Chromium: by hand with mouse and keys, and simulated by jsPsych."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.crowd import striped_trials

from imi_bench.collect import Experiment, Plan, Store, export, serve
from imi_bench.collect.static import read_static, write_static
from imi_bench.release.exclusions import Rules
from imi_bench.release.table import read_release

pytestmark = pytest.mark.browser

PAGES = {"natural": 15, "synthetic": 16}


# A busy machine is slow to show and slow to press, so the page is watched with its own clock.
WATCH = """
let shown = NaN;
window.sinceShown = [];
new MutationObserver((changes) => {
  const added = changes.flatMap((change) => [...change.addedNodes]);
  if (added.some((node) => node.querySelector?.(".confidence"))) shown = performance.now();
}).observe(document, { childList: true, subtree: true });
addEventListener("keydown", ({ code }) => {
  if (code !== "Enter") window.sinceShown.push(performance.now() - shown);
});
"""


def plan(mode: str) -> Plan:
    return Plan(mode=mode, per_task=4, per_unit=3, catch=1, practice=1, rules=Rules())


class Person:
    """Somebody at a browser who knows the key of the test's own database."""

    def __init__(self, browser: Any, store: Store, experiment: Experiment) -> None:
        self.page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        self.store, self.experiment = store, experiment
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )

    def begin(self, url: str) -> None:
        self.page.goto(url)
        self.page.click("#agree")
        self.page.click("text=Continue")

    def read(self) -> int:
        pages = 0
        self.page.wait_for_selector("#jspsych-instructions-next")
        while self.page.query_selector("#jspsych-instructions-next"):
            pages += 1
            self.page.click("#jspsych-instructions-next")
            self.page.wait_for_timeout(50)
        return pages

    def answer(self, *, by_key: bool, block: str, number: int) -> None:
        """Answer rightly, and go on with Enter."""
        session = self.store.sessions()[0]
        task = self.experiment.tasks[session.task - 1]
        screens = (
            session.script
            if block == "main"
            else self.experiment.practice_round(task, seed=session.seed, attempt=1)
        )
        upper = bool(screens[number].answer)
        self.page.wait_for_selector(".confidence button:disabled")
        self.page.wait_for_selector(".confidence button:enabled")
        if by_key:
            self.page.keyboard.press("KeyW" if upper else "KeyS")
        else:
            row = self.page.query_selector_all(".confidence")[0 if upper else 1]
            row.query_selector_all("button")[2].click()
        self.page.wait_for_selector(".outcome.right")
        self.page.wait_for_selector(".foot button:visible")
        self.page.keyboard.press("Enter")


@pytest.mark.parametrize("mode", ["natural", "synthetic"])
def test_a_session_by_hand(chromium: Any, tmp_path: Path, mode: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    trials = striped_trials(modes=("natural", "synthetic"), size=32)
    running = serve(trials, db=tmp_path / "a.db", plan=plan(mode))
    with running:
        person = Person(chromium, running.store, running.experiment)
        person.begin(running.url)
        assert person.read() == PAGES[mode]
        person.answer(by_key=True, block="practice-1", number=0)
        for number in range(5):
            if number == 2:  # a reload goes on at the same trial
                person.page.wait_for_selector(".task")
                person.page.reload()
                person.page.click("text=Continue")
            person.answer(by_key=number % 2 == 0, block="main", number=number)
            if number == 3:
                person.page.wait_for_selector(".task")
                serious = [
                    violation["id"]
                    for violation in axe.Axe().run(person.page).response["violations"]
                    if violation["impact"] in ("serious", "critical")
                ]
                assert not serious
        person.page.fill("textarea", "a comment")
        person.page.click("text=Finish")
        person.page.wait_for_selector("text=Thank you!")
        session = running.store.sessions()[0]
        assert session.state == "done"
        assert session.comment == "a comment"
        answers = running.store.answers(session.session)
        assert [a["correct"] for a in answers] == [1] * 6
        assert all(a["rt"] >= 1500 for a in answers)
        assert "return" in [kind for _, kind, _ in running.store.events(session.session)]
        export(running.store, tmp_path / "responses.csv")
    assert not person.errors
    assert person.hosts == {running.url.removeprefix("http://")}
    table = read_release(tmp_path / "responses.csv")
    assert not table.violations
    assert set(table.frame["confidence"].tolist()) == {2, 3}


def test_jspsych_simulates_a_session_and_it_is_marked(chromium: Any, tmp_path: Path) -> None:
    running = serve(striped_trials(size=16), db=tmp_path / "a.db", plan=plan("natural"))
    with running:
        page = chromium.new_page()
        page.goto(f"{running.url}/?simulate=data-only&own={'s' * 20}")
        page.wait_for_selector("body[data-state=done]", timeout=60_000)
        session = running.store.sessions()[0]
        assert session.state == "done"
        assert session.simulated
        frame = export(running.store)
    assert set(frame["stimulus"]) == {"collected simulated"}


def test_a_static_folder_works_without_a_server_of_ours(chromium: Any, tmp_path: Path) -> None:
    made = Experiment(striped_trials(size=16), plan("natural"))
    write_static(made, tmp_path / "static")
    page = chromium.new_page()

    def file(route: Any) -> None:
        path = route.request.url.removeprefix("http://static.test/").partition("?")[0]
        route.fulfill(path=tmp_path / "static" / (path or "index.html"))

    page.route("http://static.test/**", file)
    page.goto("http://static.test/?simulate=data-only")
    page.wait_for_selector("body[data-state=done]", timeout=60_000)
    result = page.evaluate("window.imiResult")
    (tmp_path / "result.json").write_text(result)
    assert json.loads(result)["simulated"] is True
    store, added = read_static(
        [tmp_path / "result.json"], key=tmp_path / "static.key.json", db=tmp_path / "s.db"
    )
    assert added == 1
    assert len(export(store)) >= 5
    store.close()


def test_a_phone_is_politely_refused(chromium: Any, tmp_path: Path) -> None:
    running = serve(striped_trials(size=16), db=tmp_path / "a.db", plan=plan("natural"))
    with running:
        context = chromium.new_context(
            viewport={"width": 390, "height": 800},
            user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1",
        )
        page = context.new_page()
        page.goto(running.url)
        page.wait_for_selector("text=needs a computer", timeout=20_000)
        assert running.store.sessions()[0].state == "consent"


def test_a_slow_line_does_not_lengthen_response_times(chromium: Any, tmp_path: Path) -> None:
    """Images come one after another; the clock starts when all of a trial are decoded and shown."""
    running = serve(
        striped_trials(modes=("natural", "synthetic"), size=32),
        db=tmp_path / "a.db",
        plan=plan("natural"),
    )
    with running:
        person = Person(chromium, running.store, running.experiment)

        def slowly(route: Any) -> None:
            time.sleep(0.02)  # one after another: 20 images of a trial take longer than the lock
            route.continue_()

        person.page.add_init_script(WATCH)
        person.page.route("**/image/**", slowly)
        person.begin(running.url)
        person.read()
        person.answer(by_key=True, block="practice-1", number=0)
        for number in range(3):
            person.answer(by_key=True, block="main", number=number)
        times = [answer["rt"] for answer in running.store.answers()]
        most = person.page.evaluate("window.sinceShown")
    assert len(times) == len(most) == 4
    assert all(1500 <= rt <= limit + 1 for rt, limit in zip(times, most, strict=True))


def test_axe_finds_nothing_serious_on_the_way(chromium: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    running = serve(striped_trials(size=16), db=tmp_path / "a.db", plan=plan("natural"))
    with running:
        page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(running.url)
        for step in ("#agree", "text=Continue", "#jspsych-instructions-next"):
            page.wait_for_selector(step)
            violations = axe.Axe().run(page).response["violations"]
            assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []
            page.click(step)
