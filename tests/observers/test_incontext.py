"""Few-shot observers: layouts, shots, both orders, servers that behave and that do not."""

from __future__ import annotations

import math
import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bright_trials import bright_trials
from support.chat_server import Server, brightness_mind, error, pictures, send, serving
from support.made_trials import make_trials

from imi_bench.errors import InputError, LeakageError, NotEnoughDataError, UnknownNameError
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.incontext.chat import Chat
from imi_bench.observers.incontext.ledger import BudgetError, Ledger
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.orders import order_table
from imi_bench.observers.incontext.pools import set_aside
from imi_bench.observers.incontext.prompt import (
    GREY,
    Prompt,
    content_free,
    lay_out,
    sheet,
    square,
)
from imi_bench.observers.incontext.scoring import (
    Scored,
    from_samples,
    from_top_tokens,
    of_trial,
    parsed,
    scored,
)
from imi_bench.observers.incontext.shots import Shots
from imi_bench.replay.runner import replay
from imi_bench.tables import Trials


@pytest.fixture(scope="module")
def trials() -> Trials:
    return bright_trials()


@pytest.fixture(scope="module")
def few(trials: Trials) -> Trials:
    """For what is asked of a server, one request after another."""
    return trials.take(np.arange(6))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server(brightness_mind())) as running:
        yield running


def chat(server: Server, **options: Any) -> Chat:
    return Chat("scripted", base_url=server.url, **{"retries": 2, "timeout": 60.0, **options})


def observer(model: Any, **options: Any) -> InContext:
    identity = getattr(model, "identity", {"model": "made"})
    return InContext(model, identity=identity, side=8, **options)


# -- layouts ---------------------------------------------------------------------------------


def test_a_sheet_has_the_gap_that_people_saw() -> None:
    images = [np.full((4, 4, 3), 10 * i, np.uint8) for i in range(9)]
    made = sheet(images)
    assert made.shape == (3 * 4 + 2 * 10, 3 * 4 + 2 * 10, 3)
    assert (made[4:14] == GREY).all()
    assert (made[14:18, 28:32] == 50).all()
    tall = square(np.zeros((8, 4, 3), np.uint8), side=8)
    assert (tall[:, :2] == GREY).all()
    assert (tall[:, 2:6] == 0).all()


@pytest.mark.parametrize(("layout", "count"), [("sheets", 4), ("separate", 20)])
def test_layouts_hold_every_image_and_people_s_words(layout: Any, count: int) -> None:
    images = [np.full((4, 4, 3), i, np.uint8) for i in range(20)]
    shown = lay_out(images[:9], images[9:18], (images[18], images[19]), layout=layout, side=4)
    assert len(shown.images) == count
    text = " ".join(part for part in shown.parts if isinstance(part, str))
    assert "Which image at the center matches the Right Examples better?" in text
    assert not any(word in text.lower() for word in ("max", "min", "unit", "layer", "activat"))
    free = content_free(Prompt((), shown))
    assert all((image == GREY).all() for image in free.images)


def test_no_prompt_names_a_file_unit_or_layer(trials: Trials) -> None:
    made = observer(lambda prompt: Scored(0.0, 0.0), shots=Shots(trials, 2, side=8))
    fresh = bright_trials(3, seed=9)
    prompt = made.prompt(fresh.blind(seed=0), 0)
    words = [part for shown in prompt for part in shown.parts if isinstance(part, str)]
    assert set(words) == {
        "Left Examples:",
        "Right Examples:",
        "Image A:",
        "Image B:",
        "Which image at the center matches the Right Examples better? Answer with A or B.",
    }


# -- scoring ---------------------------------------------------------------------------------


def test_a_habit_cancels_between_the_orders() -> None:
    value, status = of_trial(Scored(-0.1, -2.4), Scored(-0.2, -1.9))
    assert value == pytest.approx((2.3 - 1.7) / 2)
    assert status == "ok"
    assert of_trial(Scored.none("refused"), Scored(0, 0))[1] == "refused"
    assert math.isnan(of_trial(Scored(0, 0), Scored.none("truncated"))[0])


def test_options_among_the_listed_tokens() -> None:
    found = from_top_tokens([("A", math.log(0.5)), (" a", math.log(0.1)), ("B", math.log(0.2))])
    assert found.first == pytest.approx(math.log(0.5))  # " a" is a word, not the letter
    assert found.mass == pytest.approx(0.7)
    missing = from_top_tokens([("B", -0.2), ("I", -2.0), ("The", -3.5), ("A", -9999.0)])
    assert missing.bounded
    # what the listed tokens leave is less than the least of them
    left = 1 - sum(math.exp(lp) for lp in (-0.2, -2.0, -3.5))
    assert missing.first == pytest.approx(math.log(left))
    assert from_top_tokens([("I", -0.1)]).outcome == "option missing"
    assert from_top_tokens([("A", -9999.0), ("B", -9999.0)]).outcome == "option missing"


def test_samples_and_short_answers() -> None:
    assert from_samples(["A", "B", "A", "x"]).difference == pytest.approx(math.log(2.5 / 1.5))
    assert from_samples(["A"]).evidence == "sampled"
    assert from_samples(["?", None]).outcome == "unparsed"
    assert [parsed(t) for t in ("A", "b.", "Image A", "A or B", "Apple", "", None)] == [
        "A",
        "B",
        "A",
        None,
        None,
        None,
        None,
    ]


def test_a_callable_gives_log_likelihoods() -> None:
    assert scored({"A": -1.0, "B": -2.0}, where="m").difference == 1.0
    assert scored({"A": math.nan, "B": -2.0}, where="m").outcome == "option missing"
    for bad in ({"A": -1.0}, {"A": -math.inf, "B": 0.0}, 3):
        with pytest.raises(InputError):
            scored(bad, where="m")  # type: ignore[arg-type]


# -- shots -----------------------------------------------------------------------------------


def test_shots_are_nested_balanced_and_one_a_unit(trials: Trials) -> None:
    for draw in range(5):
        eight, four = (Shots(trials, count, draw=draw, side=8) for count in (8, 4))
        assert eight.rows[:4].tolist() == four.rows.tolist()
        assert eight.answers[:4] == four.answers
        assert sorted(eight.answers) == ["A"] * 4 + ["B"] * 4
        assert len({trials.index.unit_id[row] for row in eight.rows}) == 8
    assert Shots(trials, 8, draw=0).rows.tolist() != Shots(trials, 8, draw=1).rows.tolist()
    with pytest.raises(NotEnoughDataError, match="12 units in the pool"):
        Shots(trials, 13)


def test_the_answer_of_a_shot_is_the_strong_query(trials: Trials) -> None:
    shots = Shots(trials, 6, side=8)
    for shown, row in zip(shots.shown, shots.rows, strict=True):
        a, b = shown.images[-2:]
        strong = trials.images.decode(int(trials.queries[row, 0]))
        assert np.array_equal(a if shown.answer == "A" else b, strong)


def test_ablations_change_labels_or_images_alone(trials: Trials) -> None:
    plain = Shots(trials, 8, side=8)
    labels, images = (replace(plain, ablation=a) for a in ("labels", "images"))
    assert [s.answer for s in labels.shown] != [s.answer for s in plain.shown]
    for one, other in zip(plain.shown, labels.shown, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.images, other.images, strict=True))
    for one, other in zip(plain.shown, images.shown, strict=True):
        assert one.answer == other.answer
        assert not np.array_equal(one.images[0], other.images[0])
        assert np.array_equal(one.images[-1], other.images[-1])
    prints = {str(s.describe()) for s in (plain, labels, images)}
    assert len(prints) == 3


def test_no_picture_and_no_unit_of_the_shots_is_tested(trials: Trials) -> None:
    pool, tests, dropped = set_aside(trials, units=4)
    assert not set(pool.index.unit_id) & set(tests.index.unit_id)
    assert not dropped
    # a picture of the first pool unit also stands in one tested trial
    moved = trials.positive.copy()
    row = int(np.flatnonzero(trials.index.unit_id == tests.index.unit_id[0])[0])
    other = int(np.flatnonzero(trials.index.unit_id == pool.index.unit_id[0])[0])
    moved[row, 0] = trials.positive[other, 0]
    _, fewer, dropped = set_aside(replace(trials, positive=moved), units=4)
    assert dropped == (trials.index.trial_id[row],)
    assert len(fewer) == len(tests) - 1
    leaky = observer(lambda prompt: Scored(0.0, -1.0), shots=Shots(trials, 3, side=8))
    with pytest.raises(LeakageError, match="solved trials are among those tested"):
        leaky.decide(trials.blind(seed=0).without_key())


# -- the observer ----------------------------------------------------------------------------


def test_swapping_the_queries_flips_the_sign_exactly(few: Trials, server: Server) -> None:
    made = observer(chat(server))
    blind = few.blind(seed=0).without_key()
    swapped = replace(blind, queries=blind.queries[:, ::-1])
    one, two = (made.decide(b).decision_variable for b in (blind, swapped))
    assert np.array_equal(one, -two)
    order = np.random.default_rng(0).permutation(9)
    moved = replace(blind, positive=blind.positive[:, order], negative=blind.negative[:, order])
    assert np.array_equal(made.decide(moved).decision_variable, one)


def test_a_biased_model_is_read_rightly_and_its_habit_reported(few: Trials, server: Server) -> None:
    server.mind = brightness_mind(bias=4.0, slope=0.02)
    made = observer(chat(server))
    blind = few.blind(seed=0)
    found = made.both_orders(blind.without_key())
    said = found.report()
    assert said["says_a"] > 0.9
    assert said["mass"] == pytest.approx(0.9, abs=1e-6)
    assert said["orders_agree"] < 0.2
    table = order_table(found, blind.key.first_is_positive)  # type: ignore[union-attr]
    assert table["strong_as_a"].mean() > 0.9
    assert table["strong_as_b"].mean() < 0.2
    done = replay(made, few, seed=0)
    assert done.decisions.credit.mean() == 1.0


def test_callable_and_chat_give_the_same(few: Trials, server: Server, tmp_path: Path) -> None:
    mind = server.mind
    body = chat(server)._body

    def model(prompt: Prompt) -> dict[str, float]:
        pa = 1 / (1 + math.exp(-mind(body(prompt)["messages"])))
        return {"A": math.log(0.9 * pa + 1e-12), "B": math.log(0.9 * (1 - pa) + 1e-12)}

    blind = few.blind(seed=0).without_key()
    one = observer(chat(server)).decide(blind).decision_variable
    two = observer(model).decide(blind).decision_variable
    assert np.allclose(one, two)


@pytest.mark.whole
def test_a_model_that_learns_from_shots(server: Server) -> None:
    """The scripted model's slope grows by a known factor a shot; z shows it."""
    server.mind = brightness_mind(per_shot=0.5)
    pool, tests, _ = set_aside(bright_trials(14), units=8)
    blind = tests.blind(seed=0).without_key()
    base = observer(chat(server)).decide(blind).decision_variable
    for count in (2, 4, 8):
        made = observer(chat(server), shots=Shots(pool, count, side=8))
        ratio = made.decide(blind).decision_variable / base
        assert np.allclose(ratio, 1 + 0.5 * count, rtol=0.02)


def test_the_ledger_answers_a_second_time_without_a_request(
    few: Trials, server: Server, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    made = observer(chat(server, price_in=2.0, ledger=ledger), ledger=ledger)
    blind = few.blind(seed=0).without_key()
    first = made.decide(blind)
    asked = len(server.requests)
    assert asked == 2 * len(few)
    again = observer(chat(server, ledger=ledger), ledger=ledger).decide(blind)
    assert len(server.requests) == asked
    assert np.array_equal(first.decision_variable, again.decision_variable)
    totals = ledger.totals()
    assert totals["calls"] == {"ok": 2 * len(few)}
    assert totals["cost"] == pytest.approx(2 * len(few) * 1000 * 2 / 1e6)
    other = observer(chat(server, ledger=ledger, system="Be brief."), ledger=ledger)
    other.decide(blind)
    assert len(server.requests) == 2 * asked
    ledger.close()


@pytest.mark.whole
def test_budgets_stop_and_keep_what_was_paid_for(
    few: Trials, server: Server, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger.db", max_requests=10)
    made = observer(chat(server, in_flight=1, ledger=ledger), ledger=ledger)
    blind = few.blind(seed=0).without_key()
    with pytest.raises(BudgetError, match="budget of requests"):
        made.decide(blind)
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.db")
    kept = ledger.totals()["calls"]["ok"]
    assert kept == 10
    observer(chat(server, ledger=ledger), ledger=ledger).decide(blind)
    assert len(server.requests) == 2 * len(few)
    ledger.close()
    money = Ledger(tmp_path / "money.db", max_cost=0.005)
    spender = observer(chat(server, in_flight=1, price_in=1.0, ledger=money), ledger=money)
    with pytest.raises(BudgetError, match="budget of money"):
        spender.decide(blind)
    assert money.totals()["cost"] == pytest.approx(0.005)
    money.close()


def test_no_key_stands_anywhere(
    few: Trials, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    url = server.url.replace("http://", "http://user:password@")
    ledger = Ledger(tmp_path / "ledger.db")
    model = Chat("scripted", base_url=url, ledger=ledger)
    made = observer(model, ledger=ledger)
    done = replay(made, few, seed=0, out=tmp_path / "run")
    assert "Bearer sk-very-secret" in str(server.headers) or "Basic" in str(server.headers)
    texts = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    for secret in (b"very-secret", b"password"):
        assert not any(secret in text for text in texts)
    assert "password" not in str(done.record)
    server.behave = lambda s, b, h: (error(h, 401, "bad key sk-very-secret"), True)[1]
    with pytest.raises(InputError) as refused:
        observer(Chat("scripted", base_url=url)).decide(few.blind(seed=1).without_key())
    assert "secret" not in str(refused.value)
    ledger.close()


def test_requests_in_flight_are_bounded(few: Trials, server: Server) -> None:
    observer(chat(server, in_flight=3)).decide(few.blind(seed=0).without_key())
    assert 1 <= server.most_in_flight <= 3


# -- servers that misbehave ------------------------------------------------------------------

Behaviour = Callable[[Server, dict[str, Any], BaseHTTPRequestHandler], bool]


def status(code: int, message: str, **headers: str) -> Behaviour:
    def behave(server: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        error(handler, code, message, **headers)
        return True

    return behave


def changed(**choice: Any) -> Behaviour:
    def behave(server: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        reply = server.reply(body)
        message = choice.get("message", {})
        rest = {k: v for k, v in choice.items() if k != "message"}
        reply["choices"][0] |= rest
        reply["choices"][0]["message"] |= message
        send(handler, 200, reply)
        return True

    return behave


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        (changed(finish_reason="content_filter", message={"content": ""}), "filtered"),
        (changed(message={"content": None, "refusal": "I cannot"}), "refused"),
        (changed(finish_reason="length", message={"content": ""}, logprobs=None), "truncated"),
        (status(400, "The response was blocked by the content filter"), "filtered"),
        (status(500, "oops"), "error"),
    ],
)
def test_reasons_for_no_answer_are_told_apart(
    few: Trials, server: Server, behave: Behaviour, outcome: str
) -> None:
    server.behave = behave
    made = observer(chat(server, retries=0))
    answers = made.decide(few.blind(seed=0).without_key())
    assert set(answers.status.tolist()) == {outcome}
    assert np.isnan(answers.decision_variable).all()


def test_a_missing_option_is_a_status_or_a_bound(few: Trials, server: Server) -> None:
    blind = few.blind(seed=0).without_key()
    server.tokens = lambda a, b: [("Well", -0.3), ("The", -2.0)]
    assert set(observer(chat(server)).decide(blind).status.tolist()) == {"option missing"}
    server.tokens = lambda a, b: [("A", a), ("The", -6.0), ("B", -9999.0)]
    found = observer(chat(server)).both_orders(blind)
    for one in found.first:
        assert one.bounded
        left = 1 - math.exp(one.first) - math.exp(-6.0)
        assert one.second == pytest.approx(min(-6.0, math.log(left)))
    assert found.report()["bounded"] == 1.0


@pytest.mark.parametrize(
    ("behave", "line"),
    [
        (status(401, "no"), "the server refuses the key"),
        (status(404, "no such model"), "the server does not know the model"),
        (status(403, "logprobs are not available"), "gives no log-probabilities"),
        (status(400, "this model takes no image input"), "refuses the request"),
        (changed(logprobs=None), "gives no log-probabilities"),
    ],
)
def test_what_no_request_can_mend_is_one_line(
    few: Trials, server: Server, behave: Behaviour, line: str
) -> None:
    server.behave = behave
    with pytest.raises(InputError, match=line) as stopped:
        observer(chat(server)).decide(few.blind(seed=0).without_key())
    assert "\n" not in str(stopped.value)


def test_another_model_answers(few: Trials, server: Server) -> None:
    server.served = "something-else"
    with pytest.raises(InputError, match="another model answers"):
        observer(chat(server)).decide(few.blind(seed=0).without_key())
    server.served = "scripted-2026-01-01"
    observer(chat(server)).decide(few.blind(seed=0).without_key())


def test_no_server(trials: Trials) -> None:
    model = Chat("m", base_url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(InputError, match="no server answers"):
        observer(model).decide(trials.blind(seed=0).without_key())


def test_limits_are_waited_out_and_cut_streams_tried_again(
    few: Trials, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imi_bench.observers.incontext.chat.BACK_OFF", 0.01)
    seen: dict[str, int] = {}

    def behave(own: Server, body: dict[str, Any], handler: BaseHTTPRequestHandler) -> bool:
        key = str(pictures(body["messages"][-1])[2].sum()) + str(
            pictures(body["messages"][-1])[3].sum()
        )
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 1:
            error(handler, 429, "slow down", retry_after="0.01")
            return True
        if seen[key] == 2:
            handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"cut')
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return True
        return False

    server.behave = behave
    answers = observer(chat(server, retries=3)).decide(few.blind(seed=0).without_key())
    assert set(answers.status.tolist()) == {"ok"}


def test_sampled_answers_are_recorded_as_such(few: Trials, server: Server) -> None:
    server.style = "none"
    server.mind = brightness_mind(bias=0.0, slope=0.2)
    model = chat(server, samples=9)
    made = observer(model)
    found = made.both_orders(few.blind(seed=0).without_key())
    assert {one.evidence for one in found.first} == {"sampled"}
    assert made.describe()["model"]["evidence"] == "sampled"
    assert server.requests[0]["n"] == 9


# -- by name ---------------------------------------------------------------------------------


def test_by_name(server: Server, tmp_path: Path, few: Trials) -> None:
    from imi_bench.stimuli.trial_files import write_trials

    write_trials(bright_trials(6, seed=5), tmp_path / "pool")
    name = (
        f"vlm:openai/scripted?base_url={server.url}&shots=4&pool={tmp_path / 'pool'}"
        f"&ledger={tmp_path / 'ledger.db'}&side=8"
    )
    made = load_observer(name)
    assert isinstance(made, InContext)
    assert made.shots is not None
    done = replay(made, few, seed=0)
    assert done.decisions.credit.mean() == 1.0
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT count(*) FROM answers").fetchone()[0] == 2 * len(few)


@pytest.mark.parametrize(
    ("name", "error_type", "line"),
    [
        ("vlm:openai", UnknownNameError, "unknown vision-language back end"),
        ("vlm:other/model", UnknownNameError, "unknown vision-language back end"),
        ("vlm:openai/m?shots=2", InputError, "solved trials need a pool"),
        ("vlm:openai/m?smaples=2", UnknownNameError, "did you mean 'samples'"),
        ("vlm:openai/m?layout=strip", UnknownNameError, "value for 'layout'"),
        ("vlm:openai/m?top_logprobs=99", InputError, "option top_logprobs"),
    ],
)
def test_bad_names_are_one_line(name: str, error_type: type[Exception], line: str) -> None:
    with pytest.raises(error_type, match=line):
        load_observer(name)


def test_trials_of_the_suite_work_too(server: Server) -> None:
    made = observer(chat(server))
    small = make_trials(3)
    assert len(made.decide(small.blind(seed=0).without_key()).decision_variable) == 3


def test_likelihoods_that_are_no_probabilities_have_no_mass() -> None:
    assert scored({"A": 2.0, "B": -1.0}, where="here").first == 2.0
    assert np.isnan(scored({"A": 2.0, "B": -1.0}, where="here").mass)
    assert scored({"A": np.log(0.7), "B": np.log(0.2)}, where="here").mass == pytest.approx(0.9)
