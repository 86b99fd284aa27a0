"""A panel: a question, an answer in one sentence, figures, numbers, and the code that draws it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from PIL import Image

from imi_bench.release.published import published
from imi_bench.report.style import INK, LINE, MUTED, PAGE_COLOURS, as_svg, panels
from imi_bench.results import Record, Result
from imi_bench.tables import MODES
from imi_bench.text import html, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from imi_bench.report.paper.data import PaperData

__all__ = ["COLOURS", "Beside", "Panel", "Plot", "asks", "drawing", "look", "network_label", "png"]

MODE_COLOURS = {"natural": "#0173b2", "synthetic": "#de8f05"}
MODE_MARKERS = {"natural": "o", "synthetic": "s"}
WARNING, GHOST, BLUE = "#d55e00", "#949494", "#0173b2"
# Seaborn's "colorblind" palette without its yellow, which is lost on white, and with a violet for
# its second pink; a marker for each.
COLOURS = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#56b4e9",
    "#949494",
    "#7b61c4",
)
MARKERS = ("o", "s", "^", "v", "P", "X", "<", "D", ">")
_FORERUNNERS = "inceptionv1"
_PHONE, _PIXELS, _LETTERS = 3.5, 112, 30
"""Inches and letters across a figure on a phone; CSS pixels an inch where there is room."""
_FOR_PAPER = {INK: "#1d2833", MUTED: "#5d6b78", LINE: "#c9cfd4"}


@dataclass(frozen=True, eq=False, repr=False)
class Plot(Record):
    """One figure; it shows itself in a notebook.

    Attributes
    ----------
    name : str
        File name without suffix.
    caption : str
    svg, narrow : str
        For the page, in the page's colours; narrow: for a phone, panels below one another. Empty
        where there is none.
    file_svg : bytes
        By itself, on white.
    png : bytes
    """

    name: str
    caption: str
    svg: str
    file_svg: bytes
    png: bytes
    narrow: str = ""

    def __repr__(self) -> str:
        return f"Plot({self.name}: {self.caption})"

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True, eq=False, repr=False)
class Panel(Result):
    """A question and its answer.

    Attributes
    ----------
    answer : str
        What the numbers say; it claims only what survives the adjustment for its family of
        questions.
    n : str
        How many answers, units, people or networks.
    plots : tuple of Plot
    tables : mapping of str to DataFrame
    notes : tuple of str
    number : int
    key : str
        Short name, also of its files.
    question : str
    code : str
        Python that draws it again.
    beside : tuple of Beside
        The same question asked of each observer.
    """

    answer: str
    n: str
    plots: tuple[Plot, ...] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    number: int = 0
    key: str = ""
    question: str = ""
    code: str = ""
    beside: tuple[Beside, ...] = ()

    @property
    def title(self) -> str:
        """The question, by its number."""
        return f"{self.number}. {self.question}"

    def to_frame(self) -> pd.DataFrame:
        """The first of `tables`; the answer where there is none."""
        answer = pd.DataFrame({"answer": [self.answer], "n": [self.n]})
        return next(iter(self.tables.values()), answer)

    def summary(self) -> str:
        """Question, answer, of how many, and what should be known."""
        beside = [f"{one.observer}: {one.sentence}" for one in self.beside]
        return "\n".join([self.title, self.answer, self.n, *beside, *self.notes]) + "\n"

    def plot(self) -> tuple[Axes, ...]:
        """Show the figures as they were drawn, one below the other; without one, the answer."""
        return shown_figures([(self.title, one.png) for one in self.plots] or [(self.answer, b"")])

    def _repr_html_(self) -> str:
        """Question, answer and figures."""
        told = f"<p><strong>{html(self.title)}</strong></p><p>{html(self.answer)}</p>"
        return told + "".join(
            f'<img alt="{html(one.caption)}" width="640" '
            f'src="data:image/png;base64,{base64.b64encode(one.png).decode()}">'
            for one in self.plots
        )


@dataclass(frozen=True, eq=False, repr=False)
class Beside(Record):
    """A panel's question asked of an observer, and the difference from people.

    Attributes
    ----------
    observer : str
    sentence : str
    plots : tuple of Plot
    difference : DataFrame
        `number`, `people`, `machine`, `difference`, `low`, `high`.
    """

    observer: str
    sentence: str
    plots: tuple[Plot, ...]
    difference: pd.DataFrame


def shown_figures(pictures: Sequence[tuple[str, bytes]], *, columns: int = 1) -> tuple[Axes, ...]:
    """Show PNG files with a title each, on axes of one figure; of an empty one the title alone."""
    from matplotlib.figure import Figure

    rows = -(-len(pictures) // columns)
    canvas = Figure(figsize=(6.4 * columns, 4.4 * rows), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False).ravel()
    for ax in grid:
        ax.set_axis_off()
    for ax, (title, png) in zip(grid, pictures, strict=False):
        if png:
            ax.imshow(np.asarray(Image.open(io.BytesIO(png))))
        ax.set_title(fill(title, 60), fontsize="small")
    return tuple(grid[: len(pictures)])


def look(data: PaperData, network: str) -> tuple[str, str]:
    """Colour and marker of a network: the same in every figure, by its place in the paper."""
    known = list(published().networks)
    others = [name for name in data.networks() if name not in known]
    place = known.index(network) if network in known else len(known) + others.index(network)
    turn = place + place // len(COLOURS)  # colours that come again come with another marker
    return COLOURS[place % len(COLOURS)], MARKERS[turn % len(MARKERS)]


def network_key(canvas: Canvas, data: PaperData, names: Sequence[str], *, columns: int = 5) -> None:
    """Which colour and marker is which network, below a figure."""
    from matplotlib.lines import Line2D

    if len(names) < 2:
        return
    handles = []
    for name in names:
        colour, marker = look(data, name)
        dot = Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5)
        handles.append((dot, network_label(name)))
    canvas.legend(
        *zip(*handles, strict=True),
        loc="outside lower center",
        ncols=min(columns, len(names), max(1, int(canvas.get_figwidth() / 1.2))),
        frameon=False,
        fontsize=8,
        columnspacing=1.0,
        handletextpad=0.1,
    )


def network_label(network: str) -> str:
    """The network's name for people; of a very long one, its ends."""
    known = published().networks.get(network)
    if known:
        return known.label
    if network == _FORERUNNERS:
        return "InceptionV1"
    return network if len(network) <= 28 else f"{network[:13]}…{network[-13:]}"


def drawing(
    data: PaperData,
    name: str,
    caption: str,
    draw: Callable[..., None],
    *,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (5.2, 3.6),
    narrow: bool = True,
    sharey: bool | str = False,
) -> Plot:
    """Draw one figure; `draw` gets the (rows, columns) axes. Simulated data are marked.

    It is drawn a second time for phones, as wide as one and its panels below one another, unless
    `narrow` is false.
    """
    canvas, grid = panels(
        rows, columns, figure={"figsize": size, "layout": "constrained"}, sharey=sharey
    )
    draw(grid)
    _mark(canvas, data)
    wide, small = as_svg(canvas, name), ""
    if narrow:
        height = (size[1] - 0.2) * columns + 0.2
        stack, single = panels(
            rows * columns, 1, figure={"figsize": (_PHONE, height), "layout": "constrained"}
        )
        _share(single.reshape(rows, columns), sharey)
        draw(single.reshape(rows, columns))
        _wrap(stack)
        _mark(stack, data)
        small = _sized(as_svg(stack, f"{name}-narrow"), _PHONE)
    return Plot(name, caption, _sized(wide, size[0]), _on_white(wide), png(canvas), small)


def whiskers(
    axes: Any,
    at: Any,
    part: pd.DataFrame,
    *,
    look: tuple[str, str],
    aside: float,
    label: str | None = None,
    value: str = "mean",
    across: bool = False,
) -> None:
    """Values with intervals, by marker and colour of `look`; crosses beside them are the truth.

    They stand at places `at` of the horizontal axis, or `across` from places of the vertical one.
    """
    marker, colour = look
    ends = np.abs([part[value] - part["low"], part["high"] - part[value]])
    x, y = (part[value], at) if across else (at, part[value])
    bars = {"xerr" if across else "yerr": ends}
    axes.errorbar(x, y, **bars, fmt=marker, color=colour, markersize=5, linewidth=1.3, label=label)
    true = (part["truth"], at + aside) if across else (at + aside, part["truth"])
    axes.plot(*true, "x", color=INK, markersize=4.5)


def stacked(axes: Any) -> bool:
    """Whether a figure's panels stand below one another, as on a phone."""
    return bool(axes.figure.get_figwidth() <= _PHONE)


def _share(grid: Any, sharey: bool | str) -> None:
    """Share vertical axes as in the wide figure, whose labels stand beside every panel here."""
    for (_, column), axes in np.ndenumerate(grid):
        first = grid[0, column] if sharey == "col" else grid[0, 0]
        if sharey and axes is not first:
            axes.sharey(first)


def _wrap(canvas: Canvas) -> None:
    """Break what is written below an axis where it is longer than a phone is wide."""
    for axes in canvas.axes:
        words = axes.get_xlabel()
        if len(words) > _LETTERS and "\n" not in words:
            axes.set_xlabel(fill(words, _LETTERS))


def _mark(canvas: Canvas, data: PaperData) -> None:
    if data.simulated:
        canvas.suptitle("SIMULATED", color=WARNING, fontsize=9, fontweight="bold", ha="right", x=1)


def _sized(svg: str, inches: float) -> str:
    """No wider than its letters need: a column narrower than the figure shrinks it."""
    return svg.replace("<svg ", f'<svg style="max-width:{inches * _PIXELS:.0f}px" ', 1)


def _on_white(svg: str) -> bytes:
    """The SVG by itself: no page to take colours from."""
    colours = {PAGE_COLOURS[name]: colour for name, colour in _FOR_PAPER.items()}
    for name, colour in {**colours, "var(--font)": "'DejaVu Sans', sans-serif"}.items():
        svg = svg.replace(name, colour)
    head = '<svg style="background:white" xmlns="http://www.w3.org/2000/svg" '
    return (svg if "xmlns=" in svg[:400] else svg.replace("<svg ", head, 1)).encode()


def png(canvas: Canvas) -> bytes:
    """The figure on white, 150 dots an inch, its stand-in colours replaced."""
    from matplotlib.colors import to_hex

    for artist in canvas.findobj():
        for part in ("color", "edgecolor", "facecolor"):
            getter = getattr(artist, f"get_{part}", None)
            setter = getattr(artist, f"set_{part}", None)
            if getter is None or setter is None:
                continue
            try:
                found = _FOR_PAPER.get(to_hex(getter()))
            except (ValueError, TypeError):
                continue
            if found:
                setter(found)
    for axes in canvas.axes:
        axes.tick_params(colors=_FOR_PAPER[INK])
    stream = io.BytesIO()
    canvas.savefig(stream, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


Answer: TypeAlias = "Callable[[PaperData], Panel | str]"


def asks(number: int, key: str, question: str) -> Callable[[Answer], Callable[..., Panel]]:
    """Make what answers a question, or says in a word why nothing can, the question's panel."""

    def decorate(answer: Answer) -> Callable[..., Panel]:
        @wraps(answer)
        def panel(data: PaperData) -> Panel:
            found = answer(data)
            if isinstance(found, str):
                found = Panel(f"Cannot be answered: {found}.", counted(data))
            code = _code(data, answer) if found.plots else ""
            return replace(found, number=number, key=key, question=question, code=code)

        return panel

    return decorate


def _code(data: PaperData, answer: Answer) -> str:
    made = f'"{data.name}"' if data.from_file else "answers"
    return (
        "from pathlib import Path\n\n"
        "from imi_bench.report.paper.data import read_paper\n"
        f"from {answer.__module__} import {answer.__name__}\n\n"
        f"data = read_paper({made}{data.options})\n"
        f"panel = {answer.__name__}(data)\n"
        "for plot in panel.plots:\n"
        '    Path(f"{plot.name}.svg").write_bytes(plot.file_svg)'
    )


def beside_truth(data: PaperData) -> str:
    """What a caption says of the truth of a simulation."""
    return " Crosses: true values of the simulation." if data.true is not None else ""


def shown_modes(data: PaperData) -> list[str]:
    """Kinds of references that were shown."""
    return [mode for mode in MODES if (data.frame["mode"] == mode).any()]


def whose(data: PaperData) -> str:
    """Whose answers these are, in the line of numbers below an answer."""
    made_up = "simulated " if data.simulated and data.who == "people" else ""
    return f"{made_up}{data.who}{_together(data)}"


def _together(data: PaperData) -> str:
    return f", {len(data.together)} numbers of references together" if data.together else ""


def counted(data: PaperData, rows: pd.DataFrame | None = None) -> str:
    """How many answers, units, people and networks."""
    frame = data.frame if rows is None else rows
    made_up = "simulated " if data.simulated else ""
    if data.who != "people":
        units, networks = frame["unit_id"].nunique(), frame["network"].nunique()
        answers = f"{plural(len(frame), 'answer')} of {data.who}"
        return f"{answers}, {plural(units, 'unit')}, {plural(networks, 'network')}"
    parts = (
        plural(len(frame), f"{made_up}answer"),
        plural(frame["unit_id"].nunique(), "unit"),
        plural(frame["participant"].nunique(), f"{made_up}person", f"{made_up}people"),
        plural(frame["network"].nunique(), "network"),
    )
    return ", ".join(parts) + _together(data)


def listed(names: Sequence[str], most: int = 4) -> str:
    """Some names in a sentence.

    >>> listed(["a", "b"]), listed(list("abcdef"))
    ('a, b', 'a, b, c, d and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
