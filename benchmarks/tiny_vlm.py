"""A tiny vision-language model, trained here, whose curve over shots rises for a reason we know.

In each training prompt a coin decides once whether its answers name the query that fits the *right*
examples (people's task) or the one that fits the *left*; only the solved trials of the prompt tell
which. So the model cannot know without solved trials, and with each one it can tell better.

- the *eye*: a fixed bank of oriented filters on three colour channels, averaged over each image;
  learned: a linear map of what it gives, so that a strong query lies nearer to the strong examples.
  The *margin* m of a trial is how much better A fits the right examples than the left ones, less
  the same of B.
- the *reader*: one head of linear attention. Each solved trial votes tanh(b m) for the letter that
  followed it; the log-odds of A are c m tanh(a (sum of votes)). Learned: a, b, c. The sum over no
  solved trial is zero, so that at K = 0 both options are equally likely: chance, exactly.

It learns on worlds of the mini-benchmark of other seeds than those it is tested on, and is asked by
``imi-bench fewshot`` like any other model. Since the whole mechanism is known, so is the accuracy
that the study must find, draw by draw: `by_hand` computes it from arrays, without a prompt.

    python benchmarks/tiny_vlm.py OUT [--seed 0] [--worlds 6] [--draws 10]

writes the weights, the trials, the study with its page, ``tiny_vlm.json`` and ``tiny_vlm.png``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom

from imi_bench.fewshot.record import read_study
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.pools import set_aside
from imi_bench.observers.incontext.prompt import GAP, OPTIONS, Prompt, Shown
from imi_bench.observers.incontext.shots import Shots
from imi_bench.provenance import sha256_bytes, sha256_file
from imi_bench.simulation.world import build
from imi_bench.stimuli.trial_files import read_trials, write_trials
from imi_bench.tables import Trials

SIDE = 32
RANK, MOST = 16, 16  # of the eye's map; solved trials in a training prompt
SHOTS = (0, 1, 2, 4, 8, 16)
WORLD: dict[str, Any] = {"n_participants": 15, "size": SIDE}
COLOURS = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0], [0.25, 0.25, -0.5]])


def filters() -> torch.Tensor:
    """(16, 1, 13, 13) Gabor filters: two scales, four orientations, two phases."""
    span = torch.arange(-6, 7, dtype=torch.float32)
    y, x = torch.meshgrid(span, span, indexing="ij")
    made = []
    for scale in (1.5, 3.0):
        window = torch.exp(-(x**2 + y**2) / (2 * (1.2 * scale) ** 2))
        for turn in np.arange(4) * np.pi / 4:
            along = x * float(np.cos(turn)) + y * float(np.sin(turn))
            for phase in (0.0, np.pi / 2):
                one = window * torch.cos(2 * np.pi * along / (2.5 * scale) + phase)
                one = one - one.mean()
                made.append(one / one.abs().sum())
    return torch.stack(made)[:, None]


class Eye:
    """54 numbers of an image; kept by its pixels."""

    def __init__(self) -> None:
        self.filters = filters()
        self.known: dict[str, np.ndarray[Any, Any]] = {}

    def __call__(self, images: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """(N, 54) of (SIDE, SIDE, 3) uint8 images."""
        keys = [sha256_bytes(image.tobytes()) for image in images]
        new = {k: i for k, i in zip(keys, images, strict=True) if k not in self.known}
        if new:
            pixels = torch.from_numpy(np.stack(list(new.values()))).permute(0, 3, 1, 2)
            seen = torch.einsum("ck,nkhw->nchw", COLOURS, pixels.float() / 127.5 - 1)
            flat = seen.flatten(0, 1)[:, None]
            found = torch.nn.functional.conv2d(flat, self.filters, padding=6, stride=2)
            found = found.unflatten(0, (-1, 3))
            energy = (found[:, :, 0::2] ** 2 + found[:, :, 1::2] ** 2).sqrt()
            parts = [energy.mean((-1, -2)), energy.amax((-1, -2))]
            rest = [seen.mean((-1, -2)), seen.std((-1, -2))]
            codes = torch.cat([*(p.flatten(1) for p in parts), *rest], dim=1).numpy()
            self.known.update(zip(new, codes, strict=True))
        return np.stack([self.known[key] for key in keys])

    def of_trials(self, trials: Trials) -> np.ndarray[Any, Any]:
        """(T, 4, 54): weak and strong examples (their means), strong and weak query."""
        codes = self([trials.images.decode(i) for i in range(len(trials.images.hashes))])
        first, second = codes[trials.queries[:, 0]], codes[trials.queries[:, 1]]
        means = [codes[part].mean(axis=1) for part in (trials.negative, trials.positive)]
        return np.stack([*means, first, second], axis=1)

    def of_prompt(self, shown: Shown) -> np.ndarray[Any, Any]:
        """(4, 54): left and right examples (their means), queries A and B."""
        left, right, a, b = shown.images
        both = [self(tiles(part)).mean(axis=0) for part in (left, right)]
        return np.stack([*both, *self([a, b])])


def tiles(sheet: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The images of a sheet."""
    starts = range(0, sheet.shape[0], SIDE + GAP)
    return [
        np.ascontiguousarray(sheet[top : top + SIDE, left : left + SIDE])
        for top in starts
        for left in starts
    ]


class TinyVlm:
    """A model ``prompt -> log-likelihoods``."""

    def __init__(self, weights: dict[str, Any], *, eye: Eye | None = None) -> None:
        self.eye = Eye() if eye is None else eye
        self.map, self.mean, self.spread = (weights[n] for n in ("map", "mean", "spread"))
        self.vote, self.trust, self.gain = (float(weights[n]) for n in ("vote", "trust", "gain"))
        self.parameters = self.map.size + 3
        self._votes: tuple[Any, float] = (None, 0.0)

    def margins(self, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(...) margins towards A of (..., 4, 54) codes."""
        seen = ((codes - self.mean) / self.spread) @ self.map
        fits = seen[..., 1, :] - seen[..., 0, :]
        return np.asarray((fits * (seen[..., 2, :] - seen[..., 3, :])).sum(-1))

    def believed(self, margins: Any, letters: Any) -> float:
        """What solved trials say of the coin, -1 to 1."""
        return float(np.tanh(self.trust * np.sum(np.tanh(self.vote * margins) * letters)))

    def __call__(self, prompt: Prompt) -> dict[str, float]:
        """Log-likelihoods of A and B, which sum to one."""
        if self._votes[0] is not prompt.shots:
            seen = [float(self.margins(self.eye.of_prompt(one))) for one in prompt.shots]
            letters = [1.0 if one.answer == OPTIONS[0] else -1.0 for one in prompt.shots]
            self._votes = (prompt.shots, self.believed(np.array(seen), np.array(letters)))
        margin = float(self.margins(self.eye.of_prompt(prompt.question)))
        odds = self.gain * margin * self._votes[1]
        found = -np.logaddexp(0.0, [-odds, odds])
        return dict(zip(OPTIONS, found.tolist(), strict=True))


def load(weights: str) -> InContext:
    """The observer, for ``--observer "benchmarks/tiny_vlm.py:load?weights=FILE"``."""
    with np.load(weights) as kept:
        model = TinyVlm({name: kept[name] for name in kept.files})
    identity = {
        "model": "tiny trained vision-language model",
        "weights": sha256_file(Path(weights)),
    }
    return InContext(model, identity=identity, name="tiny-vlm", side=SIDE)


def train(eye: Eye, *, seed: int, worlds: int, steps: int = 400) -> dict[str, Any]:
    """The eye's map, then the reader's three numbers on margins of trials it was not fitted to."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    codes = [eye.of_trials(build(seed=1000 + seed + n, **WORLD).trials) for n in range(worlds)]
    held = codes.pop() if worlds > 1 else codes[0]
    every = np.concatenate(codes)
    mean, spread = every.mean(axis=(0, 1)), every.std(axis=(0, 1)) + 1e-6
    given = torch.from_numpy((every - mean) / spread).float()
    right, asked = given[:, 1] - given[:, 0], given[:, 2] - given[:, 3]
    chart = torch.nn.Parameter(0.1 * torch.randn(every.shape[-1], RANK))
    optimiser = torch.optim.Adam([chart], lr=1e-2)
    for _ in range(steps):
        margin = ((right @ chart) * (asked @ chart)).sum(-1)
        loss = torch.nn.functional.softplus(-margin).mean() + 0.01 * (chart**2).sum() / RANK
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made = {"map": chart.detach().numpy().astype(float), "mean": mean, "spread": spread}
    say(f"{len(every)} training trials, {float((margin > 0).float().mean()):.3f} seen rightly")
    margins = TinyVlm({**made, "vote": 1, "trust": 1, "gain": 1}, eye=eye).margins(held)
    return {**made, **_reader(torch.from_numpy(margins).float(), rng, steps=steps)}


def _reader(margins: torch.Tensor, rng: np.random.Generator, *, steps: int) -> dict[str, float]:
    """a, b, c by likelihood over prompts with a coin and 0 to `MOST` solved trials."""
    raw = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.Adam([raw], lr=2e-2)
    for _ in range(steps):
        place = torch.from_numpy(rng.integers(0, len(margins), (256, MOST + 1)))
        side = torch.from_numpy(rng.choice([-1.0, 1.0], (256, MOST + 1))).float()
        coin = torch.from_numpy(rng.choice([-1.0, 1.0], (256, 1))).float()
        toward_a, letter = margins[place] * side, side * coin
        vote, trust, gain = raw.exp()
        votes = torch.tanh(vote * toward_a) * letter
        before = torch.cat([torch.zeros(256, 1), votes.cumsum(1)[:, :-1]], dim=1)
        odds = gain * toward_a * torch.tanh(trust * before)
        loss = torch.nn.functional.softplus(-letter * odds).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = dict(zip(("vote", "trust", "gain"), raw.exp().tolist(), strict=True))
    say("reader: " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    return found


def worlds_of_the_test(seed: int) -> tuple[Trials, Trials]:
    """Easy trials of one world to be tested, and of another one for the solved trials."""
    found = []
    for number, name in ((seed, ""), (seed + 500, "other-")):
        trials = build(seed=number, n_batches=1, **WORLD).trials
        trials = trials.take(np.flatnonzero(trials.index.difficulty == "easy"))
        network = np.array([f"{name}{n}" for n in trials.index.network], dtype=object)
        ids = np.array([f"{name}{n}" for n in trials.index.trial_id], dtype=object)
        found.append(replace(trials, index=replace(trials.index, network=network, trial_id=ids)))
    return found[0], found[1]


def by_hand(
    model: TinyVlm, tests: Trials, pool: Trials, *, shots: int, draw: int, ablation: Any = "none"
) -> float:
    """The accuracy that the mechanism must give, from arrays alone (no prompt, no image laid out).

    Only for ablations that leave the images alone.
    """
    if shots == 0:
        return 0.5
    drawn = Shots(pool, shots, draw=draw, side=SIDE, ablation=ablation)
    margins = model.margins(model.eye.of_trials(pool))[drawn.rows]
    true = np.array([1.0 if answer == OPTIONS[0] else -1.0 for answer in drawn.answers])
    said = np.array([1.0 if one.answer == OPTIONS[0] else -1.0 for one in drawn.shown])
    belief = model.believed(margins * true, said)
    return float((belief * model.margins(model.eye.of_trials(tests)) > 0).mean())


def majority(shots: int, *, solved: float, asked: float) -> float:
    """Accuracy of one who believes the majority of K solved trials, seen rightly with `solved`.

    Averaged over draws; a tie is a coin's toss; `asked` is the share of tests seen rightly.
    """
    most = float(binom.sf(shots // 2, shots, solved)) if shots else 0.0
    even = float(binom.pmf(shots // 2, shots, solved)) if shots % 2 == 0 else 0.0
    believed = most + even / 2
    return believed * asked + (1 - believed) * (1 - asked)


def say(line: str) -> None:
    print(f"{time.process_time():.0f} s of processor: {line}", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("out", type=Path)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--worlds", type=int, default=6)
    asked.add_argument("--draws", type=int, default=10)
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    weights = given.out / "tiny_vlm.npz"
    np.savez(weights, **train(Eye(), seed=given.seed, worlds=given.worlds))
    tests, pool = worlds_of_the_test(given.seed)
    write_trials(tests, given.out / "trials")
    write_trials(pool, given.out / "pool")
    command = [
        *(sys.executable, "-m", "imi_bench", "fewshot", "--out", str(given.out / "study")),
        *("--observer", f"{Path(__file__).resolve()}:load?weights={weights.resolve()}"),
        *("--trials", str(given.out / "trials"), "--pool", str(given.out / "pool")),
        *("--shots", ",".join(map(str, SHOTS)), "--draws", str(given.draws)),
        *("--ablation", "labels", "--ablation", "images", "--repeats", "10"),
        *("--near", "keep"),  # made-up scenes are all alike
    ]
    subprocess.run(command, check=True)
    report(given.out)


def report(out: Path) -> None:
    """Say the study beside what the mechanism must give."""
    found = read_study(out / "study")
    model = load(str(out / "tiny_vlm.npz")).model
    if not isinstance(model, TinyVlm):
        raise SystemExit("not the tiny model")
    trials, pool = read_trials(out / "trials"), read_trials(out / "pool")
    pool, tests, _ = set_aside(trials, units=found.pool_units, pool=pool, near="keep")
    asked, solved = (
        float((model.margins(model.eye.of_trials(part)) > 0).mean()) for part in (tests, pool)
    )
    cells = found.answers[found.answers["ablation"] != "images"]
    cells = cells.groupby(["shots", "ablation", "draw"])["credit"].mean().reset_index()
    cells["by_hand"] = [
        by_hand(model, tests, pool, shots=int(s), draw=int(d), ablation=a)
        for s, a, d in zip(cells["shots"], cells["ablation"], cells["draw"], strict=True)
    ]
    gap = float((cells["credit"] - cells["by_hand"]).abs().max())
    rows = found.to_frame()[["shots", "ablation", "accuracy", "low", "high"]]
    rows["majority"] = [majority(k, solved=solved, asked=asked) for k in rows["shots"]]
    rows.loc[rows["ablation"] != "none", "majority"] = 0.5
    print(rows.round(3).to_string(index=False))
    print(f"seen rightly: {asked:.3f} of the tests, {solved:.3f} of the pool")
    print(f"largest difference of a cell from the mechanism by hand: {gap:.3g}")
    ax = found.plot()
    counts = [0, *(k for k in SHOTS if k)]
    places = [-1.0 if k == 0 else float(np.log2(k)) for k in counts]
    told = [majority(k, solved=solved, asked=asked) for k in counts]
    ax.plot(places, told, "k--", linewidth=1, label="a majority of K, by the binomial law")
    ax.set_ylim(0.1, 1.0)
    ax.legend(fontsize=7, loc="lower right", ncols=2)
    ax.figure.savefig(out / "tiny_vlm.png", dpi=110)
    facts = {"asked": asked, "solved": solved, "largest_difference": gap}
    (out / "tiny_vlm.json").write_text(
        json.dumps({**facts, "rows": rows.to_dict("records")}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
