"""The mixed model of a doubling: what solved trials of one prompt share is in its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from imi_bench.fewshot.gain import gain

RATE = 0.3


def answers(seed: int, *, luck: float, units: int = 40, draws: int = 5) -> pd.DataFrame:
    """Right with log-odds that rise by RATE a doubling; each prompt has luck of its own."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 0.7, units)
    parts = []
    for shots in (1, 2, 4, 8, 16):
        for draw in range(draws):
            odds = 0.2 + RATE * np.log2(shots) + own + luck * rng.normal()
            right = rng.random(units) < 1 / (1 + np.exp(-odds))
            cell = {"observer": "a", "shots": shots, "ablation": "none", "draw": draw}
            unit = [f"u{i}" for i in range(units)]
            parts.append(pd.DataFrame({"unit_id": unit, "credit": right * 1.0, **cell}))
    return pd.concat(parts, ignore_index=True)


def test_the_luck_of_a_prompt_is_found() -> None:
    spread = gain(answers(0, luck=0.8), {}).random_frame().set_index("group")["sd"]
    assert set(spread.index) == {"unit", "draw", "prompt"}
    assert 0.4 < spread["prompt"] < 1.4
    assert "prompt" not in set(gain(answers(0, luck=0.0, draws=1), {}).random_frame()["group"])


@pytest.mark.slow
def test_the_interval_of_a_doubling_covers_with_luck_in_each_prompt() -> None:
    rows = [
        gain(answers(seed, luck=0.5), {}).to_frame().set_index("term").loc["doublings"]
        for seed in range(100)
    ]
    covered = sum(row["low"] <= RATE <= row["high"] for row in rows)
    assert covered >= 87  # of 100; without the prompt's own term some 73
