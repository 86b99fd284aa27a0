"""Panel 5: depth, type and width of layers, and the easiest and hardest units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from imi_bench.arrays import Floats
from imi_bench.effects.effect import Effect
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.exemplars import exemplars
from imi_bench.report.paper.panel import (
    MODE_COLOURS,
    MODE_MARKERS,
    Panel,
    asks,
    counted,
    drawing,
    shown_modes,
    whiskers,
)
from imi_bench.report.paper.units import extremes
from imi_bench.report.style import INK, MUTED
from imi_bench.text import plural

__all__ = ["Curve", "by_layer", "layer_curve", "type_means"]

_KNOTS = 4
_COUNTS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True, eq=False)
class Curve:
    """Proportion correct of layers along one of their properties, within networks.

    Attributes
    ----------
    x, middle, low, high, true : (60,) float64
        `true` is NaN where it is not known.
    layers : DataFrame
    df : int
        Layers less coefficients.
    linear : (float, float, float)
        From the lowest to the highest value on a straight line: points, and their 95% interval.
    """

    x: Floats
    middle: Floats
    low: Floats
    high: Floats
    true: Floats
    layers: pd.DataFrame
    df: int
    linear: tuple[float, float, float]


def layers_of(units: pd.DataFrame) -> pd.DataFrame:
    """One row a layer: `hits`, `answers`, `p`, and its properties."""
    keys = ["network", "layer", "depth", "type", "width"]
    grouped = units.groupby(keys, observed=True, dropna=False)
    found = grouped[["hits", "answers"]].sum().reset_index()
    return found.assign(p=found["hits"] / found["answers"])


def layer_curve(units: pd.DataFrame, name: str, data: PaperData | None = None) -> Curve | None:
    """A natural spline over layers, with networks of their own level.

    Weighted least squares of layers' proportions on the spline and on networks; the band is
    Student's t with a covariance that takes every layer for one observation (HC3, MacKinnon and
    White 1985), whatever its number of units and answers.

    Parameters
    ----------
    units : DataFrame
        Of one mode.
    name : {"depth", "width"}
        Widths enter as log10.
    data : PaperData, optional
        For the truth of a simulation.

    Returns
    -------
    Curve or None
        None where there are too few layers, or all are alike.
    """
    layers = layers_of(units).dropna(subset=[name]).reset_index(drop=True)
    layers = layers.assign(at=np.log10(layers["width"]) if name == "width" else layers["depth"])
    if layers.empty or layers["at"].nunique() < 2:
        return None
    at = layers["at"].to_numpy(float)
    knots = np.unique(np.quantile(at, np.linspace(0, 1, _KNOTS)))
    x = np.linspace(at.min(), at.max(), 60)
    network = pd.get_dummies(layers["network"].astype(str)).to_numpy(float)
    weight = layers["answers"].to_numpy(float)
    share = network.T @ weight / weight.sum()
    curve = _fitted(spline(at, knots), spline(x, knots), network, share, layers)
    line = _fitted(at[:, None], np.array([[at.min()], [at.max()]]), network, share, layers)
    if curve is None or line is None:
        return None
    middle, cov, df, project = curve
    half = stats.t.ppf(0.975, df) * np.sqrt(np.maximum(np.diag(cov), 0))
    true = np.full(len(x), np.nan)
    if data is not None and data.true is not None:
        mode = str(units["mode"].iloc[0])
        true = project(data.true.depth_line(layers["network"], layers["depth"].to_numpy(), mode))
    rise = float(line[0][1] - line[0][0])
    se = float(np.sqrt(max(line[1][0, 0] + line[1][1, 1] - 2 * line[1][0, 1], 0)))
    reach = float(stats.t.ppf(0.975, line[2])) * se
    return Curve(
        x=x,
        middle=middle,
        low=middle - half,
        high=middle + half,
        true=true,
        layers=layers,
        df=df,
        linear=(rise, rise - reach, rise + reach),
    )


def _fitted(
    basis: Floats, grid: Floats, network: Floats, share: Floats, layers: pd.DataFrame
) -> tuple[Floats, Floats, int, Any] | None:
    """Values on the grid for the average network, their covariance, degrees of freedom."""
    design = np.hstack([basis, network])
    root = np.sqrt(layers["answers"].to_numpy(float))[:, None]
    df = len(layers) - np.linalg.matrix_rank(design * root)
    if df < 2:
        return None
    inverse = np.linalg.pinv(design * root)
    hat = np.einsum("ij,ji->i", design * root, inverse)
    shown = np.hstack([grid, np.broadcast_to(share, (len(grid), len(share)))])

    def project(y: Floats) -> Floats:
        return np.asarray(shown @ (inverse @ (np.asarray(y) * root[:, 0])))

    y = layers["p"].to_numpy(float)
    residual = (y - design @ (inverse @ (y * root[:, 0]))) * root[:, 0]
    # A layer that is alone with its network has leverage 1 and says nothing of the curve.
    scaled = np.where(hat < 1 - 1e-8, residual / np.maximum(1 - hat, 1e-8), 0.0)
    half = shown @ inverse * scaled
    return project(y), np.asarray(half @ half.T), int(df), project


def spline(x: Floats, knots: Floats) -> Floats:
    """Natural cubic spline basis without its constant.

    Hastie, Tibshirani and Friedman 2009, *The Elements of Statistical Learning*, equation 5.4.
    """
    if len(knots) < 3:
        return np.asarray(x[:, None])
    last = knots[-1]

    def part(k: float) -> Floats:
        cubes = np.maximum(x - k, 0) ** 3 - np.maximum(x - last, 0) ** 3
        return np.asarray(cubes / (last - k))

    end = part(float(knots[-2]))
    return np.column_stack([x, *(part(float(k)) - end for k in knots[:-2])])


def type_means(units: pd.DataFrame, data: PaperData | None = None) -> pd.DataFrame:
    """Proportion correct of each type of layer, and an interval over layers within networks.

    A ratio of sums; the layers of a network that has one of a type only count by their total.
    """
    rows = []
    for (mode, kind), part in units.groupby(["mode", "type"], observed=True, sort=False):
        layers = layers_of(part)
        answers = layers["answers"].to_numpy(float)
        mean = float(layers["hits"].sum() / answers.sum())
        influence = (layers["hits"].to_numpy(float) - mean * answers) / answers.sum()
        variance, df = _over_layers(influence, answers, layers["network"])
        low, high = _on_logit(mean, variance, df)
        truth = np.nan
        if data is not None and data.true is not None:
            true = data.true.depth_line(layers["network"], layers["depth"].to_numpy(), str(mode))
            truth = float(true @ answers / answers.sum())
        rows.append(
            {
                "mode": mode,
                "type": kind,
                "mean": mean,
                "low": low,
                "high": high,
                "layers": len(layers),
                "networks": layers["network"].nunique(),
                "units": part["unit_id"].nunique(),
                "truth": truth,
            }
        )
    return pd.DataFrame(rows)


def _on_logit(mean: float, variance: float, df: int) -> tuple[float, float]:
    """95% ends of a proportion, Student's t on its log-odds; NaN where there is no variance."""
    if df < 1 or not 0 < mean < 1 or variance <= 0:
        return np.nan, np.nan
    half = stats.t.ppf(0.975, df) * np.sqrt(variance) / (mean * (1 - mean))
    odds = special.logit(mean)
    return float(special.expit(odds - half)), float(special.expit(odds + half))


def _over_layers(influence: Floats, size: Floats, network: pd.Series) -> tuple[float, int]:
    code, _ = pd.factorize(network)
    count = np.bincount(code)
    mean = np.bincount(code, influence) / np.bincount(code, size)
    alone = count[code] < 2
    gap = np.where(alone, influence, influence - size * mean[code])
    factor = np.where(alone, 1.0, count[code] / np.maximum(count[code] - 1, 1))
    several = int((count > 1).sum())
    df = int(count[count > 1].sum()) - several + max(int((count == 1).sum()) - 1, 0)
    return float((factor * gap**2).sum()), df


@asks(5, "layers", "Does it matter where in a network a unit lies?")
def by_layer(data: PaperData) -> Panel | str:
    """5: depth, type and width of layers, and the easiest and hardest units."""
    units = data.easy
    if units.empty:
        return "no unit was shown with the easiest queries"
    modes = [mode for mode in shown_modes(data) if (units["mode"] == mode).any()]
    curves = {
        (name, mode): layer_curve(units[units["mode"] == mode], name, data)
        for name in ("depth", "width")
        for mode in modes
    }
    types = type_means(units, data)
    within = _within(data, modes)
    plot = drawing(
        data,
        "5-layers",
        "Left and middle: layers (dots) and a natural spline of depth and of width, networks at "
        "levels of their own; 95% band that counts layers. Right: types of layers, 95% over "
        "layers within networks, as shown (not every network has every type)."
        + (" Dotted, crosses: true values of the simulation." if data.true else ""),
        lambda grid: _draw(grid[0], curves, types, modes, units),
        columns=3,
        size=(8.6, 3.0),
    )
    chosen = extremes(data)
    pictures, said = exemplars(data, chosen)
    unknown = sorted(set(units.loc[units["width"].isna(), "network"].astype(str)))
    notes = [f"Width is not known for layers of {', '.join(unknown)}."] if unknown else []
    known = [e for e in data.effects.effects if e.topic.startswith("layer")] if data.effects else []
    return Panel(
        answer=_answer(known, curves),
        n=counted(data) + f", {plural(len(layers_of(units)), 'layer')}",
        plots=(plot, *pictures),
        tables={
            "types": types,
            "rise": _rises(curves),
            "within_layers": within,
            "hardest_and_easiest": chosen,
        },
        notes=(*notes, *said, *_at_zero(within), *(_named(e) for e in known if not e.shown)),
    )


def _at_zero(within: pd.DataFrame) -> list[str]:
    """What an estimated deviation of zero means."""
    none = within.loc[within["sd_between_layers"] == 0, "mode"].tolist() if len(within) else []
    if not none:
        return []
    return [
        f"With {' and '.join(none)} references layers of a network differ no more than chance "
        "would have it from units that differ anyway: the estimated deviation between layers is at "
        "its bound, 0, which does not show that there is none."
    ]


def _named(effect: Effect) -> str:
    more = f" True value: {effect.truth:+.2f}." if np.isfinite(effect.truth) else ""
    return f"{effect.question} {effect.sentence}{more}"


def _answer(known: list[Effect], curves: dict[tuple[str, str], Curve | None]) -> str:
    real = [e for e in known if e.shown]
    if real:
        words = [f"{e.topic[0].upper()}{e.topic[1:]}: {e.sentence}" for e in real]
        return " ".join(words)
    asked = [e for e in known if np.isfinite(e.p_holm)]
    if asked:
        topics = sorted({e.topic.removeprefix("layer ") for e in asked})
        return (
            f"No effect of {' or '.join(topics)} of layers survives the adjustment for its family "
            f"({plural(len(asked), 'question')})."
        )
    one = next((c for (n, _), c in curves.items() if n == "depth" and c is not None), None)
    if one is None:
        return "Cannot be answered: too few layers, or no depth is known."
    rise, low, high = (100 * v for v in one.linear)
    return (
        f"From the first to the last layer accuracy changes by {rise:+.1f} points [{low:+.1f}, "
        f"{high:+.1f}]; the model that would adjust this for its family could not be fitted."
    )


def _rises(curves: dict[tuple[str, str], Curve | None]) -> pd.DataFrame:
    rows = [
        {
            "property": name,
            "mode": mode,
            "from": one.x[0] if name == "depth" else 10 ** one.x[0],
            "to": one.x[-1] if name == "depth" else 10 ** one.x[-1],
            "rise": one.linear[0],
            "low": one.linear[1],
            "high": one.linear[2],
            "layers": len(one.layers),
        }
        for (name, mode), one in curves.items()
        if one is not None
    ]
    return pd.DataFrame(rows)


def _within(data: PaperData, modes: list[str]) -> pd.DataFrame:
    """How much of what differs between units of a network lies between its layers.

    Moments of a one-way layout with unequal sizes: mean squares between and within layers
    (Searle, Casella and McCulloch 1992, section 3.6), binomial noise taken out of the latter.
    """
    rows = []
    units = data.easy
    for mode in modes:
        part = units[units["mode"] == mode]
        by = part.groupby(["network", "layer"], observed=True)["p"].agg(["mean", "size"])
        layer = part.groupby(["network", "layer"], observed=True)["p"].transform("mean")
        inside = part["p"] - layer
        network = part.groupby("network", observed=True)["p"].transform("mean")
        total = part["p"] - network
        n, layers, networks = len(part), len(by), part["network"].nunique()
        if n <= layers or layers <= networks:
            continue
        within = float((inside**2).sum()) / (n - layers)
        between = float((total**2).sum() - (inside**2).sum()) / (layers - networks)
        sizes = by.assign(square=by["size"] ** 2).groupby(level="network")[["square", "size"]].sum()
        squares = sizes["square"] / sizes["size"]
        size = (n - float(squares.sum())) / (layers - networks)
        noise = float((part["p"] * (1 - part["p"]) / (part["answers"] - 1).clip(lower=1)).mean())
        rows.append(
            {
                "mode": mode,
                "sd_between_layers": np.sqrt(max((between - within) / size, 0)),
                "sd_units_within_layers": np.sqrt(max(within - noise, 0)),
                "sd_binomial_noise": np.sqrt(noise),
                "layers": layers,
                "units": n,
            }
        )
    return pd.DataFrame(rows)


def _draw(
    axes: Any,
    curves: dict[tuple[str, str], Curve | None],
    types: pd.DataFrame,
    modes: list[str],
    units: pd.DataFrame,
) -> None:
    depth, width, kinds = axes
    words = {
        "depth": (depth, "depth of the layer's block (0 first, 1 last)"),
        "width": (width, "width of the layer (channels)"),
    }
    shown = [float(c.layers["p"].min()) for c in curves.values() if c is not None]
    least = min([0.5, *shown]) - 0.03
    for name, (one, label) in words.items():
        drawn = False
        for mode in modes:
            curve = curves[name, mode]
            if curve is None:
                continue
            drawn, colour = True, MODE_COLOURS[mode]
            x = curve.x if name == "depth" else 10**curve.x
            at = curve.layers["at"] if name == "depth" else curve.layers["width"]
            one.plot(at, curve.layers["p"], ".", color=colour, alpha=0.3, markersize=4)
            one.fill_between(x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            one.plot(x, curve.middle, color=colour, linewidth=1.6, label=f"{mode} references")
            one.plot(x, curve.true, color=INK, linewidth=1.1, linestyle=":")
        if name == "width" and drawn:
            one.set_xscale("log")
            low, high = one.get_xlim()
            if high < 30 * low:
                one.set_xticks([v for v in _COUNTS if low <= v <= high])
            one.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
            one.xaxis.set_minor_formatter("")
        if not drawn:
            few = units[name].nunique() > 1
            said = "too few layers" if few else "not known"
            one.text(0.5, 0.5, said, transform=one.transAxes, ha="center", color=MUTED)
        one.axhline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
        one.set_xlabel(label)
        one.set_ylim(least, 1.02)
    depth.set_ylabel("proportion correct")
    if any(curves["depth", mode] is not None for mode in modes):
        depth.legend(frameon=False, loc="lower left", fontsize=8)
    names = list(dict.fromkeys(types["type"]))
    for shift, mode in zip(np.linspace(-0.14, 0.14, len(modes)), modes, strict=True):
        part = types[types["mode"] == mode].set_index("type").reindex(names)
        place = np.arange(len(names)) + shift
        look = (MODE_MARKERS[mode], MODE_COLOURS[mode])
        whiskers(kinds, place, part, look=look, aside=0.1, across=True)
    kinds.set_yticks(range(len(names)), names)
    kinds.set_ylim(len(names) - 0.5, -0.5)
    kinds.set_xlabel("proportion correct, by type")
