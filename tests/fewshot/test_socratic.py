"""SmolLM2-135M from its package (`tox -e fewshot`): it reads, and likes a name it has just seen."""

from __future__ import annotations

from types import ModuleType

import pytest
from support.benchmark_scripts import benchmark

pytestmark = [pytest.mark.fewshot, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("socratic_observer")


def test_likelihoods_are_those_of_a_language_model(script: ModuleType) -> None:
    model = script.SmolLM2()
    capital = "The capital of France is"
    assert model.likelihood(capital, " Paris") > model.likelihood(capital, " banana") + 2
    seen, unseen = "steel drum, tractor, barn,", "platypus, tub, agama,"
    assert model.likelihood(seen, " steel drum") > model.likelihood(unseen, " steel drum") + 2
    shared = "steel drum, tractor,"
    whole = model.likelihood(f"{shared} barn,", " tub")
    model.memory.clear()
    (kept,) = model.likelihoods(f"{shared} barn,", [" tub"], shared=shared)
    assert kept == pytest.approx(whole, abs=1e-3)


def test_letters_in_one_pass_are_those_of_two(script: ModuleType) -> None:
    model = script.SmolLM2()
    before = "Image A: tub\nImage B: barn\nAnswer:"
    one, other = model.likelihoods(before, [" A", " B"])
    model.memory.clear()
    assert model.likelihood(before, " A") == pytest.approx(one, abs=1e-4)
    assert model.likelihood(before, " B") == pytest.approx(other, abs=1e-4)
    assert model.likelihood(before, " A or B") < one
