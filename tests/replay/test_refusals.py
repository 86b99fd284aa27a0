"""What a run writes into, and what of an observer is refused by run and doctor alike."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support.made_trials import make_trials

from imi_bench.errors import InputError
from imi_bench.observers.catalogue import load_observer as load
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.protocol import ObserverExitError
from imi_bench.replay.runner import replay
from imi_bench.stimuli.trial_files import read_trials, write_trials


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Neither the folder of the trials themselves, nor one with tables that no run has left."""
    trials = make_trials(6)
    stimuli = write_trials(trials, tmp_path / "stimuli")
    before = stimuli.read_bytes()
    read = read_trials(tmp_path / "stimuli")
    for out in (tmp_path / "stimuli", tmp_path / "stimuli" / "runs"):
        with pytest.raises(InputError, match=r"the output (is|lies within) an input"):
            replay(load("pixel-l2"), read, out=out, cache=tmp_path / "cache", force=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "trials.parquet").write_bytes(b"mine")
    with pytest.raises(InputError, match="files that no run has written"):
        replay(load("pixel-l2"), read, out=foreign, cache=tmp_path / "cache", force=True)
    assert stimuli.read_bytes() == before
    assert (foreign / "trials.parquet").read_bytes() == b"mine"


class Answering:
    """An observer of whole trials that answers as it is told."""

    def __init__(self, answer: object, name: object = "answering") -> None:
        self._answer, self.name = answer, name

    def describe(self) -> dict[str, object]:
        return {"answer": str(self._answer)}

    def decide(self, trials: object, codes: object) -> object:
        if self._answer == "exit":
            sys.exit(3)
        return np.full(len(trials), self._answer)


@pytest.mark.parametrize(
    ("answer", "name", "says"),
    [
        (True, "a", "not one number a trial"),
        (0.0, "a", "ties on every trial|a tie on each"),
        (1.0, None, "an observer without a name"),
        (1.0, " ", "an observer without a name"),
    ],
)
def test_run_and_doctor_refuse_alike(
    answer: object, name: object, says: str, tmp_path: Path
) -> None:
    observer = Answering(answer, name)
    with pytest.raises(InputError, match=says):
        replay(observer, make_trials(6), cache=tmp_path)
    if name is None or not str(name).strip():
        with pytest.raises(InputError, match=says):
            check(observer, sample_trials())
    else:
        details = "; ".join(p.detail for p in check(observer, sample_trials()).properties)
        assert re.search(says, details)


def test_an_observers_exit_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ObserverExitError, match=r"ended the program \(sys.exit\(3\)\)"):
        replay(Answering("exit"), make_trials(6), cache=tmp_path)
    with pytest.raises(ObserverExitError):
        check(Answering("exit"), sample_trials())
