"""The study recovers the learning rate of a scripted model; contamination finds what is planted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special
from support.bright_trials import Colours, bright_trials

from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.fewshot.contamination import check, on_clean
from imi_bench.fewshot.curves import FewShot
from imi_bench.fewshot.design import Design
from imi_bench.fewshot.means import over_draws, two_way_mean
from imi_bench.fewshot.study import fewshot
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import Trials
from imi_bench.tables.images import Images

# of a trial: the mean of the noise of both orders
NOISE = np.random.default_rng(1).logistic(scale=math.sqrt(2), size=(2, 400_000)).mean(axis=0)


class Scripted:
    """Right with probability sigma(base + rate log2(1 + K)), and says A too often."""

    def __init__(self, *, base: float, rate: float, bias: float = 1.0, seed: int = 0) -> None:
        self.base, self.rate, self.bias = base, rate, bias
        self.rng = np.random.default_rng(seed)

    def __call__(self, prompt: Prompt) -> Scored:
        right, a, b = (float(image.mean()) for image in prompt.question.images[1:])
        strong_is_a = abs(a - right) < abs(b - right)
        odds = self.base + self.rate * math.log2(1 + len(prompt.shots))
        # logistic noise of scale 1 on the mean of both orders needs sqrt(2) on each
        noise = self.rng.logistic(scale=math.sqrt(2))
        z = (odds if strong_is_a else -odds) + noise
        return Scored(self.bias + z / 2 - 1, -z / 2 - 1)


def observer(model: Any) -> InContext:
    return InContext(model, identity={"model": "scripted"}, side=8)


@pytest.fixture(scope="module")
def trials() -> Trials:
    return bright_trials(68, batches=2)


@pytest.fixture(scope="module")
def found(trials: Trials) -> FewShot:
    scripted = observer(Scripted(base=0.0, rate=0.6))
    return fewshot(scripted, trials, shots=(0, 1, 3, 7), draws=3, pool_units=8)


@pytest.mark.whole
def test_the_curve_is_that_of_the_model(found: FewShot) -> None:
    for point in found.points:
        assert point.coverage == 1
        assert point.says_a > 0.6
        truth = np.mean(-0.6 * math.log2(1 + point.shots) < NOISE)
        error = math.sqrt(truth * (1 - truth) / point.accuracy.n)
        assert abs(point.accuracy.value - truth) < 4 * error
        assert point.strong_as_a > point.strong_as_b
    values = [p.accuracy.value for p in found.points]
    assert values == sorted(values)
    assert [p.shots for p in found.points] == [0, 1, 3, 7]
    zero = found.answers[found.answers["shots"] == 0]
    assert zero["draw"].unique().tolist() == [0]
    assert len(repr(found)) < 2000


def test_gain_per_doubling_is_found(found: FewShot) -> None:
    fitted = found.gain()
    names = list(fitted.names)
    place = names.index("doublings")
    doublings = np.arange(4.0)  # of 1 + 0, 1, 3 and 7 shots
    truth = [np.mean(-0.6 * one < NOISE) for one in doublings]
    wanted = np.polyfit(doublings, special.logit(truth), 1)[0]
    assert abs(fitted.estimate[place] - wanted) < 4 * fitted.se[place]
    assert fitted.z[place] > 3


@pytest.mark.whole
def test_ablations_and_families(trials: Trials) -> None:
    made = fewshot(
        {
            "small": observer(Scripted(base=0.2, rate=0.0)),
            "large": observer(Scripted(base=0.2, rate=1.0, seed=1)),
        },
        trials.take(np.arange(60)),
        shots=(0, 2, 4),
        draws=2,
        ablations=("labels",),
        parameters={"small": 1e6, "large": 1e9},
    )
    frame = made.to_frame()
    assert set(frame["observer"]) == {"small", "large"}
    assert set(frame["ablation"]) == {"none", "labels"}
    assert len(frame) == 2 * (3 + 2)
    interaction = made.gain()
    assert "doublings:tenfold" in interaction.names
    ax = made.plot()
    assert [t.get_text().split("\n")[0] for t in ax.get_xticklabels()] == ["0", "2", "4"]
    assert "SIMULATED" in ax.get_title()


def test_a_pool_too_small() -> None:
    with pytest.raises(NotEnoughDataError, match="pool is too small"):
        Design(shots=(0, 32), pool_units=16)


@pytest.mark.slow
def test_the_two_way_interval_covers() -> None:
    rng = np.random.default_rng(0)
    units, draws, truth = 60, 5, 0.7
    inside = 0
    for _ in range(2000):
        unit, draw = rng.normal(0, 0.10, units), rng.normal(0, 0.03, draws)
        p = np.clip(truth + unit[:, None] + draw[None, :], 0, 1)
        values = (rng.random((units, draws)) < p).astype(float)
        made = two_way_mean(
            values.ravel(), np.repeat(np.arange(units), draws), np.tile(np.arange(draws), units)
        )
        inside += made.low <= truth <= made.high
    assert 0.93 <= inside / 2000 <= 0.99


def test_two_way_means_by_hand() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0])
    made = two_way_mean(values, np.array(list("aabb")), np.zeros(4))
    rest = values - 0.75
    by_unit = (rest[:2].sum() ** 2 + rest[2:].sum() ** 2) / 16 * 2
    assert made.high == 1.0
    assert 0.75 - made.low == pytest.approx(min(0.75, 12.7062 * math.sqrt(by_unit)), rel=1e-4)
    alone = two_way_mean(values, np.zeros(4), np.zeros(4))
    assert math.isnan(alone.low)


def test_rubin_s_rules_by_hand() -> None:
    each = [Estimate(v, v - 0.196, v + 0.196, method="x") for v in (0.1, 0.2, 0.3)]
    made = over_draws(each)
    total = 0.1**2 * (0.196 / 0.19599640) ** 2 + (1 + 1 / 3) * 0.01
    assert made.value == pytest.approx(0.2)
    df = 2 * (total / ((4 / 3) * 0.01)) ** 2
    from scipy import stats

    assert made.high - made.value == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(total))


# -- contamination ---------------------------------------------------------------------------


def pictures(count: int, seed: int = 0) -> list[Any]:
    """Smooth random pictures: unlike each other for a perceptual hash."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    return [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64))
        )
        for _ in range(count)
    ]


@pytest.fixture
def apart() -> Trials:
    images, place = Images.collect(pictures(40))
    place = place.reshape(2, 20)
    made = bright_trials(2)
    return replace(
        made, images=images, positive=place[:, :9], negative=place[:, 9:18], queries=place[:, 18:]
    )


def test_pictures_that_are_apart_are_clean(apart: Trials) -> None:
    made = check(apart)
    assert made.pairs.empty
    assert all(made.clean.values())


def test_equal_near_and_mirrored_pictures_are_found(apart: Trials, tmp_path: Path) -> None:
    from PIL import Image, ImageOps

    query = apart.images.decode(int(apart.queries[0, 0]))
    near = np.clip(query.astype(int) + 3, 0, 255).astype(np.uint8)
    images, place = Images.collect([*map(apart.images.decode, range(40)), near])
    positive = apart.positive.copy()
    positive[0, 3] = place[-1]
    made = check(replace(apart, images=images, positive=positive))
    assert made.pairs["kind"].tolist() == ["near"]
    assert made.clean == {"net/layer/0/natural/easy/0": False, "net/layer/1/natural/easy/0": True}
    reference = Image.fromarray(apart.images.decode(int(apart.negative[1, 2])))
    ImageOps.mirror(reference).save(tmp_path / "a.png")
    Image.fromarray(pictures(1, seed=5)[0]).save(tmp_path / "b.png")
    reference.save(tmp_path / "c.png")
    made = check(apart, folder=tmp_path)
    kinds = dict(zip(made.pairs["second"], made.pairs["kind"], strict=True))
    assert kinds["a.png"] == "near, mirrored"
    assert kinds["c.png"] == "equal"
    assert "b.png" not in kinds
    assert not made.clean["net/layer/1/natural/easy/0"]


def test_crops_are_listed_by_their_codes_and_leave_trials_clean(
    apart: Trials, tmp_path: Path
) -> None:
    from PIL import Image

    query = Image.fromarray(apart.images.decode(int(apart.queries[0, 0])))
    query.crop((8, 8, 62, 62)).resize((64, 64)).save(tmp_path / "crop.png")
    plain = check(apart, folder=tmp_path)
    assert "crop.png" not in set(plain.pairs["second"])
    made = check(apart, folder=tmp_path, embedding=Colours(), cosine=0.8)
    own = made.pairs[made.pairs["second"] == "crop.png"]
    assert set(own["kind"]) == {"cosine"}
    assert "net/layer/0/natural/easy/0" in set(own["trial_id"])
    assert (own["cosine"] >= 0.8).all()
    assert made.clean == plain.clean
    assert "listed apart" in made.title
    query.save(tmp_path / "z.png")
    pairs = check(apart, folder=tmp_path, embedding=Colours(), cosine=0.3).pairs
    assert len(pairs) > 40  # so many stand on the page
    assert pairs["kind"][0] == "equal"
    assert pairs.loc[pairs["kind"] == "cosine", "cosine"].is_monotonic_decreasing


def test_the_given_stimuli_share_one_picture(shared: Path) -> None:
    """`manual_4c_8_10` min_4 and `manual_4c_0_4` max_1 are equal in every pixel."""
    from imi_bench.stimuli.trial_files import read_trials

    trials = read_trials(shared / "imi" / "stimuli", network="googlenet")
    layer = trials.index.layer.astype(str)
    tests, pool = (np.flatnonzero(layer == name) for name in ("manual_4c_8_10", "manual_4c_0_4"))
    made = check(trials.take(tests), pool=trials.take(pool))
    across = made.pairs[made.pairs["where"] == "shots and tests"]
    assert "equal" in set(across["kind"])


def test_scores_on_the_clean_trials(found: FewShot, trials: Trials) -> None:
    tested = found.answers["trial_id"].unique()
    clean = {str(t): i % 2 == 0 for i, t in enumerate(tested)}
    made = check(trials.take(np.arange(2)))
    table = on_clean(found.answers, replace(made, clean=clean))
    assert (table["clean_trials"] * 2 == table["trials"]).all()
    by_hand = found.answers[found.answers["trial_id"].map(clean)]
    by_hand = by_hand[by_hand["shots"] == 0]["credit"].mean()
    assert table.loc[table["shots"] == 0, "clean"].item() == pytest.approx(by_hand)


def test_trials_that_were_dropped_stand_in_the_title(found: FewShot) -> None:
    assert "dropped" not in found.title or found.dropped
    assert ", 2 more dropped" in replace(found, dropped=("a", "b")).title


def test_solved_trials_are_counted(trials: Trials) -> None:
    with pytest.raises(InputError, match=r"'shots': fewshot: found 1\.5 among several"):
        fewshot(observer(Scripted(base=0.0, rate=0.6)), trials, shots=(1.5,))  # type: ignore[arg-type]
