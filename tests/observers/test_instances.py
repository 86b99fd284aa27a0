"""Two instances of one observer give the same codes, in any process and any batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from imi_bench.errors import InputError
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.contract import ContractReport, check, sample_trials
from imi_bench.observers.instances import Recipe
from imi_bench.observers.reference import Chance
from imi_bench.replay.runner import replay

HEAD = """
import numpy as np
from imi_bench.observers import pooling
from imi_bench.tables import BlindTrials

class Mine:
    name = "mine"

    def __init__(self):
        {start}

    def describe(self):
        return {{"version": 1}}

    def encode(self, images):
        flat = np.stack([image.mean((0, 1)) / 255 for image in images])
        {code}

    def decide(self, trials, codes):
        return pooling.decide(codes, trials)
"""
KINDS = {
    "sound": ("self.head = np.eye(3)", "return flat @ self.head"),
    "drawn anew": (
        "self.head = np.random.default_rng().normal(size=(3, 3))",
        "return flat @ self.head",
    ),
    "fitted to what it meets first": (
        "self.middle = None",
        "self.middle = flat.mean(0) if self.middle is None else self.middle\n"
        "        return flat - self.middle",
    ),
    "order of hashes": (
        "self.head = np.eye(3)[[int(c) for c in {'0', '1', '2'}]]",
        "return flat @ self.head * [1, 2, 3]",
    ),
    "fails": (
        "import os\n        assert os.environ.get('PYTHONHASHSEED') != '20230711'",
        "return flat",
    ),
}


def written(folder: Path, kind: str) -> str:
    start, code = KINDS[kind]
    path = folder / "mine.py"
    path.write_text(HEAD.format(start=start, code=code))
    return f"{path}:Mine"


def checked(name: str) -> ContractReport:
    observer = load_observer(name)
    return check(observer, sample_trials(count=3), recipe=Recipe(name))


WHOLE = pytest.mark.whole


@pytest.mark.whole
@pytest.mark.parametrize(
    "kind",
    [
        "sound",
        pytest.param("drawn anew", marks=WHOLE),
        pytest.param("fitted to what it meets first", marks=WHOLE),
        pytest.param("fails", marks=WHOLE),
    ],
)
def test_a_second_process_in_another_order_and_other_batches(tmp_path: Path, kind: str) -> None:
    report = checked(written(tmp_path, kind))
    failed = {p.name for p in report.properties if p.outcome == "fail"}
    assert failed == (set() if kind == "sound" else {"second process"})
    if kind == "fails":
        (said,) = (p.detail for p in report.properties if p.name == "second process")
        assert "fails in a second process: found " in said
        assert said.endswith("found AssertionError")


@pytest.mark.whole
def test_an_observer_of_whole_trials_is_built_again_too() -> None:
    report = check(Chance(seed=4), sample_trials(count=6), recipe=Recipe("chance", seed=4))
    assert report.passed
    report = check(Chance(seed=4), sample_trials(count=6), recipe=Recipe("chance", seed=5))
    assert [p.name for p in report.properties if p.outcome == "fail"] == ["second process"]


def test_an_object_without_a_recipe_is_exempt_and_says_so() -> None:
    (one,) = (p for p in check(Chance(), sample_trials()).properties if p.name == "second process")
    assert (one.outcome, one.detail[:19]) == ("exempt", "an object in memory")


def test_a_resumed_run_refuses_codes_of_another_instance(tmp_path: Path) -> None:
    name = written(tmp_path, "drawn anew")
    some, trials = sample_trials(count=1), sample_trials(count=8)  # some of the same images
    cache = tmp_path / "cache"
    replay(load_observer(name), some, cache=cache)
    with pytest.raises(InputError, match="codes on disk are another instance's"):
        replay(load_observer(name), trials, cache=cache)
    sound = written(tmp_path, "sound")
    replay(load_observer(sound), some, cache=cache)
    assert len(replay(load_observer(sound), trials, cache=cache).decisions) == 8
