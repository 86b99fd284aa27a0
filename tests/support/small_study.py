"""One small study that every verb and its Python twin can be run on: files and objects."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import imi_bench as imi
from imi_bench.effects.effect import Effects
from imi_bench.release.study_files import write_study
from imi_bench.replay.run import Run
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import decisions, simulate_study
from imi_bench.stimuli.trial_files import write_trials
from imi_bench.tables import DecisionVariables, Study, Trials

SIZE = {"n_networks": 1, "n_batches": 1, "n_scenes": 200, "size": 16}
COUNTS = {"units": 10, "units_hard": 10, "participants": 8, "main_trials": 10, "batches": 2}


@dataclass(frozen=True)
class SmallStudy:
    """Trials of one made-up network, two observers' runs, and a wide study of nine networks."""

    folder: Path
    trials: Trials
    people: Study
    runs: tuple[Run, Run]
    wide: Study
    machine: DecisionVariables

    @functools.cached_property
    def effects(self) -> Effects:
        """What `effects` finds in the wide study, the machine beside people."""
        return imi.effects(self.wide, decisions=[self.machine])


def small_study(folder: Path) -> SmallStudy:
    trials, people = imi.demo_data(**SIZE)
    write_trials(trials, folder / "trials")
    write_study(people, folder / "people")
    runs = tuple(
        imi.answer(name, folder / "trials", out=folder / name) for name in ("pixel-l2", "chance")
    )
    simulated = simulate_study(SimulationParameters.from_json(COUNTS), seed=1)
    write_study(simulated.study, folder / "wide")
    machine = decisions(simulated.truth, slope=1.0, seed=2)
    wrong = np.random.default_rng(0).random(len(machine)) < 0.3
    value = np.where(wrong, -1.0, 1.0) * machine.decision_variable
    machine = replace(machine, decision_variable=value)
    (folder / "machine").mkdir()
    machine.to_frame().to_parquet(folder / "machine" / "decisions.parquet")
    return SmallStudy(folder, trials, people, (runs[0], runs[1]), simulated.study, machine)
