"""Replay: each image once, in blind chunks, with failures named and nothing hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made_observers import BatchSensitive, MeanColour, WholeTrials
from support.made_trials import N_IMAGES, make_trials, make_unit

from imi_bench.errors import ImageError, InputError
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.protocol import Answers, fingerprint
from imi_bench.observers.reference import Chance, OneSide
from imi_bench.replay import plan as plan_module
from imi_bench.replay.output import read_run
from imi_bench.replay.plan import make_plan
from imi_bench.replay.runner import replay
from imi_bench.replay.summary import accuracy_table
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import BlindTrials, DecisionVariables
from imi_bench.tables.pixels import RULES


def toward_correct(decisions: DecisionVariables) -> dict[str, float]:
    return dict(zip(decisions.trial_id, decisions.toward_correct, strict=True))


# -- what is computed ---------------------------------------------------------------------------


def test_decisions_by_hand(tmp_path: Path) -> None:
    """Brightness equals the image's number: evidence is a mean of absolute differences."""
    trials = make_trials(6)
    decisions = replay(MeanColour(), trials, cache=tmp_path).decisions
    level = np.array([source[0, 0, 0] for source in trials.images.sources], float)
    for row, trial in enumerate(trials.index.trial_id):
        q = level[trials.queries[row]][:, None] * np.sqrt(3)
        near = -np.abs(q - level[trials.positive[row]] * np.sqrt(3)).mean(axis=1)
        far = -np.abs(q - level[trials.negative[row]] * np.sqrt(3)).mean(axis=1)
        evidence = near - far
        assert toward_correct(decisions)[trial] == pytest.approx(evidence[0] - evidence[1])
    assert decisions.trial_id.tolist() == trials.index.trial_id.tolist()


def test_each_image_is_encoded_once(tmp_path: Path) -> None:
    trials = make_trials(200)
    observer = MeanColour()
    first = replay(observer, trials, cache=tmp_path, batch_size=7)
    assert observer.seen == [7] * 5 + [5]
    assert first.record["images"] == {"distinct": 40, "embedded": 40, "failed": 0, "cache_hits": 0}
    again = replay(observer, trials, cache=tmp_path, batch_size=7)
    assert sum(observer.seen) == N_IMAGES
    assert again.record["images"] == {"distinct": 40, "embedded": 0, "failed": 0, "cache_hits": 40}
    assert np.array_equal(first.decisions.decision_variable, again.decisions.decision_variable)


def test_only_images_in_use_are_encoded(tmp_path: Path) -> None:
    observer = MeanColour()
    done = replay(observer, make_trials(50).take(np.array([3])), cache=tmp_path)
    assert sum(observer.seen) == done.record["images"]["distinct"] == 8
    assert replay(observer, make_trials(50), cache=tmp_path).record["images"]["cache_hits"] == 8


def test_another_description_is_another_cache(tmp_path: Path) -> None:
    trials = make_trials(5)
    replay(MeanColour(version=1), trials, cache=tmp_path)
    changed = MeanColour(version=2)
    assert replay(changed, trials, cache=tmp_path).record["images"]["cache_hits"] == 0
    assert sum(changed.seen) > 0


@pytest.mark.whole
@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(order=st.permutations(range(12)), batch=st.integers(1, 50), chunk=st.integers(1, 20))
def test_order_batches_and_chunks_change_nothing(
    order: list[int], batch: int, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trials = make_trials(12)
    usual = replay(MeanColour(), trials, cache=tmp_path_factory.mktemp("a")).decisions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "_CHUNK_TRIALS", chunk)
        other = replay(
            MeanColour(),
            trials.take(np.array(order)),
            cache=tmp_path_factory.mktemp("b"),
            batch_size=batch,
        ).decisions
    for trial, value in toward_correct(other).items():
        assert value == pytest.approx(toward_correct(usual)[trial], rel=1e-12, abs=1e-12)


def test_the_seed_moves_the_sides_and_not_the_evidence(tmp_path: Path) -> None:
    trials = make_trials(30)
    one, two = (
        replay(MeanColour(), trials, cache=tmp_path, seed=seed).decisions for seed in (0, 1)
    )
    assert toward_correct(one) == toward_correct(two)
    assert one.shown_first.tolist() != two.shown_first.tolist()


def test_observers_of_whole_trials_answer_each_trial_once(tmp_path: Path) -> None:
    trials = make_trials(9)
    observer = WholeTrials()
    first = replay(observer, trials, cache=tmp_path)
    again = replay(observer, trials.take(np.arange(9)[::-1]), cache=tmp_path)
    assert observer.asked == 9
    assert again.record["answers"]["from_disk"] == 9
    assert toward_correct(first.decisions) == toward_correct(again.decisions)
    replay(observer, trials, cache=tmp_path, seed=1)
    assert observer.asked > 9


def test_one_side_is_right_half_the_time(tmp_path: Path) -> None:
    decisions = replay(OneSide(), make_trials(12), cache=tmp_path).decisions
    assert set(decisions.decision_variable) == {1.0}
    assert np.array_equal(decisions.credit == 1, decisions.shown_first == "positive")


# -- the plan -----------------------------------------------------------------------------------


def test_batches_do_not_depend_on_what_is_there_already() -> None:
    plan = make_plan(MeanColour(), make_trials(40), seed=0, batch_size=8)
    everything = [rows.tolist() for rows in plan.batches(np.ones(40, bool))]
    assert everything == [list(range(start, start + 8)) for start in range(0, 40, 8)]
    todo = np.ones(40, bool)
    todo[[0, 1, 2, 3, 4, 5, 6, 7, 9, 30]] = False
    assert [rows.tolist() for rows in plan.batches(todo)] == [
        [row for row in batch if todo[row]] for batch in everything[1:]
    ]


def test_chunks_show_the_same_images_and_nothing_else() -> None:
    plan = make_plan(MeanColour(), make_trials(10), seed=0)
    rows = np.array([4, 7])
    used, shown = plan.shown(rows)
    assert shown.key is None
    assert shown.images.sources == ()
    assert len(shown.images) == len(used) <= 16
    assert shown.images.hashes[shown.queries].tolist() == (
        plan.images.hashes[plan.trials.queries[rows]].tolist()
    )


def test_chunks_fit_the_budget() -> None:
    plan = make_plan(MeanColour(), make_trials(100), seed=0)
    for code_bytes, most in ((1, 100), (4_000_000, 8), (10**12, 1)):
        sizes = [len(rows) for rows in plan.chunks(code_bytes=code_bytes)]
        assert sum(sizes) == 100
        assert max(sizes) == most


@pytest.mark.parametrize(
    ("facts", "wanted", "size"),
    [
        ({}, "auto", 32),
        ({"device": "cuda:0"}, "auto", 256),
        ({"batch_size": 5}, "auto", 5),
        ({"batch_size": 5}, 9, 9),
        ({}, "12", 12),
    ],
)
def test_batch_size(facts: dict[str, object], wanted: int | str, size: int) -> None:
    observer = MeanColour()
    for name, value in facts.items():
        setattr(observer, name, value)
    assert make_plan(observer, make_trials(2), seed=0, batch_size=wanted).batch_size == size
    assert make_plan(WholeTrials(), make_trials(2), seed=0).batch_size == 1


@pytest.mark.parametrize("wanted", [0, -1, "many", "1.5", True])
def test_bad_batch_size(wanted: object) -> None:
    with pytest.raises(InputError, match="bad batch size"):
        make_plan(MeanColour(), make_trials(2), seed=0, batch_size=wanted)


class FarAway:
    """An encoder that says where and how precisely it computes."""

    device, dtype = "cuda:0", "bf16"

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        return MeanColour().encode(images)


@pytest.mark.vision
def test_device_and_dtype_of_an_encoder_reach_plan_and_record(tmp_path: Path) -> None:
    observer = Embedding(FarAway(), name="far", description={}, similarity="l2")
    record = replay(observer, make_trials(3), cache=tmp_path).record
    assert record["batch_size"] == 256
    assert (record["observer"]["device"], record["observer"]["dtype"]) == ("cuda:0", "bf16")


# -- failures -----------------------------------------------------------------------------------


class Picky(MeanColour):
    """Raises on trials whose first query is darker than a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__(limit=limit)
        self.limit = limit

    def decide(self, trials: BlindTrials, codes: np.ndarray) -> np.ndarray:
        dark = codes[trials.queries[:, 0]].mean(axis=1) < self.limit
        if dark.any():
            raise ZeroDivisionError(f"{dark.sum()} dark queries")
        return super().decide(trials, codes)


def test_a_failing_trial_is_named_and_counted(tmp_path: Path) -> None:
    trials = make_trials(60)
    usual = replay(MeanColour(), trials, cache=tmp_path)
    done = replay(Picky(10), trials, cache=tmp_path, out=tmp_path / "out")
    failed = done.decisions.status == "error"
    assert 0 < failed.sum() < 60
    assert np.isnan(done.decisions.decision_variable[failed]).all()
    answers = json.loads((tmp_path / "out" / "run.json").read_text())["answers"]
    assert answers["by_status"]["error"] == failed.sum()
    assert [one["trial_id"] for one in answers["failures"]] == (
        done.decisions.trial_id[failed].tolist()
    )
    assert answers["failures"][0]["message"] == "ZeroDivisionError: 1 dark queries"
    assert done.decisions.decision_variable[~failed] == pytest.approx(
        usual.decisions.decision_variable[~failed]
    )


@pytest.mark.parametrize("count", [1, 5, 400])
def test_a_fault_of_the_program_is_not_hidden(count: int, tmp_path: Path) -> None:
    observer = Picky(1e9)
    with pytest.raises(ZeroDivisionError) as caught:
        replay(observer, make_trials(count), cache=tmp_path, out=tmp_path / "out")
    assert f"failed on each of the {min(count, 20)} trial" in caught.value.__notes__[0]
    assert not (tmp_path / "out").exists()


def answering(answer: Callable[[int], object]) -> MeanColour:
    observer = MeanColour()
    observer.decide = lambda trials, codes: answer(len(trials))  # type: ignore[method-assign]
    return observer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.zeros(n + 1), r"not one number a trial: decide of observer 'mean-colour'"),
        (lambda n: np.zeros((n, 1)), "not one number a trial"),
        (lambda n: np.array(["yes"] * n), "not one number a trial"),
        (lambda n: np.full(n, np.inf), "infinite decision variable"),
        (lambda n: np.full(n, np.nan), "answered no trial.*`decide` gave NaN"),
        (lambda n: Answers(np.ones(n), np.array(["sure"] * n, dtype=object)), "bad status"),
        (lambda n: Answers(np.ones(n), np.array(["refused"] * n, dtype=object)), "disagree"),
    ],
    ids=["count", "shape", "text", "infinite", "nan", "status", "disagree"],
)
def test_answers_that_break_the_contract(
    answer: Callable[[int], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        replay(answering(answer), make_trials(4), cache=tmp_path)


def test_refusals_and_ties_are_counted(tmp_path: Path) -> None:
    def answer(count: int) -> Answers:
        status = np.array(["ok", "tie", "refused", "unparsed"] * (count // 4), dtype=object)
        value = np.select([status == "ok", status == "tie"], [0.5, 0.0], np.nan)
        return Answers(value, status)

    done = replay(answering(answer), make_trials(8), cache=tmp_path)
    counted = done.record["answers"]["by_status"]
    assert {status: n for status, n in counted.items() if n} == {
        "ok": 2,
        "tie": 2,
        "refused": 2,
        "unparsed": 2,
    }


@pytest.mark.parametrize(
    "codes", [lambda n: np.zeros((n + 1, 2)), lambda n: np.float64(3.0)], ids=["count", "scalar"]
)
def test_codes_that_break_the_contract(codes: Callable[[int], object], tmp_path: Path) -> None:
    observer = MeanColour()
    observer.encode = lambda images: codes(len(images))  # type: ignore[method-assign]
    with pytest.raises(InputError, match="not one code an image: encode of observer"):
        replay(observer, make_trials(4), cache=tmp_path)


def test_an_error_in_encode_keeps_what_was_encoded(tmp_path: Path) -> None:
    observer = MeanColour()
    whole = observer.encode

    def encode(images: list[np.ndarray]) -> np.ndarray:
        if len(observer.seen) == 3:
            raise RuntimeError("out of memory")
        return whole(images)

    observer.encode = encode  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory"):
        replay(observer, make_trials(50), cache=tmp_path, batch_size=5)
    done = replay(MeanColour(), make_trials(50), cache=tmp_path, batch_size=5)
    assert done.record["images"]["cache_hits"] == 15


def test_an_image_that_cannot_be_encoded_leaves_the_others(tmp_path: Path) -> None:
    trials = make_trials(30)
    bad = {trials.images.decode(int(trials.queries[k, 0])).tobytes() for k in (3, 17)}
    observer = MeanColour()
    whole = observer.encode

    def encode(images: list[np.ndarray]) -> np.ndarray:
        if any(image.tobytes() in bad for image in images):
            raise ValueError("no such colour")
        return whole(images)

    observer.encode = encode  # type: ignore[method-assign]
    done = replay(observer, trials, cache=tmp_path, out=tmp_path / "out", batch_size=8)
    shows = [
        any(
            trials.images.decode(int(row)).tobytes() in bad
            for part in (trials.positive, trials.negative, trials.queries)
            for row in part[k]
        )
        for k in range(len(trials))
    ]
    assert 2 <= sum(shows) < len(trials)
    assert ((done.decisions.status == "error") == shows).all()
    assert done.record["images"]["failed"] == 2
    messages = {one["message"] for one in done.record["answers"]["failures"]}
    assert messages == {"encode: ValueError: no such colour"}
    plain = replay(MeanColour(), trials, cache=tmp_path / "other")
    kept = done.decisions.answered
    same = done.decisions.decision_variable[kept] == plain.decisions.decision_variable[kept]
    assert same.all()


def test_an_image_that_changes_under_way_is_an_error(tmp_path: Path) -> None:
    unit = make_unit(tmp_path / "in" / "layer", 1) / "natural_images"
    trials = read_trials(tmp_path / "in")
    (unit / "max_3.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"changed while it was used: .*max_3\.png"):
        replay(MeanColour(), trials, cache=tmp_path / "cache")


def test_a_damaged_cache_is_reported_and_made_good(tmp_path: Path) -> None:
    trials = make_trials(30)
    first = replay(MeanColour(), trials, cache=tmp_path / "cache")
    (shard,) = (tmp_path / "cache" / f"codes-{RULES}" / fingerprint(MeanColour())).glob("*.npy")
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    again = replay(MeanColour(), trials, cache=tmp_path / "cache", out=tmp_path / "out")
    assert shard.name in again.record["cache"]["damaged"][0]
    assert again.record["images"]["embedded"] == 40
    assert np.array_equal(first.decisions.decision_variable, again.decisions.decision_variable)


# -- the folder ---------------------------------------------------------------------------------


def test_the_folder_says_everything(tmp_path: Path) -> None:
    trials = make_trials(20)
    done = replay(
        MeanColour(),
        trials,
        seed=3,
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        about={"source": {"path": "here"}},
    )
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record == json.loads(json.dumps(done.record))
    assert record["observer"]["fingerprint"] == fingerprint(MeanColour())
    assert record["observer"]["description"] == {"kind": "mean colour"}
    assert record["observer"]["code"] == {"shape": [3], "dtype": "float64"}
    assert record["observer"]["device"] == "cpu"
    assert record["trials"]["hash"] == trials.hash
    assert record["trials"]["count"] == 20
    assert record["seed"] == 3
    assert record["batch_size"] == 32
    assert record["versions"]["numpy"] == np.__version__
    assert set(record["seconds"]) >= {"plan", "encode", "decide"}
    assert record["source"] == {"path": "here"}
    assert record["simulated"] is False
    assert "git" in record
    frame = pd.read_parquet(tmp_path / "out" / "decisions.parquet")
    assert frame.columns.tolist() == [
        "trial_id",
        "observer",
        "decision_variable",
        "status",
        "shown_first",
        "seconds",
    ]


def test_a_report_can_be_made_from_the_folder_alone(tmp_path: Path) -> None:
    trials = make_trials(20)
    done = replay(MeanColour(), trials, out=tmp_path / "out", cache=tmp_path / "cache")
    run = read_run(tmp_path / "out")
    assert run.trials.hash == trials.hash
    assert run.record == json.loads(json.dumps(done.record))
    pd.testing.assert_frame_equal(run.decisions.to_frame(), done.decisions.to_frame())


def test_files_are_not_copied(tmp_path: Path) -> None:
    make_unit(tmp_path / "in" / "net" / "layer", 1)
    trials = read_trials(tmp_path / "in")
    replay(MeanColour(), trials, out=tmp_path / "out", cache=tmp_path / "cache")
    assert not (tmp_path / "out" / "images").exists()
    run = read_run(tmp_path / "out")
    assert run.trials.hash == trials.hash
    assert {path.name for path in run.trials.images.sources} == {
        path.name for path in trials.images.sources
    }
    (tmp_path / "in" / "net" / "layer" / "channel_1" / "natural_images" / "max_9.png").unlink()
    with pytest.raises(ImageError, match=r"cannot be read.*max_9\.png"):
        read_run(tmp_path / "out")


def test_the_same_run_is_reused(tmp_path: Path) -> None:
    trials, observer = make_trials(10), MeanColour()
    first = replay(observer, trials, out=tmp_path / "out", cache=tmp_path / "a")
    again = replay(observer, trials, out=tmp_path / "out", cache=tmp_path / "b")
    assert again.reused
    assert not first.reused
    assert not (tmp_path / "b").exists()
    assert np.array_equal(first.decisions.seconds, again.decisions.seconds)


@pytest.mark.parametrize("other", ["observer", "trials", "seed"])
def test_another_run_is_not_overwritten(other: str, tmp_path: Path) -> None:
    facts = {"observer": MeanColour(), "trials": make_trials(10), "seed": 0}
    cache, out = tmp_path / "cache", tmp_path / "out"
    replay(facts["observer"], facts["trials"], seed=0, out=out, cache=cache)
    facts[other] = {"observer": Chance(), "trials": make_trials(9), "seed": 1}[other]
    with pytest.raises(InputError, match=rf"holds another run: .*different {other};.*force=True"):
        replay(facts["observer"], facts["trials"], seed=facts["seed"], out=out, cache=cache)
    done = replay(
        facts["observer"], facts["trials"], seed=facts["seed"], out=out, cache=cache, force=True
    )
    assert not done.reused
    pd.testing.assert_frame_equal(read_run(out).decisions.to_frame(), done.decisions.to_frame())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"observer": 3}'])
def test_a_strange_record_is_not_overwritten(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"record cannot be read|another run"):
        replay(MeanColour(), make_trials(3), out=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(InputError):
        read_run(tmp_path)
    replay(MeanColour(), make_trials(3), out=tmp_path, cache=tmp_path / "cache", force=True)
    assert len(read_run(tmp_path).trials) == 3


def test_changed_results_are_noticed(tmp_path: Path) -> None:
    trials, out, cache = make_trials(10), tmp_path / "out", tmp_path / "cache"
    replay(MeanColour(), trials, out=out, cache=cache)
    path = out / "decisions.parquet"
    frame = pd.read_parquet(path)
    frame.assign(decision_variable=-frame["decision_variable"]).to_parquet(path)
    for use in (lambda: read_run(out), lambda: replay(MeanColour(), trials, out=out, cache=cache)):
        with pytest.raises(InputError, match=r"decisions changed since the run: .*\.parquet"):
            use()


def test_an_unfinished_folder_is_finished(tmp_path: Path) -> None:
    trials, out, cache = make_trials(10), tmp_path / "out", tmp_path / "cache"
    done = replay(MeanColour(), trials, out=out, cache=cache)
    (out / "run.json").unlink()
    with pytest.raises(InputError, match="no finished run"):
        read_run(out)
    (out / "run.unfinished").touch()
    again = replay(MeanColour(), trials, out=out, cache=cache)
    assert not again.reused
    assert np.array_equal(done.decisions.decision_variable, again.decisions.decision_variable)


def test_files_are_the_same_but_for_the_seconds(tmp_path: Path) -> None:
    for name in ("a", "b"):
        replay(BatchSensitive(), make_trials(30), out=tmp_path / name, cache=tmp_path / f"{name}c")
    one, two = (
        pd.read_parquet(tmp_path / name / "decisions.parquet").drop(columns="seconds")
        for name in ("a", "b")
    )
    pd.testing.assert_frame_equal(one, two)
    assert (tmp_path / "a" / "trials.parquet").read_bytes() == (
        tmp_path / "b" / "trials.parquet"
    ).read_bytes()


# -- the summary --------------------------------------------------------------------------------


def test_accuracy_leaves_catch_trials_out(tmp_path: Path) -> None:
    trials = make_trials(8)
    catch = np.arange(8) == 0
    index = type(trials.index)(**{**trials.index.to_frame().to_dict("list"), "catch": catch})
    decisions = replay(OneSide(), trials, cache=tmp_path).decisions
    table = accuracy_table(decisions, index)
    assert table["all"]["main"].n == 7
    assert table["catch"]["catch"].n == 1
    assert table["mode"]["natural"].n + table["mode"]["synthetic"].n == 7
    assert table["all"]["main"].value == pytest.approx(decisions.credit[1:].mean())
    assert "catch" not in accuracy_table(decisions, trials.index)


def test_the_evidence_behind_decisions_is_kept(tmp_path: Path) -> None:
    trials = make_trials(30)
    done = replay(MeanColour(), trials, cache=tmp_path / "cache", out=tmp_path / "plain")
    assert done.evidence is None
    assert "no images one by one" in done.record["evidence"]
    observer = load_observer("pixel-cosine")
    out = tmp_path / "out"
    done = replay(observer, trials, seed=3, cache=tmp_path / "cache", out=out)
    kept = read_run(out).evidence
    assert kept is not None
    shift = kept.pooled[..., 0] - kept.pooled[..., 1]
    np.testing.assert_allclose(
        shift[:, 0] - shift[:, 1], done.decisions.toward_correct, rtol=1e-4, atol=1e-6
    )
    references = trials.positive.shape[1]
    np.testing.assert_allclose(
        kept.each[..., :references].mean(axis=-1), kept.pooled[..., 0], rtol=1e-5
    )
    nearest = kept.images[kept.neighbours[0, 0, 0]]
    assert nearest in set(trials.images.hashes)
    assert nearest != trials.images.hashes[trials.queries[0, 0]]
    again = replay(observer, trials, seed=3, cache=tmp_path / "cache", out=out)
    assert again.reused
    assert again.evidence is not None
    np.testing.assert_array_equal(again.evidence.each, kept.each)
