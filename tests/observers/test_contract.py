"""The contract catches each way an observer can cheat or err, and names it."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.pooling import decide
from imi_bench.observers.properties import ENCODER_PROPERTIES, PROPERTIES

TRIALS = sample_trials(count=5)


class MeanColour:
    """Keeps the contract."""

    name = "mean-colour"

    def describe(self):
        return {"version": 1}

    def encode(self, images):
        return np.array([image.reshape(-1, 3).mean(axis=0) for image in images])

    def decide(self, trials, codes):
        return decide(codes, trials, similarity="l2")


class PrefersFirst(MeanColour):
    def decide(self, trials, codes):
        return super().decide(trials, codes) + 10


class LikesBrightReferences(MeanColour):
    def decide(self, trials, codes):
        level = codes.sum(axis=1)
        return (level[trials.queries] * (1, -1)).sum(axis=1) + 0 * level[trials.positive].sum(
            axis=1
        )


class ReadsTheFirstReference(MeanColour):
    def decide(self, trials, codes):
        first = type(trials)(
            trials.images, trials.positive[:, :1], trials.negative[:, :1], trials.queries
        )
        return super().decide(first, codes)


class CountsTrials(MeanColour):
    def decide(self, trials, codes):
        return super().decide(trials, codes) * np.arange(1, len(trials) + 1)


class ScalesByTheBatch(MeanColour):
    def decide(self, trials, codes):
        values = super().decide(trials, codes)
        return values / np.abs(values).max()


class ReadsRowNumbers(MeanColour):
    def decide(self, trials, codes):
        return (trials.queries[:, 0] - trials.queries[:, 1]) * (
            trials.positive.sum(axis=1) - trials.negative.sum(axis=1)
        ).astype(float)


class Normalises(MeanColour):
    def encode(self, images):
        codes = super().encode(images)
        return codes - codes.mean(axis=0)


class NormalisesLargeBatches(MeanColour):
    """As whitening does that needs more images than there are features."""

    def encode(self, images):
        codes = super().encode(images)
        return codes - codes.mean(axis=0) if len(images) >= 64 else codes


class CentresManyTrials(MeanColour):
    def decide(self, trials, codes):
        values = super().decide(trials, codes)
        return values - np.median(values) if len(values) >= 20 else values


class WritesIntoImages(MeanColour):
    def encode(self, images):
        for image in images:
            if image.flags.writeable:
                image[0, 0] = 0
        return super().encode(images)


class ReadsMemory(MeanColour):
    def encode(self, images):
        return np.array([[float(image.flags.c_contiguous), 1.0] for image in images])


class SortsInPlace(MeanColour):
    def decide(self, trials, codes):
        trials.positive.sort(axis=1)
        return super().decide(trials, codes)


class Rolls(MeanColour):
    def decide(self, trials, codes):
        return super().decide(trials, codes) * random.random()


class Infinite(MeanColour):
    def decide(self, trials, codes):
        return super().decide(trials, codes) * np.inf


class Silent(MeanColour):
    def decide(self, trials, codes):
        return np.full(len(trials), np.nan)


class OneCode(MeanColour):
    def encode(self, images):
        return super().encode(images)[:1]


class Crashes(MeanColour):
    def decide(self, trials, codes):
        raise ZeroDivisionError("no\nreason")


class Undescribed(MeanColour):
    def describe(self):
        return {"version": np.zeros(3)}


def failures(observer) -> set[str]:
    return {p.name for p in check(observer, TRIALS).properties if p.outcome == "fail"}


def test_a_sound_observer_passes_every_property() -> None:
    report = check(MeanColour(), TRIALS)
    assert report.passed
    assert [p.name for p in report.properties] == list(PROPERTIES)
    assert json.loads(json.dumps(report.to_json()))["passed"] is True


@pytest.mark.parametrize(
    ("observer", "caught"),
    [
        (PrefersFirst, {"swap queries", "swap references"}),
        (LikesBrightReferences, {"swap references"}),
        (ReadsTheFirstReference, {"permute references"}),
        (CountsTrials, {"permute trials", "any number of trials"}),
        (ScalesByTheBatch, {"any number of trials"}),
        (ReadsRowNumbers, {"permute images"}),
        (Normalises, {"codes in any batch"}),
        (NormalisesLargeBatches, {"codes in any batch"}),
        (CentresManyTrials, {"any number of trials"}),
        (WritesIntoImages, {"leaves images alone"}),
        (ReadsMemory, {"codes in any memory layout"}),
        (SortsInPlace, {"leaves trials alone"}),
        (Infinite, {"answers"}),
        (Silent, {"answers"}),
        (OneCode, {"one code an image"}),
        (Undescribed, {"describes itself"}),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_each_fault_is_caught_by_name(observer, caught) -> None:
    assert caught <= failures(observer())


@pytest.mark.parametrize(
    "observer", [PrefersFirst, ScalesByTheBatch, ReadsTheFirstReference, Normalises]
)
def test_a_single_fault_leaves_the_other_properties_standing(observer) -> None:
    allowed = {
        "swap queries",
        "swap references",
        "any number of trials",
        "permute references",
        "codes in any batch",
    }
    assert 0 < len(failures(observer())) <= 2
    assert failures(observer()) <= allowed


def test_global_randomness_is_caught_and_left_as_it_was() -> None:
    before, numpy_before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert "run twice" in failures(Rolls())
    check(MeanColour(), TRIALS)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    random.setstate(before)


def test_a_crash_is_a_failure_told_in_one_line() -> None:
    report = check(Crashes(), TRIALS)
    found = {p.name: p for p in report.properties}
    assert found["swap queries"].detail == "raised ZeroDivisionError: no"
    assert found["codes in any batch"].outcome == "pass"


def test_without_encode_the_encoders_properties_are_left_out() -> None:
    class Whole:
        name = "whole"

        def describe(self):
            return {}

        def decide(self, trials, codes):
            pixels = [trials.images.decode(row).mean() for row in range(len(trials.images))]
            return decide(np.array(pixels)[:, None], trials, similarity="l2")

    names = [p.name for p in check(Whole(), TRIALS).properties]
    assert names == [name for name in PROPERTIES if name not in ENCODER_PROPERTIES]


def test_exemption_is_declared_and_reported() -> None:
    class Declared(PrefersFirst):
        symmetric = False

    outcomes = {p.name: p.outcome for p in check(Declared(), TRIALS).properties}
    assert outcomes["swap queries"] == outcomes["swap references"] == "exempt"
    assert check(Declared(), TRIALS).passed
    assert not check(Declared(), TRIALS, symmetric=True).passed


def test_a_declared_tolerance_is_used_and_bounded() -> None:
    class Wobbles(MeanColour):
        def __init__(self, tolerance):
            self.tolerance = tolerance

        def describe(self):
            return {"tolerance": self.tolerance}

        def encode(self, images):
            return super().encode(images) * (1 + 1e-4 * len(images))

    assert check(Wobbles(0.05), TRIALS).passed
    assert not check(Wobbles(1e-6), TRIALS).passed
    with pytest.raises(InputError, match="bad tolerance"):
        check(Wobbles(10.0), TRIALS)


def test_no_trials_no_check() -> None:
    with pytest.raises(NotEnoughDataError, match="no trials"):
        check(MeanColour(), TRIALS.take(np.arange(0)))


def test_only_images_that_are_shown_are_looked_at() -> None:
    assert check(MeanColour(), TRIALS.take(np.array([2]))).images == 20


@pytest.mark.whole
def test_doctor_prints_and_exits(tmp_path) -> None:
    runner = CliRunner()
    fine = runner.invoke(app, ["doctor", "--observer", "pixel-l2", "--limit", "3"])
    assert fine.exit_code == 0
    assert "swap references" in fine.stdout
    (tmp_path / "bad.py").write_text(
        "class Bad:\n    name = 'bad'\n    def describe(self): return {}\n"
        "    def decide(self, trials, codes): return [1.0] * len(trials)\n"
    )
    bad = runner.invoke(app, ["doctor", "--observer", f"{tmp_path}/bad.py:Bad", "--json"])
    assert bad.exception.exit_code == 1
    found = {p["name"]: p["outcome"] for p in json.loads(bad.stdout)["properties"]}
    assert found["swap queries"] == "fail"
    assert found["permute trials"] == "pass"


@pytest.mark.whole
def test_doctor_reads_trials_from_disk(shared) -> None:
    arguments = ["doctor", "--observer", "pixel-cosine", "--limit", "2", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--trials", str(shared / "imi" / "stimuli")])
    report = json.loads(done.stdout)
    assert report["passed"]
    assert report["trials"] == 2


def test_list_and_show() -> None:
    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["observers", "list", "--json"]).stdout)
    assert "chance" in [card["name"] for card in listed["cards"]]
    shown = json.loads(runner.invoke(app, ["observers", "show", "ssim", "--json"]).stdout)
    assert shown == next(card for card in listed["cards"] if card["name"] == "ssim")
    assert "unpinned" in runner.invoke(app, ["observers", "list"]).stdout
    assert "weights.revision" in runner.invoke(app, ["observers", "show", "resnet50"]).stdout
