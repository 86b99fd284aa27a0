"""Panel 2: which networks differ, by the paper's ranks and by the mixed model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.effects.questions import ON_SYNTHETIC
from imi_bench.glmm.between import INTERCEPT, LevelEstimates
from imi_bench.release.published import Condition
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    BLUE,
    Panel,
    Plot,
    asks,
    counted,
    drawing,
    network_label,
    stacked,
)
from imi_bench.report.style import INK, LINE
from imi_bench.stats.multiplicity import holm
from imi_bench.text import plural

__all__ = ["STAGE", "pairs"]

STAGE = {"natural": INTERCEPT, "synthetic": ON_SYNTHETIC}
"""Where the networks' levels with each kind of references stand among the effects' stages."""


@asks(2, "pairs", "Which networks differ from one another?")
def pairs(data: PaperData) -> Panel | str:
    """2: which networks differ, by the paper's ranks and by the mixed model."""
    found = data.effects
    if found is None or not found.groups:
        one = data.frame["network"].nunique() == 1
        reason = data.refused or (
            "there is one network"
            if one
            else "no kind of references was shown with two networks and the easiest queries"
        )
        return reason
    tables, plots, said, reasons, true = {}, [], [], [], []
    for mode, group in found.groups.items():
        names = [name for name in data.networks() if name in group.groups]
        at = [group.groups.index(name) for name in names]
        ranks = group.pairs[np.ix_(at, at)]
        model = _contrasts(found.stages.get(STAGE[mode]), names)
        upper = np.triu_indices(len(names), 1)
        a, b = ranks[upper] < 0.05, model[upper] < 0.05
        fitted = bool(np.isfinite(model[upper]).all())
        beside = (
            f", the mixed model {int(b.sum())}, and they disagree on {int((a != b).sum())}"
            if fitted
            else "; the mixed model has no levels of these networks to compare"
        )
        said.append(
            f"with {mode} references Conover's test finds {int(a.sum())} of "
            f"{plural(len(a), 'pair')} "
            f"different{beside}"
        )
        true += _true_pairs(data, mode, group, names, ranks, model)
        reasons += [
            f"{mode}: {network_label(names[i])} and {network_label(names[j])} "
            f"(Conover p = {ranks[i, j]:.3f}, model p = {model[i, j]:.3f})"
            for i, j, one, two in zip(*upper, a, b, strict=True)
            if fitted and one != two
        ]
        tables[f"{mode}_conover"] = pd.DataFrame(ranks, names, names).reset_index(names="network")
        tables[f"{mode}_model"] = pd.DataFrame(model, names, names).reset_index(names="network")
        plots.append(_figure(data, mode, group, names=names, ranks=ranks, model=model))
    why = (
        "Why they can disagree: ranks take each unit's proportion as it is, noise of its answers "
        "included; the model weighs answers, takes depth and layer type into account, and counts "
        "people as a sample."
    )
    answer = "; ".join(said)
    return Panel(
        answer=answer[0].upper() + answer[1:] + " (p < 0.05 after Holm).",
        n=counted(data, data.frame[data.frame["difficulty"] == "easy"]),
        plots=tuple(plots),
        tables=tables,
        notes=(why, *(["They disagree on " + "; ".join(reasons) + "."] if reasons else []), *true),
    )


def _figure(
    data: PaperData, mode: str, group: Any, *, names: list[str], ranks: Any, model: Any
) -> Plot:
    """Both tests of every pair in one matrix."""
    whole = np.where(np.tri(len(names), k=-1, dtype=bool), ranks, model)
    np.fill_diagonal(whole, np.nan)
    return drawing(
        data,
        f"2-pairs-{mode}",
        f"{mode} references. Below the diagonal: Conover's test with Holm's adjustment "
        f"(Kruskal-Wallis H = {group.statistic:.1f}, p = {group.p:.2g}). Above: contrasts of "
        "the mixed model (Wald, Holm). Filled: p < 0.05, darkest: p < 0.001.",
        lambda grid: _matrix(grid[0, 0], whole, names),
        size=(5.2, 4.5),
    )


def _true_pairs(
    data: PaperData, mode: str, group: Any, names: list[str], ranks: Any, model: Any
) -> list[str]:
    """Whether the pairs called different differ in truth, and in that direction."""
    if data.true is None:
        return []
    level = np.array([data.truth.get(Condition(name, mode), np.nan) for name in names])
    mean = np.array([{m.name: m.mean for m in group.means}.get(name, np.nan) for name in names])
    upper = np.triu_indices(len(names), 1)
    gap = level[upper[0]] - level[upper[1]]
    seen = mean[upper[0]] - mean[upper[1]]
    parts = []
    for who, p in (("Conover's test", ranks), ("the mixed model", model)):
        called = p[upper] < 0.05
        same = int((called & (np.sign(gap) == np.sign(seen)) & (gap != 0)).sum())
        parts.append(f"{who} {same} of {int(called.sum())}")
    return [
        f"In this simulation {int((gap != 0).sum())} of {plural(len(gap), 'pair')} "
        f"truly differ with {mode} "
        "references; called different, and the higher one truly higher: " + ", ".join(parts) + "."
    ]


def _contrasts(stage: LevelEstimates | None, names: list[str]) -> Any:
    """Holm-adjusted p-values of all differences of networks' levels in the model."""
    size = len(names)
    table = np.full((size, size), np.nan)
    if stage is None or not set(names) <= set(stage.levels):
        return table
    at = [stage.levels.index(name) for name in names]
    value, cov = stage.estimate[at], stage.covariance[np.ix_(at, at)]
    i, j = np.triu_indices(size, 1)
    se = np.sqrt(cov[i, i] + cov[j, j] - 2 * cov[i, j])
    p = 2 * stats.norm.sf(np.abs(value[i] - value[j]) / se)
    table[i, j] = table[j, i] = holm(p.tolist(), ["pairs"] * len(p))
    return table


def _matrix(axes: Any, p: Any, names: list[str]) -> None:
    axes.grid(visible=False)
    small = stacked(axes) and len(names) > 6  # cells narrower than "<.001"
    for (row, column), value in np.ndenumerate(p):
        if np.isnan(value):
            continue
        filled = value < 0.05
        axes.add_patch(
            _square(column, row, BLUE if filled else "none", 1.0 if value < 0.001 else 0.55)
        )
        if small and value < 0.001:
            continue
        text = "<.001" if value < 0.001 else "1" if value >= 0.9995 else f"{value:.3f}"[1:]
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=5 if small else 7,
            color="white" if filled and value < 0.001 else INK,
        )
    axes.plot([-0.5, len(names) - 0.5], [-0.5, len(names) - 0.5], color=LINE, linewidth=0.8)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    labels = [network_label(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), labels)


def _square(x: float, y: float, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    edge = LINE if colour == "none" else "none"
    return Rectangle(
        (x - 0.46, y - 0.46),
        0.92,
        0.92,
        facecolor=colour,
        edgecolor=edge,
        alpha=alpha if colour != "none" else 1,
        linewidth=0.8,
    )
