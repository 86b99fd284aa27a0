"""What kind of evidence an answer is, and where a letter is bounded, stand in the study."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.bright_trials import bright_trials

from imi_bench.errors import NotComparableError
from imi_bench.fewshot.curves import FewShot
from imi_bench.fewshot.study import fewshot
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.scoring import Scored

SIZES = {"small": 1e6, "large": 1e8}


class Bright:
    """Right or wrong by the pixels; of prompts that begin with a solved trial one letter is cut."""

    def __init__(self, name: str, evidence: Any = "likelihood") -> None:
        self.identity = {"model": name, "evidence": evidence}
        self.evidence = evidence

    def __call__(self, prompt: Prompt) -> Scored:
        _, right, a, b = (float(image.mean()) for image in prompt.question.images)
        lucky = int(max(a, b) * 100) % 4 > 0
        z = 1.0 if (abs(a - right) < abs(b - right)) == lucky else -1.0
        bounded = bool(prompt.shots) and z > 0
        return Scored(z / 2 - 1, -z / 2 - 1, bounded=bounded, evidence=self.evidence)


def study(*models: Bright) -> FewShot:
    made = [
        InContext(one, identity=one.identity, name=one.identity["model"], side=8) for one in models
    ]
    sizes = {one.name: SIZES[one.name] for one in made}
    kept: Any = {"draws": 2, "pool_units": 2, "repeats": 0, "parameters": sizes}
    return fewshot(made, bright_trials(14), shots=(0, 1, 2), **kept)


def test_a_bounded_letter_is_counted_and_said() -> None:
    found = study(Bright("small"))
    shares = found.to_frame().set_index("shots")["bounded"]
    assert shares[0] == 0
    # one of the two orders has A as its likelier letter
    assert shares[1] == shares[2] == pytest.approx(0.5)
    assert (found.answers.loc[found.answers["shots"] == 2, "bounded"] == 0.5).all()
    (line,) = (line for line in found.words() if "not listed" in line)
    assert "50.0% of the answers of small" in line
    assert FewShot.from_json(found.to_json()).to_frame().equals(found.to_frame())


def test_sampled_answers_and_likelihoods_share_no_model() -> None:
    mixed = study(Bright("small"), Bright("large", "sampled"))
    kinds = mixed.answers.groupby("observer")["evidence"].unique().str[0].to_dict()
    assert kinds == {"small": "likelihood", "large": "sampled"}
    for draw in (mixed.gain, mixed.plot_parameters):
        with pytest.raises(NotComparableError, match="small likelihood, large sampled"):
            draw()
    assert any(line.startswith("No mixed model: sampled answers") for line in mixed.words())
    old = replace(mixed, answers=mixed.answers.drop(columns="evidence"))  # of an earlier version
    assert "doublings:tenfold" in old.gain().names
