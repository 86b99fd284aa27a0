"""People's answers: tasks are balanced, the key stays on the server, nothing is lost or twice."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.crowd import striped_trials
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.collect import Experiment, Plan, Store, export, status
from imi_bench.collect.desk import Desk, Refused
from imi_bench.collect.experiment import Screen
from imi_bench.collect.links import identity_of, links, signed
from imi_bench.collect.response_table import other
from imi_bench.collect.server import HEADERS, application, listen
from imi_bench.collect.static import read_static, write_static
from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError
from imi_bench.glmm.tables import read_table
from imi_bench.release.exclusions import Rules, exclude
from imi_bench.release.table import read_release

PLAN = Plan(per_task=6, per_unit=6, catch=2, practice=2, rules=Rules())


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment(striped_trials(), PLAN)


def answer_rightly(desk: Desk, own: str, *, mistakes: int = 0, stop: int = 99) -> str:
    """One person who knows the key; returns the session."""
    entered = desk.enter({"own": own.ljust(16, "-"), "simulated": True})
    session = entered["session"]
    desk.consent(desk.store.session(session), {"agree": True})
    desk.instructions(desk.store.session(session))
    while (told := desk.practice(desk.store.session(session)))["state"] == "practice":
        screens = desk.experiment.practice_round(
            desk.experiment.tasks[desk.store.session(session).task - 1],
            seed=desk.store.session(session).seed,
            attempt=told["round"],
        )
        for trial in told["trials"]:
            button = 0 if screens[trial["number"]].answer else 3
            desk.answer(
                desk.store.session(session),
                {"block": trial["block"], "number": trial["number"], "button": button, "rt": 1},
            )
    for number, screen in enumerate(desk.store.session(session).script[:stop]):
        right = bool(screen.answer) ^ (number < mistakes)
        desk.answer(
            desk.store.session(session),
            {"block": "main", "number": number, "button": 0 if right else 5, "rt": 800.0},
        )
    if stop >= len(desk.store.session(session).script):
        desk.finish(desk.store.session(session), {"comment": "fine"})
    return session


def test_each_condition_is_asked_equally_often_and_no_unit_twice_in_a_task() -> None:
    trials = striped_trials(10, modes=("natural", "synthetic"), batches=3)
    made = Experiment(trials, Plan(per_task=4, per_unit=9))
    asked = Counter(trials.index.condition_id[row] for task in made.tasks for row in task.rows)
    assert set(asked.values()) == {3}
    assert len(asked) == 20
    for task in made.tasks:
        units = [trials.index.unit_id[row] for row in task.rows]
        assert len(set(units)) == len(units) <= 4
        assert {str(trials.index.mode[row]) for row in task.rows} == {task.mode}
    per_batch = Counter(row for task in made.tasks for row in task.rows)
    assert set(per_batch.values()) == {1}


def test_a_screen_shows_the_first_reference_first_and_draws_the_sides(
    experiment: Experiment,
) -> None:
    trials, answers = experiment.trials, []
    for seed in range(40):
        for screen in experiment.script(experiment.tasks[0], seed=seed):
            row = screen.trial
            assert screen.right[0] == trials.positive[row, 0]
            assert screen.left[0] == trials.negative[row, 0]
            assert set(screen.right) == set(trials.positive[row].tolist())
            pair = (screen.upper, screen.lower)
            strong = screen.upper if screen.answer else screen.lower
            if screen.check:
                assert strong in screen.right
            else:
                assert set(pair) == set(trials.queries[row].tolist())
                assert strong == trials.queries[row, 0]
            answers.append(screen.answer)
    share = np.mean(answers)
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(len(answers))
    assert len(experiment.script(experiment.tasks[0], seed=1)) == 6 + 2


def test_nothing_that_leaves_the_server_tells_the_key(
    experiment: Experiment, tmp_path: Path
) -> None:
    """Two sessions whose keys differ are told the same, address for address aside."""
    store = Store(tmp_path / "a.db", experiment=experiment)
    desk = Desk(experiment, store, open_door=True)
    first, second = (
        desk.state(store.session(answer_rightly(desk, name * 16, stop=0))) for name in "ab"
    )
    scripts = [store.session(told["session"]).script for told in (first, second)]
    assert [s.answer for s in scripts[0]] != [s.answer for s in scripts[1]]
    masked = [
        re.sub(r"image/[\w-]+/[\w-]+", "image", json.dumps({**told, "session": ""}))
        for told in (first, second)
    ]
    assert masked[0] == masked[1]
    addresses = [a for t in (first, second) for trial in t["trials"] for a in trial["queries"]]
    assert len(set(addresses)) == len(addresses)
    sizes, upper_is_right = [], []
    session = store.session(first["session"])
    for trial, screen in zip(first["trials"], session.script, strict=True):
        files = []
        for address in trial["queries"]:
            _, public, name = address.split("/")
            files.append(desk.image(public, name.removesuffix(".png")))
        assert len(files[0]) == len(files[1])
        for data, row in zip(files, (screen.upper, screen.lower), strict=True):
            with Image.open(io.BytesIO(data)) as image:
                assert not image.info
                assert np.array_equal(np.asarray(image), experiment.images.decode(row))
        sizes.append(len(files[0]))
        upper_is_right.append(screen.answer)
    with pytest.raises(Refused):
        desk.image(session.public, "no-such-name")
    store.close()


def test_an_answer_sent_again_changes_nothing(experiment: Experiment, tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db", experiment=experiment)
    desk = Desk(experiment, store, open_door=True)
    session = answer_rightly(desk, "one", stop=1)
    before = store.answers(session)
    right = store.session(session).script[0].answer
    told = desk.answer(
        store.session(session),
        {"block": "main", "number": 0, "button": 5 if right else 0, "rt": 5.0},
    )
    assert told == {"stored": True, "correct": True, "right": 1}
    assert store.answers(session) == before
    again = desk.enter({"own": "one".ljust(16, "-"), "simulated": True})
    assert again["session"] == session
    assert [t["number"] for t in again["trials"]] == list(range(1, 8))
    assert store.events(session)[0][1] == "return"
    store.close()


@pytest.mark.parametrize(
    ("body", "status_code"),
    [
        ({"block": "main", "number": 99, "button": 0, "rt": 1}, 404),
        ({"block": "main", "number": 3, "button": 0, "rt": 1}, 409),
        ({"block": "main", "number": 0, "button": 6, "rt": 1}, 400),
        ({"block": "main", "number": 0, "button": True, "rt": 1}, 400),
        ({"block": "main", "number": 0, "button": 0, "rt": float("nan")}, 400),
        ({"block": "main", "number": 0, "button": 0}, 400),
        ({"block": "main", "number": "0", "button": 0, "rt": 1}, 400),
        ({"block": "practice-0", "number": 0, "button": 0, "rt": 1}, 404),
        ({"block": "other", "number": 0, "button": 0, "rt": 1}, 404),
    ],
)
def test_answers_that_are_none(
    experiment: Experiment, tmp_path: Path, body: dict[str, Any], status_code: int
) -> None:
    store = Store(tmp_path / "a.db", experiment=experiment)
    desk = Desk(experiment, store, open_door=True)
    session = answer_rightly(desk, "one", stop=0)
    before = len(store.answers(session))
    with pytest.raises(Refused) as refused:
        desk.answer(store.session(session), body)
    assert refused.value.status == status_code
    assert len(store.answers(session)) == before
    store.close()


def test_places_are_leased_and_given_again(tmp_path: Path) -> None:
    trials = striped_trials(4, batches=1)
    made = Experiment(
        trials,
        Plan(
            per_task=4,
            per_unit=2,
            assignments=2,
            catch=1,
            practice=1,
            lease_minutes=10,
            rules=Rules(),
        ),
    )
    store = Store(tmp_path / "a.db", experiment=made)
    first = store.enter("own:a", made)
    second = store.enter("own:b", made)
    assert {first.place, second.place} == {0, 1}
    desk = Desk(made, store, open_door=True)
    with pytest.raises(Refused, match="Every place is taken"):
        desk.enter({"own": "c" * 16})
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE sessions SET seen = seen - 3600 WHERE session = ?", (first.session,))
    third = desk.enter({"own": "c" * 16})
    assert store.session(third["session"]).place == first.place
    assert desk.enter({"link": signed(store.secret, "own:a")})["state"] == "expired"
    store.withdraw(second.session)
    assert store.session(second.session).state == "withdrawn"
    assert not store.answers(second.session)
    assert desk.enter({"own": "e" * 16})["state"] == "consent"
    store.close()


def test_links_are_signed_and_good_for_one_person(experiment: Experiment, tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db", experiment=experiment)
    made = links(store, 3, base="https://example.org/study/")
    assert len(set(made)) == 3
    assert made[0].startswith("https://example.org/study/?t=link%3A")
    token = signed(store.secret, "link:abc")
    assert identity_of(store.secret, token) == "link:abc"
    assert identity_of(store.secret, token[:-1] + ("A" if token[-1] != "A" else "B")) is None
    desk = Desk(experiment, store, open_door=False)
    one, two = desk.enter({"link": token}), desk.enter({"link": token})
    assert one["session"] == two["session"]
    for body in ({}, {"own": "x" * 20}, {"link": "link:abc.forged"}, {"platform": {}}):
        with pytest.raises(Refused):
            desk.enter(body)
    platform = {"PROLIFIC_PID": "someone-there", "STUDY_ID": "s", "SESSION_ID": "t"}
    assert desk.enter({"platform": platform})["session"] != one["session"]
    with sqlite3.connect(store.path) as db:
        dump = "\n".join(db.iterdump())
    assert "someone-there" not in dump
    assert "link:abc" not in dump
    store.close()


@pytest.fixture(scope="module")
def answered(
    experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Desk]:
    store = Store(tmp_path_factory.mktemp("collected") / "a.db", experiment=experiment)
    desk = Desk(experiment, store, open_door=True)
    for number in range(4):
        answer_rightly(desk, f"person{number}", mistakes=number)
    answer_rightly(desk, "leaver", stop=3)
    return store, desk


def test_the_export_is_a_released_table(answered: tuple[Store, Desk], tmp_path: Path) -> None:
    store, _ = answered
    frame = export(store, tmp_path / "responses.csv")
    table = read_release(tmp_path / "responses.csv")
    assert not table.violations
    assert table.simulated
    assert len(table) == len(frame) == 4 * 8 + 3 + frame["is_demo"].sum()
    assert set(frame["participant_id"]) == {f"P000{i}" for i in range(1, 6)}
    kept = frame[frame["passed_checks"] & ~frame["is_demo"]]
    assert kept["participant_id"].nunique() == 4
    study = table.study()
    assert set(study.trials.network) == {"resnet50"}
    again = exclude(table, Rules())
    released = table.frame["passed_checks"].to_numpy(dtype=bool) & table.main
    finished = table.frame["participant_id"].astype(str) != "P0005"
    assert np.array_equal(again.kept & finished.to_numpy(), released)
    given = store.answers()
    assert sum(a["correct"] for a in given if a["block"] == "main") == int(
        frame.loc[~frame["is_demo"], "correct"].sum()
    )


def test_the_export_as_parquet_holds_the_same(answered: tuple[Store, Desk], tmp_path: Path) -> None:
    store, _ = answered
    out = tmp_path / "responses.parquet"
    told = CliRunner().invoke(
        app, ["collect", "export", "--db", str(store.path), "--out", str(out)]
    )
    assert told.exit_code == 0
    same = read_table(out).astype(object)
    for column, values in export(store).astype(object).items():
        here = same[column]
        assert (here.isna() == values.isna()).all()
        assert (here.dropna().astype(str) == values.dropna().astype(str)).all(), column


def test_the_paper_s_criteria_are_recomputed_from_the_export(
    answered: tuple[Store, Desk], tmp_path: Path
) -> None:
    from imi_bench.release.assignments import measure
    from imi_bench.release.exclusions import agreement

    store, _ = answered
    published = Rules.published()
    store.plan = {**store.plan, "rules": json.loads(json.dumps(published.to_json()))}
    try:
        export(store, tmp_path / "responses.csv")
    finally:
        store.plan = {**store.plan, "rules": json.loads(json.dumps(Rules().to_json()))}
    found = agreement(measure(read_release(tmp_path / "responses.csv")))
    assert found
    assert [a.criterion for a in found if a.disagree and a.criterion != "passed_checks"] == []


def test_status_counts_what_is_stored(answered: tuple[Store, Desk]) -> None:
    store, _ = answered
    found = status(store)
    assert found.kept == 4
    assert found.sessions["done"] == 4
    assert found.simulated
    main = [a for a in store.answers() if a["block"] == "main" and not a["screen"].check]
    assert found.conditions["answers"].sum() == len(main)
    assert "SIMULATED" in repr(found)
    assert len(repr(found)) < 2000
    assert "<h1>Progress</h1>" in found.page()


def test_the_database_of_another_experiment_is_refused(
    experiment: Experiment, tmp_path: Path
) -> None:
    Store(tmp_path / "a.db", experiment=experiment).close()
    for plan in (Plan(per_task=5), Plan(per_task=6, per_unit=6, catch=2, practice=2)):
        with pytest.raises(NotComparableError, match="another experiment"):
            Store(tmp_path / "a.db", experiment=Experiment(experiment.trials, plan))
    Store(tmp_path / "a.db", experiment=experiment).close()


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such database"):
        Store(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("hello " * 100)
    with pytest.raises(InputError, match="cannot use the database"):
        Store(tmp_path / "text.db")


def answers_until_full(store: Store, session: str, screen: Screen) -> int:
    for number in range(10_000):
        try:
            store.answer(session, block="main", number=100 + number, screen=screen, button=0, rt=1)
        except sqlite3.OperationalError as error:
            assert "full" in str(error)  # noqa: PT017
            return number
    raise AssertionError("never full")


def test_a_full_disk_loses_nothing(experiment: Experiment, tmp_path: Path) -> None:
    store = Store(tmp_path / "a.db", experiment=experiment)
    desk = Desk(experiment, store, open_door=True)
    session = answer_rightly(desk, "one", stop=1)
    store.limit_pages(0)
    screen = store.session(session).script[1]
    stored = 1
    stored += answers_until_full(store, session, screen)
    store.limit_pages(1_000_000)
    assert sum(a["block"] == "main" for a in store.answers(session)) == stored
    store.close()


def test_a_taken_port_is_one_line() -> None:
    place = listen("127.0.0.1", 0)
    with pytest.raises(InputError, match="cannot listen"):
        listen("127.0.0.1", place.getsockname()[1])
    place.close()


def test_no_trials_to_ask() -> None:
    with pytest.raises(NotEnoughDataError, match="no trials to ask"):
        Experiment(striped_trials(3), Plan(mode="synthetic"))
    with pytest.raises(InputError):
        Plan(per_task=0)


def test_over_http(experiment: Experiment, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    store = Store(tmp_path / "a.db", experiment=experiment)
    client = TestClient(application(Desk(experiment, store, open_door=True)))
    page = client.get("/")
    assert page.status_code == 200
    assert all(page.headers[name.lower()] == value for name, value in HEADERS.items())
    assert "http" not in page.text.replace("http-equiv", "")
    told = client.post("/api/enter", json={"own": "a" * 20}).json()
    assert told["trials"] == []
    own = {"Authorization": f"Bearer {told['session']}"}
    assert client.post("/api/practice", json={}, headers=own).status_code == 409
    client.post("/api/consent", json={"agree": True}, headers=own)
    client.post("/api/instructions", json={"seconds": 70}, headers=own)
    client.post("/api/instructions", json={"seconds": 70}, headers=own)
    assert (store.session(told["session"]).instruction_seconds or 0) < 60
    main = {"block": "main", "number": 0, "button": 0, "rt": 2000}
    assert client.post("/api/answer", json=main, headers=own).status_code == 409
    trials = client.post("/api/practice", json={}, headers=own).json()["trials"]
    early = {"block": "practice-1", "number": 0, "button": 0, "rt": 3}
    assert client.post("/api/answer", json=early, headers=own).status_code == 400
    later = {"block": "practice-2", "number": 0, "button": 0, "rt": 2000}
    assert client.post("/api/answer", json=later, headers=own).status_code == 409
    address = trials[0]["queries"][0]
    image = client.get(f"/{address}")
    assert image.headers["content-type"] == "image/png"
    assert not {"etag", "last-modified"} & set(image.headers)
    assert client.post("/api/answer", json={}).status_code == 401
    assert client.post("/api/enter", content=b"x" * 20_000).status_code == 413
    assert client.post("/api/enter", content=b"[" * 10_000).status_code == 400
    assert client.get("/experimenter?t=guess").status_code == 403
    assert client.get("/page/../server.py").status_code == 404
    store.close()


@pytest.mark.parametrize("kind", ["rating", "intruder"])
def test_other_tasks_on_the_same_trials(kind: Any, tmp_path: Path) -> None:
    made = Experiment(
        striped_trials(), Plan(kind=kind, per_task=6, per_unit=3, catch=0, practice=1)
    )
    store = Store(tmp_path / "a.db", experiment=made)
    session = store.enter("own:a", made)
    screen = session.script[0]
    assert screen.upper == -1
    correct = store.answer(session.session, block="main", number=0, screen=screen, button=2, rt=1)
    if kind == "rating":
        assert correct is None
    else:
        weak = made.trials.queries[screen.trial, 1]
        assert screen.right[screen.answer] == weak
        assert correct == (screen.right[2] == weak)
    table = other(store)
    assert table["answer"].tolist() == [3]
    with pytest.raises(NotComparableError):
        export(store)
    store.close()


def test_a_static_folder_holds_the_key_only_with_feedback(tmp_path: Path) -> None:
    trials = striped_trials()
    for feedback in (True, False):
        made = Experiment(
            trials,
            Plan(per_task=6, per_unit=3, catch=2, practice=2, feedback=feedback, rules=Rules()),
        )
        out = tmp_path / f"static-{feedback}"
        notes = write_static(made, out)
        text = (out / "page" / "task.js").read_text()
        page = json.loads(text.removeprefix("window.IMI_TASK = ").rstrip(";\n"))
        assert ("main" in page["answers"]) is feedback
        assert any("holds the key" in line for line in notes) is feedback
        for trial in page["blocks"]["main"]:
            for address in trial["queries"]:
                assert (out / address).is_file()
        with pytest.raises(InputError, match="folder exists"):
            write_static(made, out)
    key = json.loads((tmp_path / "static-False.key.json").read_text())
    answers = [
        {"block": "main", "number": n, "button": 0 if s[6] else 3, "rt": 700, "received": 100.0 + n}
        for n, s in enumerate(key["blocks"]["main"])
    ]
    result = {"own": "a", "begun": 50.0, "instruction_seconds": 20.0, "answers": answers}
    (tmp_path / "result.json").write_text(json.dumps(result))
    store, added = read_static(
        [tmp_path / "result.json"] * 2, key=tmp_path / "static-False.key.json", db=tmp_path / "s.db"
    )
    assert added == 1
    frame = export(store)
    assert frame.loc[~frame["is_demo"], "correct"].all()
    assert frame["passed_checks"].all()
    store.close()


def test_verbs(answered: tuple[Store, Desk], tmp_path: Path) -> None:
    store, _ = answered
    runner = CliRunner()
    found = runner.invoke(app, ["collect", "status", "--db", str(store.path)])
    assert "4 kept" in found.output
    found = runner.invoke(app, ["collect", "status", "--db", str(store.path), "--json"])
    assert json.loads(found.output)["kept"] == 4
    found = runner.invoke(app, ["collect", "links", "2", "--db", str(store.path)])
    assert found.output.count("?t=") == 2
    out = tmp_path / "responses.csv"
    found = runner.invoke(app, ["collect", "export", "--db", str(store.path), "--out", str(out)])
    assert "no criteria" in found.output
    assert out.is_file()
    verified = runner.invoke(app, ["data", "verify", str(out)])
    assert verified.exit_code == 0, verified.output


def test_refusing_after_the_end_changes_nothing_and_nobody_begins_anew(
    experiment: Experiment, tmp_path: Path
) -> None:
    store = Store(tmp_path / "a.db", experiment=experiment)
    desk = Desk(experiment, store, open_door=True)
    session = answer_rightly(desk, "one")
    assert desk.consent(store.session(session), {"agree": False})["state"] == "done"
    assert status(store).kept == 1
    store.withdraw(session)
    again = desk.enter({"own": "one".ljust(16, "-"), "simulated": True})
    assert again["session"] == session
    assert again["state"] == "withdrawn"
    platform = [{"PROLIFIC_PID": name} for name in ("PA", " pa ")]
    one, two = (desk.enter({"platform": p})["session"] for p in platform)
    assert one == two
    store.close()
