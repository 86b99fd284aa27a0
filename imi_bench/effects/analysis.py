"""The named questions of the paper, each answered by one test that is honest about networks.

A mixed model gives every network its own level, its own effect of synthetic exemplars and its own
effect of depth, with units, units shown in a condition, and participants as random effects. What
differs between networks is then explained by their properties in a second stage
(`imi_bench.glmm.between`), one property at a time, with a t on networks minus two degrees of
freedom. Layer type and width vary between layers, which are a random effect, and have a Wald t on
layers. Difficulty has an effect of its own in every network that was shown harder queries; where
those are fewer than four (the paper's: two) its mean has a Wald t on the units that show both
sides, which speaks of those networks only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from imi_bench.arguments import checked_level
from imi_bench.effects.draws_left import draws_left
from imi_bench.effects.effect import Effect, Effects
from imi_bench.effects.left_out import estimable
from imi_bench.effects.questions import ON_SYNTHETIC, of_mean, of_property, too_few_networks
from imi_bench.effects.scale import (
    INTEREST,
    PROPERTIES,
    family_columns,
    network_table,
    smallest_effect,
)
from imi_bench.effects.sentences import beyond_logit
from imi_bench.effects.table import ENOUGH_NETWORKS, HARDER, AnswerTable
from imi_bench.effects.truth import TrueEffects
from imi_bench.errors import InputError, NotConvergedError
from imi_bench.glmm import GlmmResult, build_design
from imi_bench.glmm.between import INTERCEPT, LevelEstimates, level_estimates, regress
from imi_bench.glmm.design import Design
from imi_bench.glmm.firth import bias_reduced
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import Inference, bayes_factor_null, equivalence, wald
from imi_bench.glmm.options import Options
from imi_bench.glmm.ordered import ordinal_design
from imi_bench.stats.multiplicity import holm_shared
from imi_bench.tables import MODES
from imi_bench.text import plural
from imi_bench.threads import one_thread
from imi_bench.vision.card import FAMILIES

__all__ = ["analyse", "first_stage"]

ONE_NETWORK = "these are answers to one network"


def first_stage(table: AnswerTable) -> Mapping[str, LevelEstimates]:
    """Fit the model in which each network has coefficients of its own.

    A single network has the model's coefficients.

    Raises
    ------
    ModelError
        If the model does not fit.
    """
    options, design = Options(lapse=table.lapse), _design(table)
    if table.frame["network"].nunique() == 1:
        return _one_network(table, design, options)
    stages = level_estimates(
        design, group="network", varying=table.varying, options=options, firth=table.firth
    )
    if "synthetic" not in stages:
        return stages
    return {**stages, ON_SYNTHETIC: _on_synthetic(stages[INTERCEPT], stages["synthetic"])}


def _design(table: AnswerTable) -> Design:
    frame = table.frame
    if table.ordinal:
        return ordinal_design(table.formula, frame)
    whole = (frame["correct"] >= 0.5).astype(int)
    design = build_design(table.formula, frame.assign(correct=whole))
    if not (frame["correct"] == whole).all():
        design = design.with_response(frame["correct"].to_numpy())
    return design


def _one_network(
    table: AnswerTable, design: Design, options: Options
) -> Mapping[str, LevelEstimates]:
    """Fit the model of a single network; its level is the intercept."""
    fit = (bias_reduced if table.firth else fit_design)(design, options=options)
    if not fit.converged:
        raise NotConvergedError("the model did not converge", found=fit.reason)
    level, spread = np.array([math.nan]), np.array([[math.nan]])
    if INTERCEPT in fit.names:
        at = fit.index(INTERCEPT)
        level, spread = fit.estimate[[at]], fit.covariance[np.ix_([at], [at])]
    name = str(table.frame["network"].iloc[0])
    return {INTERCEPT: LevelEstimates("network", INTERCEPT, (name,), level, spread, fit)}


def _on_synthetic(level: LevelEstimates, more: LevelEstimates) -> LevelEstimates:
    """Levels on synthetic exemplars: those on natural ones and what synthetic ones add."""
    fit, group = level.fit, level.group
    natural = [fit.index(f"{group}[{name}]") for name in more.levels]
    added = [fit.index(f"{group}[{name}]:{more.base}") for name in more.levels]
    parts = [np.ix_(a, b) for a in (natural, added) for b in (natural, added)]
    return LevelEstimates(
        group,
        ON_SYNTHETIC,
        more.levels,
        fit.estimate[natural] + fit.estimate[added],
        np.sum([fit.covariance[part] for part in parts], axis=0),
        fit,
    )


@one_thread()
def analyse(
    table: AnswerTable,
    *,
    networks: pd.DataFrame | None = None,
    truth: TrueEffects | None = None,
    interest: float = INTEREST,
    level: float = 0.95,
) -> Effects:
    """Answer every question that the answers can answer; say why for those they cannot.

    Answers without a finite estimate, such as those of a network without any wrong one, are left
    out and named in the result.

    Parameters
    ----------
    table : AnswerTable
        Of `people_table` or `observer_table`.
    networks : DataFrame, optional
        Properties of networks of one's own; see `network_table`.
    truth : TrueEffects, optional
        Of a simulated study; its true values stand beside the estimates.
    interest : float
        Smallest effect of interest, in log-odds for ten times as many parameters or images,
        ten points of accuracy, or ten years.
    level : float

    Raises
    ------
    NotEnoughDataError
        Without an answer to a main trial, or of one person, or to one unit, alone.
    ModelError
        If the model does not fit.

    Examples
    --------
    ``analyse(people_table(read_study(path)))["parameters"].sentence``
    """
    checked_level(level)
    if not interest > 0:
        raise InputError("no smallest effect of interest", found=interest, wanted="above 0")
    table.refuse_one_person()
    table, left_out = estimable(table)
    stages = first_stage(table)
    fit = stages[INTERCEPT].fit
    properties = network_table(list(stages[INTERCEPT].levels), own=networks)
    known = None if truth is None else truth.found_with(lapse=bool(table.lapse))
    make = _Maker(stages, properties, known, interest, level, table)
    effects = [make.of_property(one.name, INTERCEPT) for one in PROPERTIES]
    if ON_SYNTHETIC in stages:
        effects += [make.of_property(one.name, ON_SYNTHETIC) for one in PROPERTIES]
    effects += [make.of_family(name) for name in FAMILIES]
    slopes = [base for base in stages if base not in (INTERCEPT, ON_SYNTHETIC)]
    effects += [make.mean(base) for base in slopes]
    effects += [make.common(name, fit) for name in table.within if name in fit.names]
    compared = [base for base in slopes if base not in HARDER or make.enough(base)]
    effects += [make.of_property(one.name, base) for base in compared for one in PROPERTIES]
    if not set(compared) & set(HARDER):
        effects.append(make.difficulty_by_scale())
    effects += make.unasked()
    effects = [replace(one, model=beyond_logit(table, fit)) for one in _adjusted(effects)]
    return Effects(
        who=table.who,
        simulated=table.simulated,
        effects=tuple(effects),
        stages=stages,
        fit=fit,
        converged=fit.converged,
        singular=fit.singular,
        formula=table.formula,
        n=len(table.frame),
        table=table,
        properties=properties,
        left_out=left_out,
    )


def _adjusted(effects: list[Effect]) -> list[Effect]:
    """Adjust all tests, and all tests of equivalence; families share the level."""
    families = [one.family for one in effects]
    tests = holm_shared([one.test.p for one in effects], families).tolist()
    within = [math.nan if e.equivalence is None else e.equivalence.p for e in effects]
    bounds = holm_shared(within, families).tolist()
    return [
        replace(one, p_holm=p, equivalence_p_holm=q)
        for one, p, q in zip(effects, tests, bounds, strict=True)
    ]


@dataclass(frozen=True)
class _Maker:
    """Turns first-stage estimates into effects."""

    stages: Mapping[str, LevelEstimates]
    properties: pd.DataFrame
    truth: TrueEffects | None
    interest: float
    level: float
    table: AnswerTable

    @property
    def exemplars(self) -> str:
        """Kind of exemplars that the networks' own levels are with."""
        return self.table.modes[0]

    @property
    def single(self) -> bool:
        """Whether there is one network."""
        return len(self.properties) == 1

    def _second(
        self, base: str, columns: Mapping[str, pd.Series], name: str, *, joint: bool = False
    ) -> tuple[Inference, float, int]:
        """Regress one coefficient's network values on properties; drop networks without them."""
        stage = self.stages[base]
        if len(stage.levels) == 1 and self.single:
            return self._none(name, ONE_NETWORK), math.nan, 1
        known = pd.DataFrame(dict(columns), index=self.properties.index).loc[list(stage.levels)]
        keep = known.notna().all(axis=1).to_numpy()
        values = {str(k): v.to_numpy(dtype=float) for k, v in known[keep].items()}
        count = int(keep.sum())
        for key, column in values.items():
            if count < 2 or np.ptp(column) == 0.0:
                reason = f"{key} is known for {count} of {plural(len(keep), 'network')}"
                reason += ", and the same in all of them" if count > 1 else ""
                return self._none(name, reason), math.nan, count
        if count < (wanted := len(values) + 2):
            return self._none(name, too_few_networks(count, wanted)), math.nan, count
        fit = regress(stage.estimate[keep], stage.covariance[np.ix_(keep, keep)], values)
        if joint:
            return fit.joint(list(values)), fit.tau, count
        return fit.test(next(iter(values), INTERCEPT), level=self.level), fit.tau, count

    def _mean_of_these(self, base: str) -> tuple[Inference, float, int]:
        """Average one coefficient over the networks that have it, as if there were no others."""
        stage = self.stages[base]
        count = len(stage.levels)
        df = draws_left(self.table.frame, base, networks=list(stage.levels))
        test = Inference.from_t(
            base,
            estimate=float(stage.estimate.mean()),
            se=math.sqrt(float(stage.covariance.sum())) / count,
            df=df,
            method=f"Wald t({df:.0f})",
            level=self.level,
        )
        return test, math.nan, count

    def _none(self, name: str, reason: str) -> Inference:
        return Inference.undefined(name, method="two-stage t", reason=reason, level=self.level)

    def _true(self, base: str, column: pd.Series | None = None) -> float:
        """Project the true values of the networks on a property, or average them."""
        if self.truth is None:
            return math.nan
        true = self._true_values(self.truth, base)
        if column is None:
            return float(true.reindex(list(self.stages[base].levels)).mean())
        both = pd.DataFrame({"x": column, "y": true}).dropna()
        return (
            float(np.polyfit(both["x"], both["y"], 1)[0]) if both["x"].nunique() > 1 else math.nan
        )

    def _true_values(self, truth: TrueEffects, base: str) -> pd.Series:
        if base == ON_SYNTHETIC:
            both = (self._true_values(truth, part) for part in (INTERCEPT, "synthetic"))
            return sum(both, start=pd.Series(0.0, index=self.properties.index))
        return pd.Series(dict(truth.by_network.get(base, {})), dtype=float)

    def of_property(self, name: str, base: str) -> Effect:
        one = next(p for p in PROPERTIES if p.name == name)
        column = pd.Series(
            one.transformed(self.properties[name].to_numpy(dtype=float)), self.properties.index
        )
        test, tau, count = self._second(base, {name: column}, name)
        bound = smallest_effect(one, interest=self.interest)
        bounded = None if test.reason else equivalence(test, bound=bound)
        return Effect(
            key=name if base == INTERCEPT else f"{base}:{name}",
            **vars(of_property(base, one.label, one.step, table=self.table)),
            test=test,
            networks=count,
            equivalence=bounded,
            bayes_null=bayes_factor_null(test, n=count),
            truth=self._true(base, column),
            tau=tau,
            exemplars=self._about(base),
        )

    def _about(self, base: str) -> str:
        """Which exemplars alone a coefficient is about."""
        if base == ON_SYNTHETIC:
            return "synthetic"
        return self.exemplars if base in (INTERCEPT, *HARDER) else ""

    def of_family(self, name: str) -> Effect:
        labels = self.properties[name]
        columns = family_columns(labels)
        truth = math.nan
        if not columns:
            reason = ONE_NETWORK if self.single else "all networks are of one family"
            test, tau, count = self._none(name, reason), math.nan, int(self.single)
        else:
            test, tau, count = self._second(INTERCEPT, columns, name, joint=len(columns) > 1)
        if len(columns) == 1:
            truth = self._true(INTERCEPT, next(iter(columns.values())))
        kinds = sorted(labels.dropna().unique())
        rest = ", ".join(kind for kind in kinds if kind not in columns)
        named = f" ({', '.join(kinds)})" if kinds else ""
        question = f"Do networks differ by {name}{named} with {self.exemplars} exemplars?"
        return Effect(
            key=name,
            topic="family",
            question=question,
            step=f"{', '.join(columns)} against {rest} networks" if columns else "",
            test=test,
            networks=count,
            tau=tau,
            truth=truth,
            exemplars=self.exemplars,
        )

    def enough(self, base: str) -> bool:
        """Whether a coefficient can be compared between networks."""
        return len(self.stages[base].levels) >= ENOUGH_NETWORKS

    def mean(self, base: str) -> Effect:
        few = len(self.stages[base].levels) < 3
        if few or (base in HARDER and not self.enough(base)):
            test, tau, count = self._mean_of_these(base)
        else:
            test, tau, count = self._second(base, {}, base)
        return Effect(
            key=base,
            **vars(of_mean(base)),
            test=test,
            networks=count,
            tau=tau,
            truth=self._true(base),
            exemplars=self._about(base),
        )

    def common(self, name: str, fit: GlmmResult) -> Effect:
        true = math.nan
        if self.truth is not None:
            true = self.truth.common.get(name, 0.0 if name.startswith("type_") else math.nan)
        df, layers = self._left(fit, name)
        test = wald(fit, name, df=df, level=self.level)
        if layers and not test.reason:
            test = Inference.from_t(
                name,
                estimate=test.estimate,
                se=test.se * math.sqrt(layers / df),
                df=df,
                method=test.method,
                level=self.level,
            )
        codes = fit.design.fixed[:, fit.index(name)] if fit.design is not None else np.zeros(0)
        return Effect(
            key=name,
            **vars(of_mean(name)),
            test=test,
            networks=_networks_with(fit, codes, self.stages[INTERCEPT]),
            truth=true,
        )

    def _left(self, fit: GlmmResult, name: str) -> tuple[float, int]:
        """Degrees of freedom, of layers or of units; and layers, where only layers differ.

        The variance between layers is the maximum likelihood one, too small by what the means of
        networks and types take: layers over the degrees of freedom that are left.
        """
        left = _layers_left(fit, name)
        if math.isinf(left):
            return draws_left(self.table.frame, name), 0
        return left, next(len(part.levels) for part in fit.random if part.group == "layer")

    def unasked(self) -> list[Effect]:
        """Say which questions the trials cannot answer since they show one side of them only."""
        types = [name for name in self.table.frame.columns if name.startswith("type_")]
        asked = {"type" if name in types else name for name in self.table.within}
        reasons = {
            "synthetic": f"only {self.table.modes[0]} exemplars were shown"
            if len(self.table.modes) < len(MODES)
            else "no network was shown both kinds of exemplars",
            "depth": "no network's layers differ in depth",
            "type": "no network's layers differ in type",
        }
        for name in ("depth", "type"):
            if any(self.table.shown(types if name == "type" else [name]).values()):
                reasons[name] = "these layers differ in nothing else than what is asked before it"
        return [
            Effect(key=name, **vars(of_mean(name)), test=self._none(name, reason), networks=0)
            for name, reason in reasons.items()
            if name not in asked
        ]

    def difficulty_by_scale(self) -> Effect:
        """Say why it cannot be asked how difficulty changes with scale."""
        count = max(self.table.shown(HARDER).values())
        reason = (
            f"{count} network{'s were' if count != 1 else ' was'} shown harder queries of one "
            f"percentile as well as the most extreme ones; at least {ENOUGH_NETWORKS} are needed"
        )
        return Effect(
            key="difficulty:scale",
            topic="interaction with scale",
            question="Does the effect of difficulty change with scale?",
            step="scale",
            test=self._none("difficulty:scale", reason),
            networks=count,
        )


def _layers_left(fit: GlmmResult, name: str) -> float:
    """Degrees of freedom of what only differs between layers, each a draw; infinite for others."""
    of_layers = [one for one in fit.names if one.startswith("type_") or one == "width"]
    layers = [part for part in fit.random if part.group == "layer"]
    if name not in of_layers or not layers:
        return math.inf
    networks = sum(one.startswith("network[") and one.endswith("]") for one in fit.names)
    return float(max(len(layers[0].levels) - networks - len(of_layers), 1))


def _networks_with(fit: GlmmResult, column: np.ndarray, stage: LevelEstimates) -> int:
    """Count the networks inside which a column varies."""
    if fit.design is None:
        return 0
    if len(stage.levels) == 1:
        return int(bool(np.ptp(column)))
    inside = fit.design.fixed[:, : len(stage.levels)] == 1.0
    return sum(bool(np.ptp(column[rows])) for rows in inside.T if rows.any())
