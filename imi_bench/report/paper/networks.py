"""Panels 1 to 4 and 6: networks, their scale, kinds of exemplars, difficulty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arrays import Floats, Ints
from imi_bench.effects.effect import Effects
from imi_bench.effects.questions import ON_SYNTHETIC
from imi_bench.effects.scale import PROPERTIES, smallest_effect
from imi_bench.errors import NotEnoughDataError
from imi_bench.glmm.between import INTERCEPT, LevelEstimates, regress
from imi_bench.provenance import generator
from imi_bench.release.borowski_results import published_beside
from imi_bench.release.published import published
from imi_bench.report.paper.data import ORDERS, PaperData
from imi_bench.report.paper.panel import (
    Panel,
    code,
    counted,
    drawing,
    listed,
    look,
    network_label,
)
from imi_bench.report.style import INK, LINE, MUTED
from imi_bench.stats.multiplicity import holm
from imi_bench.tables import DIFFICULTIES, MODES

__all__ = ["by_difficulty", "by_mode", "by_network", "by_scale", "pairs"]

_STAGE = {"natural": INTERCEPT, "synthetic": ON_SYNTHETIC}


def _shown(data: PaperData) -> list[str]:
    return [mode for mode in MODES if (data.frame["mode"] == mode).any()]


def means_table(data: PaperData) -> pd.DataFrame:
    """One row a condition: mean, interval, published, deviation, truth of a simulation."""
    rows = []
    for one in data.means:
        known = one.published
        rows.append(
            {
                "network": one.condition.network,
                "mode": one.condition.mode,
                "difficulty": one.condition.difficulty,
                "mean": one.mean.value,
                "low": one.mean.low,
                "high": one.mean.high,
                "units": one.units,
                "answers": one.mean.n,
                "published": known.value if known else np.nan,
                "published_low": known.low if known else np.nan,
                "published_high": known.high if known else np.nan,
                "standard_errors_off": one.standard_errors_off,
                "truth": data.truth.get(one.condition, np.nan),
            }
        )
    return pd.DataFrame(rows)


def by_network(data: PaperData) -> Panel:
    """1: proportion correct by network and mode, published values behind, in three orders."""
    table = means_table(data)
    easy = table[table["difficulty"] == "easy"]
    plots = []
    for order in ORDERS if data.effects is not None and len(data.networks()) > 1 else ORDERS[:1]:
        names = data.networks(order)

        def draw(grid: Any, names: list[str] = names) -> None:
            for axes, mode in zip(grid[0], _shown(data), strict=True):
                _dots(axes, data, easy[easy["mode"] == mode].set_index("network"), names)
                axes.set_title(f"{mode} references", loc="left")

        words = {"paper": "as in the paper", "accuracy": "by accuracy", "year": "by year"}[order]
        caption = (
            f"Networks {words}. Mean over units, 95% bootstrap over units (BCa). Grey diamonds: "
            "published means with their intervals. Dashed: chance."
            + (" Crosses: true values of the simulation." if data.truth else "")
        )
        plots.append(
            drawing(
                data,
                f"1-networks-{order}",
                caption,
                draw,
                columns=len(_shown(data)),
                size=(2.2 * len(_shown(data)) + 1.1, 1.1 + 0.31 * len(names)),
                sharey=True,
            )
        )
    known = easy.dropna(subset=["published"])
    off = known["standard_errors_off"].abs()
    if len(known):
        worst = known.iloc[int(off.to_numpy().argmax())]
        answer = (
            f"{int((off < 1.96).sum())} of {len(known)} published means lie within 1.96 standard "
            f"errors of these; the largest deviation is {worst['standard_errors_off']:+.1f} "
            f"({network_label(worst['network'])}, {worst['mode']})."
        )
    elif data.forerunner is not None:
        again = published_beside([data.forerunner])
        same = int(again["same"].sum())
        parts = [
            f"{r.mean:.1f} ± {r.half:.1f}% for {r.published} ± {r.published_half}%"
            for r in again.itertuples()
        ]
        answer = (
            f"{same} of {len(again)} published percentages come out again, mean over people: "
            f"{listed(parts)}."
        )
    else:
        parts = [f"{r.mean:.3f} with {r.mode} references" for r in easy.itertuples()]
        answer = f"Proportion correct is {listed(parts)}; none of these means was published."
    return Panel(
        1,
        "networks",
        "How well do people read each network, and is it what was published?",
        answer,
        counted(data),
        tuple(plots),
        {"means": table},
        code(data, "networks", "by_network"),
    )


def _dots(axes: Any, data: PaperData, table: pd.DataFrame, names: list[str]) -> None:
    for place, name in enumerate(names):
        if name not in table.index:
            axes.text(0.51, place, "not shown", va="center", color=MUTED, fontsize=8)
            continue
        row, (colour, marker) = table.loc[name], look(data, name)
        ghost = (row["published_low"], row["published_high"])
        axes.plot(ghost, [place + 0.22] * 2, color="#949494", linewidth=2.5, alpha=0.45)
        axes.plot(row["published"], place + 0.22, "D", color="#949494", markersize=4, alpha=0.7)
        axes.plot((row["low"], row["high"]), [place] * 2, color=colour, linewidth=1.4)
        axes.plot(row["mean"], place, marker, color=colour, markersize=6)
        axes.plot(row["truth"], place - 0.2, "x", color=INK, markersize=4.5)
    axes.axvline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(names)), [network_label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0.48, 1.0)
    axes.set_xlabel("proportion correct")


def pairs(data: PaperData) -> Panel:
    """2: which networks differ, by the paper's ranks and by the mixed model."""
    found = data.effects
    question = "Which networks differ from one another?"
    if found is None or not found.groups:
        reason = data.refused or "there is one network"
        return Panel(2, "pairs", question, f"Cannot be answered: {reason}.", counted(data))
    tables, plots, said, reasons = {}, [], [], []
    for mode, group in found.groups.items():
        names = [name for name in data.networks() if name in group.groups]
        at = [group.groups.index(name) for name in names]
        ranks = group.pairs[np.ix_(at, at)]
        model = _contrasts(found.stages.get(_STAGE[mode]), names)
        upper = np.triu_indices(len(names), 1)
        a, b = ranks[upper] < 0.05, model[upper] < 0.05
        said.append(
            f"with {mode} references Conover's test finds {int(a.sum())} of {len(a)} pairs "
            f"different, the mixed model {int(b.sum())}, and they disagree on {int((a != b).sum())}"
        )
        reasons += [
            f"{mode}: {network_label(names[i])} and {network_label(names[j])} "
            f"(Conover p = {ranks[i, j]:.3f}, model p = {model[i, j]:.3f})"
            for i, j, one, two in zip(*upper, a, b, strict=True)
            if one != two
        ]
        tables[f"{mode}_conover"] = pd.DataFrame(ranks, names, names).reset_index(names="network")
        tables[f"{mode}_model"] = pd.DataFrame(model, names, names).reset_index(names="network")
        whole = np.where(np.tri(len(names), k=-1, dtype=bool), ranks, model)
        np.fill_diagonal(whole, np.nan)
        caption = (
            f"{mode} references. Below the diagonal: Conover's test with Holm's adjustment "
            f"(Kruskal-Wallis H = {group.statistic:.1f}, p = {group.p:.2g}). Above: contrasts of "
            "the mixed model (Wald, Holm). Filled: p < 0.05."
        )
        plots.append(
            drawing(
                data,
                f"2-pairs-{mode}",
                caption,
                lambda grid, whole=whole, names=names: _matrix(grid[0, 0], whole, names),
                size=(5.2, 4.5),
            )
        )
    why = (
        "Why they can disagree: ranks take each unit's proportion as it is, noise of its answers "
        "included; the model weighs answers, takes depth and layer type into account, and counts "
        "people as a sample."
    )
    answer = "; ".join(said)
    return Panel(
        2,
        "pairs",
        question,
        answer[0].upper() + answer[1:] + " (p < 0.05 after Holm).",
        counted(data, data.frame[data.frame["difficulty"] == "easy"]),
        tuple(plots),
        tables,
        code(data, "networks", "pairs"),
        (why, *(["They disagree on " + "; ".join(reasons)] if reasons else [])),
    )


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
    for (row, column), value in np.ndenumerate(p):
        if np.isnan(value):
            continue
        filled = value < 0.05
        axes.add_patch(
            _square(column, row, "#0173b2" if filled else "none", 1.0 if value < 0.001 else 0.55)
        )
        text = "<.001" if value < 0.001 else f"{min(value, 0.999):.3f}"[1:]
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=7,
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


def by_scale(data: PaperData) -> Panel:
    """3: networks' levels against what is known of their size, data, accuracy, year, likeness."""
    question = "Are larger, better, newer or more human-like networks easier to read?"
    found = data.effects
    if found is None or len(found.properties) < 3:
        reason = data.refused or "there are fewer than three networks"
        return Panel(3, "scale", question, f"Cannot be answered: {reason}.", counted(data))
    modes = [mode for mode in _shown(data) if _STAGE[mode] in found.stages]
    columns = [one.name for one in PROPERTIES if found.properties[one.name].notna().any()]
    likeness = {n: k.human_likeness_mean_rank for n, k in published().networks.items()}
    rank = pd.Series(likeness).reindex(found.properties.index)
    tested = _likeness(found, rank, modes)
    if rank.notna().sum() > 2:
        columns.append("likeness")

    def draw(grid: Any) -> None:
        for row, name in zip(grid, columns, strict=True):
            for axes, mode in zip(row, modes, strict=True):
                _line(axes, data, found, name, mode, rank)
                if name == columns[0]:
                    axes.set_title(f"{mode} references", loc="left")

    caption = (
        "Networks' levels in the mixed model (log-odds, 95%), the line of the second stage (REML, "
        "Knapp-Hartung) with its 95% band. Grey wedge: slopes smaller than the smallest effect of "
        "interest. Human-likeness: published mean rank, 1 the most alike."
    )
    plot = drawing(
        data,
        "3-scale",
        caption,
        draw,
        rows=len(columns),
        columns=len(modes),
        size=(2.8 * len(modes) + 0.4, 1.9 * len(columns) + 0.3),
        sharey="col",
    )
    scale = [e for e in found.effects if e.topic == "scale"]
    real = [e for e in scale if e.shown]
    none = [e for e in scale if e.bounded and not e.shown]
    answer = (
        f"{len(real)} of {len(scale)} effects of scale survive the adjustment, and {len(none)} are "
        "shown to be smaller than the smallest effect of interest."
    )
    return Panel(
        3,
        "scale",
        question,
        answer,
        f"{len(found.properties)} networks; {found.n:,} answers",
        (plot,),
        {"effects": found.to_frame().drop(columns="who"), "likeness": tested},
        code(data, "networks", "by_scale"),
        tuple(
            f"{e.question} {e.sentence}"
            + (f" True slope of the simulation: {e.truth:+.3f}." if np.isfinite(e.truth) else "")
            for e in scale
        ),
    )


def _likeness(found: Effects, rank: pd.Series, modes: list[str]) -> pd.DataFrame:
    rows = []
    for mode in modes:
        stage = found.stages[_STAGE[mode]]
        x = rank.reindex(list(stage.levels)).to_numpy(dtype=float)
        keep = np.isfinite(x)
        try:
            fit = regress(
                stage.estimate[keep], stage.covariance[np.ix_(keep, keep)], {"rank": x[keep]}
            )
        except NotEnoughDataError:
            continue
        test = fit.test("rank")
        rows.append(
            {
                "mode": mode,
                "slope": test.estimate,
                "low": test.low,
                "high": test.high,
                "df": test.df,
                "p": test.p,
                "networks": int(keep.sum()),
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = holm(table["p"].tolist(), ["likeness"] * len(table))
    return table


def _count(value: float, _: object = None) -> str:
    """A count for an axis.

    >>> _count(1e6), _count(2e9), _count(3.0)
    ('1 M', '2 G', '3')
    """
    for power, letter in ((9, " G"), (6, " M"), (3, " k")):
        if value >= 10**power:
            return f"{value / 10**power:g}{letter}"
    return f"{value:g}"


def _line(
    axes: Any, data: PaperData, found: Effects, name: str, mode: str, rank: pd.Series
) -> None:
    stage = found.stages[_STAGE[mode]]
    column = rank if name == "likeness" else found.properties[name]
    raw = column.reindex(list(stage.levels)).to_numpy(dtype=float)
    one = next((p for p in PROPERTIES if p.name == name), None)
    x = raw if one is None else one.transformed(raw)
    keep = np.isfinite(x)
    se = np.sqrt(np.diag(stage.covariance))
    for place in np.flatnonzero(keep):
        colour, marker = look(data, stage.levels[place])
        axes.errorbar(
            raw[place],
            stage.estimate[place],
            yerr=1.96 * se[place],
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=1,
        )
    words = {
        "parameters": "parameters",
        "training_images": "training images",
        "top1": "ImageNet accuracy",
        "year": "year",
        "likeness": "human-likeness, mean rank",
    }
    axes.set_xlabel(words[name])
    axes.set_ylabel("log-odds")
    axes.grid(visible=False)
    if name in ("parameters", "training_images"):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_count)
        axes.xaxis.set_minor_formatter("")
    if name == "year":
        axes.locator_params(axis="x", integer=True, nbins=3)
    if keep.sum() < 3 or np.ptp(x[keep]) == 0:
        return
    y, cov = stage.estimate[keep], stage.covariance[np.ix_(keep, keep)]
    fit = regress(y, cov, {"x": x[keep]})
    line = np.linspace(x[keep].min(), x[keep].max(), 50)
    back = np.interp(line, np.sort(x[keep]), np.sort(raw[keep]))
    if name in ("parameters", "training_images"):
        back = 10.0**line
    basis = np.column_stack([np.ones_like(line), line])
    middle = basis @ fit.estimate
    half = stats.t.ppf(0.975, fit.df) * np.sqrt(
        np.einsum("ij,jk,ik->i", basis, fit.covariance, basis)
    )
    if one is not None:
        reach = smallest_effect(one) * (line - x[keep].mean())
        centre = float(fit.estimate[0] + fit.estimate[1] * x[keep].mean())
        axes.fill_between(back, centre - reach, centre + reach, color="#949494", alpha=0.25, lw=0)
    axes.fill_between(back, middle - half, middle + half, color="#0173b2", alpha=0.13, lw=0)
    axes.plot(back, middle, color="#0173b2", linewidth=1.3)


def by_mode(data: PaperData) -> Panel:
    """4: natural against synthetic references, network by network and unit by unit."""
    question = "Are units that are clear in natural images clear in synthetic ones?"
    units = data.units[lambda x: x["difficulty"] == "easy"]
    wide = units.pivot_table(
        index=["network", "unit_id"], columns="mode", values=["p", "answers"], observed=True
    ).dropna()
    if len(wide) < 5 or wide["p"].shape[1] < 2:
        return Panel(
            4, "modes", question, "Cannot be answered: no unit was shown in both.", counted(data)
        )
    rng = generator(data.seed, "paper, modes")
    networks = wide.index.get_level_values("network").to_numpy()
    groups = [np.flatnonzero(networks == name) for name in dict.fromkeys(networks)]
    p, n = (wide[name][list(MODES)].to_numpy(float) for name in ("p", "answers"))
    network = pd.factorize(networks)[0]
    found = _corrected(p, n, network)
    draws = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(g, len(g)) for g in groups])
        draws.append(_corrected(p[rows], n[rows], network[rows]))
    low, high = np.nanpercentile(np.array(draws), [2.5, 97.5], axis=0)
    gap = wide["p"]["natural"] - wide["p"]["synthetic"]
    by = gap.groupby(level="network", observed=True).agg(["mean", "sem", "size"])

    def draw(grid: Any) -> None:
        left, right = grid[0]
        means = wide["p"].groupby(level="network", observed=True).mean()
        for name, row in means.iterrows():
            colour, marker = look(data, str(name))
            left.plot(row["natural"], row["synthetic"], marker, color=colour, markersize=7)
            part = wide["p"].xs(name, level="network")
            right.plot(
                part["natural"],
                part["synthetic"] + rng.uniform(-0.008, 0.008, len(part)),
                marker,
                color=colour,
                markersize=2.6,
                alpha=0.55,
                markeredgewidth=0,
                label=network_label(str(name)),
            )
        for axes, title in ((left, "networks"), (right, "units")):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle="--")
            axes.set_title(title, loc="left")
            axes.set_xlabel("natural references")
        left.set_ylabel("synthetic references")
        left.set_xlim(0.5, 1)
        left.set_ylim(0.5, 1)
        right.set_xlim(0.1, 1.03)
        right.set_ylim(0.1, 1.03)

    plot = drawing(
        data,
        "4-modes",
        "Proportion correct with natural against synthetic references; colours and markers as in "
        "every figure. Dashed: equally clear.",
        draw,
        columns=2,
        size=(6.2, 3.2),
    )
    holds = "includes" if low[1] <= 0 <= high[1] else "excludes"
    answer = (
        f"Within networks units correlate r = {found[0]:.2f} [{low[0]:.2f}, {high[0]:.2f}], and "
        f"{found[1]:.2f} [{low[1]:.2f}, {high[1]:.2f}] once corrected for reliability, which "
        f"{holds} 0; natural references are ahead by {100 * gap.mean():.1f} points on average."
    )
    table = by.rename(columns={"mean": "difference", "sem": "se", "size": "units"}).reset_index()
    return Panel(
        4,
        "modes",
        question,
        answer,
        f"{len(wide):,} units of {len(groups)} network{'s' * (len(groups) > 1)}",
        (plot,),
        {"difference": table},
        code(data, "networks", "by_mode"),
        (
            "Correlation of units' proportions within networks; corrected: over the root of the "
            "product of both reliabilities (binomial). Bootstrap over units within networks.",
        ),
    )


def _corrected(p: Floats, n: Floats, network: Ints) -> tuple[float, float]:
    """Correlation within networks, and that over the root of the reliabilities' product.

    Proportions and answers are (units, modes), the codes of networks (units,).
    """
    size = np.maximum(np.bincount(network), 1)
    means = np.column_stack([np.bincount(network, column) / size for column in p.T])
    inside = p - means[network]
    r = float(np.corrcoef(inside.T)[0, 1])
    noise = (p * (1 - p) / np.maximum(n - 1, 1)).mean(axis=0)
    kept = 1 - noise / np.maximum(np.asarray(inside.var(axis=0, ddof=1)), 1e-12)
    return r, float(r / np.sqrt(kept.prod())) if kept.min() > 0 else np.nan


def by_difficulty(data: PaperData) -> Panel:
    """6: harder queries, for the networks that were shown them."""
    question = "How fast do people lose a unit when queries get less extreme?"
    table = means_table(data)
    hard = table[table["difficulty"] != "easy"]
    if hard.empty:
        return Panel(
            6, "difficulty", question, "Cannot be answered: all queries were the most extreme.", ""
        )
    names = [name for name in data.networks() if name in set(hard["network"])]

    def draw(grid: Any) -> None:
        axes = grid[0, 0]
        for name in names:
            colour, marker = look(data, name)
            for mode in MODES:
                part = table[(table["network"] == name) & (table["mode"] == mode)]
                part = part.set_index("difficulty").reindex(DIFFICULTIES)
                if part["mean"].notna().sum() < 2:
                    continue
                x = np.flatnonzero(part["mean"].notna())
                part = part.dropna(subset=["mean"])
                style = "-" if mode == "natural" else ":"
                axes.errorbar(
                    x + 0.04 * names.index(name),
                    part["mean"],
                    yerr=[part["mean"] - part["low"], part["high"] - part["mean"]],
                    fmt=marker,
                    linestyle=style,
                    color=colour,
                    markersize=5,
                    linewidth=1.3,
                    label=f"{network_label(name)}, {mode}",
                )
                axes.plot(x + 0.12, part["truth"], "x", color=INK, markersize=5)
        axes.axhline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
        axes.set_xticks(range(4), ["easy", "99", "95", "85"])
        axes.set_xlabel("percentile of the queries")
        axes.set_ylabel("proportion correct")
        axes.legend(frameon=False, fontsize=8)

    plot = drawing(
        data,
        "6-difficulty",
        "Mean over units, 95% bootstrap over units. Dashed: chance."
        + (" Crosses: true values of the simulation." if data.truth else ""),
        draw,
    )
    found = data.effects
    said = []
    if found is not None:
        keys = {"hard99", "hard95", "hard85"}
        said = [e for e in found.effects if e.key in keys and e.shown]
    parts = [f"{e.key.removeprefix('hard')}th {e.test.estimate:+.2f}" for e in said]
    answer = (
        f"Log-odds fall with the percentile of the queries: {listed(parts)} against the most "
        "extreme ones (adjusted p < 0.05)."
        if parts
        else "No effect of difficulty survives the adjustment for its family."
    )
    return Panel(
        6,
        "difficulty",
        question,
        answer,
        f"{len(names)} networks; {int(hard['answers'].sum()):,} answers to harder queries",
        (plot,),
        {"means": table[table["network"].isin(names)]},
        code(data, "networks", "by_difficulty"),
    )
