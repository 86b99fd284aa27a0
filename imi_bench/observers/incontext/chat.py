"""Models behind a server that speaks OpenAI's chat protocol (OpenAI, vLLM, llama.cpp, Ollama).

Log-probabilities of the options where the server gives them; samples where it does not and samples
were asked for. The key comes from the environment (``OPENAI_API_KEY``) and is written nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import io
import math
import os
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import ImiBenchError, InputError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.incontext.addresses import public_address, split_address
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.prompt import Prompt, messages
from imi_bench.observers.incontext.scoring import (
    Outcome,
    Scored,
    from_samples,
    from_top_tokens,
    plain,
)
from imi_bench.progress import progress
from imi_bench.provenance import generator

OPENAI = "https://api.openai.com/v1"
BACK_OFF = 0.5  # seconds before the first retry; doubled each time
LONGEST_WAIT = 3600.0  # seconds that a server may ask to wait
_FATAL = {
    401: ("the server refuses the key", "set OPENAI_API_KEY to a valid key"),
    404: ("the server does not know the model", "give the name it is served under"),
}


class Chat:
    """A served model.

    Parameters
    ----------
    model : str
        Name the server knows it by.
    base_url : str
    samples : int
        0: log-probabilities; else so many sampled answers an order, at temperature 1.
    max_tokens : int
        Of an answer.
    top_logprobs : int
        Likeliest tokens to ask for, at most 20.
    in_flight : int
        Requests at once.
    timeout : float
        Seconds.
    retries : int
        Of a request that met a limit (its ``retry-after`` is kept to), a fault of the server or
        a lost connection.
    price_in, price_out : float
        Money for a million tokens, for the ledger.
    system : str
        A system message; none if empty.
    served : str
        Name that the server answers under, where it is another than `model` (llama.cpp names its
        file); by default `model`, with or without a folder before it and a date after it.
    seed : int
    ledger : Ledger, optional
        Whose budget is drawn on.
    """

    reads_words_alone = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str = OPENAI,
        samples: int = 0,
        max_tokens: int = 4,
        top_logprobs: int = 20,
        in_flight: int = 4,
        timeout: float = 120.0,
        retries: int = 6,
        price_in: float = 0.0,
        price_out: float = 0.0,
        system: str = "",
        served: str = "",
        seed: int = 0,
        ledger: Ledger | None = None,
    ) -> None:
        _require(
            ("top_logprobs", top_logprobs, 1, 20),
            ("samples", samples, 0, 1000),
            ("in_flight", in_flight, 1, 1000),
            ("max_tokens", max_tokens, 1, math.inf),
            ("retries", retries, 0, 100),
            ("timeout", timeout, 0.001, 86400),
            ("price_in", price_in, 0, 1e9),
            ("price_out", price_out, 0, 1e9),
            ("seed", seed, 0, math.inf),
        )
        self.model, self.base_url = model, base_url.rstrip("/")
        self.samples, self.max_tokens, self.top_logprobs = samples, max_tokens, top_logprobs
        self.in_flight, self.timeout, self.retries = in_flight, timeout, retries
        self.price_in, self.price_out = price_in, price_out
        self.system, self.served, self.seed, self.ledger = system, served, seed, ledger
        self._urls: tuple[Any, dict[int, str]] = (None, {})
        self.identity: dict[str, Any] = {
            "back end": "chat",
            "model": model,
            "base_url": public_address(self.base_url),
            "evidence": "sampled" if samples else "likelihood",
            "samples": samples,
            "temperature": 1.0 if samples else 0.0,
            "max_tokens": max_tokens,
            "top_logprobs": top_logprobs,
            "system": system,
            "seed": seed,
        }
        if samples:
            self.identity["seeds"] = "one a prompt"

    @classmethod
    def from_options(
        cls, model: str, options: Mapping[str, Any], *, seed: int, ledger: Ledger | None
    ) -> Self:
        """From the options of a name; an unknown one is refused."""
        kinds = {"str": str, "int": int, "float": float}
        own = [p for p in inspect.signature(cls).parameters.values() if p.kind is p.KEYWORD_ONLY]
        known = {p.name: kinds[p.annotation] for p in own if p.name not in ("seed", "ledger")}
        for option in options:
            UnknownNameError.unless_among(option, known, kind="option of a served model")
        try:
            values = {name: known[name](value) for name, value in options.items()}
        except (TypeError, ValueError) as error:
            raise InputError("bad option of a served model", found=error) from error
        return cls(model, seed=seed, ledger=ledger, **values)

    def ask(self, prompts: Sequence[Prompt], *, got: Callable[[int, Scored], None]) -> None:
        """Answer prompts, several requests in flight; each answer is told as it comes."""
        if prompts:
            _run(lambda: self._ask_all(prompts, got))

    async def _ask_all(self, prompts: Sequence[Prompt], got: Callable[[int, Scored], None]) -> None:
        openai = require("openai", for_="served vision-language models")
        gate = asyncio.Semaphore(self.in_flight)
        address, query = split_address(self.base_url)
        client = openai.AsyncOpenAI(
            base_url=address,
            default_query=query,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            timeout=self.timeout,
            max_retries=0,
        )
        stopping = asyncio.Event()
        async with client:
            with progress(f"{self.model}: requests", total=len(prompts), unit="requests") as done:

                async def one(place: int, prompt: Prompt) -> None:
                    async with gate:
                        if stopping.is_set():
                            return
                        try:
                            got(place, await self._one(openai, client, prompt, stopping))
                        except BaseException:
                            stopping.set()
                            raise
                        done(1)
                        if self.ledger is not None and self.price_in and not stopping.is_set():
                            done.say(f"{self.model}: {self.ledger.spent():.4g} spent")

                tasks = [asyncio.create_task(one(*each)) for each in enumerate(prompts)]
                try:
                    await _all(tasks)
                except BaseException as error:
                    stopping.set()
                    if isinstance(error, asyncio.CancelledError):
                        done.say("stopping: answers under way are kept; Ctrl-C again: at once")
                    await asyncio.wait(tasks)
                    for task in tasks:  # the first is raised; the others are looked at
                        task.cancelled() or task.exception()
                    raise

    async def _one(
        self, openai: Any, client: Any, prompt: Prompt, stopping: asyncio.Event
    ) -> Scored:
        started = time.perf_counter()
        body = self._body(prompt)
        for attempt in range(self.retries + 1):
            if attempt and stopping.is_set():
                return Scored.none("error", text="stopped before another try")
            if self.ledger is not None:
                self.ledger.allow()
            last, wait = attempt == self.retries, BACK_OFF * 2**attempt
            try:
                reply = await client.chat.completions.create(**body)
                answer = self._read(reply)
                answer = replace(answer, text=_without_key(answer.text))
                usage = {**answer.usage, "seconds": time.perf_counter() - started}
                prints = (reply.model, getattr(reply, "system_fingerprint", None))
                named = " ".join(str(part) for part in prints if part)
                return replace(answer, usage=usage, served=named)
            except openai.APIStatusError as error:
                if last or not (error.status_code in (408, 409, 429) or error.status_code >= 500):
                    return self._final(error)
                wait = self._asked_to_wait(error, wait)
            except openai.APITimeoutError as error:
                if last:
                    return Scored.none("error", text=f"timed out: {error}")
            except openai.APIConnectionError as error:
                if last:
                    cause = error.__cause__ or error
                    raise InputError(
                        "no server answers",
                        where=public_address(self.base_url),
                        found=f"{type(cause).__name__}: {cause}",
                        do="start it, or give another base_url",
                    ) from error
                wait = min(wait, 8.0)
            except ImiBenchError:
                raise
            except (AttributeError, TypeError, ValueError, openai.APIError) as error:
                # a reply that is no answer of the protocol, such as a page of a proxy
                if last:
                    said = f"no reply of the protocol: {type(error).__name__}: {error}"
                    return Scored.none("error", text=said)
            await _rest(wait, stopping)
        return Scored.none("error", text="no answer after all retries")

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        known = self._shots_urls(prompt)

        def picture(image: Pixels) -> dict[str, Any]:
            url = known.get(id(image)) or data_url(image)
            return {"type": "image_url", "image_url": {"url": url}}

        turns = messages(prompt, picture)
        for turn in turns:
            if turn["role"] == "assistant":
                turn["content"] = turn["content"][0]["text"]
        if self.system:
            turns.insert(0, {"role": "system", "content": self.system})
        body: dict[str, Any] = {
            "model": self.model,
            "messages": turns,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }
        if self.samples:
            # one seed for all would give all trials, and both times, the same luck
            drawn = generator(self.seed, "samples", prompt.key(), prompt.repeat)
            body["seed"] = int(drawn.integers(2**31))
            return {**body, "temperature": 1.0, "n": self.samples}
        return {
            **body,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": self.top_logprobs,
        }

    def _shots_urls(self, prompt: Prompt) -> dict[int, str]:
        """Addresses of the shots' images, which all prompts of a run share."""
        if self._urls[0] is not prompt.shots:
            pictures = [image for shown in prompt.shots for image in shown.images]
            self._urls = (prompt.shots, {id(image): data_url(image) for image in pictures})
        return self._urls[1]

    @property
    def _where(self) -> str:
        return f"{public_address(self.base_url)}, model {self.model}"

    def _read(self, reply: Any) -> Scored:
        if (fault := getattr(reply, "error", None)) is not None:  # with status 200
            return Scored.none("error", text=" ".join(str(fault).split()))
        served = str(reply.model or "")
        if served and not _same_model(served, self.served or self.model):
            raise InputError(
                "another model answers",
                where=public_address(self.base_url),
                found=served,
                wanted=self.served or self.model,
                do="give its name in place of yours, or add served=NAME if it is the same",
            )
        usage = self._usage(reply)
        if not reply.choices:
            return Scored.none("unparsed", text="no choice", usage=usage)
        choice = reply.choices[0]
        text = choice.message.content or ""
        why = _withheld(choice)
        if why and not self.samples:
            said = getattr(choice.message, "refusal", None) or text
            return Scored.none(why, text=said, usage=usage)
        if self.samples:
            if len(reply.choices) < self.samples:
                raise InputError(
                    "the server gives fewer samples than asked for",
                    where=self._where,
                    found=len(reply.choices),
                    wanted=self.samples,
                    do="ask for samples=1, or use log-probabilities",
                )
            made = from_samples(
                [None if _withheld(c) else c.message.content for c in reply.choices], usage=usage
            )
            reasons = [why for c in reply.choices if (why := _withheld(c))]
            if made.outcome == "unparsed" and reasons:  # the most frequent reason
                made = replace(made, outcome=max(reasons, key=reasons.count))
            return made
        listed = choice.logprobs.content if choice.logprobs is not None else None
        if not listed:
            if choice.finish_reason == "length" and not text:
                return Scored.none("truncated", text=text, usage=usage)
            raise InputError(
                "the server gives no log-probabilities",
                where=self._where,
                do="ask for sampled answers: samples=8",
            )
        # a model may begin with a space, a newline or an invisible character of its own
        token = next((t for t in listed if plain(t.token)), listed[0])
        top = [(t.token, t.logprob) for t in token.top_logprobs or ()]
        if all(t.token != token.token for t in token.top_logprobs or ()):
            top.append((token.token, token.logprob))  # what was said, where it is not listed
        return from_top_tokens(top, text=text, usage=usage)

    def _usage(self, reply: Any) -> dict[str, float]:
        told = getattr(reply, "usage", None)
        used = (getattr(told, "prompt_tokens", None), getattr(told, "completion_tokens", None))
        if used[0] is None or used[1] is None:
            if self.ledger is not None and self.ledger.max_cost is not None:
                raise InputError(
                    "the server tells no numbers of tokens, so that no budget of money can be kept",
                    where=self._where,
                    do="use max_requests= in place of max_cost=",
                )
            return {}
        cost = (used[0] * self.price_in + used[1] * self.price_out) / 1e6
        return {"input_tokens": used[0], "output_tokens": used[1], "cost": cost}

    def _asked_to_wait(self, error: Any, own: float) -> float:
        """Seconds until the next try: what the server asks for, else our own."""
        stated = error.response.headers.get("retry-after")
        try:
            wait = max(0.0, float(stated)) if stated else own
        except ValueError:
            return own
        if wait > LONGEST_WAIT:
            raise InputError(
                "the server asks to wait long",
                where=self._where,
                found=f"retry-after {stated} s",
                wanted=f"at most {LONGEST_WAIT:g} s",
                do="run again later: answers so far are kept",
            )
        return wait

    def _final(self, error: Any) -> Scored:
        """A status that ends a request, or the whole run where no request can do better."""
        status = error.status_code
        message = _without_key(" ".join(str(error.message).split()))[:300]
        if status in _FATAL:
            what, do = _FATAL[status]
            raise InputError(what, where=self._where, found=f"status {status}", do=do) from error
        if status in (400, 422) and "top_logprobs" in message and self.top_logprobs > 5:
            raise InputError(
                "the server lists fewer likeliest tokens",
                where=self._where,
                found=f"status {status}: {message}",
                do="add top_logprobs=5 to the observer's name",
            ) from error
        if status in (400, 403, 422) and "logprob" in message.lower():
            raise InputError(
                "the server gives no log-probabilities",
                where=self._where,
                found=f"status {status}",
                do="ask for sampled answers: samples=8",
            ) from error
        if status in (400, 403, 413, 422):
            if "content" in message.lower() and "filter" in message.lower():
                return Scored.none("filtered", text=message)
            raise InputError(
                "the server refuses the request",
                where=self._where,
                found=f"status {status}: {message}",
            ) from error
        return Scored.none("error", text=f"status {status}: {message}")


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all, or raise the first error; what is under way goes on, since it is paid for."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run to the end; in a thread of its own where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work())
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work()).result()


async def _rest(seconds: float, stopping: asyncio.Event) -> None:
    """Wait, unless the run is to stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), timeout=seconds)


def _withheld(choice: Any) -> Outcome | None:
    """Why one choice holds no answer, where the server says so."""
    if choice.finish_reason == "content_filter":
        return "filtered"
    return "refused" if getattr(choice.message, "refusal", None) else None


def _without_key(text: str) -> str:
    """What a server said, less the key if it repeats it."""
    key = os.environ.get("OPENAI_API_KEY") or ""
    return text.replace(key, "[key]") if key else text


def _require(*ranges: tuple[str, float, float, float]) -> None:
    for name, value, low, high in ranges:
        if not low <= value <= high:
            wanted = f"{low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
            raise InputError(f"option {name}", found=value, wanted=wanted)


def _same_model(served: str, wanted: str) -> bool:
    """Whether a server's name for the model is that asked for, but for a folder, tag or date.

    Examples
    --------
    >>> _same_model("gpt-4o-2024-08-06", "gpt-4o"), _same_model("gpt-4o-mini", "gpt-4o")
    (True, False)
    """
    one, other = (_bare(name) for name in (served, wanted))
    dated = rf"{re.escape(other)}-(\d{{4}}-\d{{2}}-\d{{2}}|\d{{3,8}}|latest)"
    return one == other or re.fullmatch(dated, one) is not None


def _bare(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    return last.removesuffix(":latest").removesuffix(".gguf")


def data_url(image: Pixels) -> str:
    """A PNG file of the pixels as a data URL."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
