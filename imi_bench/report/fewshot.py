"""The page of a few-shot study: curves, gaps, habits, contamination, and the very prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from imi_bench.arguments import checked
from imi_bench.errors import InputError, NotComparableError
from imi_bench.fewshot.budget import most, shots_of
from imi_bench.fewshot.curves import KEYS, MEASURES, FewShot, shots_axis, with_bars
from imi_bench.fewshot.design import Design
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.pages.shell import write_page
from imi_bench.plots import broken
from imi_bench.provenance import atomic_path, sha256_bytes
from imi_bench.report.figures import Figure
from imi_bench.report.style import INK, MUTED, PALETTE, as_svg, new_canvas, styled
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "index.html"
_FOLDER = "prompts"
_LEGEND = 28  # characters of a line, two columns of them above a figure
_PEOPLE = {
    "bits": "Calibrated out of fold; 0: no better than a coin at predicting an answer of people.",
    "agreement": "Correlation of predicted with observed shares of right answers, over units.",
}


@checked
def write_fewshot_page(
    found: FewShot,
    out: str | Path,
    *,
    family: Mapping[str, InContext],
    trials: Trials,
    design: Design,
    pool: Trials | None = None,
    count: int = 6,
) -> Path:
    """Write ``index.html`` and the images of the prompts that it shows.

    Parameters
    ----------
    found : FewShot
    out : str or Path
        Folder.
    family : mapping of str to InContext
        The observers, which lay out the prompts again.
    trials : Trials
        All that the study was given.
    design : Design
    pool : Trials, optional
        As the study was given.
    count : int
        Trials of each observer shown with their prompts.

    Returns
    -------
    Path
        Of the page.
    """
    folder = Path(out)
    page = {
        "title": "Judging units from solved trials in the prompt",
        "simulated": _simulated(found),
        "lead": f"{found.title}. {found.pool_units} units were set aside for solved trials.",
        "words": found.words(),
        "figures": _figures(found),
        "tables": _tables(found),
        "closed": _closed(family),
        "prompts": [
            prompt
            for name, observer in family.items()
            for prompt in _prompts(found, name, observer, (trials, pool), design, folder, count)
        ],
    }
    return write_page(folder / PAGE, "imi_bench.report", "fewshot.html", page)


def _simulated(found: FewShot) -> str:
    parts = ["The trials"] if found.simulated else []
    parts += ["The people"] if any("(simulated)" in name for name in found.baselines) else []
    if not parts:
        return ""
    listed = " and ".join([parts[0], *(part.lower() for part in parts[1:])])
    return f"{listed} on this page were made up by imi_bench: nothing here was measured on people."


def _closed(family: Mapping[str, InContext]) -> str:
    served = [name for name, one in family.items() if hasattr(one.model, "base_url")]
    if not served:
        return ""
    return (
        f"What {', '.join(served)} was trained on cannot be checked from here: equal and nearly "
        "equal pictures are looked for among the trials and in the folder given, nowhere else."
    )


# -- figures ---------------------------------------------------------------------------------


def _figures(found: FewShot) -> list[Figure]:
    interval = "Bars: 95% intervals over units and draws of the solved trials."
    made = [
        _drawn(
            "Accuracy and the number of solved trials",
            "Proportion correct against the number of solved trials, a line an observer",
            found.plot,
            f"{interval} Dashed: others on the same trials. Grey: chance.",
            "curves",
        )
    ]
    with suppress(InputError):  # no people
        for of, title in (("bits", "Bits"), ("agreement", "Agreement with people")):
            made.append(
                _drawn(
                    f"{title} and the number of solved trials",
                    f"{MEASURES[of]} against the number of solved trials, a line an observer",
                    partial(found.plot, of=of),
                    "Bars: 95% intervals over draws by Rubin's rules. " + _PEOPLE[of],
                    of,
                )
            )
    for column in ("mode", "difficulty"):
        table = found.by(column)
        if table[column].nunique() > 1:
            made.append(
                _drawn(
                    f"By {column}",
                    f"Proportion correct against the number of solved trials by {column}",
                    _strata(table, column),
                    interval,
                    column,
                )
            )
    with suppress(NotComparableError):  # no family
        made.append(
            _drawn(
                "Accuracy and parameters",
                "Proportion correct against parameters, a line a number of solved trials",
                found.plot_parameters,
                f"{interval} Models of the family that are of known size.",
                "parameters",
            )
        )
    return made


def _drawn(title: str, alt: str, plot: Callable[..., Axes], caption: str, name: str) -> Figure:
    with styled(PALETTE):
        canvas = new_canvas(figsize=(5.8, 4.0), layout="constrained")
        ax = plot(ax=canvas.subplots())
        ax.set_title("")
        ax.grid(axis="x", visible=False)
        for text in ax.texts:
            text.set_color(MUTED)
        lines, named = ax.get_legend_handles_labels()
        labels = [broken(label, _LEGEND) for label in named]
        # above the axes, where no bar runs through it
        legend = ax.legend(
            lines,
            labels,
            frameon=False,
            fontsize=9,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=1 if len(labels) < 3 else 2,
        )
        high = max((label.count("\n") + 1 for label in labels), default=1)
        canvas.set_figheight(3.8 + 0.18 * high * math.ceil(len(labels) / 2))
        for text in legend.get_texts():
            text.set_color(INK)
        return Figure(name, title, caption, alt, as_svg(canvas, name))


def _strata(table: pd.DataFrame, column: str) -> Callable[..., Axes]:
    def plot(*, ax: Axes) -> Axes:
        plain = table[table["ablation"] == "none"]
        place = shots_axis(ax, plain["shots"])
        observers, levels = (plain[key].unique().tolist() for key in ("observer", column))
        several = len(observers) > 1
        groups = plain.groupby(["observer", column], sort=False)
        for number, ((observer, level), own) in enumerate(groups):
            at = observers.index(observer), levels.index(level)
            with_bars(
                ax,
                [place[c] + 0.04 * number for c in own["shots"]],
                [Estimate(*row) for row in own[["accuracy", "low", "high"]].to_numpy().tolist()],
                f"{observer}, {level}" if several else str(level),
                colour=at[0] if several else at[1],
                dash=at[1] if several else 0,
            )
        ax.axhline(0.5, linewidth=1, color="0.6")
        ax.set_ylabel("proportion correct")
        ax.legend()
        return ax

    return plot


# -- tables ----------------------------------------------------------------------------------


_HEADERS = {
    "accuracy": "correct",
    "bits": "bits/answer",
    "says_a": "says A",
    "strong_as_a": "strong as A",
    "strong_as_b": "strong as B",
    "rate": "share flipped",
    "largest": "largest change (nats)",
}


@dataclass(frozen=True)
class _Table:
    title: str
    lead: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _table(title: str, lead: str, frame: pd.DataFrame) -> _Table:
    shown = frame.copy()
    if "ablation" in shown and set(shown["ablation"]) <= {"none"}:
        shown = shown.drop(columns="ablation")
    if {"low", "high"} <= set(shown):
        ends = [
            "–" if math.isnan(low) else f"[{low:.3f}, {high:.3f}]"
            for low, high in zip(shown["low"], shown["high"], strict=True)
        ]
        shown.insert(list(shown).index("low"), "95% interval", ends)
        shown = shown.drop(columns=["low", "high"])
    return _Table(
        title,
        lead,
        tuple(_HEADERS.get(str(name), str(name).replace("_", " ")) for name in shown),
        tuple(tuple(_cell(value) for value in row) for row in shown.itertuples(index=False)),
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3f}"
    return str(value)


def _tables(found: FewShot) -> list[_Table]:
    points = found.to_frame()
    points["bits"], points["agreement"] = (
        [
            _cell(value) if math.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
            for value, low, high in zip(
                points[name], points[f"{name}_low"], points[f"{name}_high"], strict=True
            )
        ]
        for name in ("bits", "agreement")
    )
    scores = [*KEYS, "accuracy", "low", "high", "bits", "agreement", "coverage"]
    habits = [*KEYS, "says_a", "orders_agree", "strong_as_a", "strong_as_b", "mass", "bounded"]
    made = [
        _table(
            "Scores",
            "Proportion correct; bits and agreement with people where people answered.",
            points[scores],
        ),
        _gain(found),
        _table(
            "Gaps to others",
            "Proportion correct minus that of each baseline, paired by trial.",
            found.gaps(),
        ),
        _table(
            "Habits",
            "Share of answers that are A; share of trials where both orders name the same query; "
            "proportion correct where the strong query was A and where it was B; probability of "
            "the two letters together; share of answers of which one letter was not listed, so "
            "that its probability is a bound.",
            points[habits],
        ),
        _table(
            "One order alone, raw and normalised",
            "Minus what the model says for the letter with grey images (content-free) or without "
            "any (unconditional). From both orders together a habit cancels, normalised or not.",
            found.variants(),
        ),
        _table("Asked twice", "Past the ledger, the same prompts once more.", found.flips),
    ]
    if found.contamination is not None:
        made += [
            _table(
                "On the clean trials",
                f"{found.contamination.title}. Pictures are near when at most 8 of 64 bits of "
                "their perceptual hashes differ, mirrored too.",
                found.on_clean(),
            ),
            _table(
                "Pairs of pictures",
                f"{min(40, len(found.contamination.pairs))} of {len(found.contamination.pairs):,}: "
                "those by cosine last, the closest first.",
                found.contamination.pairs[:40],
            ),
        ]
    made.append(_table("Without an answer", "Never wrong, never random.", found.unanswered()))
    return [table for table in made if table.rows]


_TERMS = {
    "(Intercept)": "odds at one solved trial",
    "doublings": "each doubling of the solved trials",
    "tenfold": "tenfold parameters",
    "doublings:tenfold": "tenfold parameters, on the factor of each doubling",
}


def _gain(found: FewShot) -> _Table:
    """The mixed model's fixed effects as odds ratios; no rows where there is none."""
    try:
        fitted = found.gain()
    except NotComparableError:
        return _Table("", "", (), ())
    frame = fitted.to_frame()
    shown = pd.DataFrame(
        {
            "effect": [_TERMS.get(term, term) for term in frame["term"]],
            "odds multiplied by": np.exp(frame["estimate"]),
            "low": np.exp(frame["low"]),
            "high": np.exp(frame["high"]),
            "p": ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in frame["p"]],
        }
    )
    random = fitted.random_frame()
    spread = ", ".join(
        f"{group} {sd:.2f}" for group, sd in zip(random["group"], random["sd"], strict=True)
    )
    lead = (
        f"{fitted.title}. Over answers with one solved trial or more; ties and missing answers are "
        f"left out. Standard deviations on the logit: {spread}."
    )
    return _table("Gain from solved trials: a mixed model", lead, shown)


# -- prompts ---------------------------------------------------------------------------------


def _prompts(
    found: FewShot,
    name: str,
    observer: InContext,
    given: tuple[Trials, Trials | None],
    design: Design,
    folder: Path,
    count: int,
) -> list[dict[str, Any]]:
    """Some trials with the most solved trials of the first draw: prompt, answers, verdict."""
    shots, draw, ablation = most(design)
    apart = design.apart(*given)
    rows = found.answers
    cell = (rows["observer"] == name) & (rows["shots"] == shots) & (rows["draw"] == draw)
    own = rows[cell & (rows["ablation"] == ablation)].reset_index(drop=True)
    blind = apart.tests.blind(seed=design.seed)
    if blind.key is None:
        return []
    asked: dict[int, InContext] = {}
    for group in apart.groups(shots):
        drawn = shots_of(observer, group.pool, shots, draw, design=design, ablation=ablation)
        asked |= dict.fromkeys(group.rows.tolist(), observer.with_shots(drawn))
    place = {trial: row for row, trial in enumerate(blind.key.index.trial_id)}
    shown = []
    for row in _chosen(own["value"].to_numpy(dtype=float), count):
        one = own.iloc[row]
        at = place[one["trial_id"]]
        prompt = asked[at].prompt(blind.without_key(), at)
        strong = "A" if blind.key.first_is_positive[at] else "B"
        shown.append(
            {
                "title": f"{one['trial_id']}, {name}, {shots} solved trials",
                "turns": _turns(prompt, folder),
                "verdict": _verdict(one, strong),
            }
        )
    return shown


def _chosen(values: Any, count: int) -> Sequence[int]:
    """The surest right, the surest wrong, and the least decided, a third each."""
    answered = np.flatnonzero(np.isfinite(values))
    order = answered[np.argsort(values[answered])]
    each = max(1, count // 3)
    right = [int(i) for i in order[::-1][:each] if values[i] > 0]
    wrong = [int(i) for i in order[:each] if values[i] < 0]
    near = [int(i) for i in answered[np.argsort(np.abs(values[answered]))]]
    rest = [i for i in near if i not in {*right, *wrong}]
    return [*right, *wrong, *rest[:each]][:count] if count else []


def _verdict(one: pd.Series, strong: str) -> str:
    if one["status"] not in ("ok", "tie"):
        return f"No answer: {one['status']}."
    said = "right" if one["value"] > 0 else "wrong" if one["value"] < 0 else "undecided"
    return (
        f"{strong} is the strongly activating image. In this order and with A and B exchanged, "
        f"log-odds of A against B: {one['difference_a']:+.2f} with the strong image as A, "
        f"{one['difference_b']:+.2f} with it as B. Evidence for the strong image "
        f"{one['value']:+.2f} nats: {said}."
    )


def _turns(prompt: Prompt, folder: Path) -> list[dict[str, Any]]:
    turns = []
    for number, one in enumerate(prompt):
        blocks: list[dict[str, Any]] = []  # words, and the images that follow them
        for part in one.parts:
            if isinstance(part, str):
                blocks.append({"text": part, "images": []})
                continue
            if not blocks:
                blocks.append({"text": "", "images": []})
            blocks[-1]["images"].append({"file": _written(part, folder), "side": part.shape[1]})
        solved = one.answer is not None
        title = f"Solved trial {number + 1}" if solved else "The trial asked"
        turns.append(
            {"title": title, "blocks": blocks, "answer": one.answer or "", "solved": solved}
        )
    return turns


def _written(image: Any, folder: Path) -> str:
    """The very pixels as a file beside the page, once for each content."""
    name = f"{_FOLDER}/{sha256_bytes(repr(image.shape).encode() + image.tobytes())[:20]}.png"
    if not (folder / name).is_file():
        with atomic_path(folder / name) as temporary:
            Image.fromarray(image).save(temporary, "PNG")
    return name
