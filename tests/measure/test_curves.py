"""Learning from less, elsewhere, and with trees."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from support.measured_world import MeasuredWorld, measured_world

import imi_bench as imi
from imi_bench.errors import InputError, LeakageError, NotComparableError
from imi_bench.measure.head import HeadRows
from imi_bench.measure.result import Learned
from imi_bench.tables import DecisionVariables, Study, TrialIndex


@pytest.fixture(scope="module")
def made() -> MeasuredWorld:
    return measured_world()


@pytest.fixture(scope="module")
def learned(made: MeasuredWorld) -> Learned:
    return imi.learn(made.observers, made.world.study, by="network", n_boot=0, curves=2)


def elsewhere(made: MeasuredWorld) -> tuple[list[DecisionVariables], Study]:
    """The same world under networks of other names."""
    frame = made.world.study.trials.to_frame()
    old = frame["trial_id"].tolist()
    frame["network"] = "new-" + frame["network"]
    frame["trial_id"] = TrialIndex.canonical_ids(frame)
    new = dict(zip(old, frame["trial_id"], strict=True))

    def ids(given):
        return np.array([new[one] for one in given.tolist()], dtype=object)

    answers = made.world.study.responses
    study = Study(TrialIndex.from_frame(frame), replace(answers, trial_id=ids(answers.trial_id)))
    return [replace(one, trial_id=ids(one.trial_id)) for one in made.observers], study


@pytest.mark.whole
def test_curves_rise_and_end_at_the_whole(learned: Learned) -> None:
    assert learned.curves is not None
    table = learned.curves.table
    whole = table[table["curve"] == "all"].iloc[0]
    # the curve is learnt at one shrinkage, the headline averages over several
    assert learned.bits.low < whole["bits"] < learned.bits.high
    answers = table[table["curve"] == "answers"]
    assert answers["answers_a_unit"].iloc[-1] == 1
    assert answers["bits"].iloc[0] > answers["bits"].iloc[-1]
    assert (table["curve"] == "units").any()
    told = json.loads(json.dumps(learned.to_json()))["curves"]
    assert told["advice"] == learned.curves.advice
    assert "imi-bench collect" in told["advice"]
    assert learned.curves.plot().get_xscale() == "log"


@pytest.mark.whole
def test_shares_of_the_ceiling_and_of_bayes(made: MeasuredWorld, learned: Learned) -> None:
    """Beside scikit-learn out of fold by network, and the truth's own score of these answers."""
    study, truth = made.world.study, made.world.truth
    row_of = {name: row for row, name in enumerate(study.trials.trial_id)}
    right = study.responses.correct
    bits = np.empty(len(right))
    place = {name: row for row, name in enumerate(made.observers[0].trial_id)}
    order = [place[name] for name in study.responses.trial_id]
    seen = np.column_stack([one.toward_correct[order] for one in made.observers])
    network = study.trials.network[[row_of[name] for name in study.responses.trial_id]]
    for held in set(network):
        out = network == held
        model = LogisticRegression(C=1e6, fit_intercept=False).fit(seen[~out], right[~out])
        bits[out] = 1 + model.predict_log_proba(seen[out])[np.arange(out.sum()), right[out] * 1]
    bits = 1 + (bits - 1) / np.log(2)
    assert learned.bits.value == pytest.approx(bits.mean(), abs=0.01)
    known = truth.predicted(known="covariates")
    told = known[[list(truth.index.trial_id).index(name) for name in study.responses.trial_id]]
    scored = 1 + np.log2(np.where(right, told, 1 - told))
    best = learned.bits.value / learned.share_of_bayes(truth)
    error = scored.std() / np.sqrt(len(scored))
    assert best == pytest.approx(scored.mean(), abs=4 * error)
    assert error < 0.02
    assert learned.share_of_ceiling.value == pytest.approx(
        learned.bits.value / learned.ceiling.value
    )


@pytest.mark.whole
def test_transfer_to_another_world_by_name_and_never_to_what_was_seen(
    made: MeasuredWorld, learned: Learned
) -> None:
    with pytest.raises(LeakageError, match="what it was fitted on"):
        learned.transfer(made.observers, made.world.study)
    other = measured_world(seed=1, networks=3)
    runs, study = elsewhere(other)
    found = learned.transfer(runs, study)
    turned = learned.transfer(runs[::-1], study)
    again = type(found).from_json(found.to_json())
    assert again.to_json() == found.to_json()
    assert again.summary() == found.summary()
    assert "best single of the fit" in found.summary()
    assert turned.bits == found.bits
    assert found.bits.value > 0.1
    assert found.best_single["observer"] in learned.observers
    assert found.difference.value == pytest.approx(
        found.bits.value - found.best_single["bits"].value
    )
    with pytest.raises(NotComparableError, match="other observers"):
        learned.transfer(runs[1:], study)
    pictures = imi.learn(
        made.observers, made.world.study, by="network", n_boot=0, curves=0, trials=made.world.trials
    )
    runs, study = elsewhere(made)
    shown = replace(made.world.trials, index=study.trials)
    with pytest.raises(LeakageError, match="pictures that the measure was fitted on"):
        pictures.transfer(runs, study, trials=shown)


@pytest.mark.whole
def test_boosting_is_one_more_choice_and_only_of_the_measure(made: MeasuredWorld) -> None:
    pytest.importorskip("sklearn")
    from imi_bench.measure.boosting import fit_boosted

    found = imi.learn(
        made.observers, made.world.study, head="measure", boosting=True, n_boot=0, curves=0
    )
    assert len(found.log[0]["inner_bits"]) == len(found.log[0]["grid"]) + 1
    assert found.bits.value > found.base_rate - 0.03
    with pytest.raises(InputError, match="boosting is no observer"):
        imi.learn(made.observers, made.world.study, boosting=True)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 1))
    p = 1 / (1 + np.exp(-2 * np.sin(z[:, 0])))  # falls again far out
    none, ten = np.empty((600, 0)), np.full(600, 10.0)
    boosted = fit_boosted(HeadRows(z, none, none, rng.binomial(10, p).astype(float), ten), seed=0)
    told = boosted.probability(HeadRows(np.sort(z, axis=0), none, none, ten, ten))
    assert (np.diff(told) >= 0).all()
    assert 0.005 <= told.min() <= told.max() <= 0.995
