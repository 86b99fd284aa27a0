"""Solved trials of a network or layer alone, and pictures that are nearly those of the prompt."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.bright_trials import bright_trials

from imi_bench.errors import InputError, LeakageError, NotEnoughDataError, UnknownNameError
from imi_bench.fewshot.budget import budget
from imi_bench.fewshot.curves import FewShot, Point
from imi_bench.fewshot.design import Design
from imi_bench.fewshot.means import over_draws, two_way_mean
from imi_bench.fewshot.study import fewshot
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.pools import groups, set_aside
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.observers.incontext.shots import Shots
from imi_bench.report.fewshot import write_fewshot_page
from imi_bench.stats.estimate import Estimate
from imi_bench.stimuli.trial_files import write_trials
from imi_bench.tables import Trials
from imi_bench.tables.images import Images


class Remembers:
    """Says A for the brighter image, and remembers which pictures it was shown solved."""

    identity: ClassVar = {"model": "remembers"}

    def __init__(self) -> None:
        self.seen: list[tuple[Prompt, list[bytes]]] = []

    def __call__(self, prompt: Prompt) -> Scored:
        shown = [one.images[2].tobytes() for one in prompt.shots]
        self.seen.append((prompt, shown))
        a, b = (float(image.mean()) for image in prompt.question.images[2:])
        return Scored((a - b) / 100 - 1, -1.0)


@pytest.fixture(scope="module")
def layered() -> Trials:
    made = bright_trials(24)
    layer = np.array([f"layer{unit % 3}" for unit in made.index.unit], dtype=object)
    names = np.array([f"net/{x}/{u}" for x, u in zip(layer, made.index.unit, strict=True)])
    return replace(made, index=replace(made.index, layer=layer, trial_id=names.astype(object)))


def observer(model: Any, **facts: Any) -> InContext:
    return InContext(model, identity=model.identity, side=8, **facts)


def test_each_layer_has_a_pool_of_its_own(layered: Trials) -> None:
    pool, tests, _ = set_aside(layered, units=3, shots_from="same-layer")
    found = groups(pool, tests, shots_from="same-layer")
    assert [g.label for g in found] == ["net, layer0", "net, layer1", "net, layer2"]
    assert sorted(np.concatenate([g.rows for g in found])) == list(range(len(tests)))
    for group in found:
        (layer,) = set(group.pool.index.layer)
        assert set(tests.index.layer[group.rows]) == {layer}
        assert len(set(group.pool.index.unit_id)) == 3
        assert not set(group.pool.index.unit_id) & set(tests.index.unit_id)
        few, more = (Shots(group.pool, k, draw=1, side=8) for k in (2, 3))
        assert more.rows[:2].tolist() == few.rows.tolist()
        assert sorted(few.answers) == ["A", "B"]


def test_a_study_shows_trials_of_the_same_layer_and_says_so(
    layered: Trials, tmp_path: Path
) -> None:
    model = Remembers()
    asked = {"shots": (0, 2), "draws": 2, "pool_units": 2, "repeats": 4, "shots_from": "same-layer"}
    ledger = Ledger(tmp_path / "dry.db")
    planned = budget(
        {"m": observer(model, ledger=ledger)},
        layered,
        design=Design((0, 2), 2, 2, (), 4, 0, "same-layer"),
    )
    found = fewshot(observer(model), layered, out=tmp_path / "out", **asked)  # type: ignore[arg-type]
    assert len(model.seen) == int(planned.table["calls"].sum())
    kept = layered.where(trial_id=found.answers["trial_id"].unique().tolist())
    layer_of = dict(zip(kept.index.trial_id, kept.index.layer, strict=True))
    rows = found.answers[found.answers["shots"] == 2]
    assert (rows["shots_from"] == [f"net, {layer_of[t]}" for t in rows["trial_id"]]).all()
    assert set(found.answers.loc[found.answers["shots"] == 0, "shots_from"]) == {""}
    assert found.pool_units == 6
    strong = {
        layer: {layered.images.decode(int(q)).tobytes() for q in part.queries.ravel()}
        for layer in ("layer0", "layer1", "layer2")
        for part in [layered.where(layer=layer)]
    }
    for prompt, shown in model.seen:
        question = prompt.question.images[2].tobytes()
        own = [layer for layer, known in strong.items() if question in known]
        if shown and own:  # not the grey question
            assert all(one in strong[own[0]] for one in shown)
    assert len(found.variants()) == 3 * 2  # raw, content-free, both orders
    with pytest.raises(InputError, match="holds another run"):
        fewshot(observer(model), layered, out=tmp_path / "out", **{**asked, "shots_from": "any"})  # type: ignore[arg-type]


def test_a_layer_with_too_few_units_is_named(layered: Trials) -> None:
    with pytest.raises(NotEnoughDataError, match="net, layer0"):
        set_aside(layered, units=8, shots_from="same-layer")
    elsewhere = layered.query("layer != 'layer2'")
    with pytest.raises(NotEnoughDataError, match=r"layer2.*0 units"):
        set_aside(layered, units=1, pool=elsewhere, shots_from="same-layer")
    with pytest.raises(InputError, match="same-layer"):
        Design(shots_from="layers")  # type: ignore[arg-type]


def pictures(count: int) -> list[Any]:
    """Unlike one another."""
    rng = np.random.default_rng(3)
    small = [Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)) for _ in range(count)]
    return [np.asarray(one.resize((48, 48), Image.Resampling.BICUBIC)) for one in small]


def planted(extra: Any) -> Trials:
    """Four units with pictures of their own, but one reference of the last."""
    made, own = bright_trials(4), pictures(80)
    images, place = Images.collect([*own[:79], extra])
    cells = place.reshape(4, 20)
    cells = np.hstack([cells[:, :9], cells[:, 10:19], cells[:, [9, 19]]])
    cells[3, 3], cells[3, 19] = cells[3, 19], cells[3, 3]
    return replace(
        made, images=images, positive=cells[:, :9], negative=cells[:, 9:18], queries=cells[:, 18:]
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_picture_nearly_that_of_the_pool_drops_a_test(mirrored: bool) -> None:
    near = np.clip(pictures(80)[5].astype(int) + 3, 0, 255).astype(np.uint8)
    trials = planted(near[:, ::-1] if mirrored else near)
    pool, tests = trials.take(np.arange(1)), trials.take(np.arange(1, 4))
    _, kept, dropped = set_aside(tests, units=1, pool=pool)
    assert dropped == (tests.index.trial_id[2],)
    assert len(kept) == 2
    assert not set_aside(tests, units=1, pool=pool, near="keep")[2]
    blind = tests.blind(seed=0).without_key()
    with pytest.raises(LeakageError, match="are, or nearly are,"):
        observer(Remembers(), shots=Shots(pool, 1, side=8)).decide(blind)
    allowed = observer(Remembers(), shots=Shots(pool, 1, side=8, near="keep"))
    assert len(allowed.decide(blind).decision_variable) == 3


def test_equal_pixels_in_another_file_are_the_same_picture(tmp_path: Path) -> None:
    """Content is hashed by the bytes of a file; a picture saved anew has others."""
    stream = io.BytesIO()
    Image.fromarray(pictures(80)[5]).save(stream, "BMP")
    (tmp_path / "again.bmp").write_bytes(stream.getvalue())
    trials = planted(tmp_path / "again.bmp")
    pool, tests = trials.take(np.arange(1)), trials.take(np.arange(1, 4))
    for near in ("drop", "keep"):
        assert len(set_aside(tests, units=1, pool=pool, near=near)[2]) == 1  # type: ignore[arg-type]
    made = observer(Remembers(), shots=Shots(pool, 1, side=8, near="keep"))
    blind = tests.blind(seed=0).without_key()
    with pytest.raises(LeakageError, match="solved trials are"):
        made.decide(blind)


def test_made_up_scenes_that_are_all_alike_are_told_the_way_out() -> None:
    alike = [np.full((8, 8, 3), level, np.uint8) for level in range(80)]
    images, place = Images.collect(alike)
    cells = place.reshape(4, 20)
    flat = replace(
        bright_trials(4),
        images=images,
        positive=cells[:, :9],
        negative=cells[:, 9:18],
        queries=cells[:, 18:],
    )
    with pytest.raises(NotEnoughDataError, match="near='keep'"):
        set_aside(flat, units=1)
    assert len(set_aside(flat, units=1, near="keep")[1]) == 3


def test_means_without_spread_claim_no_certainty() -> None:
    """All right: the exact binomial, a unit counting once, 0.05 ** (1 / 20) at level 0.9."""
    units = np.repeat(np.arange(20), 3)
    draws = np.tile(np.arange(3), 20)
    right = two_way_mean(np.ones(60), units, draws, level=0.9)
    assert right.low == pytest.approx(0.05 ** (1 / 20))
    assert right.high == 1.0
    wrong = two_way_mean(np.zeros(60), units, draws, level=0.9)
    assert wrong.high == pytest.approx(1 - 0.05 ** (1 / 20))
    undecided = two_way_mean(np.full(60, 0.5), units, draws)
    assert undecided.value == 0.5
    assert math.isnan(undecided.low)
    assert undecided.reason


def test_correlations_over_draws_stay_correlations() -> None:
    """By hand on Fisher's z: two draws with ends at z -+ 0.3."""
    drawn = [
        Estimate(math.tanh(z), math.tanh(z - 0.3), math.tanh(z + 0.3), 0.95) for z in (1.0, 2.0)
    ]
    made = over_draws(drawn, correlation=True)
    assert made.value == pytest.approx(math.tanh(1.5))
    assert -1 < made.low < made.value < made.high < 1
    one = over_draws(drawn[:1], correlation=True)
    assert one.low == pytest.approx(drawn[0].low)
    assert math.isnan(over_draws([Estimate(1.0, 1.0, 1.0, 0.95)], correlation=True).low)


def test_a_name_may_take_a_part_of_its_pool(layered: Trials, tmp_path: Path) -> None:
    write_trials(layered, tmp_path / "pool")
    name = f"vlm:openai/m?shots=2&side=8&pool={tmp_path / 'pool'}&ledger={tmp_path / 'l.db'}"
    made = load_observer(f"{name}&pool_layer=layer1&near=keep")
    assert isinstance(made, InContext)
    assert made.shots is not None
    assert set(made.shots.pool.index.layer) == {"layer1"}
    assert made.shots.near == "keep"
    with pytest.raises(UnknownNameError, match="layer0"):
        load_observer(f"{name}&pool_layer=layer9")


@pytest.mark.whole
def test_the_page_has_the_mixed_model_and_likeness_to_people(tmp_path: Path) -> None:
    """Curves of bits and agreement where people answered, with intervals of draws in the table."""
    keys = {"coverage": 1.0, "says_a": 0.5, "orders_agree": 1.0, "mass": 1.0}
    rng = np.random.default_rng(0)
    rows = [
        {
            "observer": name,
            "shots": k,
            "ablation": "none",
            "draw": draw,
            "shots_from": "",
            "trial_id": f"t{unit}",
            "unit_id": f"u{unit}",
            "mode": "natural",
            "difficulty": "easy",
            "credit": float(rng.random() < 0.5 + 0.1 * math.log2(k)),
            "status": "ok",
            "value": 1.0,
            "difference_a": 1.0,
            "difference_b": -1.0,
        }
        for name in ("small", "large")
        for k in (1, 4)
        for draw in range(2)
        for unit in range(30)
    ]
    points = tuple(
        Point(
            name,
            k,
            "none",
            Estimate(0.6, 0.5, 0.7),
            strong_as_a=0.5,
            strong_as_b=0.5,
            bits=Estimate(0.1, -0.1, 0.3),
            agreement=Estimate(0.3, 0.1, 0.5),
            **keys,
        )
        for name in ("small", "large")
        for k in (1, 4)
    )
    found = FewShot(points, pd.DataFrame(rows), 30, 30, 4, parameters={"small": 1e6, "large": 1e8})
    for of, label in (("bits", "bits an answer"), ("agreement", "correlation with people")):
        assert label in found.plot(of=of).get_ylabel()
    design = Design((1, 4), 2, 4)
    text = write_fewshot_page(
        found, tmp_path, family={}, trials=bright_trials(2), design=design
    ).read_text()
    assert "tenfold parameters, on the factor of each doubling" in text
    assert "correct ~ doublings * tenfold" in text
    assert "0.100 [-0.100, 0.300]" in text
    assert "Agreement with people and the number of solved trials" in text
    bare = replace(found, points=tuple(replace(p, bits=None) for p in points))
    with pytest.raises(InputError, match="no answers of people"):
        bare.plot(of="bits")
