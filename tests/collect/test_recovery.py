"""What a crowd with a known choice model was given comes back from its exported answers."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imi_bench as imi
from imi_bench.collect import Experiment, Plan, Store, export
from imi_bench.collect.desk import Desk
from imi_bench.collect.server import application
from imi_bench.release.exclusions import Rules
from imi_bench.release.table import read_release
from imi_bench.tables import Study

pytestmark = pytest.mark.slow

SLOPE, LAPSE, SYNTHETIC = 1.4, 0.08, -0.9


class Crowd:
    """People whose log-odds are a slope times an observer's evidence, less with synthetic ones."""

    def __init__(self, client: Any, store: Store, experiment: Experiment, evidence: Any) -> None:
        self.client, self.store, self.experiment = client, store, experiment
        self.evidence, self.rng = evidence, np.random.default_rng(0)

    def post(self, verb: str, body: dict[str, Any], session: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {session}"} if session else {}
        told = self.client.post(f"/api/{verb}", json=body, headers=headers)
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    def take_part(self, own: str) -> bool:
        entered = self.client.post("/api/enter", json={"own": own, "simulated": True})
        if entered.status_code == 410:
            return False
        name = entered.json()["session"]
        self.post("consent", {"agree": True}, name)
        self.post("instructions", {"seconds": 30}, name)
        while (told := self.post("practice", {}, name))["state"] == "practice":
            session = self.store.session(name)
            task = self.experiment.tasks[session.task - 1]
            screens = self.experiment.practice_round(task, seed=session.seed, attempt=told["round"])
            for trial in told["trials"]:
                right = bool(screens[trial["number"]].answer)
                self.answer(name, trial, upper=right)
        script = self.store.session(name).script
        for trial in self.post("state", {}, name)["trials"]:
            screen = script[trial["number"]]
            chance = 1.0 if screen.check else self.chance(screen.trial)
            # by person and trial: the same answers whatever the order that a session draws
            right = random.Random(f"{own}|{screen.trial}").random() < chance
            self.answer(name, trial, upper=bool(screen.answer) == right)
        self.post("finish", {"comment": ""}, name)
        return True

    def chance(self, row: int) -> float:
        odds = SLOPE * self.evidence[row]
        if self.experiment.trials.index.mode[row] == "synthetic":
            odds += SYNTHETIC
        return LAPSE / 2 + (1 - LAPSE) / (1 + math.exp(-odds))

    def answer(self, name: str, trial: dict[str, Any], *, upper: bool) -> None:
        button = int(self.rng.integers(3)) + (0 if upper else 3)
        body = {"block": trial["block"], "number": trial["number"], "button": button, "rt": 900.0}
        self.post("answer", body, name)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Natural trials answered by evidence alone (for `calibrate`), synthetic ones worse."""
    from starlette.testclient import TestClient

    folder = tmp_path_factory.mktemp("recovery")
    trials, _ = imi.demo_data()
    run = imi.answer("classical", trials)
    toward = run.decisions.toward_correct / np.std(run.decisions.toward_correct)
    experiment = Experiment(
        trials, Plan(per_task=20, per_unit=9, catch=2, practice=1, rules=Rules())
    )
    store = Store(folder / "answers.db", experiment=experiment)
    client = TestClient(application(Desk(experiment, store, open_door=True)))
    crowd = Crowd(client, store, experiment, toward)
    people = 0
    while crowd.take_part(f"person-{people:012d}"):
        people += 1
    assert people == 3 * len(experiment.tasks)
    export(store, folder / "responses.csv")
    store.close()
    return run, folder / "responses.csv"


def test_calibrate_recovers_slope_and_lapse(collected: tuple[Any, Path]) -> None:
    run, table = collected
    study = imi.read_answers(table)
    natural = study.trials.mode.astype(str) == "natural"
    ids = set(study.trials.trial_id[natural].tolist())
    rows = np.array([trial in ids for trial in study.responses.trial_id])
    kept = Study(study.trials.take(natural), study.responses.take(rows))
    fit = imi.calibrate(run, kept, level=0.99).overall
    scale = np.std(run.decisions.toward_correct)
    slope, lapse = fit.slopes["all"], fit.lapse
    assert slope.low * scale <= SLOPE <= slope.high * scale
    assert lapse.low <= LAPSE <= lapse.high


def test_effects_find_what_synthetic_references_cost(collected: tuple[Any, Path]) -> None:
    _, table = collected
    found = imi.effects(table)
    assert found["synthetic"].test.estimate < 0
    released = read_release(table)
    assert not released.violations
    main = released.frame[released.main]
    means = main.groupby(main["mode"].astype(str))["correct"].mean()
    assert means["optimized"] < means["natural"]
