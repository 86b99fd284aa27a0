"""A few-shot study with everything its page can show: people, baselines, crops, two models."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

import imi_bench as imi
from imi_bench.fewshot.design import Design
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.report.fewshot import write_fewshot_page

NAMES = ("small", "timm:vit_base_patch16_clip_224-and-a-language-model-with-a-long-name")


class Guessing:
    """Prefers the query whose mean colour is nearer to the strong references', the more so the
    more trials it was shown, and says A too often."""

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.rng = rate, np.random.default_rng(seed)

    def __call__(self, prompt: Prompt) -> Scored:
        strong, a, b = (image.reshape(-1, 3).mean(axis=0) for image in prompt.question.images[:3])
        nearer = np.abs(b - strong).sum() - np.abs(a - strong).sum()
        z = self.rate * math.log2(2 + len(prompt.shots)) * float(np.sign(nearer))
        z += self.rng.logistic()
        return Scored(z / 2 - 0.7, -z / 2 - 1)


def fewshot_page(folder: Path) -> Path:
    """Ask two scripted models of demo trials and write the page."""
    trials, people = imi.demo_data(n_networks=2, n_batches=1, n_scenes=2000, size=24)
    runs = [imi.answer(name, trials) for name in ("classical", "chance")]
    family = {
        name: InContext(Guessing(rate, seed), identity={"model": name}, side=8)
        for seed, (name, rate) in enumerate(zip(NAMES, (0.1, 0.4), strict=True))
    }
    options = {
        "shots": (0, 1, 3),
        "draws": 2,
        "pool_units": 3,
        "ablations": ("labels",),
        "near": "keep",
    }
    found = imi.fewshot(
        family,
        trials,
        people=people,
        baselines=runs,
        parameters=dict(zip(NAMES, (1e6, 1e9), strict=True)),
        crops_by="colour-histogram",
        out=folder,
        **options,
    )
    design = Design(**options)
    return write_fewshot_page(found, folder, family=family, trials=trials, design=design)
