from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.exemplars import Dealt, Design, choose_exemplars, deal_images
from imi_bench.networks.trial_folder import assemble_trials
from imi_bench.networks.units import Unit
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.vision.card import Preprocessing
from imi_bench.vision.layers import Layer
from imi_bench.vision.preprocessing import plain_preprocess

LAYER = Layer("block_conv", "block.conv", "Conv2d", 0.5, 4, 0, 1, (1, 4, 2, 2))
N = 320


def planted(values: np.ndarray) -> Activations:
    """Activations of the first channels of one layer, as a pass would leave them."""
    order = np.argsort(values, axis=0).T
    units = tuple(Unit("block_conv", channel) for channel in range(values.shape[1]))
    ends = {"top": order[:, ::-1][:, :5], "bottom": order[:, :5]}
    return Activations(
        network="toy",
        layers=(replace(LAYER, width=values.shape[1]),),
        image_names=np.array([f"{number:03d}" for number in range(len(values))], dtype=object),
        **{f"{end}_images": images.astype(np.int32) for end, images in ends.items()},
        **{
            f"{end}_values": np.take_along_axis(values.T, images, axis=1).astype(np.float32)
            for end, images in ends.items()
        },
        sampled=units,
        values=values.astype(np.float32),
        sparsity=np.zeros(len(units)),
        silent=np.zeros(len(units)),
        contrast=np.zeros(len(units)),
        record={},
    )


@pytest.fixture(scope="module")
def activations() -> Activations:
    return planted(np.random.default_rng(0).permuted(np.tile(np.arange(N), (3, 1)), axis=1).T)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (N, 12, 16, 3), dtype=np.uint8)


def ranks(dealt: Dealt, count: int) -> tuple[np.ndarray, np.ndarray]:
    """For values 0 … N-1 an image number is its rank; from the extreme end, 0 the most extreme."""
    return count - 1 - dealt.high, dealt.low


def test_easy_trials_by_hand() -> None:
    # 1,000 images, ten batches of nine: eleven lists; queries are the 11 most extreme images,
    # references ranks 11 to 109 in nine bins of eleven, the least extreme bin first.
    dealt = deal_images(np.arange(1000.0), Design(), rng=np.random.default_rng(0))
    for rank in ranks(dealt, 1000):
        assert rank.shape == (11, 10)
        for column in range(10):
            bottom = 11 * (9 - column)
            assert sorted(rank[:, column]) == list(range(bottom, bottom + 11))


def test_hard_trials_follow_the_authors_indices() -> None:
    # Their README's example at 50,000 images: start_min 5000, stop_min 5011, start_max 44989,
    # stop_max 45000 is the 90th percentile; here the 95th and 85th of 10,000.
    for difficulty, stop in (("hard95", 9500), ("hard85", 8500), ("hard99", 9900)):
        dealt = deal_images(np.arange(10000.0), Design(difficulty), rng=np.random.default_rng(0))
        assert sorted(dealt.high[:, -1]) == list(range(stop - 11, stop))
        assert sorted(dealt.low[:, -1]) == list(range(10000 - stop, 10000 - stop + 11))
        assert sorted(dealt.high[:, :-1].ravel()) == list(range(10000 - 99, 10000))
        assert sorted(dealt.low[:, :-1].ravel()) == list(range(99))


def test_images_needed_is_the_smallest_number_that_works() -> None:
    for design in (
        Design(),
        Design("hard99"),
        Design("hard95", 2, 3),
        Design("hard85", 1, 1),
        Design("easy", 1, 1),
        Design("hard85", 12, 2),
    ):
        least = design.images_needed
        dealt = deal_images(np.arange(float(least)), design, rng=np.random.default_rng(0))
        shown = np.concatenate([dealt.high.ravel(), dealt.low.ravel()])
        assert len(np.unique(shown)) == shown.size
        with pytest.raises(NotEnoughDataError, match="too few images for the batches asked"):
            deal_images(np.arange(least - 1.0), design, rng=np.random.default_rng(0))
    assert Design("hard99").images_needed == 9900


@given(
    difficulty=st.sampled_from(["easy", "hard99", "hard95", "hard85"]),
    batches=st.integers(1, 6),
    references=st.integers(1, 9),
    extra=st.integers(0, 50),
    seed=st.integers(0, 2**32),
    levels=st.sampled_from([2, 7, 10**6]),
)
def test_dealing_is_fair_and_disjoint(
    difficulty: str, batches: int, references: int, extra: int, seed: int, levels: int
) -> None:
    design = Design(difficulty, batches, references)
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, design.images_needed + extra).astype(float)
    dealt = deal_images(values, design, rng=rng)
    shown = np.concatenate([dealt.high.ravel(), dealt.low.ravel()])
    assert len(np.unique(shown)) == shown.size
    assert dealt.high.shape == (batches + 1, references + 1)
    for end, sign in ((dealt.high, 1), (dealt.low, -1)):
        found = sign * values[end]
        bins = [found[:, column] for column in range(references)]
        assert all(low.max() <= high.min() for low, high in itertools.pairwise(bins))
    outside = np.setdiff1d(np.arange(len(values)), dealt.high[:, :-1])
    assert values[dealt.high[:, :-1]].min() >= values[outside].max() or difficulty == "easy"


def test_trials_depend_on_the_seed_and_the_unit_alone(activations: Activations) -> None:
    both = [Design("easy", 3), Design("hard85", 3)]
    whole = choose_exemplars(activations, designs=both, seed=4)
    alone = choose_exemplars(activations, units=[Unit("block_conv", 2)], designs=both[1:], seed=4)
    rows = ((whole.index["unit"] == 2) & (whole.index["difficulty"] == "hard85")).to_numpy()
    np.testing.assert_array_equal(whole.high[rows], alone.high)
    np.testing.assert_array_equal(whole.queries[rows], alone.queries)
    other = choose_exemplars(activations, designs=both, seed=5)
    assert not np.array_equal(whole.high, other.high)
    assert len(whole.index) == 3 * 2 * 4
    assert not choose_exemplars(activations, designs=both, catch=False).index["catch"].any()


def test_query_activations_tell_the_answer(activations: Activations) -> None:
    chosen = choose_exemplars(activations, designs=[Design("hard95", 1, 2)])
    assert (chosen.query_activations[:, 0] > chosen.query_activations[:, 1]).all()
    for row in range(len(chosen.index)):
        values = activations.of(Unit("block_conv", int(chosen.index["unit"][row])))
        np.testing.assert_array_equal(values[chosen.queries[row]], chosen.query_activations[row])


def test_catch_trials_show_their_queries_among_the_references(activations: Activations) -> None:
    chosen = choose_exemplars(activations, designs=[Design("easy", 2)])
    catch = chosen.index["catch"].to_numpy()
    assert (chosen.index["batch"][catch] == 0).all()
    np.testing.assert_array_equal(chosen.queries[catch, 0], chosen.high[catch, -2])
    np.testing.assert_array_equal(chosen.queries[~catch, 0], chosen.high[~catch, -1])


def test_constant_units_are_reported_not_used() -> None:
    values = np.random.default_rng(0).normal(size=(N, 3))
    values[:, 1] = 0.25 + np.where(np.arange(N) % 2, 5e-9, 0)
    values[:, 2] = np.maximum(values[:, 2] - 1.8, 0)  # rarely above 0: hard queries are equal
    designs = [Design("easy", 1, 1), Design("hard85", 1, 1)]
    chosen = choose_exemplars(planted(values), designs=designs)
    left = [(one.unit.channel, one.difficulty, one.reason.split(":")[0]) for one in chosen.left_out]
    assert left == [
        (1, "easy", "constant"),
        (1, "hard85", "constant"),
        (2, "hard85", "queries do not differ"),
    ]
    assert set(chosen.index["unit"]) == {0, 2}
    with pytest.raises(NotEnoughDataError, match="no unit has trials: toy: found 2 left out"):
        choose_exemplars(planted(values), designs=designs, units=[Unit("block_conv", 1)])


def test_equal_activations_are_ordered_by_chance_not_by_name() -> None:
    values = np.zeros(400)
    values[:20] = 1.0
    low = [
        deal_images(values, Design("easy", 1, 1), rng=np.random.default_rng(seed)).low
        for seed in range(50)
    ]
    # File names are often sorted by class: the lowest images must not all be the first ones.
    drawn = np.ravel(low)
    assert set(drawn) <= set(range(20, 400))
    assert stats.kstest(drawn, stats.uniform(20, 380).cdf).pvalue > 0.001


@pytest.mark.whole
def test_both_layouts_read_back_as_the_same_trials(
    activations: Activations, pictures: np.ndarray, tmp_path: Path
) -> None:
    designs = [Design("easy", 2), Design("hard85", 2)]
    memory = assemble_trials(activations, pictures, designs=designs, crop=14, seed=1).trials
    for name in ("one", "two"):
        built = assemble_trials(
            activations, pictures, designs=designs, crop=14, seed=1, out=tmp_path / name
        )
        assert built.trials.hash == memory.hash
    table = read_trials(tmp_path / "one")
    layout = read_trials(tmp_path / "one" / "stimuli")
    assert table.hash == layout.hash == memory.hash
    assert layout.notes == ()
    assert layout.skipped == ()
    np.testing.assert_array_equal(table.query_activations, memory.query_activations)
    assert {image.shape for image in map(memory.images.decode, range(len(memory.images)))} == {
        (14, 14, 3)
    }
    folders = sorted((tmp_path / "one" / "stimuli").rglob("batch_*"))
    assert len(folders) == 3 * 2 * 3
    assert "toy_hard85/block_conv/channel_0/natural_images/batch_0" in folders[9].as_posix()
    one, two = (
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*")
            if p.is_file()
        }
        for n in ("one", "two")
    )
    assert one == two
    with pytest.raises(InputError, match="folder holds other stimuli"):
        assemble_trials(activations, pictures, designs=designs, crop=None, out=tmp_path / "one")
    # Killed before the table, the same build goes on with what is there; it may also be repeated.
    (tmp_path / "one" / "trials.parquet").unlink()
    image = next((tmp_path / "one" / "stimuli").rglob("max_0.png"))
    before = image.stat().st_ino
    for _ in range(2):
        assemble_trials(
            activations, pictures, designs=designs, crop=14, seed=1, out=tmp_path / "one"
        )
        assert read_trials(tmp_path / "one").hash == memory.hash
    assert image.stat().st_ino == before


@pytest.mark.whole
def test_other_numbers_of_references_are_written_as_a_table(
    activations: Activations, pictures: np.ndarray, tmp_path: Path
) -> None:
    built = assemble_trials(
        activations, pictures, designs=[Design("easy", 2, 4)], crop=None, out=tmp_path
    )
    assert read_trials(tmp_path).hash == built.trials.hash
    assert built.trials.images.decode(0).shape == (12, 16, 3)


def test_bad_requests_are_refused(activations: Activations, pictures: np.ndarray) -> None:
    with pytest.raises(NotEnoughDataError) as caught:
        assemble_trials(activations, pictures, designs=[Design("hard95")])
    assert str(caught.value) == (
        "too few images for the batches asked: hard95 trials: found 320 images, wanted 1980 for "
        "10 batches and one for catch trials of 9 references a side; give more images, or ask for "
        "fewer batches or references"
    )
    assert caught.value.exit_code == 3
    with pytest.raises(InputError, match="images are not those of the activation pass"):
        assemble_trials(activations, pictures[:300])
    with pytest.raises(InputError, match="unknown difficulty: found 'hard90'"):
        Design("hard90")
    with pytest.raises(InputError, match="batches out of range: found 0"):
        Design(batches=0)
    with pytest.raises(InputError, match="designs differ in their number of references"):
        choose_exemplars(activations, designs=[Design("easy", 1, 2), Design("hard85", 1, 3)])


def test_the_scripts_reading_keeps_the_extremes_for_references() -> None:
    count = 10_000
    for difficulty in ("easy", "hard95"):
        design = Design(difficulty, reading="script")
        dealt = deal_images(np.arange(float(count)), design, rng=np.random.default_rng(0))
        high, low = ranks(dealt, count)
        for end in (high, low):
            assert sorted(end[:, :-1].ravel().tolist()) == list(range(99))
            if difficulty == "easy":  # beside the references, as the script's assertions have it
                first = 100 if end is high else 99
                assert sorted(end[:, -1].tolist()) == list(range(first, first + 11))
    with pytest.raises(NotEnoughDataError):
        deal_images(np.arange(221.0), Design(reading="script"), rng=np.random.default_rng(0))
    deal_images(np.arange(222.0), Design(reading="script"), rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="unknown value for 'reading': found 'book'"):
        Design(reading="book")


@pytest.mark.parametrize(
    ("difficulty", "lists", "start_min", "stop_max"),
    [  # as their calls have it for ImageNet's training set (stimuli_generation/parallel)
        ("easy", 20, 180, 1280986),
        ("hard99", 11, 12811, 1268356),
        ("hard95", 11, 64058, 1217109),
        ("hard85", 11, 192175, 1088992),
    ],
)
def test_the_scripts_reading_is_that_of_their_calls(
    difficulty: str, lists: int, start_min: int, stop_max: int
) -> None:
    design, count = Design(difficulty, lists - 1, reading="script"), 1_281_167
    assert design.stop(count) == stop_max
    assert count - design.stop(count, low=True) == start_min


@pytest.mark.parametrize("difficulty", ["easy", "hard95"])
def test_the_scripts_reading_has_the_bins_of_their_function(difficulty: str) -> None:
    """Their `extract_stimuli_range` and `make_fair_batches` in words: ranges, reversed, bins."""
    count, lists = 2000, 11
    design = Design(difficulty, reading="script")
    dealt = deal_images(np.arange(float(count)), design, rng=np.random.default_rng(3))
    start_min = 99 if difficulty == "easy" else 100
    stop_max = count - 100 if difficulty == "easy" else 1900
    low = [*range(start_min, start_min + lists), *range(99)][::-1]
    high = [*range(count - 99, count), *range(stop_max - lists, stop_max)]
    for paths, found in ((high, dealt.high), (low, dealt.low)):
        bins = [set(paths[i * lists : (i + 1) * lists]) for i in range(10)]
        assert [set(found[:, column].tolist()) for column in range(10)] == bins


def test_hard_queries_end_at_the_ceiling_by_the_script_and_the_floor_by_the_paper() -> None:
    count = 1981  # 95 % are 1881.95
    for reading, stop in (("paper", 1881), ("script", 1882)):
        design = Design("hard95", reading=reading)
        dealt = deal_images(np.arange(float(count)), design, rng=np.random.default_rng(0))
        assert dealt.high[:, -1].max() == stop - 1
        assert dealt.low[:, -1].min() == count - stop


def test_trials_show_what_the_network_saw(activations: Activations, pictures: np.ndarray) -> None:
    with pytest.raises(InputError, match="does not say what the network saw"):
        assemble_trials(activations, pictures, designs=[Design("easy", 1, 1)])
    seen = plain_preprocess(Preprocessing(crop=10, resize=11))
    record = {"network": {"preprocess": dict(seen.settings)}}
    told = replace(activations, record=record)
    trials = assemble_trials(told, pictures, designs=[Design("easy", 1, 1)]).trials
    shapes = {trials.images.decode(row).shape for row in range(len(trials.images))}
    assert shapes == {(10, 10, 3)}
    with pytest.raises(InputError, match=r"not those of the activation pass.*unchanged"):
        assemble_trials(
            replace(told, record={**record, "images": "other"}),
            pictures,
            designs=[Design("easy", 1, 1)],
        )
