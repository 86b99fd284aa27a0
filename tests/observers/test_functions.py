"""Plain functions as observers, by object and by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.made_trials import make_trials
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.errors import NetworkError
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.protocol import fingerprint
from imi_bench.stimuli.trial_files import write_trials
from imi_bench.tables import DecisionVariables

FILE = """
import numpy as np

def similarity(one, other, power=1):
    CALLS.append(1)
    return -abs(float(one.mean()) - float(other.mean())) ** power

def encode(images):
    return np.stack([image.mean(axis=(0, 1)) for image in images])

def three(a, b, c):
    return 0

def word(one, other):
    return "near"

class Mine:
    def __init__(self, *, path):
        self.name, self.path = "mine", path
    def describe(self):
        return {"path": self.path}
    def encode(self, images):
        return encode(images)
    def decide(self, trials, codes):
        return np.zeros(len(trials))

CALLS = []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def test_a_similarity_is_what_pooling_says_and_each_pair_is_compared_once() -> None:
    calls: list[tuple[int, int]] = []

    def similarity(one: np.ndarray, other: np.ndarray) -> float:
        calls.append((int(one.flat[0]), int(other.flat[0])))
        return -abs(float(one.mean()) - float(other.mean()))

    trials = make_trials(30)
    run = imi.answer(similarity, trials, cache=None)
    value = [float(trials.images.decode(row).mean()) for row in range(len(trials.images))]

    def evidence(query: int, row: int) -> float:
        plus = [-abs(value[query] - value[r]) for r in trials.positive[row]]
        minus = [-abs(value[query] - value[r]) for r in trials.negative[row]]
        return float(np.mean(plus) - np.mean(minus))

    expected = [evidence(q[0], t) - evidence(q[1], t) for t, q in enumerate(trials.queries)]
    assert run.decisions.observer == "similarity"
    np.testing.assert_allclose(run.decisions.toward_correct, expected, atol=1e-12)
    assert len(calls) == len(set(calls))


def test_the_contract_holds_for_both_kinds(file: Path) -> None:
    for name in ("similarity", "encode"):
        assert check(imi.load_observer(f"{file}:{name}"), sample_trials(seed=0, count=4)).passed


def test_options_reach_classes_and_functions_of_a_file(file: Path) -> None:
    assert imi.load_observer(f"{file}:Mine?path=x").describe() == {"path": "x"}
    plain, squared = (imi.load_observer(f"{file}:similarity{q}") for q in ("", "?power=2"))
    assert fingerprint(plain) != fingerprint(squared)
    with pytest.raises(imi.UnknownNameError, match=r"'pover'.*'power'"):
        imi.load_observer(f"{file}:similarity?pover=2")
    with pytest.raises(imi.UnknownNameError, match="'pth'"):
        imi.load_observer(f"{file}:Mine?pth=x")


def test_what_is_no_observer_is_refused(file: Path) -> None:
    with pytest.raises(imi.InputError, match="arguments a, b, c"):
        imi.load_observer(f"{file}:three")
    with pytest.raises(imi.InputError, match="not a number"):
        imi.answer(f"{file}:word", make_trials(4))
    for thing in (3, lambda: None):
        with pytest.raises(imi.InputError, match="not an observer"):
            imi.load_observer(thing)  # type: ignore[arg-type]


def test_what_a_function_takes_from_outside_is_part_of_it() -> None:
    def made(offset: object, default: float = 1.0) -> object:
        def similarity(one: np.ndarray, other: np.ndarray, scale: float = default) -> float:
            return scale * float(one.mean()) + float(str(offset) == "x")

        return similarity

    prints = [
        fingerprint(imi.load_observer(made(*arguments)))
        for arguments in ((1,), (2,), (1, 2.0), (np.arange(3),), (np.arange(4),), (1,))
    ]
    assert len(set(prints)) == 5
    assert prints[0] == prints[-1]


def test_functions_of_one_file_and_name_are_told_apart() -> None:
    """Also by what a function inside asks for, and by the object whose method they are."""

    class Scaled:
        def __init__(self, by: float) -> None:
            self.by = by

        def similarity(self, one: np.ndarray, other: np.ndarray) -> float:
            return self.by * float(one.mean())

    functions = [
        lambda one, other: -abs(float(one.mean()) - float(other.mean())),
        lambda one, other: float("nan"),
        lambda one, other: float("inf"),
        lambda one, other: -abs(float(one.max()) - float(other.max())),
        lambda one, other: float(sum(map(lambda pixel: pixel * 2.0, [one.mean()]))),
        lambda one, other: float(sum(map(lambda pixel: pixel * 3.0, [one.mean()]))),
        Scaled(1.0).similarity,
        Scaled(2.0).similarity,
    ]
    prints = [fingerprint(imi.load_observer(one)) for one in functions]
    assert len(set(prints)) == len(functions)
    assert fingerprint(imi.load_observer(functions[0])) == prints[0]


def test_a_class_of_a_prompt_is_known_by_its_code() -> None:
    """No file holds it: an edit of its cell makes another observer of it."""
    text = """
class Mine:
    name = "mine"
    def describe(self): return {}
    def encode(self, images): return [[image.mean() * FACTOR] for image in images]
    def decide(self, trials, codes): return codes[trials.queries, 0] @ [1.0, -1.0]
"""
    prints = []
    for factor in ("1.0", "2.0", "1.0"):
        cell: dict[str, type] = {}
        exec(compile(text.replace("FACTOR", factor), "<cell>", "exec"), {"__name__": "c"}, cell)
        prints.append(fingerprint(cell["Mine"]()))
    assert prints[0] == prints[2] != prints[1]


def test_by_the_command_line(file: Path, tmp_path: Path, shared: Path) -> None:
    write_trials(sample_trials(count=6), tmp_path / "in")
    given = shared / "cases" / "observers" / "similarity_only.py"
    for number, observer in enumerate((f"{file}:encode", f"{given}:similarity")):
        out = tmp_path / str(number)
        arguments = ["--observer", observer, "--trials", str(tmp_path / "in"), "--out", str(out)]
        result = CliRunner().invoke(app, ["run", *arguments, "--json"])
        assert result.exit_code == 0, result.output
        stored = DecisionVariables.read(out).decision_variable
        again = imi.answer(observer, tmp_path / "in").decisions.decision_variable
        np.testing.assert_array_equal(stored, again)


@pytest.mark.vision
def test_a_network_of_several_outputs_is_no_observer_in_one_line() -> None:
    torch = pytest.importorskip("torch")

    class Pair(torch.nn.Sequential):
        def forward(self, images):
            return super().forward(images), images

    observer = imi.load_observer(Pair(torch.nn.Conv2d(3, 4, 3)), device="cpu")
    with pytest.raises(NetworkError, match="output is no tensor: Pair: found tuple"):
        observer.encode([np.zeros((8, 8, 3), np.uint8)])


@pytest.mark.vision
def test_a_network_in_memory_is_an_observer() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(2))
    observer = imi.load_observer(module, device="cpu")
    assert observer.name.startswith("Sequential")
    assert fingerprint(observer) == fingerprint(imi.load_observer(module, device="cpu"))
    with torch.no_grad():
        module[0].weight += 0.1
    assert fingerprint(observer) != fingerprint(imi.load_observer(module, device="cpu"))
    assert len(imi.answer(observer, make_trials(4)).decisions) == 4
