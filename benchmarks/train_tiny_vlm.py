"""Train a tiny vision-language model whose curve over shots rises for a reason that is known.

In each training prompt a coin decides once whether its answers name the query that fits the *right*
examples (people's task) or the one that fits the *left*; only the solved trials of the prompt tell
which. So without solved trials the model cannot know, and with each one it can tell better. One
that sees a trial rightly with probability p and believes the majority of K solved trials reaches

    accuracy(K) = m p + (1 - m) (1 - p),   m = P(Binomial(K, p) > K/2) + P(= K/2) / 2;

one that also weighs how sure it was of each solved trial does better.

The model: an *eye* (two convolutions, learned so that a strong query lies nearer to the strong
sheet) and a *reader* (a recurrent network of 32 cells) that reads the eye's margin of each trial
and the letter after it, and gives the log-likelihoods of A and B. It learns on generated worlds of
other seeds than those it is tested on, and is asked through the few-shot study like any other.

    python benchmarks/train_tiny_vlm.py [--seed 0] [--json FILE] [--figure FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import binom

import imi_bench as imi
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import OPTIONS, Prompt, Shown, lay_out
from imi_bench.simulation.world import build
from imi_bench.tables import Trials

SIDE = 32
SHEET, QUERY = 48, 16  # pixels to which the eye shrinks sheets and queries: one scale
WORLD: dict[str, Any] = {"n_participants": 15, "size": SIDE}


class Eye(torch.nn.Module):
    """Codes of images of any size: mean of local features."""

    def __init__(self) -> None:
        super().__init__()
        self.local = torch.nn.Sequential(
            torch.nn.Conv2d(3, 24, 5, stride=2, padding=2),
            torch.nn.GELU(),
            torch.nn.Conv2d(24, 48, 3, stride=2, padding=1),
            torch.nn.GELU(),
        )
        self.out = torch.nn.Linear(96, 48)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.local(images)
        pooled = torch.cat([found.mean((2, 3)), found.amax((2, 3))], dim=-1)
        return torch.nn.functional.normalize(self.out(pooled), dim=-1)


class Reader(torch.nn.Module):
    """From margins and the letters after them to the odds of A at each trial."""

    def __init__(self, cells: int = 32) -> None:
        super().__init__()
        self.memory = torch.nn.GRU(3, cells, batch_first=True)
        self.odds = torch.nn.Sequential(
            torch.nn.Linear(cells + 1, 64), torch.nn.GELU(), torch.nn.Linear(64, 1)
        )

    def forward(self, margin: torch.Tensor, letter: torch.Tensor) -> torch.Tensor:
        """(N, K) margins towards A and letters (+1 for A) to (N, K) log-odds of A."""
        seen = torch.stack([margin, letter, margin * letter], dim=-1)
        states, _ = self.memory(seen)
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        found: torch.Tensor = self.odds(torch.cat([before, margin[..., None]], dim=-1))
        return found[..., 0]


class TinyVlm:
    """A model ``prompt -> log-likelihoods``."""

    def __init__(self, eye: Eye, reader: Reader, *, seed: int) -> None:
        self.eye, self.reader = eye.eval(), reader.eval()
        self.identity = {"model": "tiny trained vision-language model", "seed": seed}
        self.scale, self.seen = 1.0, (None, torch.empty(0))

    def __call__(self, prompt: Prompt) -> dict[str, float]:
        """Log-likelihoods of A and B, which sum to one."""
        with torch.inference_mode():
            if self.seen[0] is not prompt.shots:
                self.seen = (prompt.shots, self._margins(prompt.shots))  # type: ignore[assignment]
            margins = torch.cat([self.seen[1], self._margins((prompt.question,))])
            letters = torch.tensor([1.0 if s.answer == "A" else -1.0 for s in prompt])
            odds = self.reader(margins[None], letters[None])[0, -1]
            found = torch.nn.functional.logsigmoid(torch.stack([odds, -odds])).tolist()
        return dict(zip(OPTIONS, found, strict=True))

    def _margins(self, shown: tuple[Shown, ...]) -> torch.Tensor:
        if not shown:
            return torch.empty(0)
        made = [as_tensors(one) for one in shown]
        sheets, queries = (torch.stack([one[part] for one in made]) for part in (0, 1))
        return margins(self.eye, sheets, queries) / self.scale


def as_tensors(shown: Shown) -> tuple[torch.Tensor, torch.Tensor]:
    """(2, 3, SHEET, SHEET) left and right, (2, 3, QUERY, QUERY) A and B."""
    found = []
    for place, image in enumerate(shown.images):
        size = SHEET if place < 2 else QUERY
        small = Image.fromarray(image).resize((size, size), Image.Resampling.BOX)
        found.append(torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 127.5 - 1)
    return torch.stack(found[:2]), torch.stack(found[2:])


def margins(eye: Eye, sheets: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """How much more A than B lies towards the right sheet rather than the left."""
    left, right = eye(sheets.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
    a, b = eye(queries.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
    return ((right - left) * (a - b)).sum(-1)


def tensors_of(trials: Trials) -> tuple[torch.Tensor, torch.Tensor]:
    """Sheets (weak, strong) and queries (strong, weak) of all trials."""
    made = []
    for row in range(len(trials)):
        positive, negative, queries = (
            [trials.images.decode(int(i)) for i in part[row]]
            for part in (trials.positive, trials.negative, trials.queries)
        )
        made.append(as_tensors(lay_out(positive, negative, (queries[0], queries[1]), side=SIDE)))
    return torch.stack([one[0] for one in made]), torch.stack([one[1] for one in made])


def train(*, seed: int, worlds: int, eye_steps: int, reader_steps: int) -> TinyVlm:
    """Eye, then reader."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    eye, reader = Eye(), Reader()
    made = [tensors_of(build(seed=1000 + n, **WORLD).trials) for n in range(worlds)]
    sheets, queries = (torch.cat([one[part] for one in made]) for part in (0, 1))
    say(f"{len(sheets)} training trials of {worlds} worlds")
    optimiser = torch.optim.AdamW(eye.parameters(), lr=3e-3, weight_decay=0.01)
    right = []
    for step in range(eye_steps):
        rows = torch.from_numpy(rng.integers(0, len(sheets), 32))
        found = margins(eye, sheets[rows], queries[rows])
        loss = torch.nn.functional.softplus(-8 * found).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        right.append(float((found > 0).float().mean()))
        if (step + 1) % 200 == 0:
            say(f"eye, {step + 1} steps: {np.mean(right[-200:]):.3f} right")
    with torch.inference_mode():
        every = torch.cat(
            [margins(eye, s, q) for s, q in zip(sheets.split(64), queries.split(64), strict=True)]
        )
    scale = float(every.std())
    every = every.clone() / scale
    optimiser = torch.optim.AdamW(reader.parameters(), lr=3e-3)
    for step in range(reader_steps):
        margin = every[torch.from_numpy(rng.integers(0, len(every), (128, 17)))]
        side = torch.from_numpy(rng.choice([-1.0, 1.0], (128, 17))).float()
        coin = torch.from_numpy(rng.choice([-1.0, 1.0], (128, 1))).float()
        letter = side * coin
        odds = reader(margin * side, letter)
        loss = torch.nn.functional.softplus(-letter * odds).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 400 == 0:
            by_count = ((odds * letter) > 0).float().mean(0)[[0, 1, 2, 4, 8, 16]].tolist()
            say(f"reader, {step + 1} steps: " + " ".join(f"{value:.2f}" for value in by_count))
    model = TinyVlm(eye, reader, seed=seed)
    model.scale = scale
    return model


def predicted(shots: int, p: float) -> float:
    """Accuracy of one who sees rightly with probability p and believes the majority."""
    most = float(binom.sf(shots // 2, shots, p)) if shots else 0.0
    even = float(binom.pmf(shots // 2, shots, p)) if shots % 2 == 0 else 0.0
    believed = most + even / 2
    return believed * p + (1 - believed) * (1 - p)


def asked_of(model: TinyVlm, *, draws: int) -> tuple[Any, float]:
    """The study on the mini-benchmark, solved trials from another world; and the eye's own p."""
    tests = build(seed=0, n_batches=1, **WORLD).trials
    tests = tests.take(np.flatnonzero(tests.index.difficulty == "easy"))
    pool = build(seed=500, n_batches=1, **WORLD).trials
    index = replace(pool.index, network=np.array(["other world"] * len(pool), dtype=object))
    pool = replace(pool, index=index)
    seen = margins(model.eye, *tensors_of(tests))
    # right sheet strong, A strong: positive is right
    p = float((seen > 0).float().mean())
    observer = InContext(model, identity=model.identity, name="tiny trained model", side=SIDE)
    found = imi.fewshot(
        observer, tests, pool=pool, draws=draws, ablations=("labels",), repeats=10, tell=say
    )
    return found, p


def drawn(found: Any, p: float, file: Path) -> None:
    """The curve beside the prediction."""
    ax = found.plot()
    counts = sorted({point.shots for point in found.points})
    places = [-1.0 if count == 0 else float(np.log2(count)) for count in counts]
    said = f"majority of K, each seen rightly with p = {p:.2f}"
    ax.plot(places, [predicted(k, p) for k in counts], "k--", linewidth=1, label=said)
    ax.legend(fontsize=8)
    ax.figure.savefig(file, dpi=110)


def say(line: str) -> None:
    print(f"{time.perf_counter():.0f} s: {line}", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--worlds", type=int, default=3)
    asked.add_argument("--eye", type=int, default=600, help="steps of the eye")
    asked.add_argument("--reader", type=int, default=1200, help="steps of the reader")
    asked.add_argument("--draws", type=int, default=3)
    asked.add_argument("--json", type=Path)
    asked.add_argument("--figure", type=Path)
    given = asked.parse_args()
    model = train(
        seed=given.seed, worlds=given.worlds, eye_steps=given.eye, reader_steps=given.reader
    )
    found, p = asked_of(model, draws=given.draws)
    rows = found.to_frame()[["shots", "ablation", "accuracy", "low", "high"]]
    rows["majority"] = [predicted(k, p) for k in rows["shots"]]
    print(f"sees {p:.3f} of the tested trials rightly\n{rows.round(3).to_string(index=False)}")
    print("\n".join(found.words()))
    if given.json:
        given.json.write_text(
            json.dumps({"p": p, "rows": rows.to_dict("records")}, indent=2) + "\n"
        )
    if given.figure:
        drawn(found, p, given.figure)


if __name__ == "__main__":
    sys.exit(main())
