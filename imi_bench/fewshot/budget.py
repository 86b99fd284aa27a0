"""What a study would ask, before it asks: calls, images, megabytes, tokens and money."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.fewshot.design import Apart, Design
from imi_bench.observers.incontext.chat import data_url
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.shots import Shots
from imi_bench.plots import bars
from imi_bench.progress import progress
from imi_bench.provenance import generator
from imi_bench.results import Result
from imi_bench.tables import Trials
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SAMPLE = 6  # trials whose prompts are measured
_CHARACTERS = 4  # of English text a token, roughly


@dataclass(frozen=True, repr=False)
class Budget(Result):
    """What is to be asked.

    Attributes
    ----------
    table : DataFrame
        One row an observer and number of shots: ``calls``, of them ``known`` (in the ledger),
        ``images``, ``megabytes`` (as sent to a server; 0 for others), ``tokens`` of input,
        ``cost`` of the calls that are not known (NaN without prices).
    asks_a_server : bool
    notes : tuple of str
        How tokens were found.
    """

    table: pd.DataFrame
    asks_a_server: bool
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The sums."""
        t = self.table
        new = int((t["calls"] - t["known"]).sum())
        cost = t["cost"].sum(min_count=1)
        money = "cost unknown (no prices)" if math.isnan(cost) else f"cost about {cost:.4g}"
        return (
            f"{new:,} calls to make ({int(t['known'].sum()):,} known), {t['images'].sum():,.0f} "
            f"images, {t['megabytes'].sum():,.1f} MB, about "
            f"{t['tokens'].sum():,.0f} tokens, {money}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row an observer and number of shots."""
        return self.table

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the calls to make, by observer and number of solved trials."""
        new = {
            f"{row['observer']}, {plural(row['shots'], 'solved trial')}": float(
                row["calls"] - row["known"]
            )
            for row in self.table.to_dict("records")
        }
        return bars(new, xlabel="calls to make", title=self.title, ax=ax)


@checked
def budget(
    observers: Mapping[str, InContext],
    trials: Trials,
    *,
    design: Design,
    pool: Trials | None = None,
    tokens_per_image: int | None = None,
) -> Budget:
    """Count what a study would ask; nothing is asked.

    Parameters
    ----------
    observers : mapping of str to InContext
        As `imi_bench.fewshot.loading.observers_of` gives them.
    trials : Trials
    design : Design
    pool : Trials, optional
    tokens_per_image : int, optional
        What a server counts; by default OpenAI's published rule for tiles.
    """
    if tokens_per_image is not None and tokens_per_image < 0:
        raise InputError("tokens of an image", found=tokens_per_image, wanted="0 or more")
    apart = design.apart(trials, pool)
    tests = apart.tests
    blind = tests.blind(seed=design.seed)
    twice = repeated(tests, design)
    rows, notes = [], []
    cells = list(design.cells())
    with progress("counting", total=len(cells) * len(observers), unit="runs") as advance:
        for name, observer in observers.items():
            found: dict[int, dict[str, float]] = {}
            for count, draw, ablation in cells:
                row = found.setdefault(count, dict.fromkeys(_COLUMNS, 0.0))
                asked: list[tuple[int, int]] = []
                for group in apart.groups(count):
                    shots = shots_of(
                        observer, group.pool, count, draw, design=design, ablation=ablation
                    )
                    made = observer.with_shots(shots)
                    if not row["images"]:
                        row |= _measured(made, tests.take(group.rows), tokens_per_image)
                    # what is asked without images is asked once, where answers are kept
                    here = (count, draw, ablation) == cells[0] and not asked
                    first = made.ledger is None or here
                    asked.append(made.calls(blind.without_key(group.rows), words=first))
                if twice is not None and (count, draw, ablation) == most(design):
                    asked += _again(observer, apart, twice, design)
                row["calls"] += sum(calls for calls, _ in asked)
                row["known"] += sum(known for _, known in asked)
                advance(1)
            for count, row in found.items():
                rows.append({"observer": name, "shots": count, **_sums(row, observer)})
            notes.append(f"{name}: {_how(observer, tokens_per_image)}")
    served = any(hasattr(one.model, "base_url") for one in observers.values())
    return Budget(pd.DataFrame(rows), served, tuple(notes))


def _again(
    observer: InContext, apart: Apart, twice: Trials, design: Design
) -> Iterator[tuple[int, int]]:
    """Calls, and known ones, of trials asked a second time."""
    count, draw, ablation = most(design)
    blind = twice.blind(seed=design.seed)
    for group in apart.groups(count, twice):
        shots = shots_of(observer, group.pool, count, draw, design=design, ablation=ablation)
        shown = blind.without_key(group.rows)
        yield observer.with_shots(shots).calls(shown, again=True)


_COLUMNS = ("calls", "known", "images", "megabytes", "tokens")


def most(design: Design) -> tuple[int, int, str]:
    """The cell whose trials are asked twice."""
    return max(design.shots), 0, "none"


def repeated(tests: Trials, design: Design) -> Trials | None:
    """The trials that are asked twice."""
    count = min(design.repeats, len(tests))
    if not count:
        return None
    rng = generator(design.seed, "repeats")
    return tests.take(np.sort(rng.permutation(len(tests))[:count]))


def shots_of(
    observer: InContext, pool: Trials, count: int, draw: int, *, design: Design, ablation: Any
) -> Shots | None:
    """The solved trials of a cell, laid out as the observer asks."""
    if not count:
        return None
    return Shots(
        pool,
        count,
        draw=draw,
        seed=design.seed,
        layout=observer.layout,
        side=observer.side,
        ablation=ablation,
        near="keep",  # tests with near pictures were dropped, or are to be kept
    )


def _measured(observer: InContext, tests: Trials, per_image: int | None) -> dict[str, float]:
    """Means of one call, over the first few trials."""
    blind = tests.take(np.arange(min(_SAMPLE, len(tests)))).blind(seed=0).without_key()
    prompts = [observer.prompt(blind, row) for row in range(len(blind))]
    sent = prompts if hasattr(observer.model, "base_url") else []
    letters = [sum(len(data_url(image)) for image in prompt.images) for prompt in sent]
    return {
        "images": float(len(prompts[0].images)),
        "megabytes": float(np.mean(letters)) / 1e6 if sent else 0.0,
        "tokens": float(np.mean([_tokens(observer, p, per_image) for p in prompts])),
    }


def _tokens(observer: InContext, prompt: Prompt, per_image: int | None) -> float:
    if hasattr(observer.model, "tokens"):
        return float(observer.model.tokens(prompt))
    words = sum(len(part) for shown in prompt for part in shown.parts if isinstance(part, str))
    each = [
        tile_tokens(*image.shape[:2]) if per_image is None else per_image for image in prompt.images
    ]
    return words / _CHARACTERS + sum(each)


def tile_tokens(height: int, width: int) -> int:
    """Tokens of an image by OpenAI's published rule for GPT-4o: 85, and 170 a tile of 512 pixels.

    Examples
    --------
    >>> tile_tokens(1024, 1024), tile_tokens(224, 224)
    (765, 255)
    """
    scale = min(1.0, 2048 / max(height, width))
    scale *= min(1.0, 768 / (min(height, width) * scale))
    tiles = math.ceil(height * scale / 512) * math.ceil(width * scale / 512)
    return 85 + 170 * tiles


def _sums(row: Mapping[str, float], observer: InContext) -> dict[str, float]:
    calls, known = int(row["calls"]), int(row["known"])
    samples = max(1, int(getattr(observer.model, "samples", 0)))
    price_in, price_out = (getattr(observer.model, f"price_{way}", 0.0) for way in ("in", "out"))
    tokens = row["tokens"] * (calls - known)
    said = (calls - known) * samples * getattr(observer.model, "max_tokens", 0)
    cost = (tokens * price_in + said * price_out) / 1e6 if price_in or price_out else math.nan
    return {
        "calls": calls,
        "known": known,
        "images": row["images"] * (calls - known),
        "megabytes": row["megabytes"] * (calls - known),
        "tokens": tokens,
        "cost": cost,
    }


def _how(observer: InContext, per_image: int | None) -> str:
    if hasattr(observer.model, "tokens"):
        return "tokens counted by its own processor"
    if per_image is not None:
        return f"tokens estimated: {per_image} an image as given, a quarter of the characters"
    return (
        "tokens estimated by OpenAI's rule for tiles and a quarter of the characters; another "
        "server may count otherwise (tokens_per_image=)"
    )
