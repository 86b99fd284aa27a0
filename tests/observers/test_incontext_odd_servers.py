"""Servers as they are found: no odd habit of one may change a number without a word."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
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
from imi_bench.observers.incontext.ledger import BudgetError, Ledger
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.scoring import from_top_tokens, parsed
from imi_bench.tables import Trials

pytestmark = pytest.mark.whole

Change = Callable[[Server, dict[str, Any]], None]


@pytest.fixture(scope="module")
def trials() -> Trials:
    return bright_trials(4)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server(brightness_mind(bias=0.3))) as running:
        yield running


def observer(server: Server, **options: Any) -> InContext:
    model = Chat("scripted", base_url=server.url, **{"retries": 1, "timeout": 60.0, **options})
    return InContext(model, identity=model.identity, side=8)


def decided(made: InContext, trials: Trials) -> Any:
    return made.decide(trials.blind(seed=0).without_key())


@pytest.fixture(scope="module")
def plain(trials: Trials) -> Any:
    """Decision variables of the scripted model behind a server without habits."""
    with serving(Server(brightness_mind(bias=0.3))) as running:
        return decided(observer(running), trials).decision_variable


def changing(change: Change) -> Callable[[Server, dict[str, Any], BaseHTTPRequestHandler], bool]:
    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        reply = own.reply(body)
        change(own, reply)
        send(handler, 200, reply)
        return True

    return behave


def listed(reply: dict[str, Any]) -> list[dict[str, Any]]:
    return reply["choices"][0]["logprobs"]["content"]  # type: ignore[no-any-return]


def token(text: str, lp: float, *top: tuple[str, float]) -> dict[str, Any]:
    alternatives = [{"token": t, "logprob": v, "bytes": None} for t, v in top]
    return {"token": text, "logprob": lp, "bytes": None, "top_logprobs": alternatives}


@pytest.mark.parametrize("first", ["\ufeff", " ", "\u2581", "\u200b", "\n", "\u0120", "**", ""])
def test_what_comes_before_the_letter_changes_nothing(
    trials: Trials, server: Server, plain: Any, first: str
) -> None:
    """A mark of order, a space of its own, a zero-width space: with an A of its own in its list."""

    def change(own: Server, reply: dict[str, Any]) -> None:
        listed(reply).insert(0, token(first, -0.01, (first, -0.01), ("A", -7.0)))

    server.behave = changing(change)
    assert np.allclose(decided(observer(server), trials).decision_variable, plain)


@pytest.mark.parametrize(
    ("a", "b"), [("A", "B"), (" A", "B"), ("\u2581A", "\u2581B"), ("A", "B\n")]
)
def test_spellings_of_the_letters_are_one(
    trials: Trials, server: Server, plain: Any, a: str, b: str
) -> None:
    server.tokens = lambda x, y: [(a, x), (b, y), (" a", -9.0), ("\u0410", -9.5)]
    assert np.allclose(decided(observer(server), trials).decision_variable, plain)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_short_list_bounds_and_never_turns_an_answer(
    trials: Trials, server: Server, plain: Any, most: int
) -> None:
    """With the likeliest only, what is left bounds the other letter."""

    def change(own: Server, reply: dict[str, Any]) -> None:
        top = sorted(listed(reply)[0]["top_logprobs"], key=lambda t: -t["logprob"])
        listed(reply)[0]["top_logprobs"] = top[:most]

    server.behave = changing(change)
    found = decided(observer(server), trials).decision_variable
    assert (np.abs(found) <= np.abs(plain) + 1e-9).all()
    sure = np.abs(plain) > 1
    assert sure.any()
    assert (np.sign(found[sure]) == np.sign(plain[sure])).all()


def test_no_list_but_the_token_that_was_said(trials: Trials, server: Server) -> None:
    def change(own: Server, reply: dict[str, Any]) -> None:
        listed(reply)[0]["top_logprobs"] = []

    server.behave = changing(change)
    found = observer(server).both_orders(trials.blind(seed=0).without_key())
    assert found.report()["bounded"] == 1.0
    assert np.isfinite(found.evidence()[0]).all()


@pytest.mark.parametrize(
    "tokens",
    [
        [("A", 0.9), ("B", 0.1)],  # probabilities
        [("A", -0.1), ("B", -0.2)],  # of two distributions
        [("A", 3.2), ("B", -1.0)],  # logits
    ],
)
def test_what_are_no_log_probabilities_is_refused(tokens: list[tuple[str, float]]) -> None:
    with pytest.raises(InputError, match="log-probabilities are none"):
        from_top_tokens(tokens)


@pytest.mark.parametrize(
    ("served", "fine"),
    [
        ("scripted", True),
        ("org/Scripted", True),
        ("scripted-2026-08-06", True),
        ("/models/scripted.gguf", True),
        ("scripted:latest", True),
        ("scripted-mini", False),
        ("script", False),
        ("scripted-2-large", False),
    ],
)
def test_which_model_answers(trials: Trials, server: Server, served: str, fine: bool) -> None:
    server.served = served
    if fine:
        decided(observer(server), trials)
    else:
        with pytest.raises(InputError, match="another model answers"):
            decided(observer(server), trials)
        decided(observer(server, served=served), trials)


def test_fewer_samples_than_asked_for_are_refused(trials: Trials, server: Server) -> None:
    def change(own: Server, reply: dict[str, Any]) -> None:
        del reply["choices"][1:]

    server.style = "none"
    server.behave = changing(change)
    with pytest.raises(InputError, match="fewer samples"):
        decided(observer(server, samples=4), trials)


def test_a_list_of_five_at_most_is_told_with_its_remedy(trials: Trials, server: Server) -> None:
    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        if body.get("top_logprobs", 0) > 5:
            error(handler, 400, "Invalid value for 'top_logprobs': must be at most 5")
            return True
        return False

    server.behave = behave
    with pytest.raises(InputError, match="top_logprobs=5"):
        decided(observer(server), trials)
    assert np.isfinite(decided(observer(server, top_logprobs=5), trials).decision_variable).all()


def page(handler: BaseHTTPRequestHandler, data: bytes, kind: str) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
    return True


@pytest.mark.parametrize(
    "behave",
    [
        lambda s, b, h: (send(h, 200, {"error": {"message": "overloaded", "code": 502}}), True)[1],
        lambda s, b, h: page(h, b"<html>sign in</html>", "text/html"),
        lambda s, b, h: page(h, b'{"choices": [', "application/json"),
        lambda s, b, h: (send(h, 200, {"model": "scripted", "choices": [{"index": 0}]}), True)[1],
        lambda s, b, h: (send(h, 200, []), True)[1],
    ],
)
def test_replies_that_are_none_are_errors_and_no_answers(
    trials: Trials, server: Server, behave: Any, tmp_path: Path
) -> None:
    server.behave = behave
    ledger = Ledger(tmp_path / "l.db")
    made = observer(server, retries=0, ledger=ledger).keeping(ledger)
    answers = decided(made, trials.take(np.arange(2)))
    assert set(answers.status.tolist()) <= {"error", "unparsed"}
    assert np.isnan(answers.decision_variable).all()
    assert not ledger.holds_answers
    server.behave = None
    assert set(decided(made, trials.take(np.arange(2))).status.tolist()) == {"ok"}
    ledger.close()


def test_tokens_that_are_not_told_are_not_nought(
    trials: Trials, server: Server, tmp_path: Path
) -> None:
    def change(own: Server, reply: dict[str, Any]) -> None:
        reply["usage"] = None if len(own.requests) % 2 else {"prompt_tokens": None}

    server.behave = changing(change)
    ledger = Ledger(tmp_path / "l.db")
    decided(observer(server, price_in=1.0, ledger=ledger).keeping(ledger), trials)
    totals = ledger.totals()
    assert totals["cost"] is None
    assert totals["calls_without_tokens"] == 2 * len(trials)
    ledger.close()


def study(server: Server, **options: Any) -> list[str]:
    made = imi.fewshot(
        observer(server, **options), bright_trials(12), shots=(0, 1, 2), draws=1, repeats=0
    )
    return [line for line in made.words() if line.startswith("WARNING")]


@pytest.mark.whole
def test_a_server_that_does_what_it_says_raises_no_suspicion(server: Server) -> None:
    assert study(server) == []


@pytest.mark.whole
def test_a_fingerprint_that_changes_is_told(server: Server) -> None:
    def change(own: Server, reply: dict[str, Any]) -> None:
        reply["system_fingerprint"] = "fp_1" if len(own.requests) < 20 else "fp_2"

    server.behave = changing(change)
    (line,) = study(server, in_flight=1)
    assert "named itself differently" in line
    assert "scripted fp_1" in line


@pytest.mark.whole
def test_a_server_that_cuts_prompts_is_told(server: Server) -> None:
    """As Ollama does beyond its context length."""

    def change(own: Server, reply: dict[str, Any]) -> None:
        reply["usage"]["prompt_tokens"] = min(reply["usage"]["prompt_tokens"], 2048)

    server.behave = changing(change)
    assert study(server) == []
    server.behave = changing(lambda own, reply: reply["usage"].update(prompt_tokens=1000))
    (line,) = study(server)
    assert "1 (as 0), 2 (as 1)" in line


@pytest.mark.whole
def test_a_server_that_sees_no_images_is_told(server: Server) -> None:
    server.mind = lambda messages: 0.7
    (line,) = study(server)
    assert "may not see the images" in line


def test_an_article_is_no_answer() -> None:
    said = {"A": "A", "b.": "B", "**B**": "B", "The answer is A": "A", "Image A matches": "A"}
    assert {text: parsed(text) for text in said} == said
    for text in ("A dog", "It is a cat", "a cat", "A or B", "I'd say", "\u0410", "Both A and B"):
        assert parsed(text) is None, text


def test_requests_under_way_are_kept_when_the_budget_ends(
    trials: Trials, server: Server, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "l.db", max_requests=5)
    made = observer(server, in_flight=4, ledger=ledger).keeping(ledger)
    with pytest.raises(BudgetError):
        decided(made, trials)
    assert ledger.totals()["calls"] == {"ok": len(server.requests)}
    assert len(server.requests) == 5
    ledger.close()


def test_within_a_running_loop_as_in_a_notebook(trials: Trials, server: Server) -> None:
    async def cell() -> Any:
        return decided(observer(server), trials).decision_variable

    assert np.isfinite(asyncio.run(cell())).all()


@pytest.mark.whole
def test_a_slow_server_is_waited_for_until_the_time_is_out(trials: Trials, server: Server) -> None:
    import threading

    hold = threading.Event()

    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        if len(own.requests) == 1:
            hold.wait(200)
        return False

    server.behave = behave
    few = trials.take(np.arange(2))
    answers = decided(observer(server, timeout=3.0, retries=0, in_flight=1), few)
    hold.set()
    assert sorted(answers.status.tolist()) == ["error", "ok"]
    assert math.isnan(answers.decision_variable[0])


@pytest.mark.parametrize(
    "end", ["", "/", "//", "?key=sk-QUERYSECRET&version=2", "/?key=sk-QUERYSECRET"]
)
def test_a_query_of_the_address_goes_behind_the_path_and_into_no_record(
    trials: Trials, server: Server, end: str
) -> None:
    paths = []

    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        paths.append(handler.path)
        return False

    server.behave = behave
    model = Chat("scripted", base_url=server.url + end, retries=0)
    made = InContext(model, identity=model.identity, side=8)
    decided(made, trials.take(np.arange(1)))
    path, _, query = paths[0].partition("?")
    assert path.endswith("/v1/chat/completions")
    assert ("key=sk-QUERYSECRET" in query) == ("key" in end)
    assert model.identity["base_url"] == server.url
    assert "QUERYSECRET" not in str(made.describe())


def test_a_model_that_says_a_to_everything_knows_nothing_and_is_no_fault(
    trials: Trials, server: Server
) -> None:
    server.mind = lambda messages: 4.0
    found = imi.answer(observer(server), trials)
    assert set(found.decisions.status) == {"tie"}
    assert found.decisions.credit.mean() == 0.5


def test_sampled_answers_have_a_name_of_their_own(server: Server, tmp_path: Path) -> None:
    name = f"vlm:openai/scripted?base_url={server.url}&ledger={tmp_path / 'l.db'}"
    assert imi.load_observer(name).name == "vlm:openai/scripted"
    assert imi.load_observer(name + "&samples=5").name == "vlm:openai/scripted?samples=5"
