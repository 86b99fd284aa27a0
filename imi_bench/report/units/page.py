"""One HTML file about a network's units: figures, a contact sheet of every unit, all layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.networks.units import Unit
from imi_bench.pages.shell import WrittenPage, write_page
from imi_bench.plots import bars
from imi_bench.report.browser import thumbnails
from imi_bench.report.units.built import BuiltUnits
from imi_bench.report.units.figures import draw_figures, histogram
from imi_bench.tables.align import in_use
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["UnitsPage", "write_units_page"]

MOST_SHEETS = 168  # of two difficulties of the paper's 84 units


@dataclass(frozen=True, eq=False, repr=False)
class UnitsPage(WrittenPage):
    """A page about a network's units, and what it shows.

    Attributes
    ----------
    built : BuiltUnits
        What it shows.
    sheets : int
        Trials drawn on it.
    """

    built: BuiltUnits
    sheets: int

    @property
    def title(self) -> str:
        """Whose units these are."""
        return _title(self.built)

    def to_frame(self) -> pd.DataFrame:
        """One row a sampled unit, as ``units.parquet``."""
        return self.built.units

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many units were sampled from each layer."""
        counts = Counter(map(str, self.built.units["layer"]))
        return bars(counts, xlabel="sampled units", title=self.title, ax=ax)


def write_units_page(folder: str | Path, *, out: str | Path | None = None) -> UnitsPage:
    """Write the page of the units of a ``stimuli build``.

    Parameters
    ----------
    folder : str or Path
        What ``imi-bench stimuli build`` or `imi_bench.build_trials` wrote.
    out : str or Path, optional
        The page; ``report.html`` in the folder by default.

    Returns
    -------
    UnitsPage

    Raises
    ------
    InputError
        If the folder is another, or a file of it is missing or damaged.

    Examples
    --------
    ``write_units_page("stimuli/").path``
    """
    built = BuiltUnits.read(folder)
    rows = _shown(built)
    path = Path(folder) / "report.html" if out is None else Path(out)
    page = _page(built, _sheets(built, rows))
    write_page(path, "imi_bench.report", "units.html", page)
    return UnitsPage(path, built, len(rows))


def _title(built: BuiltUnits) -> str:
    return f"Units of {built.network}"


def _shown(built: BuiltUnits) -> list[int]:
    """First main trial of every unit, mode and difficulty; of many, units evenly spaced."""
    frame = built.trials.index.to_frame().assign(row=np.arange(len(built.trials)))
    main = frame[~frame["catch"]] if (~frame["catch"]).any() else frame
    first = main.drop_duplicates(["layer", "unit", "mode", "difficulty"])
    named = list(zip(first["layer"], first["unit"], strict=True))
    units = list(dict.fromkeys(named))
    each = -(-len(first) // len(units))
    if len(units) > (room := max(1, MOST_SHEETS // each)):
        units = [units[i] for i in np.linspace(0, len(units) - 1, room).round().astype(int)]
    kept = set(units)
    return [
        int(row) for row, unit in zip(first["row"].tolist(), named, strict=True) if unit in kept
    ]


def _page(built: BuiltUnits, sheets: list[dict[str, Any]]) -> dict[str, Any]:
    index, record = built.trials.index, built.record
    drawn, total = len(sheets), len(built.units)
    layers = record.get("network_layers", [])
    width = sum(layer["width"] for layer in layers)
    counted = (
        (len(layers), "layer", "layers"),
        (width, "unit in them", "units in them"),
        (total, "unit drawn", "units drawn"),
        (len(index), "trial", "trials"),
        (int(record.get("images", 0)), "image", "images"),
    )
    some = (
        f"of {drawn} of {plural(total, 'unit')}, evenly spaced"
        if drawn < total
        else "of every unit"
    )
    return {
        "title": _title(built),
        "simulated": "The images of these trials were made up by imi_bench."
        if built.trials.simulated
        else "",
        "random": built.random,
        "lead": f"{plural(total, 'unit was', 'units were')} drawn from {built.network}, and "
        f"{plural(len(index), 'trial')} made of what activates them most and least among "
        f"{record.get('images', 0):,} images.",
        "tiles": [(one if n == 1 else many, f"{n:,}") for n, one, many in counted if n],
        "figures": draw_figures(built),
        "sheets": sheets,
        "sheets_lead": f"One main trial {some} at each difficulty. The strip shows how all images "
        "activate the unit (height: square root of their number) from the smallest to the largest "
        "activation; the lines are this trial's queries.",
        "layers": _layers(built),
        "left_out": record.get("network", {}).get("left_out", []),
        "units_left_out": record.get("left_out", []),
        "cautions": record.get("cautions", []),
        "facts": _facts(built),
    }


def _sheets(built: BuiltUnits, rows: list[int]) -> list[dict[str, Any]]:
    """Units with their trials, in the order of their layers."""
    trials, index = built.trials, built.trials.index
    chosen = np.array(rows, dtype=np.int64)
    used, parts = in_use(trials.positive[chosen], trials.negative[chosen], trials.queries[chosen])
    pictures = thumbnails(trials.images, used)
    positive, negative, queries = parts
    facts = {(str(one["layer"]), int(one["unit"])): one for one in _records(built.units)}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for place, row in enumerate(rows):
        key = (str(index.layer[row]), int(index.unit[row]))
        about = facts[key]
        sheet = found.setdefault(
            key,
            {
                "id": f"{key[0]}__{key[1]}",
                "layer": key[0],
                "unit": key[1],
                "depth": float(about["depth"]),
                "facts": _of_unit(about),
                "trials": [],
            },
        )
        sheet["trials"].append(
            {
                "name": f"{index.difficulty[row]}, {index.mode[row]} references",
                "id": index.trial_id[row],
                "positive": [pictures[i] for i in positive[place].tolist()],
                "negative": [pictures[i] for i in negative[place].tolist()],
                "queries": [pictures[i] for i in queries[place].tolist()],
                "strip": _strip(built, row),
                "said": _said(built, row),
            }
        )
    return sorted(found.values(), key=lambda s: (s["depth"], s["layer"], s["unit"]))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings of column to value."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _of_unit(about: Mapping[str, Any]) -> str:
    parts = [
        f"{about['type']}, depth {about['depth']:.2f}, one of {about['width']:,}",
        f"spread {about['spread']:.3g}",
        f"sparsity {about['sparsity']:.2f}",
    ]
    if about["silent"] > 0:
        parts.append(f"silent on {about['silent']:.0%} of the images")
    return "; ".join(parts)


def _strip(built: BuiltUnits, row: int) -> str:
    index, known = built.trials.index, built.trials.query_activations
    unit = Unit(str(index.layer[row]), int(index.unit[row]))
    if known is None or unit not in built.activations.sampled:
        return ""
    strong, weak = known[row].tolist()
    return histogram(built.activations.of(unit), [(weak, "weak"), (strong, "strong")])


def _said(built: BuiltUnits, row: int) -> str:
    if built.trials.query_activations is None:
        return ""
    strong, weak = built.trials.query_activations[row].tolist()
    above, below = built.share_below(row)
    if above != above:
        return f"Activation of the strong query {strong:.3g}, of the weak one {weak:.3g}."
    index = built.trials.index
    values = built.activations.of(Unit(str(index.layer[row]), int(index.unit[row])))
    return (
        f"All images: {values.min():.3g} to {values.max():.3g}. Strong query: {strong:.3g}, more "
        f"than {above:.1%} of the images. Weak query: {weak:.3g}, more than {below:.1%}."
    )


def _layers(built: BuiltUnits) -> list[dict[str, Any]]:
    """All layers where the record lists them, else those that units were drawn from."""
    drawn = built.units.groupby("layer")["unit"].count()
    followed = built.units[["layer", "type", "depth", "width"]].drop_duplicates()
    listed = built.record.get("network_layers") or _records(
        followed.sort_values(["depth", "layer"])
    )
    return [{**layer, "drawn": int(drawn.get(layer["layer"], 0))} for layer in listed]


def _facts(built: BuiltUnits) -> list[tuple[str, str]]:
    record = built.record
    network = record.get("network", {})
    preprocess = network.get("preprocess", {})
    seed = network.get("random_seed")
    return [
        ("Weights, SHA-256", str(network.get("state_sha256", "–"))),
        *([("Weights drawn from seed", str(seed))] if seed is not None else []),
        ("Preprocessing", f"{preprocess.get('maker', '–')}, input {preprocess.get('size', '–')}"),
        ("Images, fingerprint", str(record.get("images_fingerprint", "–"))),
        ("Repeated images", str(record.get("images_repeated", "–"))),
        ("Trial table, SHA-256", built.trials.hash),
        ("Difficulties", ", ".join(record.get("difficulties", []))),
        ("Seed", str(record.get("seed", "–"))),
        ("Versions", ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())),
    ]
