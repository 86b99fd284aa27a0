"""Error consistency of real people, within conditions and pooled, beside an independent reference.

Ten published object-recognition experiments (see ``docs/real-people.md`` for where they come from;
the answers are no part of this project). Prints the table of that page and draws its figure.

Run: ``python benchmarks/real_people.py --people FOLDER --figure FILE.svg``
with the folder of ``object_recognition.csv`` and ``error_consistency.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from measuring import SHARED

from imi_bench.scores.consistency import pair_consistency


def compared(folder: Path) -> pd.DataFrame:
    """One row a condition: kappa within it, the reference's, and that of the pooled experiment."""
    answers = pd.read_csv(folder / "object_recognition.csv")
    reference = json.loads((folder / "error_consistency.json").read_text())
    tables = []
    for experiment, part in answers.groupby("experiment"):
        facts = {"rater": part["subject"].to_numpy(), "item": part["image"].to_numpy()}
        correct = part["correct"].to_numpy(float)
        within = pair_consistency(correct, condition=part["condition"].to_numpy(), **facts)
        whole = [experiment] * len(part)
        facts["item"] = (part["image"] + "/" + part["condition"]).to_numpy()
        pooled = pair_consistency(correct, condition=whole, **facts)["kappa"].iloc[0]
        wanted = [reference[experiment][name]["kappa"] for name in within["condition"]]
        right = part.groupby("condition")["correct"].mean()
        tables.append(
            within.assign(
                experiment=experiment,
                reference=wanted,
                pooled=pooled,
                correct=right[within["condition"]].to_numpy(),
            )
        )
    return pd.concat(tables, ignore_index=True)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Kappa within conditions by accuracy, and pooled, for each experiment."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    names = sorted(table["experiment"].unique())
    for place, name in enumerate(names):
        part = table[table["experiment"] == name]
        axes.scatter(part["kappa"], [place] * len(part), s=18, color="C0", alpha=0.7)
        axes.scatter(part["kappa"].mean(), place, s=70, marker="|", color="C0")
        axes.scatter(part["pooled"].iloc[0], place, s=34, marker="D", color="C3")
    axes.scatter([], [], s=18, color="C0", label="within a condition (bar: their mean)")
    axes.scatter([], [], s=34, marker="D", color="C3", label="all conditions pooled")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.set_xlabel("error consistency of two people (Cohen's kappa, mean over pairs)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Print the table, and draw it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=Path, default=SHARED / "people")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    table = compared(options.people)
    print("| experiment | conditions | within (mean) | pooled | largest gap to the reference |")
    print("|---|---|---|---|---|")
    for name, part in table.groupby("experiment"):
        gap = (part["kappa"] - part["reference"]).abs().max()
        print(
            f"| {name} | {len(part)} | {part['kappa'].mean():.3f} | {part['pooled'].iloc[0]:.3f} "
            f"| {gap:.1e} |"
        )
    if options.figure:
        draw(table, options.figure)


if __name__ == "__main__":
    main()
