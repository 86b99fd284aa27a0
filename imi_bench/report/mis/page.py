"""One HTML file about machine interpretability scores: figures, best and worst units, layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.pages.shell import WrittenPage, write_page
from imi_bench.plots import histogram
from imi_bench.report.browser import thumbnails
from imi_bench.report.mis.figures import NAMES, by_layer, draw_figures
from imi_bench.report.mis.scored import ScoredUnits
from imi_bench.stats.scales import Z95
from imi_bench.tables.images import Images
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MisPage", "write_mis_page"]

UNITS_AN_END = 8


@dataclass(frozen=True, eq=False, repr=False)
class MisPage(WrittenPage):
    """A page about units' scores, and what it shows.

    Attributes
    ----------
    scored : ScoredUnits
        What it shows.
    sheets : int
        Units drawn on it.
    """

    scored: ScoredUnits
    sheets: int

    @property
    def title(self) -> str:
        """Whose units these are."""
        return _title(self.scored)

    def to_frame(self) -> pd.DataFrame:
        """One row a unit, as ``scores.parquet``."""
        return self.scored.scores

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how the scores are spread over units."""
        return histogram(
            self.scored.scores[self.scored.measure].to_numpy(dtype=float),
            xlabel=NAMES[self.scored.measure],
            ylabel="units",
            title=self.title,
            within=(0.0, 1.0),
            ax=ax,
        )


def write_mis_page(
    folder: str | Path, *, out: str | Path | None = None, images: str | Path | None = None
) -> MisPage:
    """Write the page of a run of machine interpretability scores.

    Parameters
    ----------
    folder : str or Path
        What ``imi-bench mis`` or `imi_bench.machine_interpretability` wrote to its `out`.
    out : str or Path, optional
        The page; ``report.html`` in the folder by default.
    images : str or Path, optional
        Where the images are now, if they were moved. Without them the page shows no exemplars, and
        says why.

    Returns
    -------
    MisPage

    Raises
    ------
    InputError
        If the folder is another, or a file of it is missing or damaged.

    Examples
    --------
    ``write_mis_page("mis/").path``
    """
    scored = ScoredUnits.read(folder, images=images)
    ends = _ends(scored)
    path = scored.folder / "report.html" if out is None else Path(out)
    page = _page(scored, ends, _sheets(scored, ends))
    write_page(path, "imi_bench.report", "mis.html", page)
    return MisPage(path, scored, sum(map(len, ends)))


def _title(scored: ScoredUnits) -> str:
    return f"Machine interpretability of {scored.network}"


def _ends(scored: ScoredUnits) -> tuple[list[int], list[int]]:
    """Rows of the best and of the worst units, at most one a layer before any has two."""
    units = scored.scores.reset_index(drop=True)
    units = units[units[scored.measure].notna()]
    count = min(UNITS_AN_END, len(units) // 2)
    found = []
    for best in (True, False):
        ordered = units.sort_values(
            [scored.measure, "score"], ascending=not best, kind="stable"
        ).index.to_numpy()
        turn = units.loc[ordered].groupby("layer", sort=False).cumcount().to_numpy()
        found.append(ordered[np.argsort(turn, kind="stable")][:count].tolist())
    return found[0], found[1]


def _sheets(scored: ScoredUnits, ends: tuple[list[int], list[int]]) -> list[dict[str, Any]]:
    """Both groups of units with what activates them most and least."""
    numbers = {row: scored.ends(row) for row in (*ends[0], *ends[1])} if scored.images else {}
    used = sorted({n for both in numbers.values() for side in both for n in side})
    seen = [scored.seen(number) for number in used]
    hashes = np.array([str(number) for number in used], dtype=object)
    drawn = thumbnails(Images(tuple(seen), hashes), np.arange(len(used))) if used else []
    picture = dict(zip(used, drawn, strict=True))
    titles = ("Best units", "Worst units")
    return [
        {
            "title": title,
            "id": title.split()[0].lower(),
            "units": [_sheet(scored, row, numbers.get(row), picture) for row in rows],
        }
        for title, rows in zip(titles, ends, strict=True)
    ]


def _sheet(
    scored: ScoredUnits,
    row: int,
    numbers: tuple[list[int], list[int]] | None,
    picture: Mapping[int, str],
) -> dict[str, Any]:
    unit = scored.scores.iloc[row]
    top, bottom = ([], []) if numbers is None else numbers
    return {
        "name": f"{unit['layer']}, unit {unit['unit']}",
        "said": f"{unit['type']}, depth {unit['depth']:.2f}, one of {unit['width']:,}; MIS "
        f"{unit['score']:.3f} ± {Z95 * unit['standard_error']:.3f}, hard score "
        f"{unit['hard_score']:.3f} of {unit['n_tasks']} tasks; spread {unit['spread']:.3g}",
        "positive": [picture[n] for n in top],
        "negative": [picture[n] for n in bottom],
    }


def _page(
    scored: ScoredUnits, ends: tuple[list[int], list[int]], sheets: list[dict[str, Any]]
) -> dict[str, Any]:
    record, units = scored.record, scored.scores
    name, slope = NAMES[scored.measure], record.get("slope", {})
    known = units[scored.measure].dropna()
    counted = [
        plural(len(known), "unit scored", "units scored"),
        plural(len(units), "unit"),
        plural(units["layer"].nunique(), "layer"),
        plural(record["images"]["count"], "image"),
    ]
    tiles = [
        (f"mean {name}", f"{known.mean():.3f}" if len(known) else "–"),
        *((noun, count) for count, noun in (one.split(" ", 1) for one in counted)),
    ]
    warnings = [str(slope["warning"])] if slope.get("warning") else []
    if record["images"].get("repeated"):
        repeat = plural(record["images"]["repeated"], "image repeats", "images repeat")
        warnings.append(f"{repeat} another one: scores rise")
    return {
        "title": _title(scored),
        "random": scored.random,
        "observer_random": scored.observer_random,
        "lead": f"How well {record['observer']['name']} tells the images that activate a unit "
        f"most from those that activate it least, for {len(known):,} of "
        f"{plural(len(units), 'unit')}. A machine looked; no person answered.",
        "warnings": warnings,
        "tiles": tiles,
        "figures": draw_figures(scored) if len(known) else [],
        "sheets": sheets,
        "sheets_lead": f"{plural(len(ends[0]), 'unit')} with the largest and {len(ends[1])} with "
        f"the smallest {name}, one a layer first. They were chosen by their scores, so scores of "
        "the best are too high on average, and those of the worst too low: the ± is of a unit that "
        "was not chosen. Shown is what the network saw.",
        "without_images": scored.without_images,
        "measure": name,
        "layers": by_layer(scored).to_dict("records"),
        "reasons": list(units["reason"].value_counts().drop("", errors="ignore").items()),
        "left_out": record.get("network", {}).get("left_out", []),
        "facts": _facts(record),
    }


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    network, job, slope = (record.get(k, {}) for k in ("network", "job", "slope"))
    preprocess = network.get("preprocess", {})
    seed = network.get("random_seed")
    return [
        ("Weights, SHA-256", str(network.get("state_sha256", "–"))),
        *([("Weights drawn from seed", str(seed))] if seed is not None else []),
        ("Preprocessing", f"{preprocess.get('maker', '–')}, input {preprocess.get('size', '–')}"),
        ("Observer", f"{record['observer']['name']}, {record['observer']['fingerprint']}"),
        ("Slope", f"{slope.get('value', '–')}, {slope.get('source', '–')}"),
        (
            "Tasks",
            f"{job.get('n_tasks', '–')} a unit, {job.get('n_references', '–')} references a side, "
            f"from the extreme {job.get('quantile', float('nan')):.0%} of the images",
        ),
        ("Images, fingerprint", str(record["images"]["fingerprint"])),
        ("Seed", str(record.get("seed", "–"))),
        ("Versions", ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())),
    ]
