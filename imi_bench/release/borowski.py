"""The forerunner's human tables (Borowski et al. 2021): read, check, and turn into a `Study`.

The same laboratory, the same task, other choices: 10 and 23 people in a laboratory, InceptionV1
alone, one to nine references of the positive side or of both, and trials without any. What the
released IMI table has no place for stays a covariate of the answer. Where the tables are and what
was published of them stands in ``borowski2021.toml``.
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Bools
from imi_bench.errors import InputError, ResponseError
from imi_bench.plots import bars
from imi_bench.provenance import sha256_file
from imi_bench.release.checks import Report, Violation
from imi_bench.results import Result
from imi_bench.tables import Responses, Study, TrialIndex
from imi_bench.tables.columns import require_columns
from imi_bench.tables.csv_files import read_csv
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BRANCHES",
    "BorowskiTable",
    "facts",
    "is_borowski",
    "read_borowski",
    "read_ratings",
]

Experiment = Literal["I", "II"]
BRANCHES = ("1x1", "3x3", "5x5", "pool")
_LAYERS = tuple(f"mixed{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"))
_MODE = {"natural": "natural", "optimized": "synthetic", "none_pre": "none", "none_post": "none"}
_MAIN, _REPEATED = "main", "repeated"
_NEEDED = (
    "subject_id",
    "trial_nr",
    "block_nr",
    "instr_type",
    "trial_type",
    "catch_trial",
    "batch",
    "layer",
    "kernel_size",
    "channel",
    "query_order",
    "correct",
    "conf_rating",
    "abs_conf_rating",
    "RT",
    "response",
    "correct_response",
    "old_trial_nr",
)
_NEEDED_II = ("batch_block", "instruction_grid_mode", "n_instruction_patches", "expert_level")


@lru_cache(maxsize=1)
def facts() -> dict[str, Any]:
    """What is public about the tables: source, commit, checksums, published means, feature maps.

    Examples
    --------
    >>> facts()["published"]["I natural 9+9"], facts()["tables"]["II"]["rows"]
    ([92, 2], 4968)
    """
    text = resources.files("imi_bench.release").joinpath("borowski2021.toml").read_text("utf-8")
    return tomllib.loads(text)


@dataclass(frozen=True, eq=False, repr=False)
class BorowskiTable(Result):
    """One experiment, every row of it: main, practice, catch and repeated trials.

    Attributes
    ----------
    frame : DataFrame
        R rows. Of `Study.to_frame`: `participant` (``I-03``: the experiments number their people
        anew), `network`, `layer` (``mixed4a``), `unit` (feature map; NA in practice and catch
        trials), `mode` (``natural``, ``synthetic``, ``none`` without references), `correct`,
        `chose_first` (the query called a), `confidence` (1 to 3), `seconds`. Its own: `row`,
        `kind` (``main``, ``practice``, ``repeated``), `catch`, `references` (on a side; 0 to 9),
        `sides` (``both`` or ``max``; empty without references), `expertise` (``expert``,
        ``naive``; NA where not told), `branch` (``1x1`` … ``pool``), `hand_picked`, `images`
        (which block of images), `batch`, `trial_number` and `block` (order within a session),
        `repeats` (`trial_number` of the first time), `phase` (``pre`` or ``post`` of trials
        without references).
    violations : tuple of Violation
        Rows that are not as the columns are described; they stay in `frame`.
    experiment : ``I`` or ``II``
    path : Path
    """

    frame: pd.DataFrame
    violations: tuple[Violation, ...]
    experiment: Experiment
    path: Path

    shown_columns = ("participant", "layer", "unit", "mode", "references", "correct", "seconds")

    @property
    def title(self) -> str:
        """Which experiment, how many rows of how many people."""
        people = self.frame["participant"].nunique()
        return (
            f"Borowski et al. 2021, experiment {self.experiment}: "
            f"{plural(len(self.frame), 'row')}, " + (f"{people} people")
        )

    def to_frame(self) -> pd.DataFrame:
        """Every row with all covariates."""
        return self.frame.copy()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the proportion correct of the main trials, by references and mode."""
        main = self.frame[self.main]
        shown = main["references"].astype(str) + " " + main["sides"].astype(str)
        names = shown + " references, " + main["mode"].astype(str)
        means = main["correct"].astype(float).groupby(names, sort=True).mean()
        correct = dict(zip(map(str, means.index), means, strict=True))
        return bars(correct, xlabel="proportion correct", title=self.title, ax=ax)

    @cached_property
    def file_hash(self) -> str:
        """SHA-256 of the file's bytes."""
        return sha256_file(self.path)

    @property
    def as_published(self) -> bool:
        """Whether the file is, byte for byte, the one at the pinned commit."""
        return bool(self.file_hash == facts()["tables"][self.experiment]["sha256"])

    @cached_property
    def main(self) -> Bools:
        """(R,) main trials with references: what the published means are of."""
        rows = self.frame
        kept = (rows["kind"] == _MAIN) & ~rows["catch"] & (rows["mode"] != "none")
        return kept.to_numpy(dtype=bool)

    def study(self, rows: Bools | None = None) -> Study:
        """Type the chosen rows as trials and responses.

        Trials of one unit and batch that were shown with other references are trials of their
        own: ``inceptionv1/mixed3a/25/natural/easy/4/max-1``.

        Parameters
        ----------
        rows : (R,) bool, optional
            Main trials with references by default.

        Raises
        ------
        ResponseError
            If a chosen row has no references or no unit (practice and catch trials have none).
        InputError
            If a participant answered a trial twice among them: leave out the repeated ones.
        """
        rows = self.main if rows is None else np.asarray(rows, dtype=bool)
        part = self.frame.loc[rows]
        bad = (part["mode"] == "none") | part["unit"].isna()
        if bad.any():
            raise ResponseError(
                "trials without references or without a unit are no trials of a study",
                where=self.path,
                found=plural(int(bad.sum()), "such row"),
                wanted="main trials with references",
            )
        ids = trial_ids(part)
        shown = part.assign(trial_id=ids, difficulty="easy", unit=part["unit"].astype(np.int64))
        index = TrialIndex.from_frame(shown.drop_duplicates("trial_id"))
        responses = Responses(
            trial_id=ids.to_numpy(),
            participant=part["participant"].to_numpy(dtype=object),
            correct=part["correct"].to_numpy(dtype=bool),
            chose_first=part["chose_first"].to_numpy(dtype=float),
            confidence=part["confidence"].to_numpy(dtype=float),
            seconds=part["seconds"].to_numpy(dtype=float),
            simulated=False,
            source=f"answers of {self.path.name} (Borowski et al. 2021)",
        )
        return Study(index, responses)


def trial_ids(rows: pd.DataFrame) -> pd.Series[str]:
    """Id of each row's trial: canonical, then which sides and how many references were shown."""
    text = {
        name: rows[name].astype(str)
        for name in ("network", "layer", "unit", "mode", "batch", "sides", "references")
    }
    shown = text["network"] + "/" + text["layer"] + "/" + text["unit"] + "/" + text["mode"]
    return shown + "/easy/" + text["batch"] + "/" + text["sides"] + "-" + text["references"]


@checked
def is_borowski(path: Path) -> bool:
    """Whether a CSV file's header is that of these tables."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            names = next(csv.reader([stream.readline(1 << 16)]), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {"instr_type", "conf_rating", "abs_conf_rating", "kernel_size"} <= set(names)


@checked
def read_borowski(path: str | Path) -> BorowskiTable:
    """Read and check one of the two tables.

    Parameters
    ----------
    path : str or Path
        ``experiment_I_….csv`` or ``experiment_II_….csv``; which one is told by its columns.

    Raises
    ------
    ResponseError
        No such file, not this table, a column missing, or a cell that is not of its type or not
        among the values that the columns are described with.

    Examples
    --------
    ``read_borowski("experiment_I_….csv").study()``
    """
    path = Path(path)
    text = {"kernel_size": str, "channel": str}
    raw = read_csv(path, error=ResponseError, index_col=0, dtype=text)
    experiment: Experiment = "II" if "expert_level" in raw else "I"
    wanted = (*_NEEDED, *(_NEEDED_II if experiment == "II" else ()))
    require_columns(raw, wanted, where=path, error=ResponseError)
    _require_known(raw, path, experiment)
    frame = _typed(raw.reset_index(drop=True), experiment)
    return BorowskiTable(frame, _checked(raw, frame), experiment, path)


def _require_known(raw: pd.DataFrame, path: Path, experiment: Experiment) -> None:
    known: dict[str, tuple[object, ...]] = {
        "instr_type": tuple(_MODE),
        "trial_type": (_MAIN, "practice", _REPEATED),
        "correct": (True, False),
        "catch_trial": (True, False),
        "abs_conf_rating": (1, 2, 3),
        "response": ("a", "b"),
        "correct_response": ("a", "b"),
    }
    if experiment == "II":
        known |= {
            "instruction_grid_mode": ("max_max", "min_max"),
            "n_instruction_patches": (1, 9),
            "expert_level": ("expert", "naive"),
        }
    for name, values in known.items():
        if (bad := ~raw[name].isin(values)).any():
            row = int(np.flatnonzero(bad)[0])
            raise ResponseError(
                f"unknown {name}",
                where=f"{path}, row {row + 1} ({plural(int(bad.sum()), 'such row')})",
                found=repr(raw[name].iloc[row]),
                wanted=", ".join(map(str, values)),
            )
    if not pd.api.types.is_numeric_dtype(raw["RT"]):
        raise ResponseError("not numbers", where=f"{path}, RT", wanted="seconds")


def _typed(raw: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    two = experiment == "II"
    mode = raw["instr_type"].map(_MODE)
    without = (mode == "none").to_numpy()
    number = pd.to_numeric(raw["layer"].str.removeprefix("layer_"), errors="coerce")
    kernel = pd.to_numeric(raw["kernel_size"], errors="coerce")
    known = (number.notna() & kernel.notna()).to_numpy()
    layer = np.where(known, np.array(_LAYERS, dtype=object)[number.fillna(0).astype(int)], "")
    picked = (raw["channel"] == "channel_1").to_numpy()
    images = raw["batch_block"].astype(str) if two else pd.Series("I", index=raw.index)
    place = np.where(picked, len(BRANCHES), kernel.fillna(0).astype(int))
    sides = np.where(raw["instruction_grid_mode"] == "max_max", "max", "both") if two else "both"
    branch = np.array(BRANCHES, dtype=object)[kernel.fillna(0).astype(int)]
    return pd.DataFrame(
        {
            "row": np.arange(1, len(raw) + 1),
            "participant": [f"{experiment}-{number:02d}" for number in raw["subject_id"]],
            "network": facts()["dataset"]["network"],
            "layer": layer,
            "unit": _feature_maps(layer, place, images, experiment),
            "mode": mode,
            "batch": raw["batch"],
            "correct": raw["correct"].astype(bool),
            "chose_first": (raw["response"] == "a").astype(float),
            "confidence": raw["abs_conf_rating"].astype(float),
            "seconds": raw["RT"].astype(float),
            "kind": raw["trial_type"],
            "catch": raw["catch_trial"].astype(bool),
            "references": np.where(without, 0, raw["n_instruction_patches"] if two else 9),
            "sides": np.where(without, "", sides),
            "expertise": raw["expert_level"] if two else pd.NA,
            "branch": np.where(known, branch, ""),
            "hand_picked": picked & known,
            "images": images,
            "trial_number": raw["trial_nr"],
            "block": raw["block_nr"],
            "repeats": raw["old_trial_nr"].astype("Int64"),
            "phase": raw["instr_type"].str.extract("none_(pre|post)")[0].fillna(""),
        }
    )


def _feature_maps(layer: Any, place: Any, images: Any, experiment: Experiment) -> Any:
    """Feature map of each row; NA in practice and catch trials, which have units of their own."""
    maps = facts()["maps"]
    found = []
    for name, column, block in zip(layer, place, images, strict=True):
        key = "I" if experiment == "I" else f"II-{block}"
        known = maps.get(key, {}).get(name, ())
        found.append(known[column] if column < len(known) else pd.NA)
    return pd.array(found, dtype="Int64")


def _checked(raw: pd.DataFrame, frame: pd.DataFrame) -> tuple[Violation, ...]:
    """Rows that are not as described."""
    report = Report(frame["row"].to_numpy(dtype=np.int64))
    same = (raw["response"] == raw["correct_response"]).to_numpy() == frame["correct"].to_numpy()
    report.expect(
        same,
        column="correct",
        problem="contradicts the responses",
        wanted="True exactly where response is correct_response",
        values=frame["correct"].to_numpy(),
    )
    seconds = frame["seconds"].to_numpy(dtype=float)
    report.expect(
        seconds > 0,
        column="RT",
        problem="impossible response time",
        wanted="seconds above 0; response-time models leave it out and say so",
        values=seconds,
    )
    rating = raw["conf_rating"].to_numpy()
    report.expect(
        np.abs(rating) == raw["abs_conf_rating"].to_numpy(),
        column="conf_rating",
        problem="contradicts 'abs_conf_rating'",
        wanted="its sign only says which query",
        values=rating,
    )
    twice = frame.duplicated(["participant", "trial_number"]).to_numpy()
    report.expect(
        ~twice,
        column="trial_nr",
        problem="number given twice in a session",
        wanted="one row a number",
        values=frame["trial_number"].to_numpy(),
    )
    return tuple(report.violations)


def read_ratings(folder: str | Path) -> pd.DataFrame:
    """Read what people said of how intuitive synthetic images are, -100 to 100.

    Parameters
    ----------
    folder : str or Path
        With the three ``experiment_…_intuitiveness_….csv``.

    Returns
    -------
    DataFrame
        One row a rating: `experiment`, `moment` (``beginning`` or ``end``), `participant`,
        `trial` (a, b, c), `rating`.

    Raises
    ------
    InputError
        If a file is not there.
    """
    tables = []
    for name, one in facts()["ratings"].items():
        path = Path(folder) / one["file"]
        if not path.is_file():
            raise InputError(
                "no ratings",
                where=path,
                wanted=one["file"],
                do="`imi-bench data fetch borowski2021`",
            )
        experiment, moment = name.split("-")
        raw = read_csv(path, index_col=0)
        tables.append(
            pd.DataFrame(
                {
                    "experiment": experiment,
                    "moment": moment,
                    "participant": [f"{experiment}-{n:02d}" for n in raw["subject_id"]],
                    "trial": raw["trial_name"],
                    "rating": raw["rating"].astype(float),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
