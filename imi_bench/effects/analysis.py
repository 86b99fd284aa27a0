"""The named questions of the paper, each answered by one test that is honest about networks.

A mixed model gives every network its own level, its own effect of synthetic exemplars and its own
effect of depth, with units, units shown in a condition, and participants as random effects. What
differs between networks is then explained by their properties in a second stage
(`imi_bench.glmm.between`), one property at a time, with a t on networks minus two degrees of
freedom. Difficulty, layer type and width vary inside networks and have a Wald z; the harder
experiments were run with two networks only, so their numbers speak of those two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.effects.scale import INTEREST, PROPERTIES, network_table, smallest_effect
from imi_bench.effects.table import AnswerTable
from imi_bench.effects.truth import TrueEffects
from imi_bench.errors import NotEnoughDataError
from imi_bench.glmm import GlmmResult, build_design
from imi_bench.glmm.between import INTERCEPT, LevelEstimates, level_estimates, regress
from imi_bench.glmm.inference import (
    Equivalence,
    Inference,
    bayes_factor_null,
    equivalence,
    wald,
)
from imi_bench.networks.card import FAMILIES

__all__ = ["DEFAULT_METHOD", "Effect", "Effects", "analyse", "first_stage"]

DEFAULT_METHOD = (
    "two-stage t between networks (REML, Knapp-Hartung), Wald z within networks; logit link"
)
_WITHIN = {
    "hard99": ("difficulty", "99th-percentile queries against the most extreme"),
    "hard95": ("difficulty", "95th-percentile queries against the most extreme"),
    "hard85": ("difficulty", "85th-percentile queries against the most extreme"),
    "width": ("layer width", "a tenfold wider layer"),
}
_MEANS = {
    "synthetic": (
        "mode", "Do synthetic exemplars differ from natural ones?",
        "synthetic against natural exemplars",
    ),
    "depth": (
        "layer depth", "Do deeper layers differ from shallower ones?",
        "the last against the first block",
    ),
}  # fmt: skip
_BASES = {
    INTERCEPT: "the log-odds of a correct answer",
    "synthetic": "the effect of synthetic exemplars",
    "depth": "the effect of depth",
}


@dataclass(frozen=True)
class Effect:
    """One question and its answer.

    Attributes
    ----------
    key : short name, such as ``parameters`` or ``synthetic:parameters``.
    topic : ``scale``, ``family``, ``mode``, ``layer depth``, ``layer type``, ``layer width``,
        ``difficulty`` or ``interaction with scale``.
    question : in words.
    step : what the estimate is the effect of, such as ``tenfold parameters``.
    test : estimate in log-odds, interval, test.
    networks : how many networks the answer rests on.
    equivalence : test against the smallest effect of interest; None where none is stated.
    bayes_null : BF01, evidence for no effect; NaN where undefined.
    truth : true value in a simulation; NaN otherwise.
    tau : standard deviation between networks left unexplained; NaN within networks.
    """

    key: str
    topic: str
    question: str
    step: str
    test: Inference
    networks: int
    equivalence: Equivalence | None = None
    bayes_null: float = math.nan
    truth: float = math.nan
    tau: float = math.nan

    @property
    def label(self) -> str:
        """What the estimate is the effect of, short, for a figure's axis."""
        base = self.key.rpartition(":")[0]
        return f"{base} x {self.step}" if base else self.step

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        from imi_bench.effects.sentences import sentence

        return sentence(self)

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "key": self.key, "topic": self.topic, "question": self.question, "step": self.step,
            **{f"test_{k}" if k == "name" else k: v for k, v in self.test.to_json().items()},
            "networks": self.networks, "tau": self.tau, "bayes_null": self.bayes_null,
            "truth": self.truth, "sentence": self.sentence,
            "equivalence": self.equivalence and self.equivalence.to_json(),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Effects:
    """All answers for one panel of people or one observer.

    Attributes
    ----------
    who : ``people`` or an observer's name.
    simulated : whether the answers are made up.
    effects : in the order of the questions.
    stages : first-stage estimates by coefficient, one value a network.
    fit : the first-stage model.
    formula : of the full model, network random; the R script refits it.
    answers : number of answers.
    table : the model's table.
    properties : of the networks, indexed by network.
    """

    who: str
    simulated: bool
    effects: tuple[Effect, ...]
    stages: Mapping[str, LevelEstimates]
    fit: GlmmResult
    formula: str
    answers: int
    table: AnswerTable = field(repr=False)
    properties: pd.DataFrame = field(repr=False)

    def __getitem__(self, key: str) -> Effect:
        return {effect.key: effect for effect in self.effects}[key]

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "who": self.who, "simulated": self.simulated, "answers": self.answers,
            "networks": len(self.properties), "formula": self.formula, "method": DEFAULT_METHOD,
            "converged": self.fit.converged, "singular": self.fit.singular,
            "effects": [effect.to_json() for effect in self.effects],
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """One row a question, tidy."""
        rows = []
        for effect in self.effects:
            record = effect.to_json()
            bound = record.pop("equivalence")
            extra = ("bound", "p", "verdict")
            rows.append({
                "who": self.who, **record,
                **{f"equivalence_{name}": bound and bound[name] for name in extra},
            })  # fmt: skip
        return pd.DataFrame(rows)


def first_stage(table: AnswerTable) -> Mapping[str, LevelEstimates]:
    """Fit the model in which each network has coefficients of its own.

    Raises
    ------
    NotEnoughDataError
        With fewer than three networks.
    """
    frame = table.frame
    if frame["network"].nunique() < 3:
        raise NotEnoughDataError(
            "too few networks", found=frame["network"].nunique(), wanted="at least 3"
        )
    whole = (frame["correct"] >= 0.5).astype(int)
    design = build_design(table.formula, frame.assign(correct=whole))
    if not (frame["correct"] == whole).all():
        design = design.with_response(frame["correct"].to_numpy())
    varies = frame.groupby("network")[[n for n in ("synthetic", "depth") if n in table.within]]
    enough = (varies.nunique() > 1).sum()
    varying = [str(name) for name in enough.index if enough[name] > 1]
    return level_estimates(design, group="network", varying=varying)


def analyse(
    table: AnswerTable, *, networks: pd.DataFrame | None = None, truth: TrueEffects | None = None,
    interest: float = INTEREST, level: float = 0.95,
) -> Effects:  # fmt: skip
    """Answer every question that the answers can answer; say why for those they cannot.

    Parameters
    ----------
    table : of `people_table` or `observer_table`.
    networks : properties of networks of one's own; see `network_table`.
    truth : of a simulated study; its true values stand beside the estimates.
    interest : smallest effect of interest, in log-odds over a property's span in the study.
    level : of the intervals.

    Raises
    ------
    NotEnoughDataError
        With fewer than three networks.
    ModelError
        If the model does not fit, such as where a network has no wrong answer.

    Examples
    --------
    ``analyse(people_table(read_study(path)))["parameters"].sentence``
    """
    stages = first_stage(table)
    fit = stages[INTERCEPT].fit
    properties = network_table(list(stages[INTERCEPT].levels), own=networks)
    make = _Maker(stages, properties, truth, interest, level)
    effects = [make.of_property(one.name, INTERCEPT) for one in PROPERTIES]
    effects += [make.of_family(name) for name in FAMILIES]
    effects += [make.mean(base) for base in ("synthetic", "depth") if base in stages]
    effects += [make.common(name, fit) for name in table.within if name in fit.names]
    effects += [
        make.of_property(one.name, base)
        for base in ("synthetic", "depth") if base in stages for one in PROPERTIES
    ]  # fmt: skip
    return Effects(
        table.who, table.simulated, tuple(effects), stages, fit, table.formula,
        len(table.frame), table, properties,
    )  # fmt: skip


@dataclass(frozen=True)
class _Maker:
    """Turns first-stage estimates into effects."""

    stages: Mapping[str, LevelEstimates]
    properties: pd.DataFrame
    truth: TrueEffects | None
    interest: float
    level: float

    def _second(
        self, base: str, columns: Mapping[str, pd.Series], name: str, *, joint: bool = False
    ) -> tuple[Inference, float, int]:
        """Regress one coefficient's network values on properties; drop networks without them."""
        stage = self.stages[base]
        known = pd.DataFrame(dict(columns), index=self.properties.index).loc[list(stage.levels)]
        keep = known.notna().all(axis=1).to_numpy()
        values = {str(k): v.to_numpy(dtype=float) for k, v in known[keep].items()}
        count = int(keep.sum())
        for key, column in values.items():
            if count < 2 or np.ptp(column) == 0.0:
                reason = f"{key} is the same in, or unknown for, the {count} networks"
                return self._none(name, reason), math.nan, count
        try:
            fit = regress(stage.estimate[keep], stage.covariance[np.ix_(keep, keep)], values)
        except NotEnoughDataError as error:
            return self._none(name, str(error)), math.nan, count
        test = fit.joint(list(values)) if joint else fit.test(
            next(iter(values), INTERCEPT), level=self.level)  # fmt: skip
        return test, fit.tau, count

    def _none(self, name: str, reason: str) -> Inference:
        return Inference.undefined(name, method="two-stage t", reason=reason, level=self.level)

    def _true(self, base: str, column: pd.Series | None = None) -> float:
        """Project the true values of the networks on a property, or average them."""
        if self.truth is None:
            return math.nan
        true = pd.Series(dict(self.truth.by_network.get(base, {})), dtype=float)
        if column is None:
            return float(true.reindex(list(self.stages[base].levels)).mean())
        both = pd.DataFrame({"x": column, "y": true}).dropna()
        return (
            float(np.polyfit(both["x"], both["y"], 1)[0]) if both["x"].nunique() > 1 else math.nan
        )

    def of_property(self, name: str, base: str) -> Effect:
        one = next(p for p in PROPERTIES if p.name == name)
        column = pd.Series(
            one.transformed(self.properties[name].to_numpy(dtype=float)), self.properties.index
        )
        test, tau, count = self._second(base, {name: column}, name)
        bounded: Equivalence | None = None
        if not test.reason:
            used = column.reindex(list(self.stages[base].levels)).dropna()
            values = np.asarray(used, dtype=np.float64)
            bounded = equivalence(test, bound=smallest_effect(values, interest=self.interest))
        main = base == INTERCEPT
        return Effect(
            key=name if main else f"{base}:{name}",
            topic="scale" if main else "interaction with scale",
            question=f"Does {_BASES[base]} change with {one.label}?",
            step=one.step, test=test, networks=count, equivalence=bounded,
            bayes_null=bayes_factor_null(test, n=count), truth=self._true(base, column), tau=tau,
        )  # fmt: skip

    def of_family(self, name: str) -> Effect:
        labels = self.properties[name]
        others = sorted(labels.dropna().value_counts().index[1:])
        columns = {
            f"{name}[{one}]": (labels == one).astype(float).where(labels.notna()) for one in others
        }
        if not columns:
            test, tau, count = self._none(name, "all networks are of one family"), math.nan, 0
        else:
            test, tau, count = self._second(INTERCEPT, columns, name, joint=len(columns) > 1)
        kinds = ", ".join(sorted(labels.dropna().unique()))
        return Effect(
            key=name, topic="family", question=f"Do networks differ by {name} ({kinds})?",
            step=", ".join(columns), test=test, networks=count, tau=tau,
        )  # fmt: skip

    def mean(self, base: str) -> Effect:
        test, tau, count = self._second(base, {}, base)
        topic, question, step = _MEANS[base]
        return Effect(
            key=base, topic=topic, question=question, step=step, test=test, networks=count,
            tau=tau, truth=self._true(base),
        )  # fmt: skip

    def common(self, name: str, fit: GlmmResult) -> Effect:
        kind = name.removeprefix("type_")
        topic, step = _WITHIN.get(name, ("layer type", f"{kind} against convolution layers"))
        true = math.nan
        if self.truth is not None:
            true = self.truth.common.get(name, 0.0 if topic == "layer type" else math.nan)
        codes = fit.design.fixed[:, fit.index(name)] if fit.design is not None else np.zeros(0)
        return Effect(
            key=name, topic=topic, question=_ask(topic, step),
            step=step, test=wald(fit, name, level=self.level),
            networks=_networks_with(fit, codes, self.stages[INTERCEPT]), truth=true,
        )  # fmt: skip


def _ask(topic: str, step: str) -> str:
    return f"Does {topic} matter: {step}?"


def _networks_with(fit: GlmmResult, column: np.ndarray, stage: LevelEstimates) -> int:
    """Count the networks inside which a column varies."""
    if fit.design is None:
        return 0
    inside = fit.design.fixed[:, : len(stage.levels)] == 1.0
    return sum(bool(np.ptp(column[rows])) for rows in inside.T if rows.any())
