"""Sampled answers, what a server repeats, and options that make no sense."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bright_trials import bright_trials
from support.chat_server import Server, brightness_mind, error, send, serving

import imi_bench as imi
from imi_bench.errors import InputError
from imi_bench.observers.incontext.chat import Chat
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.tables import Trials


@pytest.fixture(scope="module")
def trials() -> Trials:
    return bright_trials(6)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server(brightness_mind(bias=0.3, slope=0.0))) as running:
        yield running


def observer(server: Server, **options: Any) -> InContext:
    model = Chat("scripted", base_url=server.url, **{"retries": 0, "timeout": 60.0, **options})
    return InContext(model, identity=model.identity, side=8)


def drawing_by_seed(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
    """As servers do: the same seed gives the same samples."""
    reply = own.reply(body)
    rng = np.random.default_rng(body["seed"])
    for choice in reply["choices"]:
        choice["message"]["content"] = "AB"[int(rng.random() < 0.5)]
    send(handler, 200, reply)
    return True


@pytest.mark.whole
def test_samples_are_drawn_anew_for_each_prompt_and_each_time(
    trials: Trials, server: Server
) -> None:
    server.behave = drawing_by_seed
    made = observer(server, samples=5)
    blind = trials.blind(seed=0).without_key()
    first = made.both_orders(blind)
    again = made.both_orders(blind, again=True)
    seeds = [body["seed"] for body in server.requests]
    assert len(set(seeds)) == len(seeds) == 4 * len(trials)
    assert len(np.unique(first.evidence()[0])) > 3
    assert (np.sign(first.evidence()[0]) != np.sign(again.evidence()[0])).any()
    same = made.both_orders(blind)  # without a ledger: asked again, with the same seeds
    assert np.array_equal(same.evidence()[0], first.evidence()[0])


@pytest.mark.whole
def test_the_flip_rate_of_a_coin_is_that_of_a_coin(server: Server) -> None:
    server.behave = drawing_by_seed
    found = imi.fewshot(
        observer(server, samples=1), bright_trials(25), shots=(0,), draws=1, pool_units=1
    )
    (row,) = found.flips.to_dict("records")
    # z is -1, 0 or 1 with 1/4, 1/2, 1/4: two draws differ in 1 - (1/16 + 1/4 + 1/16) of trials
    assert row["rate"] == pytest.approx(0.625, abs=4 * math.sqrt(0.625 * 0.375 / row["trials"]))


@pytest.mark.parametrize("withheld", [1, 3, 4])
def test_samples_that_are_withheld_are_no_answers(
    trials: Trials, server: Server, withheld: int
) -> None:
    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        reply = own.reply(body)
        for place, choice in enumerate(reply["choices"]):
            choice["message"]["content"] = "A"
            if place < withheld:
                choice["message"] = {"role": "assistant", "content": "A", "refusal": "no"}
        send(handler, 200, reply)
        return True

    server.behave = behave
    made = observer(server, samples=4).both_orders(trials.blind(seed=0).without_key())
    outcomes = {one.outcome for one in made.first}
    assert outcomes == ({"refused"} if withheld == 4 else {"ok"})
    if withheld < 4:
        assert made.first[0].mass == pytest.approx((4 - withheld) / 4)
        assert made.first[0].difference == pytest.approx(math.log((4 - withheld + 0.5) / 0.5))


@pytest.mark.parametrize("status", [0, 400, 403, 413, 422, 429, 500])
def test_a_key_that_the_server_repeats_is_kept_nowhere(
    status: int,
    trials: Trials,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")

    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        said = f"you sent {handler.headers['Authorization']}"
        if status:
            error(handler, status, said)
            return True
        reply = own.reply(body)
        reply["choices"][0]["message"]["content"] = said
        send(handler, 200, reply)
        return True

    server.behave = behave
    ledger = Ledger(tmp_path / "ledger.db")
    made = observer(server).keeping(ledger)
    said = ""
    try:
        found = made.both_orders(trials.take(np.arange(2)).blind(seed=0).without_key())
        said = repr(found)
    except InputError as refused:
        said = str(refused)
    ledger.close()
    assert "[key]" in said
    assert "secret" not in said
    assert not any(b"secret" in file.read_bytes() for file in tmp_path.iterdir())


def test_a_server_that_asks_to_wait_for_days_is_told(trials: Trials, server: Server) -> None:
    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        error(handler, 429, "slow down", retry_after="1e6")
        return True

    server.behave = behave
    with pytest.raises(InputError, match="asks to wait long"):
        observer(server, retries=2).decide(trials.blind(seed=0).without_key())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("timeout", math.nan),
        ("timeout", 0.0),
        ("retries", -1),
        ("max_tokens", 0),
        ("price_in", -1.0),
        ("price_out", math.inf),
        ("in_flight", 0),
        ("top_logprobs", 21),
        ("samples", -1),
        ("seed", -1),
    ],
)
def test_options_out_of_range_are_named(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        Chat("m", **{option: value})  # type: ignore[arg-type]


def test_a_model_that_leaves_out_a_prompt_is_refused(trials: Trials) -> None:
    """Else the answers after the gap would stand for other trials."""

    class Gap:
        def ask(self, prompts: Sequence[Prompt], *, got: Callable[[int, Scored], None]) -> None:
            for place in range(1, len(prompts)):
                got(place, Scored(-0.5, -1.0))

    made = InContext(Gap(), identity={"model": "gap"}, side=8)
    with pytest.raises(InputError, match="left prompts without an answer"):
        made.decide(trials.blind(seed=0).without_key())


@pytest.mark.whole
def test_a_study_without_any_answer_says_so(server: Server, tmp_path: Path) -> None:
    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        error(handler, 500, "broken")
        return True

    server.behave = behave
    found = imi.fewshot(
        observer(server), bright_trials(6), shots=(0, 1), draws=1, out=tmp_path / "o"
    )
    assert all(math.isnan(point.accuracy.value) for point in found.points)
    assert {point.accuracy.reason for point in found.points} == {"no trial has an answer"}
    assert any("as few as 0.0%" in line for line in found.words())
    assert found.variants().empty
    assert not found.summary().startswith("Traceback")


def test_answers_in_other_words_are_told(server: Server) -> None:
    plain = imi.fewshot(observer(server), bright_trials(6), shots=(0,), draws=1, repeats=0)
    assert not any("probability on the two" in line for line in plain.words())
    server.tokens = lambda a, b: [("The", -0.001), ("A", a - 9), ("B", b - 9)]
    found = imi.fewshot(observer(server), bright_trials(6), shots=(0,), draws=1, repeats=0)
    assert any("probability on the two" in line for line in found.words())
