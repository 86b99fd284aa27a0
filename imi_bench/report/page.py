"""The report: one HTML file that needs nothing else, the same bytes for the same folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.pages.shell import WrittenPage, rendered
from imi_bench.plots import Interval, forest
from imi_bench.provenance import PAGES, check_name, package_versions, write_text
from imi_bench.release.study_files import AnswersLike
from imi_bench.replay.output import read_record
from imi_bench.replay.run import Run
from imi_bench.report.browser import Browser, Encode, make_browser
from imi_bench.report.contents import ReportData
from imi_bench.report.figure_list import draw_figures
from imi_bench.report.figures import MOST_OBSERVERS
from imi_bench.report.mis.page import MisPage, write_mis_page
from imi_bench.report.mis.scored import COMMAND as MIS
from imi_bench.report.reading import read_report_data
from imi_bench.report.summary import Summary, summarise
from imi_bench.report.table import observer_table
from imi_bench.report.units.built import COMMAND
from imi_bench.report.units.page import UnitsPage, write_units_page
from imi_bench.stats.proportions import proportion
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class ReportPage(WrittenPage):
    """A page about observers, and what it shows.

    Attributes
    ----------
    exhibit : ReportData
        What it shows.
    """

    exhibit: ReportData

    @property
    def title(self) -> str:
        """That of what it shows."""
        return self.exhibit.title

    def to_frame(self) -> pd.DataFrame:
        """One row an observer: proportion correct of the main trials with its interval."""
        index = self.exhibit.trials.index
        main = ~index.catch
        rows = []
        for run in self.exhibit.runs:
            credit = run.decisions.credit[rows_of(index.trial_id, among=run.decisions.trial_id)]
            found = proportion(float(credit[main].sum()), int(main.sum()))
            rows.append(
                {
                    "observer": run.name,
                    "proportion_correct": found.value,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "method": found.method,
                }
            )
        return pd.DataFrame(rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the proportion correct of every observer, chance as a line."""
        rows = [
            Interval(row["observer"], row["proportion_correct"], row["low"], row["high"])
            for row in self.to_frame().to_dict("records")
        ]
        return forest(rows, xlabel="proportion correct", title=self.title, reference=0.5, ax=ax)


@checked
def report(
    folder: str | Path | Run | Sequence[str | Path | Run],
    *,
    responses: AnswersLike | None = None,
    trials: str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 0,
) -> ReportPage | UnitsPage | MisPage:
    """Write a self-contained page: figures, a table of observers, and a trial browser.

    Of a network's units, where the folder is one of built trials or of machine interpretability
    scores: figures, and contact sheets.

    Parameters
    ----------
    folder : str or Path or Run or sequence of Path or Run
        What `imi_bench.answer` gave or wrote to its `out`, or ``imi-bench run`` or ``demo`` wrote;
        several runs on the same trials, or a folder that holds some. Or what ``imi-bench stimuli
        build`` or ``imi-bench mis`` wrote.
    responses : optional
        Human answers to these trials, as `imi_bench.score` takes them: the page then shows panel,
        ceilings and calibration, each observer calibrated with units held out.
    trials : str or Path, optional
        Where the trials are now, if they were moved after the run.
    out : str or Path, optional
        The page; ``report.html`` in the folder by default, in the working folder for several.
    seed : int
        Of folds and resampling; a whole study has its own.

    Returns
    -------
    ReportPage, UnitsPage or MisPage

    Raises
    ------
    InputError
        If the folder holds nothing to report on (the message says which verb reads it), or a file
        of it is damaged or changed.
    NotComparableError
        Runs on different trials, or answers to other trials.

    Examples
    --------
    ``report("runs/mine").path``
    """
    if out is not None and Path(out).is_dir():
        raise InputError("no place for a page", found=f"the folder {out}", wanted="a .html file")
    given = [folder] if isinstance(folder, str | Path | Run) else list(folder)
    runs = [one if isinstance(one, Run) else Path(one) for one in given]
    if not runs:
        raise InputError("nothing to report on", found="no folder", wanted="one or more runs")
    place = runs[0] if len(runs) == 1 and isinstance(runs[0], Path) else None
    if place is not None and (write := _OTHER_PAGES.get(_command(place))) is not None:
        if responses is not None or trials is not None:
            raise InputError(
                "answers and moved trials belong to runs",
                where=place,
                found=f"a folder of `imi-bench {_command(place)}`",
                do="leave out responses and trials, or name a run's folder",
            )
        return write(place, out=out)
    moved = None if trials is None else Path(trials)
    exhibit = read_report_data(runs, responses=responses, trials=moved, seed=seed)
    path = (place or Path()) / "report.html" if out is None else Path(out)
    return ReportPage(write_page(exhibit, path), exhibit)


# Pages of what is no run, by the command that its record names.
_OTHER_PAGES: dict[str, Callable[..., UnitsPage | MisPage]] = {
    COMMAND: write_units_page,
    MIS: write_mis_page,
}


def _command(folder: Path) -> str:
    return str((read_record(folder) or {}).get("command", ""))


def write_page(
    exhibit: ReportData,
    path: Path,
    *,
    summary: Summary | None = None,
    encode: Encode | None = None,
) -> Path:
    """Write the report.

    Parameters
    ----------
    exhibit : ReportData
    path : Path
        Of the HTML file.
    summary : Summary, optional
        The numbers, if they are known already.
    encode : callable, optional
        What gives the pictures of trials: see `imi_bench.report.browser.make_browser`.

    Returns
    -------
    Path
        `path`.
    """
    check_name(path, *PAGES, what="page")
    html = render(exhibit, summary or summarise(exhibit), encode=encode)
    write_text(path, html)
    return path


def render(exhibit: ReportData, summary: Summary, *, encode: Encode | None = None) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    figures = draw_figures(exhibit, summary)
    browser = make_browser(exhibit, encode=encode)
    page = {
        "title": exhibit.title,
        "simulated": _simulated(exhibit),
        "lead": _lead(exhibit),
        "tiles": _tiles(exhibit),
        "references": exhibit.trials.positive.shape[1],
        "example": _example(browser),
        "table": observer_table(exhibit, summary),
        "figures": figures,
        "browser": {"lead": _browser_lead(browser), "payload": browser.payload},
        "made": _made(exhibit),
        "facts": _facts(exhibit),
    }
    return rendered("imi_bench.report", "page.html", page)


def _simulated(exhibit: ReportData) -> str:
    if not exhibit.simulated:
        return ""
    people = exhibit.study is not None and exhibit.study.responses.simulated
    parts = (["images", "units"] if exhibit.trials.simulated else []) + (
        ["participants"] if people else []
    )
    listed = " and ".join(([", ".join(parts[:-1])] if len(parts) > 1 else []) + parts[-1:])
    return (
        f"The {listed} on this page were made up by imi_bench; nothing here was "
        "measured on people or on a published network."
    )


def _lead(exhibit: ReportData) -> str:
    index, observers = exhibit.trials.index, len(exhibit.machines)
    units, networks = len(set(index.unit_id)), len(set(index.network))
    text = (
        f"{plural(observers, 'machine observer')} answered {plural(len(index), 'trial')} on "
        f"{plural(units, 'unit')} of {plural(networks, 'network')}"
    )
    if exhibit.study is None:
        return text + ". No human answers were given, so nobody stands beside them here."
    people = "a simulated panel" if exhibit.study.responses.simulated else "people"
    verb = "is" if observers == 1 else "are"
    return text + f", and {verb} held against the answers of {people}."


def _tiles(exhibit: ReportData) -> list[dict[str, str]]:
    index = exhibit.trials.index
    tiles = {
        "networks": len(set(index.network)),
        "units": len(set(index.unit_id)),
        "trials": len(index),
        "distinct images": len(exhibit.trials.images),
        "machine observers": len(exhibit.machines),
    }
    if exhibit.study is not None:
        made_up = "simulated " if exhibit.study.responses.simulated else ""
        tiles[f"{made_up}participants"] = len(set(exhibit.study.responses.participant))
        tiles[f"{made_up}answers"] = len(exhibit.study.responses)
    return [
        {"label": label.removesuffix("s") if value == 1 else label, "value": f"{value:,}"}
        for label, value in tiles.items()
    ]


def _example(browser: Browser) -> dict[str, Any]:
    """The easiest trial with natural references."""
    trials = browser.payload["trials"]
    easy = next((trial for trial in trials if trial["mode"] == "natural"), trials[0])
    pictures = browser.payload["images"]
    named = f"{easy['network']}, {easy['layer']}, unit {easy['unit']}"
    note = f", {easy['note']}" if easy["note"] else ""
    return {
        "positive": [pictures[row] for row in easy["positive"]],
        "negative": [pictures[row] for row in easy["negative"]],
        "queries": [pictures[row] for row in easy["queries"]],
        "caption": f"An easy trial: {named}{note}, {easy['mode']} references. Observers see the "
        "two queries in random order and without any name.",
    }


def _browser_lead(browser: Browser) -> str:
    some = (
        ""
        if browser.shown == browser.total
        else (
            f"{browser.shown:,} of {plural(browser.total, 'trial')}, evenly spaced in that order. "
        )
    )
    return f"Sorted by {browser.order}. {some}".strip()


def _made(exhibit: ReportData) -> list[str]:
    texts = [
        "Each observer was shown every trial blind: the images without names, the two queries in "
        "an order drawn from the seed. It gave one number a trial, its decision variable: "
        "positive for “the first query is the one”. Proportion correct is read off its sign.",
    ]
    if exhibit.study is not None:
        texts.append(
            "To compare this evidence with answers, a psychometric function (slope, bias, lapse) "
            "was fitted to the answers on some units and used to predict those on the others, in "
            "folds that never split a unit."
        )
    if len(exhibit.machines) > MOST_OBSERVERS:
        texts.append(
            f"Figures show the first {MOST_OBSERVERS} machine observers; the table shows all."
        )
    texts += [f"Not run: {name} ({why})." for name, why in exhibit.skipped.items()]
    return texts


def _facts(exhibit: ReportData) -> list[tuple[str, str]]:
    facts = [("Trial table, SHA-256", exhibit.trials.hash)]
    if exhibit.study is not None:
        facts += [
            ("Answers", exhibit.study.responses.source),
            ("Answers, SHA-256", exhibit.study.responses.hash),
        ]
    for run in exhibit.runs:
        observer = run.record.get("observer", {})
        fingerprint = str(observer.get("fingerprint", "none"))[:16] if observer else "none"
        seed = run.record.get("seed", "–")
        label = run.calibration.label if run.calibration is not None else "none"
        facts.append(
            (
                exhibit.labels[run.name],
                f"fingerprint {fingerprint}, seed of sides {seed}, calibration: {label}",
            )
        )
    facts.append(("Seed of split halves and draws", str(exhibit.seed)))
    facts.append(("Versions", ", ".join(f"{k} {v}" for k, v in package_versions().items())))
    return facts
