"""Scripted learners whose curves are known: sizes that learn faster, ablations, a plan by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.bright_trials import bright_trials

from imi_bench.errors import InputError
from imi_bench.fewshot.budget import budget
from imi_bench.fewshot.curves import FewShot
from imi_bench.fewshot.design import Design
from imi_bench.fewshot.study import fewshot
from imi_bench.observers.incontext.chat import Chat, data_url
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt, Shown
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.tables import Trials


def fits_a(shown: Shown) -> bool:
    """Whether A is the query as bright as the right sheet."""
    left, right, a, b = (float(image.mean()) for image in shown.images)
    return (right > left) == (a > b)


def luck(prompt: Prompt, *of: int) -> float:
    """Logistic noise of scale 1, the same in both orders."""
    *_, a, b = prompt.question.images
    seed = int.from_bytes(bytes(sorted((a.tobytes() + b.tobytes())[:96])), "little")
    shots = int.from_bytes(Prompt(prompt.shots, Shown(())).key().encode(), "little")
    return float(np.random.default_rng([seed, shots, *of]).logistic())


class Doubling:
    """Right with log-odds ``base + rate * log2(K)``."""

    def __init__(self, number: int, *, base: float, rate: float) -> None:
        self.number, self.base, self.rate = number, base, rate

    def __call__(self, prompt: Prompt) -> Scored:
        odds = self.base + self.rate * math.log2(max(len(prompt.shots), 1))
        odds += luck(prompt, self.number)
        z = odds if fits_a(prompt.question) else -odds
        return Scored(z / 2 - 1, -z / 2 - 1)


class Reader:
    """Knows the rule only as far as the solved trials show it."""

    identity = {"model": "reader"}  # noqa: RUF012

    def __call__(self, prompt: Prompt) -> Scored:
        shown = [1 if fits_a(s) == (s.answer == "A") else -1 for s in prompt.shots]
        odds = 0.7 * sum(shown) + luck(prompt)
        z = odds if fits_a(prompt.question) else -odds
        return Scored(z / 2 - 1, -z / 2 - 1)


SIZES = {"small": 1e6, "medium": 1e7, "large": 1e8}


def family(rates: dict[str, float], trials: Trials) -> FewShot:
    made: dict[str, Any] = {
        name: InContext(
            Doubling(number, base=0.1, rate=rate), identity={"model": name}, name=name, side=8
        )
        for number, (name, rate) in enumerate(rates.items())
    }
    return fewshot(
        made, trials, shots=(1, 2, 4, 8), draws=2, pool_units=8, parameters=SIZES, repeats=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("growth", [0.3, 0.0])
def test_the_interaction_of_size_and_shots_is_recovered(growth: float) -> None:
    rates = {name: 0.4 + growth * (place - 1) for place, name in enumerate(SIZES)}
    fitted = family(rates, bright_trials(58, batches=2, seed=3)).gain()
    names = list(fitted.names)
    table = fitted.to_frame().set_index("term")
    for term, truth in (("doublings", 0.4), ("doublings:tenfold", growth)):
        found, error = fitted.estimate[names.index(term)], fitted.se[names.index(term)]
        assert abs(found - truth) < 3 * error, term
    low, high = table.loc["doublings:tenfold", ["low", "high"]]
    assert low > 0 if growth else low < 0 < high


@pytest.fixture(scope="module")
def both_ways() -> Trials:
    """Half of the units like dark images: only references tell which."""
    made = bright_trials(60, seed=4)
    dark = (np.arange(len(made)) % 2 == 1)[:, None]
    return replace(
        made,
        positive=np.where(dark, made.negative, made.positive),
        negative=np.where(dark, made.positive, made.negative),
        queries=np.where(dark, made.queries[:, ::-1], made.queries),
    )


@pytest.mark.whole
def test_ablations_flatten_a_learner_that_reads_its_shots(both_ways: Trials) -> None:
    found = fewshot(
        InContext(Reader(), identity=Reader.identity, side=8),
        both_ways,
        shots=(0, 2, 8),
        draws=6,
        pool_units=16,
        ablations=("labels", "images"),
        repeats=0,
    )
    value = {(p.ablation, p.shots): p.accuracy.value for p in found.points}
    assert abs(value["none", 0] - 0.5) < 4 * math.sqrt(0.25 / found.trials)
    assert value["none", 2] > 0.7
    assert value["none", 8] > 0.95
    for ablation in ("labels", "images"):
        assert value[ablation, 8] < value["none", 8] - 0.15
        point = next(p for p in found.points if (p.ablation, p.shots) == (ablation, 8))
        assert point.accuracy.low < 0.5 < point.accuracy.high


def test_what_is_planned_by_hand() -> None:
    trials = bright_trials(9)
    model = Chat("m", base_url="http://127.0.0.1:9/v1", price_in=2.0, price_out=8.0, max_tokens=3)
    observer = InContext(model, identity=model.identity, side=8)
    design = Design((0, 2), draws=3, pool_units=2, ablations=("labels",), repeats=4)
    planned = budget({"m": observer}, trials, design=design, tokens_per_image=100)
    zero, two = planned.table.to_dict("records")
    # 7 tests in 2 orders, two requests for the letters a cell where no answer is kept
    assert zero["calls"] == 7 * 2 + 2
    assert two["calls"] == (7 * 2 + 2) * 3 * 2 + 4 * 2
    assert (zero["images"], two["images"]) == (4 * zero["calls"], 12 * two["calls"])
    prompt = observer.prompt(trials.blind(seed=0).without_key(), 0)
    words = sum(len(part) for part in prompt.question.parts if isinstance(part, str)) / 4
    assert zero["tokens"] == pytest.approx((400 + words) * zero["calls"])
    assert two["tokens"] == pytest.approx((1200 + 3 * words) * two["calls"])
    for row in (zero, two):
        by_hand = (row["tokens"] * 2.0 + row["calls"] * 3 * 8.0) / 1e6
        assert row["cost"] == pytest.approx(by_hand)
    sent = sum(len(data_url(image)) for image in prompt.images) / 1e6 * zero["calls"]
    assert zero["megabytes"] == pytest.approx(sent, rel=0.05)
    free = budget({"m": observer}, trials, design=design, tokens_per_image=0)
    assert free.table["tokens"].tolist() == pytest.approx([words * 16, words * 3 * 104])


def test_baselines_of_one_name_are_refused(both_ways: Trials) -> None:
    import imi_bench as imi

    trials = both_ways.take(np.arange(12))
    chance = imi.answer("chance", trials)
    with pytest.raises(InputError, match="two baselines of one name"):
        fewshot(
            InContext(Reader(), identity=Reader.identity, side=8),
            trials,
            shots=(0,),
            baselines=[chance, chance],
        )
