"""One style for all figures, and how a figure becomes part of a page.

Text and lines take the page's own colours (CSS variables), so that a figure follows a dark or a
light page; the same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imi_bench.provenance import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Stand-ins that no palette holds, replaced by the page's colours in the finished SVG.
PAGE_COLOURS = {"#010203": "var(--ink)", "#040506": "var(--muted)", "#070809": "var(--line)"}
INK, MUTED, LINE = PAGE_COLOURS
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#ca9161", "#949494")
"""Okabe and Ito's colours as in seaborn's "colorblind" palette, those that stand out on white and
on near-black alike; in a figure each goes with a marker of its own."""
MARKERS = "os^vPX<>"


@contextmanager
def defaults(**settings: Any) -> Iterator[None]:
    """Matplotlib as it ships, whatever the user's ``matplotlibrc`` says; hers is back afterwards.

    The backend is left alone, and no figure is made known to pyplot: see `panels`.
    """
    import matplotlib as mpl

    kept = {n: v for n, v in mpl.rcParamsDefault.items() if n not in _OF_THE_SESSION}
    with mpl.rc_context():
        mpl.rcParams.update(kept)
        mpl.rcParams.update(settings)
        yield


def new_canvas(**figure: Any) -> Canvas:
    """A figure of our own, drawn without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(**figure)
    FigureCanvasAgg(canvas)
    return canvas


def panels(rows: int, columns: int, *, figure: dict[str, Any], **axes: Any) -> tuple[Any, Any]:
    """A figure of our own and its axes, (rows, columns)."""
    canvas = new_canvas(**figure)
    return canvas, canvas.subplots(rows, columns, squeeze=False, **axes)


# What belongs to the session rather than to the look of a figure.
_OF_THE_SESSION = frozenset(
    {
        "backend",
        "backend_fallback",
        "date.epoch",
        "docstring.hardcopy",
        "interactive",
        "savefig.directory",
        "timezone",
        "toolbar",
        "tk.window_focus",
        "webagg.address",
        "webagg.open_in_browser",
        "webagg.port",
        "webagg.port_retries",
    }
)


@contextmanager
def styled(palette: Sequence[str]) -> Iterator[None]:
    """The report's style; see `defaults`."""
    import seaborn as sns

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "imi-bench",
        "text.parse_math": False,
        "font.size": 10,
        "font.family": "DejaVu Sans",
        "axes.titlesize": 10.5,
        "axes.titleweight": "regular",
        "axes.labelsize": 10,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.fontsize": 9.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.edgecolor": LINE,
        "grid.color": LINE,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.grid.axis": "x",
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.spines.bottom": False,
        "ytick.left": False,
    }
    with defaults():
        sns.set_theme(context="paper", style="whitegrid", palette=list(palette), rc=settings)
        yield


def logarithmic(axes: Axes, axis: str) -> None:
    """Make the ``x`` or ``y`` axis logarithmic, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(**{f"{axis}scale": "log"})
    drawn = getattr(axes, f"{axis}axis")
    drawn.set_major_locator(LogLocator(subs=(1, 2, 5)))
    drawn.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    drawn.set_minor_locator(NullLocator())


def save(canvas: Canvas, path: Path) -> Path:
    """Write a figure, without the date; the suffix chooses PNG, SVG or PDF."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, dpi=150, metadata=dates.get(path.suffix))
    return path


def laid_out(canvas: Canvas) -> None:
    """Lay the figure out for SVG; else matplotlib draws it once more than it writes it."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    if (engine := canvas.get_layout_engine()) is not None:
        FigureCanvasSVG(canvas)
        engine.execute(canvas)
        canvas.set_layout_engine("none")


def as_svg(canvas: Canvas, name: str) -> str:
    """The figure as an SVG element that takes the page's colours and fits its column."""
    laid_out(canvas)
    stream = io.StringIO()
    canvas.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", _rounded, text)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for stand_in, colour in PAGE_COLOURS.items():
        text = text.replace(stand_in, colour)
    text = text.replace("'DejaVu Sans'", "var(--font)")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()


def _rounded(tag: re.Match[str]) -> str:
    """A tag with its coordinates to a hundredth of a point; text between tags is left alone."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])
