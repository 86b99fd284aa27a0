"""A crowd over HTTP: everything sent three times, the server killed again and again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.crowd import Participant, striped_trials

from imi_bench.collect import Experiment, Plan, Store, export
from imi_bench.release.exclusions import Rules
from imi_bench.release.table import read_release
from imi_bench.stimuli.trial_files import read_trials, write_trials

PEOPLE, KILLS = 200, 50
UNIT_ACCURACY = np.linspace(0.55, 0.98, 12)
OPTIONS = {
    "--per-task": 6,
    "--per-unit": 102,
    "--assignments": 3,
    "--catch": 2,
    "--practice-trials": 1,
    "--rules": "none",
}

pytestmark = pytest.mark.slow


def free_port() -> int:
    """Below those that systems give to clients, of which one might take a killed server's."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as place, contextlib.suppress(OSError):
            place.bind(("127.0.0.1", port))
            return port
    raise OSError("none of a hundred ports is free")


class Server:
    """`imi-bench collect serve` in a process of its own, killed and started at will."""

    def __init__(self, trials: Path, db: Path) -> None:
        self.port, self.trials, self.db = free_port(), trials, db
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "imi_bench", "collect", "serve", "--trials"]
        command += [str(self.trials), "--db", str(self.db), "--port", str(self.port)]
        command += [str(part) for pair in OPTIONS.items() for part in pair]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def wait_until_up(self) -> None:
        assert self.process is not None
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise OSError(f"the server does not start: code {self.process.returncode}")

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def chooser(store: Store, experiment: Experiment, own: str) -> Participant:
    """A person who is right with the unit's own probability; reads the key from the database."""
    rng = random.Random(own)
    person = Participant("", own, lambda block, number: 0, sends=3, patience=300.0)

    def choose(block: str, number: int) -> int:
        session = store.session(person.session)
        if block == "main":
            screen = session.script[number]
            chance = (
                1.0 if screen.check else UNIT_ACCURACY[experiment.trials.index.unit[screen.trial]]
            )
        else:
            task = experiment.tasks[session.task - 1]
            attempt = int(block.partition("-")[2])
            screen = experiment.practice_round(task, seed=session.seed, attempt=attempt)[number]
            chance = 1.0
        right = rng.random() < chance
        return rng.randrange(3) + (0 if bool(screen.answer) == right else 3)

    person.choose = choose
    return person


def test_nothing_is_lost_or_stored_twice_and_the_choice_model_comes_back(tmp_path: Path) -> None:
    write_trials(striped_trials(), tmp_path / "trials")
    server = Server(tmp_path / "trials", tmp_path / "answers.db")
    server.start()
    server.wait_until_up()
    plan = Plan(per_task=6, per_unit=102, catch=2, practice=1, rules=Rules())
    experiment = Experiment(read_trials(tmp_path / "trials"), plan)
    store = Store(server.db, experiment=experiment)
    people = [chooser(store, experiment, f"person-{i:04d}------") for i in range(PEOPLE)]
    failed: list[BaseException] = []

    def take_part(person: Participant) -> None:
        try:
            person.url = server.url
            person.take_part()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=take_part, args=(p,)) for p in people]
    for thread in threads:
        thread.start()
    # killed when the crowd has so many answers acknowledged: neither too late nor too often
    for after in sorted(random.Random(0).sample(range(PEOPLE * (6 + 2)), KILLS)):
        while sum(len(p.acknowledged) for p in people) < after and not failed:
            time.sleep(0.002)
        server.kill()
        server.start()
        server.wait_until_up()
    for thread in threads:
        thread.join()
    server.kill()
    assert not failed
    stored = {(a["session"], a["block"], a["number"]): a["button"] for a in store.answers()}
    told = {(p.session, b, n): button for p in people for b, n, button in p.acknowledged}
    assert told == stored
    assert len(told) == PEOPLE * (6 + 2 + 1)
    assert len({p.session for p in people}) == PEOPLE
    assert all(s.state == "done" for s in store.sessions())
    recovered(store, tmp_path / "responses.csv")


def recovered(store: Store, path: Path) -> None:
    """Each unit's proportion correct is that of the crowd within four standard errors."""
    export(store, path)
    table = read_release(path)
    assert not table.violations
    frame = pd.DataFrame(table.frame[table.main])
    by_unit = frame.groupby(frame["channel"].astype(int))["correct"].agg(["mean", "size"])
    truth = UNIT_ACCURACY[by_unit.index.to_numpy()]
    errors = np.sqrt(truth * (1 - truth) / by_unit["size"])
    assert (np.abs(by_unit["mean"] - truth) < 4 * errors).all()
