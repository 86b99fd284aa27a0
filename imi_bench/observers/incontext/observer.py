"""The few-shot observer: each trial in both orders, after the same solved trials."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from imi_bench.arguments import refuse_idle
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.orders import BothOrders
from imi_bench.observers.incontext.pools import Near
from imi_bench.observers.incontext.prompt import (
    LAYOUTS,
    WORDING_VERSION,
    Layout,
    Prompt,
    Shown,
    content_free,
    lay_out,
    unconditional,
)
from imi_bench.observers.incontext.scoring import Model, Scored, scored
from imi_bench.observers.incontext.shots import Ablation, Shots
from imi_bench.observers.loader_names import reference
from imi_bench.observers.protocol import Answers, Codes
from imi_bench.places import cache_folder
from imi_bench.provenance import sha256_bytes, sha256_json
from imi_bench.tables import BlindTrials, Trials
from imi_bench.tables.align import in_use
from imi_bench.text import plural

VERSION = 1
_AT_ONCE = 32  # trials whose prompts are in memory together


@runtime_checkable
class ManyAtOnce(Protocol):
    """A model that answers several prompts at once, such as a server."""

    def ask(self, prompts: Sequence[Prompt], *, got: Callable[[int, Scored], None]) -> None:
        """Answer each prompt; `got` is told its place and answer as soon as it is there."""
        ...


class InContext:
    """A vision-language model that sees K solved trials and answers one.

    Parameters
    ----------
    model : callable or ManyAtOnce
        ``prompt -> Scored`` or a mapping of ``A`` and ``B`` to log-likelihoods.
    identity : mapping
        What the model is, as a JSON object: all that can change its answers.
    name : str
    shots : Shots, optional
        The solved trials; None: zero-shot.
    layout : {"sheets", "separate"}
    side : int
        Pixels of an image's side.
    ledger : Ledger, optional
        Where answers are kept.
    batch_size : int
        Trials handed to the model at once.

    Notes
    -----
    Swapping the queries flips the sign exactly, since both orders are asked; what happens when the
    two sides of references change places is the model's affair, so the contract check exempts it
    from the swaps.
    """

    symmetric = False
    ties_are_answers = True

    def __init__(
        self,
        model: Model | ManyAtOnce,
        *,
        identity: Mapping[str, Any],
        name: str = "in-context",
        shots: Shots | None = None,
        layout: Layout = "sheets",
        side: int = 224,
        ledger: Ledger | None = None,
        batch_size: int = 8,
    ) -> None:
        UnknownNameError.unless_among(layout, LAYOUTS, kind="layout")
        self.name, self.model, self.identity = name, model, dict(identity)
        self.layout, self.side, self.ledger, self.batch_size = layout, side, ledger, batch_size
        self.shots = self._laid_out_alike(shots)

    def __repr__(self) -> str:
        count = 0 if self.shots is None else self.shots.count
        return f"InContext({self.name!r}, {plural(count, 'shot')}, {self.layout})"

    def describe(self) -> dict[str, Any]:
        """Model, layout, wording and shots."""
        return {
            "kind": "in context",
            "version": VERSION,
            "wording": WORDING_VERSION,
            "layout": self.layout,
            "side": self.side,
            "orders": "both",
            "shots": None if self.shots is None else self.shots.describe(),
            "model": self.identity,
        }

    def decide(self, trials: BlindTrials, codes: Codes | None = None) -> Answers:
        """Half the difference of the evidence in the two orders, in nats."""
        return Answers(*self.both_orders(trials).evidence())

    def with_shots(self, shots: Shots | None) -> InContext:
        """The same model and ledger after other solved trials."""
        made = copy.copy(self)
        made.shots = self._laid_out_alike(shots)
        return made

    def _laid_out_alike(self, shots: Shots | None) -> Shots | None:
        if shots is not None and (shots.layout, shots.side) != (self.layout, self.side):
            raise InputError("shots and question are laid out differently", found=shots.layout)
        return shots

    def keeping(self, ledger: Ledger | None) -> InContext:
        """The same observer with another ledger, whose budget its model draws on from now on."""
        made = copy.copy(self)
        made.ledger = ledger
        if hasattr(made.model, "ledger"):
            made.model.ledger = ledger
        return made

    def both_orders(self, trials: BlindTrials, *, again: bool = False) -> BothOrders:
        """Every trial in both orders; what the ledger knows is not asked again.

        Parameters
        ----------
        trials : BlindTrials
        again : bool
            Ask a second time whatever is known (and keep the second answers apart, so that a run
            that was stopped asks no third time).

        Raises
        ------
        LeakageError
            A trial shows a picture of the shots, or one nearly equal.
        """
        if self.shots is not None:
            used, _ = in_use(trials.positive, trials.negative, trials.queries)
            self.shots.require_disjoint(trials.images, used)
        answers: list[Scored] = []
        for prompts in self._prompts(trials):
            answers += self._ask(prompts, again=again)
        return BothOrders(tuple(answers[0::2]), tuple(answers[1::2]))

    def letters(self, trials: BlindTrials) -> dict[str, Scored]:
        """What the model says for a letter as such.

        Returns
        -------
        dict
            ``content-free``: after the same shots, with grey for every image of the question
            (Zhao et al. 2021, arXiv 2102.09690); ``unconditional``: after the words alone (Brown
            et al. 2020, section 2.4), absent where the model cannot be asked without images.
        """
        asked = self._letters(trials)
        return dict(zip(asked, self._ask(list(asked.values())), strict=True))

    def _letters(self, trials: BlindTrials) -> dict[str, Prompt]:
        asked = {"content-free": content_free(self.prompt(trials, 0))}
        if getattr(self.model, "reads_words_alone", False):
            asked["unconditional"] = unconditional()
        return asked

    def calls(
        self, trials: BlindTrials, *, again: bool = False, words: bool = True
    ) -> tuple[int, int]:
        """How many requests a run makes, and how many of them the ledger knows.

        Parameters
        ----------
        trials : BlindTrials
        again : bool
            Of `both_orders` alone, asked a second time; else of it and of `letters`.
        words : bool
            Count the request without images, which all runs of an observer share.
        """
        letters = {} if again else self._letters(trials)
        if not words:
            letters.pop("unconditional", None)
        count = 2 * len(trials) + len(letters)
        if self.ledger is None or not self.ledger.holds_answers:
            return count, 0
        known = self.ledger.known
        keys = [
            self._key(prompt, again=again)
            for prompts in (*self._prompts(trials), list(letters.values()))
            for prompt in prompts
        ]
        return count, sum(known(key) is not None for key in keys)

    def _prompts(self, trials: BlindTrials) -> Iterator[list[Prompt]]:
        """Prompts of some trials at a time: all of them together would fill the memory."""
        for start in range(0, len(trials), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(trials)))
            yield [self.prompt(trials, row, swap=swap) for row in rows for swap in (0, 1)]

    def _key(self, prompt: Prompt, *, again: bool = False) -> str:
        return sha256_json([self.identity, prompt.key(), *(["again"] if again else [])])

    def prompt(self, trials: BlindTrials, row: int, *, swap: int = 0) -> Prompt:
        """The prompt of one trial; `swap` puts the query shown first in place of B."""
        images = trials.images

        def by_content(rows: Any) -> list[Any]:
            ordered = sorted(map(int, rows), key=lambda place: str(images.hashes[place]))
            return [images.decode(place) for place in ordered]

        first, second = (images.decode(int(place)) for place in trials.queries[row])
        question: Shown = lay_out(
            by_content(trials.positive[row]),
            by_content(trials.negative[row]),
            (second, first) if swap else (first, second),
            layout=self.layout,
            side=self.side,
        )
        return Prompt(() if self.shots is None else self.shots.shown, question)

    def _ask(self, prompts: Sequence[Prompt], *, again: bool = False) -> list[Scored]:
        keys = [self._key(prompt, again=again) for prompt in prompts]
        prompts = [replace(prompt, repeat=1) for prompt in prompts] if again else prompts
        answers: list[Scored | None] = [
            None if self.ledger is None else self.ledger.known(key) for key in keys
        ]
        todo = [place for place, answer in enumerate(answers) if answer is None]
        if isinstance(self.model, ManyAtOnce):

            def got(number: int, answer: Scored) -> None:
                place = todo[number]
                answers[place] = answer
                self._keep(keys[place], answer, seconds=answer.usage.get("seconds", 0.0))

            self.model.ask([prompts[place] for place in todo], got=got)
        else:
            for place in todo:
                if self.ledger is not None:
                    self.ledger.allow()
                started = time.perf_counter()
                answer = scored(self.model(prompts[place]), where=f"model of '{self.name}'")
                answers[place] = answer
                self._keep(keys[place], answer, seconds=time.perf_counter() - started)
        made = [answer for answer in answers if answer is not None]
        if len(made) < len(prompts):  # else those that came would stand for other trials
            raise InputError(
                "a model left prompts without an answer",
                where=f"model of '{self.name}'",
                found=plural(len(made), "answer"),
                wanted=f"{len(prompts)}",
            )
        return made

    def _keep(self, key: str, answer: Scored, *, seconds: float) -> None:
        if self.ledger is not None:
            name = str(self.identity.get("model", self.name))
            self.ledger.keep(key, answer, model=name, seconds=seconds)


def from_name(
    architecture: str,
    name: str = "",
    *,
    shots: int = 0,
    pool: str = "",
    pool_network: str = "",
    pool_layer: str = "",
    near: Near = "drop",
    draw: int = 0,
    layout: Layout = "sheets",
    side: int = 224,
    ablation: Ablation = "none",
    ledger: str = "",
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    batch_size: int = 8,
    max_requests: int | None = None,
    max_cost: float | None = None,
    **options: Any,
) -> InContext:
    """Build from ``vlm:openai/MODEL?…`` or ``vlm:hf/PATH-OR-ID?…``.

    Parameters
    ----------
    architecture : str
        ``openai/MODEL`` or ``hf/PATH-OR-ID``.
    name : str
    shots, draw, ablation
        As in `Shots`; shots above 0 need `pool`.
    pool : str
        Folder or table of the trials that shots are drawn from.
    pool_network, pool_layer : str
        Draw them from the trials of that network or layer alone.
    near : {"drop", "keep"}
        Refuse tests with a picture nearly equal to one of the shots, or keep them.
    layout, side
        As in `InContext`.
    ledger : str
        File of answers; the user's cache folder by default.
    seed, device, dtype, batch_size, max_requests, max_cost : int, float or str, optional
    options : Any
        Of the back end: see `imi_bench.observers.incontext.chat.Chat` and
        `imi_bench.observers.incontext.transformer.Transformer`.

    Raises
    ------
    InputError
        An unknown back end or option, no pool for shots.
    """
    kind, _, model_name = architecture.partition("/")
    if kind not in ("openai", "hf") or not model_name:
        raise UnknownNameError.among(
            architecture, ["openai/MODEL", "hf/PATH-OR-ID"], kind="vision-language back end"
        )
    where = name or architecture
    of_shots: dict[str, Any] = {
        "pool": pool,
        "pool_network": pool_network,
        "pool_layer": pool_layer,
    }
    of_shots |= {"near": near, "draw": draw, "ablation": ablation}
    _refuse_idle(of_shots, options, shots=shots, max_cost=max_cost, where=where)
    drawn = None
    if shots:
        drawn = Shots(
            _pool(pool, shots, network=pool_network, layer=pool_layer),
            shots,
            draw=draw,
            seed=seed,
            layout=layout,
            side=side,
            ablation=ablation,
            near=near,
        )
    kept = Ledger(
        ledger or cache_folder() / "incontext.db", max_requests=max_requests, max_cost=max_cost
    )
    model: Any
    if kind == "openai":
        from imi_bench.observers.incontext.chat import Chat

        model = Chat.from_options(model_name, options, seed=seed, ledger=kept)
    else:
        from imi_bench.observers.incontext.transformer import Transformer

        model = Transformer.from_options(model_name, options, device=device, dtype=dtype)
    said = {"shots": shots, "layout": layout, "side": side, **of_shots, **options}
    said["pool"] = "" if drawn is None else sha256_json(drawn.describe())[:8]
    return InContext(
        model,
        identity=model.identity,
        name=_shown(name, kind, model_name, said),
        shots=drawn,
        layout=layout,
        side=side,
        ledger=kept,
        batch_size=batch_size,
    )


_FREE = {
    "shots": 0,
    "draw": 0,
    "near": "drop",
    "layout": "sheets",
    "side": 224,
    "ablation": "none",
    "pool": "",
    "pool_network": "",
    "pool_layer": "",
    "samples": 0,
    "max_tokens": 4,
    "top_logprobs": 20,
    "system": "",
    "prefix_cache": True,
    "revision": "",
}
"""Options of a name, if they are not these; which server answers, and how fast, is not in it."""


def _refuse_idle(
    of_shots: Mapping[str, object],
    options: Mapping[str, Any],
    *,
    shots: int,
    max_cost: float | None,
    where: str,
) -> None:
    """Refuse what nothing would read: options of solved trials, a budget without prices."""
    for option, value in of_shots.items():
        free = _FREE[option]
        refuse_idle(option, value, free=free, unless=shots > 0, do="add shots=", where=where)
    priced = any(options.get(one) for one in ("price_in", "price_out"))
    do = "add price_in= and price_out="
    refuse_idle("max_cost", max_cost, unless=priced, do=do, where=where)
    refuse_idle(
        "top_logprobs",
        options.get("top_logprobs", _FREE["top_logprobs"]),
        free=_FREE["top_logprobs"],
        unless=not options.get("samples"),
        do="leave samples= out",
        where=where,
    )


def _shown(name: str, kind: str, model: str, said: Mapping[str, Any]) -> str:
    """The name in reports: the card's or the model's, and what is asked otherwise.

    Without folders, addresses and keys; the pool by the digits of the solved trials.
    """
    model = Path(model).name if kind == "hf" and Path(model).exists() else model
    base = name.partition("?")[0] if name and not name.startswith("vlm:") else ""
    told = {key: said[key] for key, free in _FREE.items() if said.get(key, free) != free}
    if base and "revision=" not in name:
        told.pop("revision", None)  # the card's own
    if isinstance(told.get("system"), str):
        told["system"] = sha256_bytes(told["system"].encode())[:8]
    return reference(base or f"vlm:{kind}/{model}", told)


def _pool(path: str, count: int, *, network: str, layer: str) -> Trials:
    if not path:
        raise InputError(
            "solved trials need a pool",
            found=f"shots={count}",
            wanted="pool=FOLDER, trials of other units",
        )
    from imi_bench.stimuli.trial_files import read_trials

    read = read_trials(path)
    for name, wanted in (("network", network), ("layer", layer)):
        if wanted:
            own = getattr(read.index, name).astype(str)
            if wanted not in own:
                raise UnknownNameError.among(wanted, np.unique(own).tolist(), kind=f"pool_{name}")
            read = read.take(np.flatnonzero(own == wanted))
    return read


__all__ = [
    "InContext",
    "ManyAtOnce",
    "from_name",
]
