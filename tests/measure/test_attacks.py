"""Ways to a flattering or a wrong number: each raises, or is said beside the result."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from support.measured_world import MeasuredWorld, measured_world

import imi_bench as imi
from imi_bench.errors import InputError, LeakageError, NotComparableError, NotEnoughDataError
from imi_bench.measure.guards import check_function, check_networks, check_same_trials
from imi_bench.measure.result import Learned
from imi_bench.provenance import sha256_json
from imi_bench.tables import DecisionVariables, Study
from imi_bench.tables.fitted_on import FittedOn


@pytest.fixture(scope="module")
def made() -> MeasuredWorld:
    return measured_world()


def learn(made: MeasuredWorld, observers=None, study=None, **options):
    options = {"n_boot": 0, "curves": 0, "by": "network"} | options
    return imi.learn(
        made.observers if observers is None else observers,
        made.world.study if study is None else study,
        **options,
    )


@pytest.fixture(scope="module")
def plain(made: MeasuredWorld) -> Learned:
    """All observers, all answers."""
    return learn(made)


def like(one: DecisionVariables, values, name: str) -> DecisionVariables:
    return replace(one, observer=name, decision_variable=np.asarray(values, dtype=np.float64))


def said(found, text: str) -> bool:
    return any(text in note for note in found.notes)


def test_an_observer_that_read_the_answers_is_named(made: MeasuredWorld, plain: Learned) -> None:
    study, one = made.world.study, made.observers[0]
    rate = np.bincount(study.rows, study.responses.correct) / np.bincount(study.rows)
    of = dict(zip(study.trials.trial_id.tolist(), rate.tolist(), strict=True))
    knows = np.array([of[t] for t in one.trial_id.tolist()])
    side = np.where(one.shown_first.astype(str) == "positive", 1.0, -1.0)
    logit = np.log((knows + 0.02) / (1.02 - knows))
    found = learn(made, [*made.observers[:2], like(one, side * logit, "reader")])
    assert said(found, "'reader' predicts people at")
    assert not said(plain, "predicts people at")


@pytest.mark.whole
def test_the_same_observer_twice_is_said_and_gains_nothing(made: MeasuredWorld) -> None:
    one = made.observers[0]
    alone = learn(made, [one])
    twice = learn(made, [one, like(one, 2 * one.decision_variable, "again")])
    assert said(twice, "say the same")
    assert twice.bits.value == pytest.approx(alone.bits.value, abs=0.01)


@pytest.mark.whole
def test_a_constant_column_is_said(made: MeasuredWorld) -> None:
    one = made.observers[0]
    found = learn(made, [one, like(one, np.ones(len(one)), "one side")])
    assert said(found, "'one side' gives one value")


@pytest.mark.whole
def test_a_sign_flip_gains_nothing_and_is_said(made: MeasuredWorld) -> None:
    together = np.sum([one.decision_variable for one in made.observers], axis=0)
    flipped = like(made.observers[0], -together, "flipped")
    found = learn(made, [made.observers[1], flipped])
    assert found.weights["flipped"].value == 0
    assert said(found, "'flipped' leans against people")


@pytest.mark.whole
def test_a_weak_yardstick_is_said(made: MeasuredWorld) -> None:
    weak = made.observers[0].observer
    assert said(learn(made, baseline=[weak]), "chosen among 1 of 5")


def test_the_yardstick_is_what_score_says_of_the_observer(
    made: MeasuredWorld, plain: Learned
) -> None:
    for one in made.observers:
        told = imi.score(one, made.world.study, by=(), n_resamples=0, calibrate_by="network")
        assert plain.singles[one.observer] > told["bits"].estimate.value - 0.004


@pytest.mark.whole
def test_missing_answers_and_values_out_of_scale_are_counted(made: MeasuredWorld) -> None:
    one = made.observers[0]
    value = one.decision_variable.copy()
    value[3] = 1e6
    found = learn(made, [like(one, value, "wild"), *made.observers[1:]])
    assert said(found, "1 decision variables out of scale")
    status = one.status.copy()
    status[:5] = "refused"
    quiet = replace(one, status=status, decision_variable=np.where(status == "ok", value, np.nan))
    told = learn(made, [quiet, *made.observers[1:]])
    assert said(told, f"{one.observer} gave no answer on 5 of")


@pytest.mark.whole
def test_trials_that_an_observer_was_not_shown_are_counted(made: MeasuredWorld) -> None:
    one = made.observers[0]
    some = DecisionVariables.from_frame(one.to_frame().iloc[10:])
    assert said(learn(made, [some, *made.observers[1:]]), "10 trials with answers that not every")


def test_one_network_or_few_units_are_not_enough() -> None:
    one = measured_world(networks=1)
    with pytest.raises(NotEnoughDataError, match="folds by network"):
        learn(one)
    index = one.world.study.trials
    keep = np.isin(index.unit_id, np.unique(index.unit_id.astype(str))[:3])
    ids = set(index.trial_id[keep].tolist())
    answers = one.world.study.responses
    few = np.isin(answers.trial_id, list(ids))
    study = Study(index.take(keep), answers.take(few))
    with pytest.raises(NotEnoughDataError, match="too few units"):
        learn(one, study=study, by="unit")


def test_one_network_under_two_names(made: MeasuredWorld) -> None:
    index = made.world.study.trials
    names = index.network.copy()
    names[names == "toy-birch"] = "Toy-Alder"
    with pytest.raises(LeakageError, match="several names"):
        check_networks(replace(index, network=names))
    check_networks(index)


def test_runs_over_other_pictures_under_the_same_names() -> None:
    record = {"trials": {"hash": "a" * 64, "count": 9}, "observer": {"name": "one"}}
    other = {"trials": {"hash": "b" * 64, "count": 9}, "observer": {"name": "two"}}
    check_same_trials([record, record, {}])
    with pytest.raises(NotComparableError, match="not shown the same trials"):
        check_same_trials([record, other])


def test_dropping_shared_pictures_needs_the_pictures(made: MeasuredWorld) -> None:
    with pytest.raises(InputError, match="shared pictures are not known"):
        learn(made, drop_shared=True)


def test_a_measure_does_not_take_the_name_of_a_part(made: MeasuredWorld) -> None:
    with pytest.raises(InputError, match="name of one of its parts"):
        learn(made, name=made.observers[0].observer)


class _Keeper:
    def __init__(self, study: Study) -> None:
        self.inner = {"kept": [study]}

    def __call__(self, trials):
        return np.zeros(len(trials)) + len(self.inner)


def test_answers_behind_a_helper_an_object_or_a_partial(made: MeasuredWorld) -> None:
    study = made.world.study

    def helper():
        return study

    def outer(trials):
        return np.zeros(len(trials)) + len(helper().responses)

    for function in (
        outer,
        _Keeper(study),
        functools.partial(outer),
        functools.partial(max, study),
    ):
        with pytest.raises(LeakageError, match="sees people's answers"):
            check_function(function)
    check_function(lambda trials: trials.index.batch)


def test_answers_dealt_to_trials_twice_are_refused(made: MeasuredWorld) -> None:
    answers = made.world.study.responses
    with pytest.raises(InputError, match="duplicate answer"):
        answers.take(np.append(np.arange(len(answers)), 0))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("final", "weights"), [float("1e999")]),
        (("final", "weights"), "os.system"),
        (("final", "scales"), [0.0] * 5),
        (("final", "weights"), [-1.0] * 5),
        (("final", "linear"), None),
        (("columns",), [{"name": "../../etc/passwd", "fingerprint": ""}] * 5),
        (("columns",), 3),
        (("fitted_on",), None),
        (("features",), ["nothing known"]),
        (("head",), "pickle"),
    ],
)
def test_a_forged_record_is_refused_in_one_line(plain, tmp_path, place, value) -> None:
    out = plain.write(tmp_path / "learned")
    record = json.loads((out / "learned.json").read_text())
    inside = record
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    record.pop("sha256")
    record["sha256"] = sha256_json(record)
    (out / "learned.json").write_text(json.dumps(record))
    with pytest.raises(imi.errors.ImiBenchError):
        imi.load_observer(str(out))


def test_a_unit_under_another_spelling_was_seen_all_the_same(made: MeasuredWorld) -> None:
    """The case, the signs and the difficulty in a name do not make other units of them."""
    index = made.world.trials.index
    told = [unit.upper().replace("/", "_hard95/", 1) for unit in index.unit_id.tolist()]
    known = FittedOn("", frozenset(told), frozenset())
    mine = replace(made.observers[0], fitted_on=known)
    for use in (
        lambda: imi.score(mine, made.world.study),
        lambda: imi.gate(mine, against=made.observers[1], trials=made.world.trials, max_drop=0.5),
        lambda: imi.learn([mine, made.observers[1]], made.world.study),
    ):
        with pytest.raises(LeakageError, match="what it was fitted on"):
            use()


def test_what_the_parts_of_an_observer_have_seen_counts(made: MeasuredWorld) -> None:
    """An observer made of fitted observers has seen what each of them has seen."""
    unit = str(made.world.trials.index.unit_id[0])
    inner = FittedOn("", frozenset({unit}), frozenset({"net"}), frozenset({"ab" * 8}))
    outer = FittedOn("", frozenset({"net/other/3"}), frozenset({"net"}))
    described = {
        "fitted_on": outer.to_json(),
        "parts": [{"kind": "pixel"}, {"parts": [{"fitted_on": inner.to_json()}]}],
    }
    known = FittedOn.of(described)
    assert known is not None
    assert known.units == {unit, "net/other/3"}
    assert known.images == inner.images
    assert FittedOn.of({"parts": described["parts"]}) == inner
    with pytest.raises(InputError, match="fitted on"):
        FittedOn.of({"fitted_on": {}})


def test_a_measure_learnt_from_learnt_observers_has_seen_what_they_have(
    made: MeasuredWorld,
) -> None:
    elsewhere = FittedOn("", frozenset({"net/other/3"}), frozenset({"net"}))
    runs = [replace(made.observers[0], fitted_on=elsewhere), made.observers[1]]
    options = {"n_folds": 3, "n_boot": 0, "curves": 0}
    found = imi.learn(runs, made.world.study, **options)
    assert "net/other/3" in found.record["fitted_on"]["units"]
    assert set(made.world.study.trials.unit_id) <= set(found.record["fitted_on"]["units"])
