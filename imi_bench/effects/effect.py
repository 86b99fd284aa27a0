"""A question and its answer; all answers of one panel of people or one observer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from imi_bench.effects.left_out import LeftOut
from imi_bench.effects.sentences import sentence
from imi_bench.effects.table import AnswerTable
from imi_bench.glmm import GlmmResult
from imi_bench.glmm.between import LevelEstimates
from imi_bench.glmm.inference import Equivalence, Inference

__all__ = ["DEFAULT_METHOD", "Effect", "Effects"]

DEFAULT_METHOD = (
    "two-stage t between networks (REML, Knapp-Hartung), Wald z within networks; logit link"
)


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
    p_holm : p-value adjusted by Holm (1979) for the questions of its `family`; NaN where there is
        no test.
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

    @property
    def family(self) -> str:
        """The questions whose p-values are adjusted together.

        Pooling all of them would hide an effect of scale behind the many questions about what it
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

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        return sentence(self)

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "key": self.key,
            "topic": self.topic,
            "question": self.question,
            "step": self.step,
            **{f"test_{k}" if k == "name" else k: v for k, v in self.test.to_json().items()},
            "family": self.family,
            "p_holm": self.p_holm,
            "networks": self.networks,
            "tau": self.tau,
            "bayes_null": self.bayes_null,
            "truth": self.truth,
            "sentence": self.sentence,
            "equivalence": self.equivalence and self.equivalence.to_json(),
        }


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
    left_out : answers without which alone there are finite estimates, and why.
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
    left_out: tuple[LeftOut, ...] = ()

    def __getitem__(self, key: str) -> Effect:
        return {effect.key: effect for effect in self.effects}[key]

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "who": self.who,
            "simulated": self.simulated,
            "answers": self.answers,
            "networks": len(self.properties),
            "formula": self.formula,
            "method": DEFAULT_METHOD,
            "left_out": [one.to_json() for one in self.left_out],
            "converged": self.fit.converged,
            "singular": self.fit.singular,
            "effects": [effect.to_json() for effect in self.effects],
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a question, tidy."""
        rows = []
        for effect in self.effects:
            record = effect.to_json()
            bound = record.pop("equivalence")
            extra = ("bound", "p", "verdict")
            rows.append(
                {
                    "who": self.who,
                    **record,
                    **{f"equivalence_{name}": bound and bound[name] for name in extra},
                }
            )
        return pd.DataFrame(rows)
