"""The embedded mini-benchmark holds the truth it promises."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from imi_bench.errors import InputError
from imi_bench.simulation.panel import PanelTruth, answer, evidence
from imi_bench.simulation.planted import NETWORKS, PlantedUnit, plant
from imi_bench.simulation.scenes import ATTRIBUTES, Scenes, exaggerated
from imi_bench.simulation.world import World, build
from imi_bench.tables import TrialIndex


@pytest.fixture(scope="module")
def world(demo_world: World) -> World:
    return demo_world


@pytest.fixture(scope="module")
def small() -> World:
    return build(seed=3, n_networks=1, n_batches=1, n_scenes=200, size=16)


@pytest.mark.whole
def test_two_builds_are_equal_to_the_byte_and_another_seed_differs(small: World) -> None:
    same = build(seed=3, n_networks=1, n_batches=1, n_scenes=200, size=16)
    other = build(seed=4, n_networks=1, n_batches=1, n_scenes=200, size=16)
    assert same.trials.hash == small.trials.hash
    assert same.study.hash == small.study.hash
    assert other.trials.hash != small.trials.hash
    assert other.study.hash != small.study.hash


def test_everything_says_simulated(world: World) -> None:
    assert world.trials.simulated
    assert world.study.responses.simulated
    assert "simulated" in world.study.responses.source


def test_design(world: World) -> None:
    frame = world.trials.index.to_frame()
    assert frame["network"].nunique() == 4
    assert world.truth.units_frame()["depth"].nunique() >= 3
    assert set(frame["difficulty"]) == {"easy", "hard95", "hard85"}
    assert set(frame.loc[frame["network"] == "toy-damson", "mode"]) == {"natural"}
    assert world.trials.positive.shape == world.trials.negative.shape == (len(frame), 9)
    assert 300 < len(world.trials.images) < 1000
    assert {world.trials.images.decode(i).shape for i in range(20)} == {(32, 32, 3)}
    per_condition = pd.Series(world.trials.index.condition_id).value_counts()
    assert (per_condition == 2).all()
    assert (pd.Series(world.study.responses.trial_id).value_counts() == 15).all()
    assert set(world.study.trials.trial_id) == set(world.trials.index.trial_id)


def test_no_image_stands_twice_in_a_trial(world: World) -> None:
    trials = world.trials
    rows = np.concatenate([trials.positive, trials.negative, trials.queries], axis=1)
    assert all(len(set(row)) == rows.shape[1] for row in rows.tolist())


def test_queries_come_from_the_stated_percentiles() -> None:
    world = build(seed=1, n_networks=1, n_batches=1, n_scenes=400, size=8)
    unit = next(u for u in world.truth.units if u.kind == "single")
    scenes = Scenes.draw(400, rng=_stream(1, "world", "scenes"))
    activations = unit.activations(scenes, rng=_stream(1, "world", "activations", unit.unit_id))
    index = world.trials.index.to_frame()
    for difficulty, low, high in (("easy", 97.5, 100), ("hard95", 94, 96), ("hard85", 84, 86)):
        row = index[
            (world.trials.index.unit_id == unit.unit_id)
            & (index["difficulty"] == difficulty)
            & (index["mode"] == "natural")
        ].index[0]
        strong, weak = world.trials.query_activations[row]
        assert low <= 100 * np.mean(activations <= strong) <= high
        assert 100 - high <= 100 * np.mean(activations < weak) <= 100 - low


def _stream(seed: int, *names: str) -> np.random.Generator:
    from imi_bench.provenance import generator

    return generator(seed, *names)


def test_the_ideal_observer_is_at_its_ceiling(world: World) -> None:
    strong, weak = world.trials.query_activations.T
    assert (strong > weak).all()


def test_single_beats_mixed_beats_noise_for_the_panel(world: World) -> None:
    correct = pd.Series(world.study.responses.correct)
    accuracy = correct.groupby(world.truth.kind[world.study.rows]).mean()
    assert accuracy["single"] > accuracy["mixed"] + 0.1
    assert accuracy["mixed"] > accuracy["noise"] + 0.03
    answers = (world.truth.kind[world.study.rows] == "noise").sum()
    assert abs(accuracy["noise"] - 0.5) < 4 * 0.5 / np.sqrt(answers) + 0.02


@pytest.mark.slow
def test_single_beats_mixed_beats_noise_for_eyes_that_know_no_attributes() -> None:
    """Gradient statistics of the pixels alone, two worlds."""
    from skimage.feature import hog

    credit = []
    for seed in range(2):
        world = build(seed=seed, size=64)
        trials = world.trials
        looks = [
            hog(
                trials.images.decode(i),
                orientations=8,
                pixels_per_cell=(16, 16),
                cells_per_block=(1, 1),
                channel_axis=-1,
            )
            for i in range(len(trials.images))
        ]
        codes = np.stack(looks) - np.mean(looks, axis=0)
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        likeness = codes @ codes.T
        shown = likeness[trials.queries[:, :, None], trials.positive[:, None]].mean(axis=2)
        shown -= likeness[trials.queries[:, :, None], trials.negative[:, None]].mean(axis=2)
        credit.append(
            pd.DataFrame({"kind": world.truth.kind, "correct": shown[:, 0] > shown[:, 1]})
        )
    accuracy = pd.concat(credit).groupby("kind")["correct"].mean()
    assert accuracy["single"] > accuracy["mixed"] > accuracy["noise"]
    assert accuracy["single"] > 0.62


def test_harder_queries_are_harder(world: World) -> None:
    single = world.truth.kind == "single"
    evidence_of = pd.Series(world.truth.evidence[single])
    means = evidence_of.groupby(world.trials.index.difficulty[single]).mean()
    assert means["easy"] > means["hard95"] > means["hard85"] + 0.3


def test_panel_answers_follow_the_stated_choice_model(world: World) -> None:
    """Binned by the model's own probability, the answers agree with it (chi-square)."""
    panel, index = world.truth.panel, world.trials.index
    responses, rows = world.study.responses, world.study.rows
    ability = np.array([panel.participant[p] for p in responses.participant])
    bias = np.array([panel.side_bias[p] for p in responses.participant])
    positive_first = responses.correct == (responses.chose_first == 1)
    sign = np.where(positive_first, 1.0, -1.0)
    logit = (
        panel.sensitivity(index)[rows] * np.exp(ability) * sign * world.truth.evidence[rows] + bias
    )
    p_first = panel.lapse / 2 + (1 - panel.lapse) * expit(logit)
    bins = np.digitize(p_first, [0.1, 0.3, 0.5, 0.7, 0.9])
    z = [
        (responses.chose_first[bins == b].sum() - p_first[bins == b].sum())
        / np.sqrt((p_first * (1 - p_first))[bins == b].sum())
        for b in range(6)
    ]
    assert np.sum(np.square(z)) < 22.5  # 99.9% quantile of chi-square with 6 degrees of freedom


def test_evidence_by_hand() -> None:
    codes = np.array([[3, 0, 0, 0, 0], [0, 0, 0, 0, 0], [3, 1, 1, 1, 1], [0, 1, 1, 1, 1]])
    scenes = Scenes(codes, np.array([1.0, 1.0, 0.5, 0.5]))
    shown = evidence(
        scenes,
        positive=np.array([[0, 0, 0, 1]]),  # three of four are stars
        negative=np.array([[1, 1, 1, 0]]),
        queries=np.array([[2, 3]]),
    )
    # Shape alone differs: d = 0.75 - 0.25 = 0.5 for the star, -0.5 for the disc; vividness 0.5.
    assert shown.tolist() == [0.5 * 0.25 + 0.5 * 0.25]


def test_average_participant_by_hand() -> None:
    panel = PanelTruth(
        slope=2.0,
        lapse=0.1,
        network={"n": np.log(0.5)},
        unit={"n/l/0": 0.0},
        mode={"natural": 0.0},
        participant={},
        side_bias={},
    )
    index = _one_trial()
    expected = 0.05 + 0.9 / (1 + np.exp(-3.0))
    assert panel.probability_correct(index, np.array([3.0])) == pytest.approx([expected])
    assert panel.probability_correct(index, np.array([0.0])) == pytest.approx([0.5])


def _one_trial() -> TrialIndex:
    return TrialIndex(["t"], ["n"], ["l"], [0], ["natural"], ["easy"], [1], [False])


def test_no_evidence_means_chance_whatever_the_ability() -> None:
    panel = PanelTruth.draw(
        network={"n": 1.0}, units=["n/l/0"], n_participants=4000, rng=np.random.default_rng(0)
    )
    responses = answer(
        _one_trial(), panel, evidence=np.zeros(1), each=4000, rng=np.random.default_rng(1)
    )
    assert abs(responses.correct.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert set(responses.confidence) <= {1.0, 2.0, 3.0}
    assert (responses.seconds > 0).all()


def test_more_answers_than_participants_is_refused() -> None:
    panel = PanelTruth.draw(
        network={"n": 0.0}, units=["n/l/0"], n_participants=3, rng=np.random.default_rng(0)
    )
    with pytest.raises(InputError, match="found 4, wanted 1 to 3 participants"):
        answer(_one_trial(), panel, evidence=np.zeros(1), each=4, rng=np.random.default_rng(1))


@given(count=st.integers(1, 80), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_scenes_are_balanced(count: int, seed: int) -> None:
    scenes = Scenes.draw(count, rng=np.random.default_rng(seed))
    for column, values in enumerate(ATTRIBUTES.values()):
        counts = np.bincount(scenes.codes[:, column], minlength=len(values))
        assert counts.max() - counts.min() <= 1


def test_every_attribute_changes_the_picture() -> None:
    base = [0, 0, 0, 0, 0]
    for column, values in enumerate(ATTRIBUTES.values()):
        codes = np.array([base] * len(values))
        codes[:, column] = np.arange(len(values))
        scenes = Scenes(codes, np.ones(len(values)))
        pictures = [
            scenes.picture(row, size=48, rng=np.random.default_rng(7)).astype(float)
            for row in range(len(values))
        ]
        for one in range(len(values)):
            for other in range(one):
                assert np.abs(pictures[one] - pictures[other]).mean() > 2


def test_vividness_is_contrast() -> None:
    codes = np.array([[1, 0, 0, 4, 0]] * 2)
    scenes = Scenes(codes, np.array([0.3, 1.0]))
    faint, vivid = (scenes.picture(r, size=48, rng=np.random.default_rng(7)) for r in (0, 1))
    assert vivid.std() > 2 * faint.std()


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_exaggerated_pictures(attribute: str) -> None:
    value = ATTRIBUTES[attribute][1]
    picture = exaggerated(attribute, value, size=48, rng=np.random.default_rng(0))
    assert picture.shape == (48, 48, 3)
    assert picture.dtype == np.uint8
    again = exaggerated(attribute, value, size=48, rng=np.random.default_rng(0))
    assert np.array_equal(picture, again)


def test_exaggerated_red_is_red() -> None:
    picture = exaggerated("colour", "red", size=48, rng=np.random.default_rng(0)).astype(int)
    red = (picture[..., 0] > picture[..., 1] + 50) & (picture[..., 0] > picture[..., 2] + 50)
    assert red.mean() > 0.5


def test_planted_units() -> None:
    units = plant(NETWORKS[0], {"single": 5, "mixed": 3, "noise": 2}, seed=0)
    single = [u for u in units if u.kind == "single"]
    assert {u.tuning[0][0] for u in single} == set(ATTRIBUTES)
    assert len({u.unit_id for u in units}) == 10
    assert [len(u.tuning) for u in units] == [1] * 5 + [2] * 3 + [0] * 2
    assert units[-1].likes == "nothing visible"


def test_a_mixed_unit_answers_to_the_louder_attribute() -> None:
    shape, colour = np.zeros(6), np.zeros(6)
    shape[0], shape[1], colour[0], colour[1] = 1.0, -1.0, 1.0, -1.0
    unit = PlantedUnit(
        network="n",
        layer="l",
        unit=0,
        depth=1.0,
        kind="mixed",
        noise=0.0,
        tuning=(("shape", "disc", "square"), ("colour", "red", "amber")),
        drives=(shape, colour),
    )
    codes = np.zeros((4, 5), dtype=np.int64)
    codes[:, 0], codes[:, 3] = [0, 2, 0, 1], [0, 0, 1, 2]
    activations = unit.activations(Scenes(codes, np.full(4, 0.5)), rng=np.random.default_rng(0))
    assert activations.tolist() == [0.5, 0.5, 0.0, -0.5]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_networks": 5}, "n_networks out of range"),
        ({"n_scenes": 100}, "too few scenes"),
        ({"n_single": 0, "n_mixed": 0, "n_noise": 0}, "no units"),
        ({"answers_per_trial": 61, "n_networks": 1, "size": 8}, "answers a trial out of range"),
    ],
)
def test_impossible_worlds_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(**wrong)


def test_scenes_refuse_what_they_cannot_draw() -> None:
    with pytest.raises(InputError, match="code without a value"):
        Scenes(np.full((1, 5), 9), np.ones(1))
    with pytest.raises(InputError, match="vividness out of range"):
        Scenes(np.zeros((1, 5), dtype=np.int64), np.zeros(1))
    with pytest.raises(InputError, match="wrong shape"):
        Scenes(np.zeros((1, 4), dtype=np.int64), np.ones(1))
    varied = Scenes(np.full((1, 5), -1), np.ones(1))
    with pytest.raises(InputError, match="varied attribute"):
        varied.picture(0, size=8, rng=np.random.default_rng(0))
