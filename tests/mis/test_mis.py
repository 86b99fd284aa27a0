"""Machine interpretability score: hand-derived values, properties, a slow independent reference."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.mis import margins
from imi_bench.mis.run import MisRun
from imi_bench.mis.scores import (
    MachineInterpretability,
    image_order,
    machine_interpretability_score,
    score_pools,
    score_tasks,
)
from imi_bench.networks.tasks import Pools, Tasks, draw_tasks, find_pools, pool_size

pytestmark = pytest.mark.vision


def slow_margin(codes, positive, negative):
    """D(q+) - D(q-) of one task straight from its definition, in Python floats."""

    def cosine(a, b):
        return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))

    def evidence(query):
        toward = [cosine(codes[query], codes[e]) for e in positive[:-1]]
        away = [cosine(codes[query], codes[e]) for e in negative[:-1]]
        return sum(toward) / len(toward) - sum(away) / len(away)

    return evidence(positive[-1]) - evidence(negative[-1])


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def arrays(rng):
    return rng.standard_normal((300, 12)), rng.standard_normal((300, 23))


def scored(embeddings, activations, **changes):
    settings = {"n_tasks": 6, "n_references": 4, "quantile": 0.05, "slope": 3.0, "seed": 5}
    return machine_interpretability_score(embeddings, activations, **(settings | changes))


def test_hand_derived():
    codes = np.array([[1.0, 0], [5, 0], [0, 1], [0, 2], [1, 1]])
    # references e+ = x axis, e- = y axis; q+ = x axis (D = 1), q- = diagonal (D = 0)
    tasks = Tasks(np.array([[[0, 1], [0, 1]]]), np.array([[[2, 4], [2, 3]]]))
    result = score_tasks(codes, tasks, slope=2.0)
    assert_allclose(result.margin, [[1.0, 2.0]])
    chances = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-4))]
    assert_allclose(result.score, [sum(chances) / 2])
    assert_allclose(result.standard_error, [abs(chances[0] - chances[1]) / 2])
    assert_array_equal(result.hard_score, [1.0])


def test_equals_the_formula_for_given_draws(rng):
    codes = rng.standard_normal((60, 7))
    images = np.stack([rng.permutation(60)[:10] for _ in range(5 * 3)]).reshape(5, 3, 10)
    tasks = Tasks(images[..., :5], images[..., 5:])
    expected = [
        [slow_margin(codes, p, n) for p, n in zip(*unit, strict=True)]
        for unit in zip(tasks.positive, tasks.negative, strict=True)
    ]
    assert_allclose(score_tasks(codes, tasks, slope=1).margin, expected, atol=1e-12)
    single = score_tasks(codes.astype(np.float32), tasks, slope=5.0)
    exact = 1 / (1 + np.exp(-5.0 * np.array(expected)))
    assert_allclose(single.score, exact.mean(axis=1), atol=1e-6)


def test_pools_are_the_sorted_ends(rng):
    activations = rng.standard_normal((200, 9)).astype(np.float32)
    pools = find_pools(activations, size=12, order=rng.permutation(200))
    ranking = np.argsort(activations, axis=0).T
    assert_array_equal(pools.bottom, ranking[:, :12])
    assert_array_equal(pools.top, ranking[:, ::-1][:, :12])
    assert (pools.reason == "").all()


@given(st.lists(st.integers(-2, 2), min_size=12, max_size=40), st.integers(0, 2**32))
def test_ties_follow_the_order_at_both_ends(values, seed):
    order = np.random.default_rng(seed).permutation(len(values))
    column = np.array(values, dtype=np.float32)[:, None] * np.float32(-0.0 if seed % 2 else 0.5)
    pools = find_pools(column, size=6, order=order)
    assert_array_equal(pools.bottom[0], np.lexsort((order, column[:, 0]))[:6])
    assert_array_equal(pools.top[0], np.lexsort((order, -column[:, 0]))[:6])
    if not pools.reason[0]:
        assert not set(pools.top[0]) & set(pools.bottom[0])


def test_draws_are_without_replacement_uniform_and_leave_the_least_extreme_as_query():
    pools = Pools(np.arange(8)[None], 100 + np.arange(8)[None], np.array([""], dtype=object))
    tasks = draw_tasks(pools, n_tasks=20_000, n_references=2, seed=3, units=["u"])
    for drawn, first in ((tasks.positive[0], 0), (tasks.negative[0], 100)):
        assert (np.diff(drawn, axis=1) > 0).all()
        assert_allclose(np.bincount((drawn - first).ravel()) / 20_000, 3 / 8, atol=0.015)
        pairs = {tuple(row) for row in drawn.tolist()}
        assert len(pairs) == math.comb(8, 3)


def test_seed_is_used_and_units_keep_their_tasks(arrays):
    codes, activations = arrays
    result = scored(codes, activations)
    assert_array_equal(result.margin, scored(codes, activations, seed=np.int64(5)).margin)
    assert_array_equal(result.margin, scored(codes, activations).margin)
    assert (result.margin != scored(codes, activations, seed=6).margin).any(axis=1).all()
    alone = scored(codes, activations[:, :4])
    assert_array_equal(result.margin[:4], alone.margin)


@pytest.mark.parametrize("threads", [1, 3])
def test_streamed_pools_in_shards_give_the_same(arrays, threads):
    codes, activations = arrays
    whole = scored(codes, activations, threads=threads)
    size = pool_size(300, quantile=0.05, n_references=4)
    pools = find_pools(activations, size=size, order=image_order(300))
    parts = []
    for part in (slice(0, 13), slice(13, 23)):
        units = range(part.start, part.stop)
        common = {"n_tasks": 6, "n_references": 4, "slope": 3.0, "seed": 5}
        parts.append(
            score_pools(codes, pools.part(part), units=units, threads=threads, **common).margin
        )
    assert_array_equal(whole.margin, np.concatenate(parts))


def test_random_units_score_at_chance_and_seen_ones_above(rng):
    codes = rng.standard_normal((2_000, 16))
    blind = rng.standard_normal((2_000, 100))
    seen = codes @ rng.standard_normal((16, 100))
    chance = scored(codes, blind, n_tasks=20).score
    assert abs(chance.mean() - 0.5) < 4 * chance.std() / 10
    assert scored(codes, seen, n_tasks=20).score.min() > 0.6


def test_opposite_activation_is_scored_alike_and_scale_does_not_matter(arrays):
    codes, activations = arrays
    base = scored(codes, activations.astype(np.float32)).margin
    rescaled = scored(codes * 7, activations.astype(np.float32) * 4 + 0).margin
    assert_allclose(rescaled, base, atol=1e-12)


def test_constant_units_are_not_scored(arrays):
    codes, activations = arrays
    activations[:, 2] = 7.0
    result = scored(codes, activations)
    assert np.isnan([result.score[2], result.standard_error[2], result.hard_score[2]]).all()
    assert result.reason[2].startswith("constant")
    assert np.isfinite(np.delete(result.score, 2)).all()
    frame = result.to_frame()
    assert frame["n_tasks"].tolist() == [0 if i == 2 else 6 for i in range(23)]


def test_units_with_one_activation_at_both_ends_are_not_scored(arrays):
    codes, activations = arrays
    activations[:, 1] = np.maximum(activations[:, 1] - np.sort(activations[:, 1])[-5], 0)
    result = scored(codes, activations)
    assert result.reason[1].startswith("tied")
    assert np.isnan(result.score[1])


def test_ties_count_one_half(arrays):
    _, activations = arrays
    result = scored(np.ones((300, 4)), activations)
    assert_array_equal(result.margin, 0)
    assert_array_equal(result.hard_score, 0.5)
    assert_array_equal(result.score, 0.5)


def test_one_task_has_no_standard_error(arrays):
    result = scored(*arrays, n_tasks=1)
    assert np.isnan(result.standard_error).all()
    assert np.isfinite(result.score).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_torch_tensors(arrays, dtype, shared_by):
    torch = pytest.importorskip("torch")
    codes, activations = (torch.from_numpy(array).to(getattr(torch, dtype)) for array in arrays)
    plain = scored(codes.float().numpy(), activations.float().numpy())
    assert_array_equal(scored(codes, activations).margin, plain.margin)


def test_rows_of_any_layout(arrays):
    codes, activations = arrays
    wide = np.repeat(codes, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    assert_array_equal(scored(wide, activations).margin, scored(codes, activations).margin)


@pytest.fixture(params=["columns", "rows"])
def shared_by(request, monkeypatch):
    if request.param == "rows":
        monkeypatch.setattr(margins, "_MANY_IMAGES", 100)


@pytest.mark.parametrize("dims", [1, 31, 300])
def test_parts_of_the_work_add_up(rng, dims, shared_by):
    """More columns than a block, more tasks and units than a lot."""
    codes, activations = rng.standard_normal((300, dims)), rng.standard_normal((300, 230))
    result = scored(codes, activations, n_tasks=25)
    alone = scored(codes, activations[:, :3], n_tasks=25)
    assert_array_equal(result.margin[:3], alone.margin)
    tasks = draw_tasks(
        find_pools(activations, size=15, order=image_order(300)),
        n_tasks=25,
        n_references=4,
        seed=5,
        units=range(230),
    )
    for unit in (0, 111, 229):
        expected = [
            slow_margin(codes, p, n)
            for p, n in zip(tasks.positive[unit], tasks.negative[unit], strict=True)
        ]
        assert_allclose(result.margin[unit], expected, atol=1e-12)


def test_arrays_as_they_come(arrays, tmp_path, shared_by):
    codes, activations = arrays[0].astype(np.float32), arrays[1]
    plain = scored(codes, activations).margin
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    for same in (mapped, np.asfortranarray(codes), codes.astype(">f4"), codes[:, ::-1][:, ::-1]):
        assert_array_equal(scored(same, activations).margin, plain)
    whole = (codes * 100).astype(int)
    assert_array_equal(
        scored(whole, activations).margin, scored(whole.astype(np.float32), activations).margin
    )


def test_threads_of_torch_are_as_before(arrays):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        scored(*arrays, threads=3)
        assert torch.get_num_threads() == 2
        with pytest.raises(InputError):
            scored(np.full((300, 2), np.inf), arrays[1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"activations": np.full((300, 2), np.nan)}, InputError, "image 0, unit 0: found nan"),
        ({"activations": np.zeros((30, 2))}, InputError, "do not fit together"),
        ({"embeddings": np.full((300, 2), np.inf)}, InputError, "embedding is not finite: image 0"),
        ({"embeddings": np.zeros((300, 2, 2))}, InputError, "not a matrix"),
        ({"quantile": 0.01}, NotEnoughDataError, "3 of 300 images .* wanted at least 5"),
        ({"quantile": 0.7}, InputError, "at most 0.5"),
        ({"slope": -1.0}, InputError, "slope out of range"),
        ({"n_tasks": 0}, InputError, "too few tasks"),
        ({"n_references": 0}, InputError, "too few references"),
    ],
)
def test_bad_input_is_one_line(arrays, change, error, message):
    embeddings, activations = arrays
    arguments = {"embeddings": embeddings, "activations": activations} | change
    with pytest.raises(error, match=message) as raised:
        scored(arguments.pop("embeddings"), arguments.pop("activations"), **arguments)
    assert "\n" not in str(raised.value)


def test_result_needs_a_reason_for_nan():
    with pytest.raises(InputError, match="reason"):
        MachineInterpretability(np.array([[np.nan]]), 1.0, np.array([""], dtype=object))


@pytest.mark.parametrize(("images", "quantile", "references"), [(400, 0.02, 9), (90, 0.1, 9)])
def test_too_few_images_say_how_many_are_enough(
    images: int, quantile: float, references: int
) -> None:
    with pytest.raises(NotEnoughDataError) as caught:
        pool_size(images, quantile=quantile, n_references=references)
    found = re.search(
        r"take (\d+) images or more, a quantile of ([\d.]+) or more", str(caught.value)
    )
    assert found is not None
    enough, wider = int(found[1]), float(found[2])
    assert pool_size(enough, quantile=quantile, n_references=references) == references + 1
    assert pool_size(images, quantile=wider, n_references=references) > references
    with pytest.raises(NotEnoughDataError):
        pool_size(enough - 1, quantile=quantile, n_references=references)


def test_layers_of_unknown_depth_stand_in_the_table() -> None:
    """The only layer of a network has no relative depth; its row is not dropped."""
    one = {"layer": "0", "type": "convolution", "depth": np.nan, "width": 2}
    run = MisRun(pd.DataFrame([{**one, "score": v, "hard_score": v} for v in (0.5, 1.0)]), {})
    assert run.by_layer()[["layer", "scored", "score"]].values.tolist() == [["0", 2, 0.75]]
