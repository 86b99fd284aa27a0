"""One table, five renderings: Markdown, CSV and JSON to commit; pages for a site.

All are functions of the table and the board's files alone, so the same evidence gives the same
bytes, but for last decimals on another processor; `check` holds the committed files against them.
Pages are built, not committed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import jinja2
import pandas as pd
from markupsafe import Markup

from imi_bench.errors import CheckFailedError
from imi_bench.leaderboard.plots import interval, interval_axis
from imi_bench.leaderboard.rows import UNDISCLOSED, Detail, Row, Table, published
from imi_bench.pages.shell import environment
from imi_bench.provenance import atomic_path
from imi_bench.stats.estimate import Estimate
from imi_bench.text import markdown, plural

_DATATABLES = "dataTables-3.1.5.min.js"
_NEVER = 1e9
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+(?:e-[0-9]+)?|e-[0-9]+)")


def render(table: Table) -> dict[str, str]:
    """Every file of a board that is made from its evidence and committed, by relative path."""
    table = table.ordered()
    record = json.dumps(published(table), indent=1, ensure_ascii=False, allow_nan=False)
    return {"board.json": record + "\n", "board.csv": _csv(table), "README.md": _markdown(table)}


def render_pages(table: Table, *, details: Mapping[tuple[str, str], Detail]) -> dict[str, str]:
    """The pages of a board, by path relative to the board's folder on a site."""
    table = table.ordered()
    axis = _Axis.of(table)
    pages = {"index.html": _page(table, axis)}
    for row in table.rows:
        if row.kind == "submission":
            detail = details.get((row.name, row.revision), Detail())
            pages[f"pages/{page_name(row)}"] = _submission_page(table, row, detail, axis)
    return pages


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write the rendered files atomically."""
    for name, text in files.items():
        if _same(folder / name, text):
            continue
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")


def check(files: Mapping[str, str], folder: Path) -> None:
    """Compare the files on disk with what the evidence gives.

    Raises
    ------
    CheckFailedError
        Naming the files that differ or are missing.
    """
    differing = [name for name, text in files.items() if not _same(folder / name, text)]
    if differing:
        raise CheckFailedError(
            f"{plural(len(differing), 'file is', 'files are')} not what the evidence gives",
            where=folder,
            found=", ".join(differing[:8]),
            do="run `imi-bench leaderboard build` and commit",
        )


def _same(path: Path, text: str) -> bool:
    """Whether a file says this; numbers may differ by one in the sixth decimal.

    Where a value lies between two such decimals, the last bits of a processor choose.
    """
    if not path.is_file():
        return False
    there = path.read_bytes().decode("utf-8", errors="replace")
    if there == text:
        return True
    ours, theirs = (_NUMBER.findall(one) for one in (text, there))
    return _NUMBER.split(there) == _NUMBER.split(text) and all(
        abs(float(one) - float(other)) < 1.5e-6 for one, other in zip(ours, theirs, strict=True)
    )


def page_name(row: Row) -> str:
    """File name of a submission's page; no slug holds the sign between name and revision."""
    return f"{row.name}@{row.revision}.html"


def number(value: float | None) -> str:
    """Three decimals, or a dash where there is no number."""
    return "–" if value is None or math.isnan(value) else f"{value:z.3f}"


def training(row: Row) -> str:
    """Declared training data, or that it is undisclosed."""
    return row.facts.get("training data", UNDISCLOSED) if row.kind == "submission" else row.kind


def _sort_value(estimate: Estimate | None) -> float:
    return -_NEVER if estimate is None or math.isnan(estimate.value) else round(estimate.value, 6)


def _strata(row: Row) -> dict[str, list[float | None]]:
    def numbers(e: Estimate) -> list[float | None]:
        return [None if math.isnan(v) else round(v, 6) for v in (e.value, e.low, e.high)]

    every = {"all": row.score, **row.strata}
    return {name: numbers(e) for name, e in every.items() if not math.isnan(e.value)}


@dataclass(frozen=True, eq=False)
class _Axis:
    """The one axis of all intervals of a board.

    Attributes
    ----------
    ends : (float, float)
    drawn : Markup
        With round numbers, for the tables' headings.
    chance : float
    ceiling : float or None
    """

    ends: tuple[float, float]
    drawn: Markup
    chance: float
    ceiling: float | None

    @classmethod
    def of(cls, table: Table) -> Self:
        ends = _ends(table)
        ceiling = None if table.ceiling is None else table.ceiling.value
        return cls(ends, interval_axis(ends, unit=table.unit), table.chance, ceiling)

    def plot(self, estimate: Estimate) -> Markup:
        return interval(estimate, axis=self.ends, chance=self.chance, ceiling=self.ceiling)


def _ends(table: Table) -> tuple[float, float]:
    ends = [table.chance]
    for row in table.rows:
        for e in (row.score, *row.strata.values()):
            ends += [v for v in (e.value, e.low, e.high) if math.isfinite(v)]
    if table.ceiling is not None and math.isfinite(table.ceiling.value):
        ends.append(table.ceiling.value)
    low, high = min(ends), max(ends)
    margin = 0.03 * (high - low) or 0.5
    return round(low - margin, 6), round(high + margin, 6)


@cache
def _environment() -> jinja2.Environment:
    made = environment("imi_bench.leaderboard")
    made.globals.update(
        number=number, training=training, page=page_name, sort_value=_sort_value, strata=_strata
    )
    return made


def _page(table: Table, axis: _Axis) -> str:
    def choices(prefix: str) -> list[str]:
        names = {n.removeprefix(prefix) for r in table.rows for n in r.strata if prefix in n}
        return sorted(names)

    return (
        _environment()
        .get_template("board.html.j2")
        .render(
            t=table,
            axis={"low": axis.ends[0], "high": axis.ends[1]},
            plot=axis.plot,
            axis_plot=axis.drawn,
            order=lambda row, position: row.rank or _NEVER + position,
            extra=table.extra,
            modes=choices("mode="),
            difficulties=choices("difficulty="),
            trainings=sorted({training(row) for row in table.rows}),
            datatables=_DATATABLES,
        )
    )


def _submission_page(table: Table, row: Row, detail: Detail, axis: _Axis) -> str:
    scores = [(table.score_name, row.score), *row.strata.items()]
    if row.share is not None:
        scores.append(("share of ceiling", row.share))
    return (
        _environment()
        .get_template("submission.html.j2")
        .render(
            t=table,
            r=row,
            scores=[*scores, *row.more.items()],
            plot=axis.plot,
            axis_plot=axis.drawn,
            figures=detail.figures,
            trials=detail.trials,
            total=detail.total,
            sheet=detail.sheet,
        )
    )


def _csv(table: Table) -> str:
    """The table as CSV; a text cell that a spreadsheet would take for a formula gets a quote."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    frame = table.to_frame()
    writer.writerow([*frame, "cost_seconds", "training_data"])
    for row, cells in zip(table.rows, frame.itertuples(index=False, name=None), strict=True):
        more = (row.facts.get("cost", ""), training(row))
        writer.writerow(map(_csv_cell, (*cells, *more)))
    return stream.getvalue()


def _csv_cell(value: Any) -> str:
    if isinstance(value, str):
        return _csv_text(value)
    if pd.isna(value):
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _csv_text(text: str) -> str:
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _markdown(table: Table) -> str:
    extra = table.extra
    head = [
        "rank",
        "group",
        "name",
        f"{table.score_name} ({table.unit})",
        *extra,
        "coverage",
        "training data",
    ]
    lines = [f"# {markdown(table.title)}", "", f"*{markdown(table.question)}*", ""]
    if table.simulated:
        lines += [
            "**Simulated.** Images, units or participants of this board are made up or stand "
            "in for the real ones.",
            "",
        ]
    lines += [*table.about.strip().split("\n"), "", f"{table.score_help} {table.rule}", ""]
    if table.ceiling is not None:
        lines += [f"Human ceiling: {table.ceiling}. {table.zero}: {table.chance:.3f}.", ""]
    if not math.isnan(table.resolvable):
        lines += [f"Smallest difference resolved: {table.resolvable:.3f}.", ""]
    lines += ["| " + " | ".join(map(markdown, head)) + " |", "|" + " --- |" * len(head)]
    for row in table.rows:
        rank = f"{row.rank} [{row.rank_low}–{row.rank_high}]" if row.rank else row.kind
        cells = [
            rank,
            str(row.group or ""),
            row.title,
            str(row.score),
            *(number(row.more[n].value) if n in row.more else "–" for n in extra),
            f"{100 * row.coverage:.1f}%",
            training(row),
        ]
        lines.append("| " + " | ".join(map(markdown, cells)) + " |")
    if table.rejected:
        lines += ["", "Not scored:", ""]
        lines += [
            f"- {markdown(folder)}: {markdown(problem)}" for folder, problem in table.rejected
        ]
    lines += ["", "Rebuild with `imi-bench leaderboard build`; `--site DIR` adds the pages.", ""]
    return "\n".join(lines)
