"""The forerunner's tables: reader, checksums, published numbers, lme4, other rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.effects.study import effects
from imi_bench.effects.times import response_times
from imi_bench.errors import DownloadError, InputError, ResponseError
from imi_bench.glmm import fit
from imi_bench.release.borowski import BorowskiTable, facts, read_borowski, read_ratings
from imi_bench.release.borowski_results import (
    conditions,
    differences,
    mean_over_people,
    published_beside,
    retest,
    retested,
)
from imi_bench.release.borowski_rules import RULES, borowski_multiverse
from imi_bench.release.pinned import fetch_pinned, stored_pinned
from imi_bench.release.study_files import read_answers
from imi_bench.scores.people import answers_needed, people_ceilings


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "people" / "borowski2021"


@pytest.fixture(scope="module")
def one(folder: Path) -> BorowskiTable:
    return read_borowski(folder / facts()["tables"]["I"]["file"])


@pytest.fixture(scope="module")
def two(folder: Path) -> BorowskiTable:
    return read_borowski(folder / facts()["tables"]["II"]["file"])


def made(path: Path, **changes: object) -> Path:
    row = {
        "subject_id": 1,
        "trial_nr": 20,
        "block_nr": 1,
        "instr_type": "natural",
        "trial_type": "main",
        "catch_trial": False,
        "batch": 2,
        "layer": "layer_0",
        "kernel_size": "1",
        "channel": "channel_0",
        "query_order": "max_min",
        "correct": True,
        "conf_rating": -2,
        "abs_conf_rating": 2,
        "RT": 1.5,
        "response": "a",
        "correct_response": "a",
        "old_trial_nr": np.nan,
    }
    pd.DataFrame([row, {**row, "trial_nr": 21, "batch": 3, **changes}]).to_csv(path)
    return path


def test_both_are_the_pinned_tables(one: BorowskiTable, two: BorowskiTable) -> None:
    for table in (one, two):
        known = facts()["tables"][table.experiment]
        assert table.as_published
        assert len(table.frame) == known["rows"]
        assert table.frame["participant"].nunique() == known["participants"]
        assert [v.problem for v in table.violations] == ["impossible response time"]
        assert [len(v.rows) for v in table.violations] == [1]


def test_every_published_percentage_comes_out_again(one: BorowskiTable, two: BorowskiTable) -> None:
    again = published_beside([one, two])
    assert len(again) == len(facts()["published"])
    assert again["same"].all()


def test_rows_have_their_covariates(one: BorowskiTable, two: BorowskiTable) -> None:
    first, second = one.frame, two.frame
    main = first[one.main]
    assert set(main["references"]) == {9}
    assert main["hand_picked"].sum() == 180
    assert main.groupby("layer")["unit"].nunique().eq(5).all()
    none = first[(first["mode"] == "none") & (first["kind"] == "main")]
    assert set(none["references"]) == {0}
    assert set(none["phase"]) == {"pre", "post"}
    shown = second[two.main]
    assert shown.groupby(["sides", "references"]).size().tolist() == [920] * 4
    assert shown.groupby("expertise")["participant"].nunique().to_dict() == {
        "expert": 10,
        "naive": 13,
    }
    assert shown.groupby(["layer", "branch"])["unit"].nunique().eq(4).all()


def test_feature_maps_lie_in_their_branch(one: BorowskiTable) -> None:
    """InceptionV1 joins its branches' channels in the order 1x1, 3x3, 5x5, pool."""
    ends = {"mixed3a": (64, 192, 224, 256), "mixed4e": (256, 576, 704, 832)}
    rows = one.frame[one.main]
    for layer, edges in ends.items():
        part = rows[rows["layer"] == layer]
        place = np.searchsorted(edges, part["unit"].to_numpy(dtype=int), side="right")
        assert (np.array(["1x1", "3x3", "5x5", "pool"])[place] == part["branch"]).all()


def test_a_trial_shown_with_other_references_is_another(two: BorowskiTable) -> None:
    study = two.study()
    assert len(study.responses) == 3680
    ends = {name.rpartition("/")[2] for name in study.trials.trial_id}
    assert ends == {"max-1", "max-9", "both-1", "both-9"}


def test_repeated_and_reference_free_trials_are_no_study(one: BorowskiTable) -> None:
    kept = (one.main | (one.frame["kind"] == "repeated")).to_numpy()
    with pytest.raises(ResponseError, match="without references"):
        one.study(kept)
    again = kept & (one.frame["mode"] != "none").to_numpy()
    with pytest.raises(InputError, match="duplicate answer"):
        one.study(again)


def test_lme4_finds_the_same(one: BorowskiTable, shared: Path) -> None:
    wanted = json.loads((shared / "people" / "borowski2021" / "lme4.json").read_text())["I"]
    rows = one.frame[one.main]
    layers = sorted(rows["layer"].unique())
    table = pd.DataFrame(
        {
            "y": rows["correct"].astype(int),
            "synthetic": (rows["mode"] == "synthetic").astype(float),
            "depth": rows["layer"].map(layers.index).astype(float),
            "s": rows["participant"],
            "u": rows["layer"] + rows["unit"].astype(str),
        }
    )
    found = fit("y ~ synthetic + depth + (1 | s) + (1 | u)", table)
    assert wanted["logLik"] - 1e-3 < found.log_likelihood < wanted["logLik"] + 0.02
    for name, value in wanted["fixed"].items():
        assert found.estimate[found.index(name)] == pytest.approx(value, abs=0.02)


def test_effects_of_one_network(one: BorowskiTable) -> None:
    found = effects(one.study())
    assert found["synthetic"].shown
    assert found["synthetic"].test.estimate < 0
    assert found["parameters"].test.reason == "these are answers to one network"
    assert "(1 | network)" not in found.formula
    assert effects(one.study(), ordinal=True)["synthetic"].shown


def test_response_times_leave_out_the_impossible_one(folder: Path, one: BorowskiTable) -> None:
    assert response_times(one.study()).excluded["of zero or negative time"] == 0
    rows = one.frame["kind"].eq("main") & one.frame["mode"].ne("none") & one.frame["unit"].notna()
    assert int((one.frame["seconds"] <= 0).sum()) == 1
    assert not (rows & (one.frame["seconds"] <= 0)).any()


def test_differences_and_intervals_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "participant": ["a", "a", "b", "b", "c", "c"],
            "mode": ["natural", "synthetic"] * 3,
            "condition": "1",
            "correct": [1.0, 0.0, 1.0, 1.0, 1.0, 0.0],
        }
    )
    gap = differences(rows).iloc[0]
    assert gap["difference"] == pytest.approx(2 / 3)
    assert gap["t"] == pytest.approx(2.0)  # mean 2/3, standard error 1/3
    assert mean_over_people(rows).value == pytest.approx(4 / 6)


def test_retest_pairs_are_of_the_same_trial(one: BorowskiTable) -> None:
    pairs = retested(one)
    assert len(pairs) == 180
    again = retest(one, n_resamples=50)
    natural = again.set_index("mode").loc["natural"]
    part = pairs[pairs["mode"] == "natural"]
    assert natural["agreement"] == pytest.approx((part["first"] == part["second"]).mean())
    assert natural["low"] <= natural["kappa"] <= natural["high"]


def test_ceilings_need_no_observer(two: BorowskiTable) -> None:
    found = people_ceilings(two.study())
    assert 0.6 < found["split_half_reliability"].value < 0.9
    assert found["split_half_reliability"].value == pytest.approx(
        found["binomial_reliability"].value, abs=0.05
    )
    assert answers_needed(0.5, answers=10, wanted=0.9) == pytest.approx(90)
    assert np.isnan(answers_needed(-0.1, answers=10, wanted=0.9))


def test_the_multiverse_holds_the_published_numbers(one: BorowskiTable) -> None:
    found = borowski_multiverse(one)
    published = found.published_row()
    means = (
        conditions(one).groupby(["mode", "participant"])["correct"].mean().groupby("mode").mean()
    )
    assert published["natural"] == pytest.approx(means["natural"])
    assert len(found.frame) == 2 ** len(RULES)
    assert (found.to_frame()["same_sign"] == 1).all()


def test_fetch_takes_only_the_pinned_files(folder: Path, tmp_path: Path) -> None:
    found = fetch_pinned(tmp_path / "cache", source=folder)
    assert [one.how for one in found] == ["copied"] * 5
    assert len(stored_pinned(tmp_path / "cache")) == 5
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="5 of 5 files"):
        fetch_pinned(tmp_path / "cache", source=other)
    for one in found:
        (other / one.path.name).write_bytes(one.path.read_bytes())
    changed = other / found[0].path.name
    changed.write_text(changed.read_text().replace("True", "False", 1))
    with pytest.raises(DownloadError, match="not the file of the record"):
        fetch_pinned(tmp_path / "cache", source=other)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instr_type": "blue"}, "unknown instr_type"),
        ({"abs_conf_rating": 4}, "unknown abs_conf_rating"),
        ({"RT": "soon"}, "not numbers"),
    ],
)
def test_a_cell_that_is_not_described_is_refused(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ResponseError, match=said):
        read_borowski(made(tmp_path / "t.csv", **changes))


def test_contradictions_are_remarks(tmp_path: Path) -> None:
    table = read_borowski(made(tmp_path / "t.csv", correct=False, conf_rating=1, trial_nr=20))
    assert {v.column for v in table.violations} == {"correct", "conf_rating", "trial_nr"}
    assert not table.as_published
    assert len(read_answers(tmp_path / "t.csv").responses) == 2


def test_ratings(folder: Path, tmp_path: Path) -> None:
    ratings = read_ratings(folder)
    assert len(ratings) == 30 + 69 + 69
    assert ratings["rating"].between(-100, 100).all()
    with pytest.raises(InputError, match="no ratings"):
        read_ratings(tmp_path)


def test_the_verbs(folder: Path, tmp_path: Path) -> None:
    path = str(folder / facts()["tables"]["I"]["file"])
    run = CliRunner().invoke
    said = run(app, ["data", "info", path])
    assert said.exit_code == 0
    assert "92 ± 2 %" in said.output
    assert run(app, ["data", "verify", path]).exit_code == 0
    facts_ = json.loads(run(app, ["data", "info", path, "--json"]).output)
    assert all(row["same"] for row in facts_["published"])
    many = run(app, ["data", "multiverse", path, "--rules", "slow_answers"])
    assert "2 universes" in many.output
