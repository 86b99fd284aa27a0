"""The paper as one page, with its figures, tables and record in a folder."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup

from imi_bench import text
from imi_bench.arguments import checked
from imi_bench.errors import UnknownNameError
from imi_bench.pages.shell import write_page
from imi_bench.progress import progress
from imi_bench.provenance import (
    atomic_path,
    package_versions,
    plain,
    write_json,
    write_table,
    write_text,
)
from imi_bench.release.study_files import AnswersLike
from imi_bench.report.paper.beside import machine_columns, observers_of
from imi_bench.report.paper.confidence import confidence
from imi_bench.report.paper.data import PaperData, TrialsLike, read_paper
from imi_bench.report.paper.exclusions import exclusions
from imi_bench.report.paper.layers import by_layer
from imi_bench.report.paper.machines import machines
from imi_bench.report.paper.means import by_difficulty, by_network
from imi_bench.report.paper.missing import missing
from imi_bench.report.paper.modes import by_mode
from imi_bench.report.paper.pairs import pairs
from imi_bench.report.paper.panel import COLOURS, Panel, Plot, shown_figures
from imi_bench.report.paper.reliability import reliability
from imi_bench.report.paper.scale import by_scale
from imi_bench.report.paper.units import distribution
from imi_bench.report.style import styled
from imi_bench.results import NOT_IN_JSON, Result
from imi_bench.tables import DecisionsLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PANELS", "Paper", "paper"]

PANELS: tuple[Callable[[PaperData], Panel], ...] = (
    by_network,
    pairs,
    by_scale,
    by_mode,
    by_layer,
    by_difficulty,
    distribution,
    confidence,
    exclusions,
    reliability,
    machines,
    missing,
)
_COLUMNS = ("number", "key", "question", "answer", "n")
_MOST_ROWS = 40


@dataclass(frozen=True, eq=False, repr=False)
class Paper(Result):
    """The panels, and where they were written.

    Attributes
    ----------
    panels : tuple of Panel
    path : Path or None
        The page.
    name : str
        Of the answers.
    drawn_from : mapping
        Hashes, versions, seeds, answers: what ``record.json`` holds.
    data : PaperData or None
        Answers and models; None where read from JSON.
    """

    panels: tuple[Panel, ...]
    path: Path | None
    name: str
    drawn_from: Mapping[str, Any]
    data: PaperData | None = field(default=None, metadata=NOT_IN_JSON)

    def __getitem__(self, key: str) -> Panel:
        known = {one.key: one for one in self.panels}
        UnknownNameError.unless_among(key, known, kind="panel")
        return known[key]

    @property
    def title(self) -> str:
        """Whose answers these are."""
        made_up = " (simulated)" if self.simulated else ""
        return f"The paper from {Path(self.name).name}{made_up}"

    @property
    def simulated(self) -> bool:
        """Whether the answers are made up."""
        return bool(self.drawn_from["simulated"])

    def to_frame(self) -> pd.DataFrame:
        """One row a panel: `number`, `key`, `question`, `answer`, `n`."""
        return pd.DataFrame([{n: getattr(one, n) for n in _COLUMNS} for one in self.panels])

    def summary(self) -> str:
        """Every question with its answer."""
        return "\n".join(f"{p.number}. {p.question} {p.answer}" for p in self.panels) + "\n"

    def plot(self) -> tuple[Axes, ...]:
        """Show the first figure of every panel that has one; ``paper[key].plot()`` has all."""
        drawn = [(one.title, one.plots[0].png) for one in self.panels if one.plots]
        return shown_figures(drawn or [(self.title, b"")], columns=3)

    def to_json(self) -> dict[str, Any]:
        """JSON object: every panel with its tables and figures, but not the answers themselves."""
        return {"title": self.title, **super().to_json()}

    def _repr_html_(self) -> str:
        """A link to the page, or questions and answers."""
        if self.path is None:
            told = (
                f"<p><b>{text.html(p.title)}</b> {text.html(p.answer)}</p>" for p in self.panels
            )
            return f"<p><strong>{text.html(self.title)}</strong></p>{''.join(told)}"
        address = text.html(self.path.absolute().as_uri())
        return f'<a href="{address}">{text.html(self.title)}</a>'


@checked
def paper(
    responses: AnswersLike,
    *,
    decisions: Sequence[DecisionsLike] = (),
    out: str | Path | None = None,
    stimuli: TrialsLike | None = None,
    ordinal: bool = True,
    seed: int = 0,
) -> Paper:
    """Draw the paper from the answers of people, question by question.

    Parameters
    ----------
    responses : what `imi_bench.read_answers` takes
        ``"imi"``, ``"borowski2021"``, a released or simulated table, a study.
    decisions : sequence of what `DecisionVariables.read` takes
        Observers that stand beside people.
    out : str or Path, optional
        Folder for ``index.html``, figures (SVG, PNG), tables (CSV, LaTeX) and ``record.json``.
    stimuli : path or Trials, optional
        Images of trials that people answered: the easiest and hardest units are shown.
    ordinal : bool
        Whether the model of six ordered answers is fitted as well, in a second process.
    seed : int
        Of bootstraps and split halves.

    Returns
    -------
    Paper

    Raises
    ------
    InputError, ResponseError
        If there are no such answers.

    Examples
    --------
    ``paper("borowski2021", out="paper")["modes"].answer``
    """
    began = time.perf_counter()
    data = read_paper(responses, decisions=decisions, stimuli=stimuli, ordinal=ordinal, seed=seed)
    drawn = []
    with styled(COLOURS), progress("panels", total=len(PANELS), unit="panels") as advance:
        observers = observers_of(data)
        for make in PANELS:
            drawn.append(machine_columns(make(data), data, observers))
            advance(1)
    path = None if out is None else Path(out) / "index.html"
    done = Paper(tuple(drawn), path, data.name, record(data, drawn), data)
    if out is not None:
        _write(done, data, Path(out), seconds=time.perf_counter() - began)
    return done


def _write(done: Paper, data: PaperData, out: Path, *, seconds: float) -> None:
    _clear(out)
    simulated = data.simulated
    for panel in done.panels:
        for plot in every_plot(panel):
            for suffix, body in (("svg", plot.file_svg), ("png", plot.png)):
                with atomic_path(out / "figures" / f"{plot.name}.{suffix}") as temporary:
                    temporary.write_bytes(body)
        for name, table in panel.tables.items():
            stem = f"{panel.number}-{panel.key}-{name}"
            write_table(out / "tables" / f"{stem}.csv", table)
            write_text(out / "tables" / f"{stem}.tex", latex(table, simulated=simulated))
    write_page(out / "index.html", "imi_bench.report", "paper.html", _shown(done, data))
    write_json(out / "record.json", {**done.drawn_from, "seconds": round(seconds, 1)})


def _clear(out: Path) -> None:
    """Take away the figures and tables of an earlier page, which this one need not draw again."""
    if not (out / "record.json").is_file():
        return
    for folder, suffixes in (("figures", (".svg", ".png")), ("tables", (".csv", ".tex"))):
        for path in (out / folder).glob("*"):
            if path.suffix in suffixes and re.match(r"\d+-", path.name):
                path.unlink()


def every_plot(panel: Panel) -> tuple[Plot, ...]:
    """Figures of people and of observers."""
    return (*panel.plots, *(plot for one in panel.beside for plot in one.plots))


def record(data: PaperData, drawn: Sequence[Panel]) -> dict[str, Any]:
    """What was drawn from what: hashes, versions, seeds, answers."""
    table = data.released if data.released is not None else data.forerunner
    return {
        "simulated": data.simulated,
        "answers": data.study.responses.source,
        "study_hash": data.study.hash,
        "file_sha256": None if table is None else table.file_hash,
        "observers": [one.observer for one in data.decisions],
        "seed": data.seed,
        "formula": data.effects.formula if data.effects is not None else None,
        "model_refused": data.refused or None,
        "truth": plain({f"{c.network}/{c.mode}/{c.difficulty}": v for c, v in data.truth.items()}),
        "panels": [{name: getattr(one, name) for name in _COLUMNS} for one in drawn],
        "versions": package_versions(),
    }


def latex(table: pd.DataFrame, *, simulated: bool) -> str:
    """A table for LaTeX (booktabs), every text escaped."""
    head = " & ".join(text.latex(str(name).replace("_", " ")) for name in table)
    lines = [" & ".join(text.latex(_cell(v)) for v in row) + r" \\" for row in table.to_numpy()]
    kind = "".join("r" if pd.api.types.is_numeric_dtype(t) else "l" for t in table.dtypes)
    said = ["% SIMULATED answers"] if simulated else []
    return "\n".join(
        [
            *said,
            rf"\begin{{tabular}}{{{kind}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return "–" if value is None else str(value)


def _shown(done: Paper, data: PaperData) -> dict[str, Any]:
    return {
        "title": f"The paper from {Path(data.name).name}",
        "simulated": "Nobody gave these answers: they were drawn from a model with known truth, "
        "which stands beside the estimates."
        if data.simulated
        else "",
        "lead": data.study.responses.title,
        "panels": [_panel(one) for one in done.panels],
        "facts": [
            ("Answers", data.study.responses.source),
            ("Study, SHA-256", data.study.hash),
            ("Model", data.effects.formula if data.effects is not None else data.refused),
            ("Seed", str(data.seed)),
            ("Versions", ", ".join(f"{k} {v}" for k, v in package_versions().items())),
        ],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    shown = {name: getattr(panel, name) for name in _COLUMNS}
    return {
        **shown,
        "notes": panel.notes,
        "code": panel.code,
        "plots": _plots(panel.plots),
        "beside": [
            {"observer": one.observer, "sentence": one.sentence, "plots": _plots(one.plots)}
            for one in panel.beside
        ],
        "tables": [
            {
                "name": name.replace("_", " "),
                "header": [str(column).replace("_", " ") for column in table],
                "rows": [[_cell(v) for v in row] for row in table.head(_MOST_ROWS).to_numpy()],
                "more": max(len(table) - _MOST_ROWS, 0),
            }
            for name, table in panel.tables.items()
        ],
    }


def _plots(plots: Sequence[Plot]) -> list[dict[str, Any]]:
    return [
        {"svg": Markup(p.svg), "narrow": Markup(p.narrow), "caption": p.caption, "name": p.name}
        for p in plots
    ]
