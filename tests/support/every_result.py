"""One of every result of the package: real ones of a small study, the rest made by hand.

Made ones hold what is lost easily: NaN, infinite numbers, nothing at all, markup, other alphabets,
missing values in columns of whole numbers, of truths, and of categories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import imi_bench as imi
from imi_bench.choice.calibration import Calibration
from imi_bench.choice.psychometric import PsychometricParameters
from imi_bench.collect import experiment as collect
from imi_bench.collect.progress_report import Status
from imi_bench.effects.left_out import LeftOut
from imi_bench.effects.times import ResponseTimes
from imi_bench.fewshot.budget import Budget
from imi_bench.fewshot.contamination import Contamination
from imi_bench.fewshot.curves import FewShot, Point
from imi_bench.fewshot.design import Design
from imi_bench.glmm.inference import Inference
from imi_bench.glmm.intervals import intervals
from imi_bench.glmm.options import Options
from imi_bench.glmm.posthoc import compare_groups
from imi_bench.glmm.power import Plan, size_study
from imi_bench.glmm.result import GlmmResult
from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.entry import Added, Examined
from imi_bench.leaderboard.rows import Row, Table
from imi_bench.measure.curves import Curves
from imi_bench.measure.result import Learned
from imi_bench.measure.transfer import Transferred
from imi_bench.mis.run import MisRun
from imi_bench.mis.scores import MachineInterpretability
from imi_bench.networks.activation_record import Activations
from imi_bench.observers.contract import ContractReport, Property
from imi_bench.release.borowski import BorowskiTable
from imi_bench.release.checks import Violation
from imi_bench.release.conditions import condition_means
from imi_bench.release.description import TableDescription, VerifiedTable
from imi_bench.release.exclusions import Agreement, Exclusion, Rules
from imi_bench.release.multiverse import CHOICES, Multiverse
from imi_bench.replay.evidence import Evidence
from imi_bench.report.mis.page import MisPage
from imi_bench.report.mis.scored import ScoredUnits
from imi_bench.report.paper.page import Paper
from imi_bench.report.paper.panel import Beside, Panel, Plot
from imi_bench.report.units.built import BuiltUnits
from imi_bench.report.units.page import UnitsPage
from imi_bench.results import Record, Result
from imi_bench.stats.estimate import Estimate
from imi_bench.stimuli.trial_files import write_trials
from imi_bench.tables import DecisionVariables, Responses, Study
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.tables.images import png_bytes
from support.made_trials import make_index, make_trials
from support.small_study import SmallStudy

__all__ = ["every_result", "every_setting"]

ODD = "<b>ünit&'\"</b>"
NAN = math.nan
LOST = Estimate.undefined("too few <units>", n=3, clusters=1)
KNOWN = Estimate(0.25, 0.125, math.inf, n=9, clusters=3, method="bootstrap", unit="bits/answer")
SURE = Estimate(0.1 + 0.2, 0.25, 0.5, n=9, clusters=3)
FRAME = pd.DataFrame(
    {
        "text": [ODD, None],
        "gone": [NAN, NAN],
        "number": [0.1, math.inf],
        "count": pd.array([1, None], dtype="Int64"),
        "truth": pd.array([True, None], dtype="boolean"),
        "kind": pd.Categorical(["b", None], categories=["b", "a"], ordered=True),
        "whole": np.array([2**53 + 1, -1]),
    }
)
NOTHING = FRAME.head(0)


def every_result(study: SmallStudy) -> Iterator[Result]:
    """All of them, some of a kind more than once."""
    for make in (_study, _models, _tables, _boards, _learnt, _read, _paper, _pages):
        yield from make(study)


def every_setting() -> list[Record]:
    """Records that no result holds."""
    plan = collect.Plan(mode="natural", per_task=7, title=ODD)
    return [plan, Options(lapse=0.25), Design(shots=(0, 2), ablations=("labels",))]


def _study(study: SmallStudy) -> list[Result]:
    run = study.runs[0]
    calibration = imi.calibrate(run, study.people)
    few = study.trials[:4]
    return [
        few,
        few[:0],
        make_trials(),
        few.index,
        study.people,
        study.people.responses,
        replace(run, evidence=_evidence()),
        run.decisions,
        calibration,
        Calibration.fixed(PsychometricParameters(slope=2.0, lapse=0.1), label=ODD),
        calibration.predict(run.decisions, study.trials.index),
        imi.score(run, study.people, n_resamples=20),
        imi.compare(study.runs, study.people, n_resamples=20),
        imi.gate(run, against=study.runs[1], by="mode"),
        replace(study.effects, left_out=(LeftOut(ODD, 3, "<why>"),), notes=(ODD,)),
        study.effects["parameters"],
        *study.effects.observers,
        *study.effects.groups.values(),
    ]


def _evidence() -> Evidence:
    whole = np.arange(8, dtype=np.float32).reshape(1, 2, 4) / 3
    names = np.array(["a" * 64], dtype=object)
    return Evidence(whole, whole[:, :, :2], np.zeros((1, 2, 0), dtype=np.int64), names)


def _models(_: SmallStudy) -> list[Result]:
    rng = np.random.default_rng(0)
    rows = 240
    table = pd.DataFrame(
        {
            "g": rng.integers(0, 12, rows).astype(str),
            "mode": np.where(rng.random(rows) < 0.5, "natural", "synthetic"),
            "x": rng.normal(size=rows),
        }
    )
    chance = 1 / (1 + np.exp(-(0.5 + 0.6 * table["x"] + 0.4 * (table["mode"] == "natural"))))
    table["y"] = (rng.random(rows) < chance).astype(int)
    small, model = imi.fit("y ~ x + (1|g)", table), imi.fit("y ~ x + mode + (1|g)", table)
    tests = model.drop_one()
    joint = Inference.without_interval(
        ODD, method="Wald F", statistic=math.inf, df=math.inf, p=0.0, reason="a joint test"
    )
    sizing = size_study(Plan(networks=3, units=2), slope=0.0)
    return [
        model,
        small.anova(model),
        model.variation(),
        model.restarts(n=2),
        model.marginal_means("mode"),
        model.marginal_means("mode").contrasts(),
        model.predict(table.head(5)),
        model.residuals(n=50),
        model.influence("g"),
        model.bootstrap(n=2, workers=1),
        intervals(model, method="wald"),
        tests,
        tests[0],
        joint,
        Inference.undefined(ODD, method="z", reason="no <fit>"),
        compare_groups({name: rng.normal(size=9) for name in "abc"}, n_resamples=50),
        sizing,
        sizing.found,
        _times((joint, tests[0]), model),
    ]


def _times(tests: tuple[Inference, ...], model: GlmmResult) -> ResponseTimes:
    return ResponseTimes(tests, {"correct": NAN}, "y ~ x", 9, {ODD: 3}, True, model, (ODD,))


def _tables(study: SmallStudy) -> list[Result]:
    index = make_index(3, unit=np.array([-1, 2**53 + 1, 0]))
    responses = Responses(
        trial_id=index.trial_id[:2],
        participant=np.array([ODD, "007"], dtype=object),
        correct=np.array([True, False]),
        chose_first=np.array([1.0, NAN]),
        confidence=np.array([NAN, 2.0]),
        seconds=np.array([NAN, 0.1 + 0.2]),
        simulated=True,
        source=ODD,
    )
    decisions = DecisionVariables(
        observer=ODD,
        trial_id=index.trial_id,
        decision_variable=np.array([1e-300, NAN, 0.0]),
        status=np.array(["ok", "option missing", "tie"], dtype=object),
        shown_first=np.array(["positive", "negative", "positive"], dtype=object),
        seconds=np.array([0.0, math.inf, 1.0]),
        fitted_on=FittedOn("s", frozenset({"n/l/2", "n/l/1"}), frozenset({"n"})),
    )
    empty = responses.take(np.zeros(2, dtype=bool))
    rules = Rules.published()
    why = np.array([[True, False], [False, False]])
    people = np.array([ODD, "p2"], dtype=object)
    unlike = Agreement("row", 1, 2, 3, 4, 5)
    means = condition_means(study.people, n_resamples=20)
    return [
        Study(index, responses, (1, 2)),
        Study(index, empty),
        decisions,
        Exclusion(rules, ~why.any(axis=1), ("catch trial", ODD), why, people),
        TableDescription(
            ODD,
            True,
            {"simulated": True, "rows": 2, "file_sha256": None},
            pd.DataFrame({"reason": ["catch trial"], "rows": [1], "rows_only": [1]}),
            1,
            1,
            (*means, replace(means[0], mean=LOST)),
        ),
        VerifiedTable(Path("a b.csv"), "", True, 3, 1, (_broken(),), 2, {"row": 2}, (unlike,)),
    ]


def _broken() -> Violation:
    return Violation("correct", "bad", "true or false", np.array([3, 5]), ODD)


def _boards(_: SmallStudy) -> list[Result]:
    first = Row("submission", ODD, "1", ODD, KNOWN, {"mode=natural": LOST}, {"bits": KNOWN}, LOST)
    ranked = replace(
        first, rank=1, rank_low=1, rank_high=2, group=1, p_leader=0.5, claims={"b": NAN}
    )
    facts = {
        "question": "?",
        "about": ODD,
        "kind": "observers",
        "simulated": True,
        "version": 3,
        "rules_hash": "a",
        "study_hash": "",
        "score_name": "left_out",
        "score_help": "",
        "unit": "bits",
        "chance": 0.0,
        "rule": "by score",
    }
    table = Table("b", ODD, **facts, ceiling=LOST, resolvable=NAN, rows=(ranked, first))
    return [
        replace(table, rejected=(("x/1", ODD),)),
        replace(table, ceiling=None, rows=()),
        Added(Path("x/1"), ranked, table),
        Examined(9, 0.5, (), simulated=True),
        Examined(0, None, (Problem("a.toml", "name", ODD),)),
    ]


def _learnt(_: SmallStudy) -> list[Result]:
    sizes = pd.DataFrame(
        {
            "curve": ["all", "units", "answers"],
            "units": [8, 4, 8],
            "answers_a_unit": [3.5, 3.5, 2],
            "bits": [0.2, 0.1, NAN],
            "lost": [0, 0.1, 0.1],
            "low": [0, NAN, 0],
            "high": [0, 1, 1],
        }
    )
    curves = Curves(sizes, LOST, KNOWN, 2)
    gains: dict[str, Any] = {
        "bits": KNOWN,
        "best_single": {"observer": ODD, "bits": LOST},
        "difference": KNOWN,
        "against_equal": LOST,
        "ceiling": KNOWN,
        "share_of_ceiling": LOST,
        "simulated": True,
    }
    learned = Learned(
        **gains,
        name=ODD,
        head="measure",
        by="unit",
        observers=("a", ODD),
        ece=KNOWN,
        ece_by_noise=LOST,
        singles={"a": 0.1, ODD: NAN},
        base_rate=NAN,
        weights={"a": KNOWN, ODD: LOST},
        predictions=FRAME,
        conditions=NOTHING,
        log=[{"fold": 0, "bits": 0.5}],
        record={"seed": 0},
        curves=curves,
        notes=(ODD,),
    )
    point = Point(ODD, 4, "none", SURE, 1.0, NAN, 1.0, 0.5, 0.5, 0.9, bits=SURE, agreement=LOST)
    pairs = pd.DataFrame({"where": ["a"], "kind": ["near"], "bits": [NAN], "cosine": [0.5]})
    contamination = Contamination(pairs, {"t0": False, ODD: True}, ("a",))
    answers = pd.DataFrame({"observer": [ODD], "credit": [0.5], "value": [NAN], "served": [None]})
    budget = {"observer": [ODD], "shots": [1], "calls": [4], "known": [1], "images": [20]}
    money = {"megabytes": [0.5], "tokens": [1e6], "cost": [NAN]}
    frame = pd.DataFrame({"layer": ["a"], "type": [None], "depth": [0.5], "width": [NAN]})
    frame = frame.assign(score=[NAN], hard_score=[0.5], reason=[ODD])
    units = {"scored": 0, "count": 1}
    slope = {"warning": ODD}
    record = {"network_name": ODD, "observer": {"name": "o"}, "units": units, "slope": slope}
    margin = np.array([[0.1, -0.1], [NAN, NAN]])
    asked = pd.DataFrame({"condition": [ODD, "b"], "answers": [3, 4], "wanted": [5, 5]})
    levels = {name: ["published", "strict"] for name in CHOICES}
    universes = pd.DataFrame(levels).assign(x=[0.5, NAN])
    kept = (Property(ODD, "pass", "0"), Property("batches", "fail", "0.1"))
    return [
        curves,
        learned,
        Transferred(**gains),
        FewShot((point,), answers, 30, 30, 4, (ODD,), {ODD: 1e6}, {"people": LOST}, FRAME, NOTHING),
        FewShot((point,), answers, 1, 1, 0, contamination=contamination, simulated=True),
        contamination,
        Contamination(pairs.head(0), {}, ()),
        Budget(pd.DataFrame({**budget, **money}), True, (ODD,)),
        MisRun(frame, record),
        MisRun(pd.DataFrame(), {}),
        MachineInterpretability(margin, 0.16, np.array(["", ODD], dtype=object)),
        Status({"done": 2}, asked, 1, 1, {"too_fast": 1}, 10, 3, None, 0.5, True),
        Multiverse(universes, ("x",), 2, f"mean of {ODD}", True),
        ContractReport("mine", "ab", 4, 20, 1e-6, kept),
    ]


def _read(_: SmallStudy) -> list[Result]:
    frame = pd.DataFrame(
        {
            "participant": ["I-01", "I-01", "I-02"],
            "layer": ["mixed4a"] * 3,
            "unit": pd.array([1, None, 3], dtype="Int64"),
            "mode": ["natural", "none", "synthetic"],
            "references": [9, 0, 9],
            "sides": ["both", "", "both"],
            "expertise": pd.array(["expert", None, None], dtype="string"),
            "correct": [True, False, True],
            "kind": ["main"] * 3,
            "catch": [False] * 3,
            "seconds": [0.5, NAN, 1.5],
        }
    )
    return [BorowskiTable(frame, (_broken(),), "I", Path("experiment.csv"))]


def _paper(_: SmallStudy) -> list[Result]:
    plot = Plot("one", ODD, "<svg/>", b"\x00\xff", png_bytes(np.zeros((2, 2, 3), np.uint8)))
    beside = Beside("o", "It does.", (plot,), FRAME)
    tables = {"t": FRAME, "none": NOTHING}
    told = Panel("So.", "9 units", (plot,), tables, (ODD,), 1, "modes", f"{ODD}?", "", (beside,))
    drawn_from = {"simulated": True, "seed": 0}
    return [told, Panel("None.", "0"), Paper((told,), None, "x.csv", drawn_from)]


def _pages(study: SmallStudy) -> list[Result]:
    """Of runs, of scores of a network's units, and of trials built from them."""
    scored, built = study.folder / "scored", study.folder / "built"
    slope: dict[str, Any] = {"warning": "", "value": 0.16}
    _folder(scored, {"command": "mis", "network_name": ODD, "slope": slope, "observer": {}})
    rows = {"layer": ["a", "b"], "unit": [0, 1], "type": ["convolution"] * 2, "depth": [0.0, 1.0]}
    units = pd.DataFrame({**rows, "width": [2, NAN], "spread": [1.0, 2.0]})
    units.assign(score=[0.75, NAN], hard_score=[0.5, NAN]).to_parquet(scored / "scores.parquet")
    _folder(built, {"command": "stimuli build"})
    write_trials(make_trials(), built)
    units.to_parquet(built / "units.parquet")
    number, place = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int32)
    nothing, names = np.zeros(0), np.array(["x"], dtype=object)
    extremes = (place, number, place, number)
    measures = (nothing, nothing, nothing)
    Activations(ODD, (), names, *extremes, (), number[:, :0], *measures, {}).save(
        built / "activations" / "activations.npz"
    )
    return [
        imi.report(study.folder / "pixel-l2", out=study.folder / "page.html"),
        MisPage(scored / "page.html", ScoredUnits.read(scored), 0),
        UnitsPage(built / "page.html", BuiltUnits.read(built), 0),
    ]


def _folder(place: Path, record: dict[str, Any]) -> None:
    place.mkdir()
    (place / "run.json").write_text(json.dumps(record))
