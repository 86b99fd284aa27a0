"""The published numbers of Borowski et al. (2021), computed again from the released answers.

Writes the figures and prints the tables of ``docs/real-results.md``; aggregates alone.

Run: ``imi-bench data fetch borowski2021``, then
``python benchmarks/real_results.py --figures docs/figures`` (or ``--tables FOLDER``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from imi_bench.effects.study import effects
from imi_bench.effects.times import response_times
from imi_bench.glmm import fit
from imi_bench.provenance import atomic_path
from imi_bench.release.borowski import BorowskiTable, facts, read_borowski, read_ratings
from imi_bench.release.borowski_results import (
    conditions,
    differences,
    headline,
    intuitiveness,
    mean_over_people,
    means_by,
    published_beside,
    retest,
)
from imi_bench.release.borowski_rules import borowski_multiverse
from imi_bench.release.pinned import dataset_folder
from imi_bench.report.style import defaults, panels
from imi_bench.scores.people import answers_needed, people_ceilings

COLOURS = {"natural": "#0173b2", "synthetic": "#de8f05", "none": "#949494"}
PICKED = "pool, hand-picked"
MARKERS = {"natural": "o", "synthetic": "s", "none": "^"}


def with_branch(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the hand-picked units of the pool branch as a branch of their own."""
    picked = rows["branch"].where(~rows["hand_picked"], PICKED)
    return rows.assign(branch=picked)


def table(frame: pd.DataFrame, digits: int = 3) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(map(str, frame.columns)) + " |")
    print("|" + "---|" * frame.shape[1])
    for row in frame.itertuples(index=False):
        cells = [f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in row]
        print("| " + " | ".join(cells) + " |")
    print()


def dots(axes, means: pd.DataFrame, key: str, *, modes=("natural", "synthetic"), order=None):
    """Means with intervals, one row of dots a kind of references."""
    order = list(dict.fromkeys(means[key])) if order is None else order
    shift = np.linspace(-0.13, 0.13, len(modes))
    for mode, off in zip(modes, shift, strict=True):
        part = means[means["mode"] == mode].set_index(key).reindex(order)
        x = np.arange(len(order)) + off
        low, high = part["mean"] - part["low"], part["high"] - part["mean"]
        axes.errorbar(
            x,
            part["mean"],
            yerr=[low, high],
            fmt=MARKERS[mode],
            color=COLOURS[mode],
            markersize=5,
            linewidth=1.2,
            label=f"{mode} references",
        )
    axes.set_xticks(range(len(order)), order)


def finished(canvas, path: Path) -> None:
    """Save a figure, the same bytes for the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, metadata={"Date": None}, facecolor="white")


def draw_correct(one: BorowskiTable, two: BorowskiTable, path: Path) -> None:
    """Proportion correct: by layer, by branch, by references and expertise."""
    canvas, grid = panels(2, 2, figure={"figsize": (9.6, 7.2), "layout": "constrained"})
    rows = with_branch(conditions(one))
    dots(grid[0, 0], means_by(rows, ("layer", "mode")), "layer")
    grid[0, 0].set_title("Experiment I, by layer (10 people)", loc="left")
    grid[0, 0].tick_params(axis="x", rotation=40)
    dots(grid[0, 1], means_by(rows, ("branch", "mode")), "branch")
    grid[0, 1].set_xticks(range(5), ["1x1", "3x3", "5x5", "pool", "hand-picked\n(pool)"])
    grid[0, 1].set_title("Experiment I, by branch", loc="left")
    other = conditions(two)
    order = ["1", "9", "1+1", "9+9"]
    dots(grid[1, 0], means_by(other, ("condition", "mode")), "condition", order=order)
    grid[1, 0].set_title("Experiment II, by references (23 people)", loc="left")
    grid[1, 0].set_xlabel("max only: 1, 9; min and max: 1+1, 9+9")
    both = other.assign(who=other["expertise"].map({"expert": "experts", "naive": "lay people"}))
    dots(grid[1, 1], means_by(both, ("who", "mode")), "who")
    grid[1, 1].set_xlim(-0.6, 1.6)
    grid[1, 1].set_title("Experiment II, experts (10) and lay people (13)", loc="left")
    for axes in grid.ravel():
        axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle="--")
        axes.set_ylim(0.44, 1.02)
        axes.set_ylabel("proportion correct")
    grid[0, 1].legend(frameon=False, loc="lower right")
    finished(canvas, path)


def draw_confidence(one: BorowskiTable, two: BorowskiTable, path: Path) -> None:
    """Confidence: how often it is used, how right it is, how long it takes."""
    canvas, grid = panels(2, 3, figure={"figsize": (10.4, 6.4), "layout": "constrained"})
    for place, shown in enumerate((one, two)):
        rows = conditions(shown).assign(confidence=lambda x: x["confidence"].astype(int))
        left, middle, right = grid[place]
        share = rows.groupby("mode")["confidence"].value_counts(normalize=True).unstack()
        for off, mode in ((-0.18, "natural"), (0.18, "synthetic")):
            left.bar(share.columns + off, share.loc[mode], width=0.34, color=COLOURS[mode])
        left.set_xticks((1, 2, 3))
        left.set_ylabel("share of answers")
        left.set_title(f"Experiment {shown.experiment}: how sure", loc="left")
        dots(middle, means_by(rows, ("confidence", "mode")), "confidence")
        middle.axhline(0.5, color="0.5", linewidth=0.8, linestyle="--")
        middle.set_ylim(0.3, 1.04)
        middle.set_ylabel("proportion correct")
        middle.set_title("how right", loc="left")
        known = rows[rows["seconds"] > 0].assign(log=lambda x: np.log(x["seconds"]))
        times = means_by(known, ("confidence", "mode"), "log")
        times[["mean", "low", "high"]] = np.exp(times[["mean", "low", "high"]])
        dots(right, times, "confidence")
        right.set_ylabel("seconds (geometric mean)")
        right.set_title("how long", loc="left")
        for axes in grid[place]:
            axes.set_xlabel("confidence")
    patches = [Patch(color=COLOURS[mode], label=mode) for mode in ("natural", "synthetic")]
    grid[0, 0].legend(handles=patches, frameon=False, loc="upper left")
    finished(canvas, path)


def draw_retest(found: pd.DataFrame, ratings: pd.DataFrame, path: Path) -> None:
    """Twice the same trial, and what people said before and after."""
    canvas, grid = panels(1, 2, figure={"figsize": (9.2, 3.2), "layout": "constrained"})
    axes = grid[0, 0]
    for place, row in enumerate(found.itertuples()):
        axes.plot([row.low, row.high], [place, place], color=COLOURS[row.mode], linewidth=1.4)
        axes.plot(row.kappa, place, MARKERS[row.mode], color=COLOURS[row.mode], markersize=6)
    axes.set_yticks(range(len(found)), [f"{r.mode} ({r.pairs} pairs)" for r in found.itertuples()])
    axes.axvline(0, color="0.5", linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel("kappa of being correct the first and the second time")
    axes.set_title("Experiment I: the same trial twice", loc="left")
    axes = grid[0, 1]
    for place, row in enumerate(intuitiveness(ratings).itertuples()):
        axes.plot([row.low, row.high], [place, place], color="#029e73", linewidth=1.4)
        axes.plot(row.mean, place, "o", color="#029e73", markersize=6)
    said = intuitiveness(ratings)
    axes.set_yticks(range(len(said)), [f"{r.experiment}, {r.moment}" for r in said.itertuples()])
    axes.axvline(0, color="0.5", linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.6, len(said) - 0.4)
    axes.set_xlabel("mean rating, -100 (not intuitive) to 100")
    axes.set_title("How intuitive are synthetic images?", loc="left")
    finished(canvas, path)


def report(one: BorowskiTable, two: BorowskiTable, ratings: pd.DataFrame) -> None:
    """Print every table of the page."""
    table(published_beside([one, two]), 1)
    table(pd.concat([headline(one), headline(two)]).drop(columns="experiment"))
    print("natural minus synthetic, within people")
    gaps = [differences(conditions(t)).assign(experiment=t.experiment) for t in (one, two)]
    table(pd.concat(gaps), 4)
    rows = with_branch(conditions(one))
    table(means_by(rows, ("layer", "mode")))
    table(means_by(rows, ("branch", "mode")))
    table(means_by(conditions(two), ("expertise", "mode")))
    shown = conditions(two).assign(
        correct=lambda x: x["correct"].astype(int),
        lay=lambda x: (x["expertise"] == "naive").astype(float),
        synthetic=lambda x: (x["mode"] == "synthetic").astype(float),
        nine=lambda x: (x["references"] == 9).astype(float),
        both=lambda x: (x["sides"] == "both").astype(float),
        unit=lambda x: x["layer"] + x["unit"].astype(str),
    )
    model = "correct ~ synthetic * (nine + both + lay) + (1 | unit) + (1 | participant)"
    print(fit(model, shown).summary())
    none = one.frame[(one.frame["mode"] == "none") & (one.frame["kind"] == "main")]
    table(means_by(none, ("phase",)))
    for shown in (one, two):
        main = conditions(shown)
        table(means_by(main, ("mode",), "confidence"))
        print(shown.experiment, "median s", main.groupby("mode")["seconds"].median().to_dict())
    table(retest(one))
    table(intuitiveness(ratings), 1)
    change = ratings[ratings["experiment"] == "II"].pivot_table(
        index="participant", columns="moment", values="rating"
    )
    gap = (change["end"] - change["beginning"]).rename("gap").reset_index()
    print("II, end minus beginning:", mean_over_people(gap, "gap"))
    for shown in (one, two):
        study = shown.study()
        for name, value in people_ceilings(study).items():
            print(shown.experiment, name, value)
        each = len(study.responses) / len(set(study.trials.condition_id))
        half = people_ceilings(study)["split_half_reliability"].value
        needed = answers_needed(half, answers=each, wanted=0.9)
        print(f"answers a unit and kind: {each:.1f}; for 0.9: {needed:.0f}")
        for ordinal in (False, True):
            found = effects(study, ordinal=ordinal)
            kind = "six ordered answers" if ordinal else "correct"
            print(f"{shown.experiment} {kind}: {found['synthetic'].sentence}")
            print("  ", found["depth"].sentence)
        print(response_times(study).summary())
        table(borowski_multiverse(shown).to_frame())


def main() -> None:
    """Print the tables and draw the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, help="folder; the fetched ones by default")
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    folder = options.tables or dataset_folder()
    one, two = (read_borowski(folder / facts()["tables"][name]["file"]) for name in ("I", "II"))
    ratings = read_ratings(folder)
    report(one, two, ratings)
    if options.figures:
        import seaborn as sns

        with defaults(**sns.axes_style("ticks"), **{"svg.hashsalt": "real", "font.size": 9}):
            draw_correct(one, two, options.figures / "real-correct.svg")
            draw_confidence(one, two, options.figures / "real-confidence.svg")
            draw_retest(retest(one), ratings, options.figures / "real-retest.svg")


if __name__ == "__main__":
    main()
