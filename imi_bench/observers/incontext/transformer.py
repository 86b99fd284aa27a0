"""A local vision-language model of the transformers library, scored by likelihood.

The two options are continuations of the very prompt. Where each is one token, one pass gives both;
else the log-likelihoods of all their tokens are summed. Nothing is ever cut off: a prompt that does
not fit is an error.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from PIL import Image

from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.incontext.prompt import OPTIONS, Prompt, Shown, messages
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.provenance import sha256_json
from imi_bench.vision.device import pick_device, single_precision
from imi_bench.vision.weight_files import state_hash

_OPTIONS = {"revision": str, "prefix_cache": bool}
_SAME = 1e-3  # nats within which a cached prefix must give what the whole prompt gives
_DTYPES = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class Transformer:
    """A model and its processor.

    Parameters
    ----------
    model : torch.nn.Module
        With ``forward(**inputs)`` that gives ``logits``.
    processor : Any
        Transformers processor
        With a chat template.
    identity : mapping
        What it is; completed with what of the processor can change an answer.
    prefix_cache : bool
        Keep the keys and values of the solved trials, which all prompts of a run share. Checked
        against the whole prompt at first use, and given up where they differ.
    """

    reads_words_alone = True

    def __init__(
        self, model: Any, processor: Any, *, identity: Mapping[str, Any], prefix_cache: bool = True
    ) -> None:
        self.model, self.processor = model.eval(), processor
        if not getattr(processor, "chat_template", None):
            raise InputError(
                "a base model without a chat template",
                where=identity.get("model"),
                do="take the variant that is tuned for instructions",
            )
        self.parameters = sum(one.numel() for one in self.model.parameters())
        self.prefix_cache = prefix_cache
        self.prefix_state = "not used yet" if prefix_cache else "off"
        self._prefix: tuple[str, Any, Any] | None = None
        template = processor.chat_template
        self.identity: dict[str, Any] = {
            **identity,
            "evidence": "likelihood",
            "processor": sha256_json(_plain(processor.to_dict())),
            "chat_template": sha256_json(template if isinstance(template, str) else str(template)),
        }

    @classmethod
    def from_options(
        cls, name: str, options: Mapping[str, Any], *, device: str, dtype: str
    ) -> Self:
        """Load by path or Hub name.

        Parameters
        ----------
        name : str
            A folder, or the name of a Hub repository.
        options : mapping
            ``revision`` (a commit), ``prefix_cache``.
        device : {"auto", "cpu", "cuda", "mps"}
        dtype : {"float32", "bf16", "fp16"}

        Raises
        ------
        UnknownNameError, InputError
            An unknown option, or a value of none; a revision of a folder.
        NetworkError
            The model cannot be loaded, or takes no images.
        """
        for option in options:
            UnknownNameError.unless_among(option, _OPTIONS, kind="option of a local model")
        prefix = options.get("prefix_cache", True)
        if not isinstance(prefix, bool):
            raise InputError("option prefix_cache", found=prefix, wanted="true or false")
        UnknownNameError.unless_among(dtype, _DTYPES, kind="number type")
        torch = require("torch", for_="local vision-language models")
        transformers = require("transformers", for_="local vision-language models")
        revision = options.get("revision")
        if revision and Path(name).exists():
            raise InputError(
                "a folder has no revision",
                where=name,
                found=f"revision={revision}",
                do="leave it out: its weights are hashed",
            )
        where: dict[str, Any] = {"revision": revision} if revision else {}
        try:
            processor = transformers.AutoProcessor.from_pretrained(name, **where)
            model = transformers.AutoModelForImageTextToText.from_pretrained(
                name, dtype=getattr(torch, _DTYPES[dtype]), use_safetensors=True, **where
            )
        except Exception as error:
            raise NetworkError(
                "the vision-language model cannot be loaded",
                where=name,
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="a folder or Hub repository with an image-text model in safetensors",
            ) from error
        if device == "auto":  # never mps, unlike an encoder
            device = "cuda" if torch.cuda.is_available() else "cpu"
        identity = {
            "back end": "transformers",
            "model": Path(name).name if Path(name).exists() else name,
            "weights": state_hash(model.state_dict()) if Path(name).exists() else None,
            "revision": revision or getattr(model.config, "_commit_hash", None),
            "class": type(model).__name__,
            "dtype": dtype,
            "version": transformers.__version__,
        }
        return cls(model.to(pick_device(device)), processor, identity=identity, prefix_cache=prefix)

    def __call__(self, prompt: Prompt) -> Scored:
        """Log-likelihoods of both options after the prompt.

        Raises
        ------
        InputError
            The prompt does not fit into the model.
        """
        torch = require("torch", for_="local vision-language models")
        text = self._text(prompt, asking=True)
        inputs = self._inputs(text, prompt)
        self._fits(inputs)
        continuations = [self._continuation(prompt, text, option) for option in OPTIONS]
        where = str(self.model.device)
        doing, do = "a language model on a prompt", "fewer shots, or device='cpu'"
        with torch.inference_mode(), single_precision(where, doing=doing, do=do):
            if all(len(tokens) == 1 for tokens in continuations) and len(
                {tokens[0] for tokens in continuations}
            ) == len(OPTIONS):
                last = self._last_logits(prompt, inputs)
                given = torch.log_softmax(last.double(), dim=-1)
                first, second = (float(given[tokens[0]]) for tokens in continuations)
            else:
                first, second = (self._summed(inputs, tokens) for tokens in continuations)
        length = int(inputs["input_ids"].shape[1])
        return Scored(
            first,
            second,
            mass=math.exp(first) + math.exp(second),
            usage={"input_tokens": float(length)},
        )

    def tokens(self, prompt: Prompt) -> int:
        """How many the prompt has."""
        return int(self._inputs(self._text(prompt, asking=True), prompt)["input_ids"].shape[1])

    def option_tokens(self, prompt: Prompt) -> dict[str, list[int]]:
        """Tokens of each option as they would follow the prompt."""
        text = self._text(prompt, asking=True)
        return {option: self._continuation(prompt, text, option) for option in OPTIONS}

    def _text(self, shown: Sequence[Shown] | Prompt, *, asking: bool) -> str:
        turns = messages(shown, lambda pixels: {"type": "image"})
        return str(
            self.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=asking)
        )

    def _inputs(self, text: str, shown: Sequence[Shown] | Prompt) -> dict[str, Any]:
        images = [Image.fromarray(image) for one in shown for image in one.images]
        first = getattr(self.processor.tokenizer, "bos_token", None)
        made = self.processor(
            text=[text],
            images=images or None,
            return_tensors="pt",
            truncation=False,
            # the template may have written the token of the beginning: never a second one
            add_special_tokens=not (first and text.startswith(first)),
        )
        return {name: value.to(self.model.device) for name, value in made.items()}

    def _continuation(self, prompt: Prompt, text: str, option: str) -> list[int]:
        """Tokens of the option as the chat template would write it after the prompt."""
        answered = [(*prompt.shots, Shown(prompt.question.parts, one)) for one in OPTIONS]
        said = dict(zip(OPTIONS, (self._text(one, asking=False) for one in answered), strict=True))
        whole = said[option]
        if not whole.startswith(text):
            raise InputError(
                "the chat template writes an answer otherwise than it asks for one",
                where=self.identity.get("model"),
                found=repr(whole[-60:]),
                wanted=f"a continuation of {text[-40:]!r}",
            )
        # where the answers differ: the template may write an A of its own before the letter
        letter = next(
            i for i, two in enumerate(zip(*said.values(), strict=False)) if len({*two}) > 1
        )
        written = whole[len(text) : letter + len(option)]
        tokenizer = self.processor.tokenizer
        before = tokenizer(text, add_special_tokens=False)["input_ids"]
        after = tokenizer(text + written, add_special_tokens=False)["input_ids"]
        if after[: len(before)] != before:
            return list(tokenizer(written, add_special_tokens=False)["input_ids"])
        return list(after[len(before) :])

    def _fits(self, inputs: Mapping[str, Any]) -> None:
        config = getattr(self.model.config, "text_config", self.model.config)
        most = getattr(config, "max_position_embeddings", None)
        length = int(inputs["input_ids"].shape[1])
        if most is not None and length >= most:
            raise InputError(
                "the prompt does not fit into the model",
                where=self.identity.get("model"),
                found=f"{length} tokens",
                wanted=f"fewer than {most}",
                do="fewer shots, or layout=sheets, or a smaller side",
            )

    def _last_logits(self, prompt: Prompt, inputs: dict[str, Any]) -> Any:
        if not prompt.shots or not self.prefix_cache:
            return self.model(**inputs).logits[0, -1]
        key = Prompt(prompt.shots, Shown(())).key()
        try:
            if self._prefix is None or self._prefix[0] != key:
                text = self._text(prompt.shots, asking=False)
                before = self._inputs(text, prompt.shots)
                past = self.model(**before, use_cache=True)
                self._prefix = (key, before, past_of(past))
                self._check(inputs)
            usable = self._prefix is not None
            return self._after_prefix(inputs) if usable else self.model(**inputs).logits[0, -1]
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            self._give_up(f"{type(error).__name__}: {error}")
            return self.model(**inputs).logits[0, -1]

    def _after_prefix(self, inputs: dict[str, Any]) -> Any:
        if self._prefix is None:
            raise ValueError("no prefix")
        _, before, past = self._prefix
        count = int(before["input_ids"].shape[1])
        if not bool((inputs["input_ids"][:, :count] == before["input_ids"]).all()):
            raise ValueError("the prompt does not begin with the solved trials")
        rest = {
            name: value if name == "attention_mask" else _beyond(value, before.get(name))
            for name, value in inputs.items()
        }
        rest[past_name(self.model)] = copy.deepcopy(past)
        return self.model(**rest).logits[0, -1]

    def _check(self, inputs: dict[str, Any]) -> None:
        whole = self.model(**inputs).logits[0, -1].double().log_softmax(-1)
        cached = self._after_prefix(inputs).double().log_softmax(-1)
        gap = float((whole - cached).abs().max())
        if gap > _SAME:
            self._give_up(f"differs from the whole prompt by {gap:.2g} nats")
        else:
            self.prefix_state = "used"

    def _give_up(self, why: str) -> None:
        self.prefix_cache, self.prefix_state, self._prefix = False, f"given up: {why[:200]}", None

    def _summed(self, inputs: dict[str, Any], tokens: Sequence[int]) -> float:
        torch = require("torch", for_="local vision-language models")
        tail = torch.tensor([list(tokens)], device=inputs["input_ids"].device)
        longer = {**inputs, "input_ids": torch.cat([inputs["input_ids"], tail], dim=1)}
        for name, value in inputs.items():
            if name != "input_ids" and value.shape == inputs["input_ids"].shape:
                fill = torch.ones_like(tail) if name == "attention_mask" else torch.zeros_like(tail)
                longer[name] = torch.cat([value, fill.to(value.dtype)], dim=1)
        logits = self.model(**longer).logits[0, -len(tokens) - 1 : -1].double()
        given = logits.log_softmax(-1)
        return float(sum(given[place, token] for place, token in enumerate(tokens)))


def past_name(model: Any) -> str:
    """What a model calls the keys and values of what it has read: newer transformers say cache."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def past_of(output: Any) -> Any:
    """Keys and values in what a model gave."""
    return output.cache if "cache" in output else output.past_key_values


def _beyond(value: Any, before: Any) -> Any:
    """The part of a tensor that comes after the prefix's, along the one axis where they differ."""
    if before is None or value.shape == before.shape:
        return value
    axis = next(i for i, (a, b) in enumerate(zip(value.shape, before.shape, strict=True)) if a != b)
    start = before.shape[axis]
    return value.narrow(axis, start, value.shape[axis] - start)


def _plain(value: Any) -> Any:
    """A configuration as JSON: what is not is written as text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if not str(k).startswith("_")}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
