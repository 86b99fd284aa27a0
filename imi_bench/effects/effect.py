"""A question and its answer; all answers of one panel of people or one observer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.documents import parse_json, reading
from imi_bench.effects.left_out import LeftOut
from imi_bench.effects.questions import outcome
from imi_bench.effects.sentences import sentence
from imi_bench.effects.table import AnswerTable
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.glmm import GlmmResult
from imi_bench.glmm.between import LevelEstimates
from imi_bench.glmm.inference import Equivalence, Inference
from imi_bench.glmm.posthoc import PostHoc
from imi_bench.plots import Interval, forest
from imi_bench.provenance import plain
from imi_bench.records import kinds, table_in
from imi_bench.results import NOT_IN_JSON, Record, Result
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_METHOD = "two-stage t between networks (REML, Knapp-Hartung), Wald t within networks"


@dataclass(frozen=True, repr=False)
class Effect(Result):
    """One question and its answer.

    Attributes
    ----------
    key : str
        Short name, such as ``parameters`` or ``synthetic:parameters``.
    topic : ``scale``, ``family``, ``mode``, ``layer depth``, ``layer type``, ``layer width``,
        ``difficulty`` or ``interaction with scale``.
    question : str
        In words.
    step : str
        What the estimate is the effect of, such as ``tenfold parameters``.
    test : Inference
        Estimate in log-odds, interval, test.
    networks : int
        How many networks the answer rests on.
    equivalence : Equivalence, optional
        Test against the smallest effect of interest; None where none is stated.
    bayes_null : float
        BF01, evidence for no effect; NaN where undefined.
    truth : float
        True value in a simulation; NaN otherwise.
    tau : float
        Standard deviation between networks left unexplained; NaN within networks.
    p_holm : float
        P-value adjusted by Holm (1979) for all questions, of which each `family` has an equal
        share of the level (`imi_bench.stats.multiplicity.holm_shared`); NaN where there is no test.
    equivalence_p_holm : float
        That of the test of equivalence, likewise.
    exemplars : str
        ``natural`` or ``synthetic`` where it is about one kind of exemplars alone.
    model : str
        What the model has beyond a plain logit of correct and wrong answers, in words.
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
    p_holm: float = math.nan
    equivalence_p_holm: float = math.nan
    exemplars: str = ""
    model: str = ""

    shown_columns = ("key", "step", "estimate", "low", "high", "method", "p", "p_holm", "networks")

    @property
    def title(self) -> str:
        """The question."""
        return self.question

    def summary(self) -> str:
        """Return the question, the numbers and the answer in one sentence."""
        return f"{super().summary()}{self.sentence}\n"

    def to_frame(self) -> pd.DataFrame:
        """One row, tidy; `equivalence_verdict` is by the adjusted p-values."""
        record = self._row()
        bound = record.pop("equivalence")
        adjusted = "inconclusive"
        if self.bounded:
            adjusted = "equivalent"
        elif self.shown:
            adjusted = "different"
        record |= {f"equivalence_{name}": bound and bound[name] for name in ("bound", "p")}
        return pd.DataFrame([{**record, "equivalence_verdict": bound and adjusted}])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the effect with its interval; grey is smaller than the smallest of interest."""
        return _forest([self], title=self.title, ax=ax)

    @property
    def shown(self) -> bool:
        """Whether there is an effect once its p-value is adjusted for all questions."""
        return self.p_holm < 1 - self.test.level

    @property
    def bounded(self) -> bool:
        """Whether it is smaller than the smallest of interest, likewise adjusted."""
        return self.equivalence_p_holm < 1 - self.test.level

    @property
    def family(self) -> str:
        """The questions with which it shares a third of the level.

        Equal weights for all would hide an effect of scale behind the many questions about what it
        changes, and so speak for the null that the study claims.
        """
        if self.topic in ("scale", "family"):
            return "does scale matter"
        return self.topic if self.topic == "interaction with scale" else "conditions and layers"

    @property
    def label(self) -> str:
        """What the estimate is the effect of, short, for a figure's axis."""
        base = self.key.rpartition(":")[0]
        return f"{base} × {self.step}" if base else self.step

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        return {**found, "test": {**found, "name": found["test_name"]}}

    def __str__(self) -> str:
        return f"{self.question} {self.sentence}"

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        return sentence(self)

    def to_json(self) -> dict[str, Any]:
        """JSON object; the test's fields stand beside the effect's."""
        record: dict[str, Any] = plain(self._row())
        return record

    def _row(self) -> dict[str, Any]:
        test = {f.name: getattr(self.test, f.name) for f in fields(self.test)}
        return {
            "key": self.key,
            "topic": self.topic,
            "question": self.question,
            "step": self.step,
            "exemplars": self.exemplars,
            "model": self.model,
            **{f"test_{k}" if k == "name" else k: v for k, v in test.items()},
            "family": self.family,
            "p_holm": self.p_holm,
            "networks": self.networks,
            "tau": self.tau,
            "bayes_null": self.bayes_null,
            "truth": self.truth,
            "sentence": self.sentence,
            "equivalence": self.equivalence and self.equivalence.to_json(),
            "equivalence_p_holm": self.equivalence_p_holm,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Effects(Result):
    """All answers to the questions, for one panel of people or one observer.

    Attributes
    ----------
    who : str
        ``people`` or an observer's name.
    simulated : bool
    effects : tuple of Effect
        In the order of the questions.
    stages : mapping of str to LevelEstimates
        First-stage estimates by coefficient, one value a network.
    fit : GlmmResult or None
        The first-stage model; None where read from JSON.
    converged, singular : bool
    formula : str
        Of the full model, network random; the R script refits it.
    n : int
    table : AnswerTable or None
        The model's table; None where read from JSON.
    properties : DataFrame
        Of the networks, indexed by network.
    left_out : tuple of LeftOut
        Answers without which alone there are finite estimates, and why.
    groups : mapping of str to PostHoc
        The paper's own tests between networks, by mode.
    observers : tuple of ObserverEffects
        What observers show of the same effects.
    notes : tuple of str
        What was given and not used, one line each.
    """

    who: str
    simulated: bool
    effects: tuple[Effect, ...]
    converged: bool
    singular: bool
    formula: str
    n: int
    properties: pd.DataFrame
    left_out: tuple[LeftOut, ...] = ()
    groups: Mapping[str, PostHoc] = field(default_factory=dict)
    observers: tuple[ObserverEffects, ...] = ()
    notes: tuple[str, ...] = ()
    stages: Mapping[str, LevelEstimates] = field(default_factory=dict, metadata=NOT_IN_JSON)
    fit: GlmmResult | None = field(default=None, metadata=NOT_IN_JSON)
    table: AnswerTable | None = field(default=None, metadata=NOT_IN_JSON)

    shown_columns = ("key", "estimate", "low", "high", "method", "p", "p_holm", "networks")
    table_for_models = "the table for models is `effects.answers`"

    def __getitem__(self, key: str) -> Effect:
        known = {effect.key: effect for effect in self.effects}
        if key not in known:
            raise UnknownNameError.among(str(key), known, kind="effect")
        return known[key]

    def __iter__(self) -> Iterator[str]:
        return (effect.key for effect in self.effects)

    @property
    def title(self) -> str:
        """Whose effects, in what unit."""
        made_up = ", simulated" if self.simulated else ""
        return f"Effects in log-odds: {self.who} ({plural(self.n, 'answer')}{made_up})"

    @property
    def method(self) -> str:
        """How effects are tested, and the link by which they are log-odds of what."""
        return f"{_METHOD}; logit link, log-odds of {outcome(self.formula)}"

    @property
    def answers(self) -> pd.DataFrame:
        """The table that the model was fitted to, one row an answer; for models of one's own.

        Raises
        ------
        InputError
            If the effects were read from JSON.
        """
        if self.table is None:
            raise InputError("effects read from JSON have no answers", where=self.who)
        return self.table.frame

    def summary(self) -> str:
        """Return the table, each answer in one sentence, and what was left out."""
        said = [*map(str, self.effects), *(f"Left out: {one}." for one in self.left_out)]
        return super().summary() + "\n" + "\n".join([*said, *self.notes]) + "\n"

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw every effect with its interval; grey is smaller than the smallest of interest."""
        known = [one for one in self.effects if math.isfinite(one.test.estimate)]
        return _forest(known, title=self.title, ax=ax)

    @classmethod
    @reading("record of effects")
    def from_json(cls, record: str | Mapping[str, Any]) -> Effects:
        """Read back what `to_json` gave: the effects, without the model and its answers."""
        found = parse_json(record) if isinstance(record, str) else record
        return cls(
            who=found["who"],
            simulated=found["simulated"],
            effects=tuple(map(Effect.from_json, found["effects"])),
            converged=found["converged"],
            singular=found["singular"],
            formula=found["formula"],
            n=found["answers"],
            properties=table_in(found, "properties").set_index("network"),
            left_out=tuple(map(LeftOut.from_json, found["left_out"])),
            groups={k: PostHoc.from_json(v) for k, v in found.get("groups", {}).items()},
            observers=tuple(map(ObserverEffects.from_json, found.get("observers", ()))),
            notes=tuple(found.get("notes", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object; NaN become null."""
        shown = self.properties.rename_axis("network").reset_index()
        record: dict[str, Any] = {
            "who": self.who,
            "simulated": self.simulated,
            "answers": self.n,
            "networks": len(self.properties),
            "properties": shown,
            **({"kinds": {"properties": told}} if (told := kinds(shown)) else {}),
            "formula": self.formula,
            "method": self.method,
            "left_out": [one.to_json() for one in self.left_out],
            "converged": self.converged,
            "singular": self.singular,
            "effects": [effect.to_json() for effect in self.effects],
            **({"groups": self.groups} if self.groups else {}),
            **({"observers": [one.to_json() for one in self.observers]} if self.observers else {}),
            **({"notes": list(self.notes)} if self.notes else {}),
        }
        whole: dict[str, Any] = plain(record)
        return whole

    def to_frame(self) -> pd.DataFrame:
        """One row a question, tidy; `equivalence_verdict` is by the adjusted p-values."""
        rows = [effect.to_frame().iloc[0].to_dict() for effect in self.effects]
        return pd.DataFrame([{"who": self.who, **row} for row in rows])


def _forest(effects: Iterable[Effect], *, title: str, ax: Axes | None) -> Axes:
    rows = [
        Interval(
            one.label,
            one.test.estimate,
            one.test.low,
            one.test.high,
            math.nan if one.equivalence is None else one.equivalence.bound,
        )
        for one in effects
    ]
    return forest(rows, xlabel="log-odds", title=title, reference=0.0, ax=ax)


@dataclass(frozen=True, repr=False)
class Difference(Record):
    """An observer's effect minus people's.

    Attributes
    ----------
    key : str
    observer, people : float
        The two estimates, log-odds.
    test : Inference
        Of the difference.
    p_holm : float
        Its p-value adjusted (Holm) as the effects' own; NaN where there is none.
    """

    key: str
    observer: float
    people: float
    test: Inference
    p_holm: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """JSON object; the test's fields stand beside the difference's."""
        record: dict[str, Any] = plain(self.row())
        return record

    def row(self) -> dict[str, Any]:
        """One row of a table: the test, whose estimate is the difference, and both effects."""
        test = {f.name: getattr(self.test, f.name) for f in fields(self.test)}
        test = {("key" if k == "name" else k): v for k, v in test.items()}
        return {
            **test,
            "observer": self.observer,
            "people": self.people,
            "p_holm": self.p_holm,
            "difference": test.pop("estimate"),
        }

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        test = {**found, "name": found["key"], "estimate": found["difference"]}
        return {**found, "test": test}


@dataclass(frozen=True, eq=False, repr=False)
class ObserverEffects(Result):
    """What an observer shows of the effects that people show.

    Attributes
    ----------
    effects : Effects
        Its own.
    differences : tuple of Difference
        Its effects minus people's.
    """

    effects: Effects
    differences: tuple[Difference, ...]

    @property
    def title(self) -> str:
        """Whose effects are held against people's."""
        return f"Does {self.effects.who} show people's effects?"

    def to_frame(self) -> pd.DataFrame:
        """One row an effect that both have."""
        return pd.DataFrame([one.row() for one in self.differences])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the differences with their intervals."""
        tests = [(one.key, one.test) for one in self.differences]
        rows = [Interval(key, test.estimate, test.low, test.high) for key, test in tests]
        xlabel = f"{self.effects.who} minus people, log-odds"
        return forest(rows, xlabel=xlabel, title=self.title, reference=0.0, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object: that of the effects, and the differences; NaN become null."""
        return {
            **self.effects.to_json(),
            "differences": [one.to_json() for one in self.differences],
        }

    @classmethod
    @reading("record of effects")
    def from_json(cls, record: str | Mapping[str, Any]) -> ObserverEffects:
        """Read back what `to_json` gave."""
        found = parse_json(record) if isinstance(record, str) else record
        return cls(Effects.from_json(found), tuple(map(Difference.from_json, found["differences"])))
