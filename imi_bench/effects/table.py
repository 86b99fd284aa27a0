"""One row an answer, with every column the model needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.tables import MODES, DecisionVariables, Study, TrialIndex
from imi_bench.tables.columns import whole_units
from imi_bench.text import plural
from imi_bench.vision.card import names as card_names
from imi_bench.vision.layer_names import TYPES, layer_types, relative_depths

HARDER = ("hard99", "hard95", "hard85")
RATING = "rating"
"""Response of a model of six ordered answers."""

ENOUGH_NETWORKS = 4
"""Networks that must have been shown a difficulty for its effect to be compared between them."""

_SEVERAL = 4
"""Answers to a condition, on average, from which on a variance for either mode is estimated; of two
each the variances of one in ten simulated observers ran away (to SDs of 5 log-odds)."""

_RANGES = {"depth": ("0 to 1", 0.0, 1.0), "width": ("1 or more channels", 1.0, np.inf)}


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """The answers of people or of one observer, ready for a mixed model.

    Attributes
    ----------
    who : str
        ``people`` or the observer's name.
    simulated : bool
    frame : DataFrame
        One row an answer: `correct` (0 to 1; one half for a tie), `network`, `unit`, `layer`,
        `condition` (unit shown in a mode at a difficulty), `participant`, `confidence` and
        `seconds` (people only),
        `synthetic` and `natural` (0 or 1), `hard99` … (0 or 1), `synthetic_hard99` … (their
        products), `depth`
        (relative depth minus one half),
        `type_…` (share-centred indicators of a layer type), `width` (log10, centred, if known).
    within : tuple of str
        Names of the fixed effects that vary in this table.
    lapse : float or {"estimate"}
        Share of answers given blindly, in the model's link; ``estimate`` finds it.
    ordinal : bool
        The model is of six ordered answers (`rating`: side and confidence, 1 sure and wrong
        to 6 sure and correct) rather than of correct and wrong ones.
    firth : bool
        Bias-reduced estimates, which need no answers left out for being all alike.
    excluded : int
        Answers without a confidence, which an ordinal table does not hold.
    """

    who: str
    simulated: bool
    frame: pd.DataFrame
    within: tuple[str, ...]
    lapse: float | Literal["estimate"] = 0.0
    ordinal: bool = False
    firth: bool = False
    excluded: int = 0

    @property
    def random(self) -> tuple[str, ...]:
        """Grouping factors besides the network."""
        factors = ["unit"]
        if self.frame["condition"].nunique() > self.frame["unit"].nunique():
            factors.append("condition")
        if "participant" in self.frame:
            factors.append("participant")
        if self.of_layers and self.frame["layer"].nunique() < self.frame["unit"].nunique():
            factors.append("layer")
        return tuple(factors)

    @property
    def of_layers(self) -> tuple[str, ...]:
        """Fixed effects that vary only between layers: their types and width."""
        return tuple(n for n in self.within if n.startswith("type_") or n == "width")

    @property
    def modes(self) -> tuple[str, ...]:
        """Kinds of exemplars shown."""
        return tuple(
            mode for code, mode in enumerate(MODES) if (self.frame["synthetic"] == code).any()
        )

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Fixed effects that each network has of its own.

        Mode and depth, where two networks or more vary in it, and every difficulty.
        """
        names = [n for n in ("synthetic", "depth", *HARDER) if n in self.within]
        count = self.shown(names)
        return tuple(n for n in names if count[n] >= (1 if n in HARDER else 2))

    def shown(self, names: Sequence[str]) -> Mapping[str, int]:
        """Count the networks inside which each of the named columns varies."""
        counts = (self.frame.groupby("network")[list(names)].nunique() > 1).sum()
        return {str(name): int(count) for name, count in counts.items()}

    def refuse_one_person(self) -> None:
        """Refuse the answers of one person alone.

        Raises
        ------
        NotEnoughDataError
        """
        if "participant" in self.frame:
            _refuse_one(self.frame["participant"], "person")

    def without(self, rows: NDArray[np.bool_]) -> AnswerTable:
        """Return the table without some answers."""
        rest = _table(self.who, self.simulated, self.frame[~rows].reset_index(drop=True))
        return replace(self, frame=rest.frame, within=rest.within)

    @property
    def formula(self) -> str:
        """The model, in lme4's language."""
        several = ["network"] if self.frame["network"].nunique() > 1 else []
        names, of_units = [*self.random, *several], self._by_mode()
        if of_units:
            names = [name for name in names if name not in ("unit", "condition")]
        bars = [*of_units, *(f"(1 | {name})" for name in names)]
        return f"{self.response} ~ {' + '.join((*self.within, *bars))}"

    def _by_mode(self) -> list[str]:
        """Random effects of units and of their conditions, with a variance for either mode.

        Units differ more on natural exemplars than on synthetic ones. One variance for both would
        draw the levels with natural exemplars towards zero, and so the difference of the modes.
        A unit shown at one difficulty in each mode has no conditions beside its two effects. None
        where a mode was not shown, or conditions have few answers, which tell no such variances.
        """
        shown = [self.frame.loc[self.frame[m] == 1.0, ["unit", "condition"]] for m in MODES]
        if len(self.modes) < len(MODES) or any(
            len(part) < _SEVERAL * part["condition"].nunique() for part in shown
        ):
            return []
        both = set(shown[0]["unit"]) & set(shown[1]["unit"])
        apart = [f"(0 + {mode} | unit)" for mode in MODES]
        terms = [f"(0 + {' + '.join(MODES)} | unit)"] if both else apart
        for mode, part in zip(MODES, shown, strict=True):
            if part["condition"].nunique() > part["unit"].nunique():
                terms.append(f"(0 + {mode} | condition)")
        return terms

    @property
    def response(self) -> str:
        """The column that the model explains."""
        return RATING if self.ordinal else "correct"

    def with_ratings(self) -> AnswerTable:
        """Return the table of six ordered answers, without those that have no confidence.

        Raises
        ------
        NotEnoughDataError
            If no answer has a confidence of 1, 2 or 3.
        """
        confidence = self.frame.get("confidence", pd.Series(np.nan, index=self.frame.index))
        known = confidence.isin((1.0, 2.0, 3.0)).to_numpy()
        if not known.any():
            raise NotEnoughDataError(
                "no confidence was asked for",
                where=self.who,
                wanted="1, 2 or 3 with each answer",
                do="analyse correct and wrong answers",
            )
        steps = np.where(self.frame["correct"] > 0.5, confidence, 1.0 - confidence)
        rated = replace(self, frame=self.frame.assign(rating=3.0 + steps))
        return replace(rated.without(~known), ordinal=True, excluded=int((~known).sum()))


def people_table(study: Study, *, columns: pd.DataFrame | None = None) -> AnswerTable:
    """Lay out the main trials of a study.

    Parameters
    ----------
    study : Study
    columns : DataFrame, optional
        `network`, `layer` and optionally `unit`, with any of ``depth`` (0 to 1), ``type``
        and ``width``: taken instead of what the layers' names say.

    Raises
    ------
    NotEnoughDataError
        Without an answer, or with those to one unit alone.
    """
    frame = study.to_frame()
    frame = frame[~frame["catch"]].reset_index(drop=True)
    laid = _laid_out(frame, columns).assign(
        participant=frame["participant"].astype(str),
        confidence=frame["confidence"].to_numpy(dtype=float),
        seconds=frame["seconds"].to_numpy(dtype=float),
    )
    return _table("people", study.responses.simulated, laid)


def observer_table(
    decisions: DecisionVariables,
    trials: TrialIndex,
    *,
    columns: pd.DataFrame | None = None,
    simulated: bool = False,
) -> AnswerTable:
    """Lay out an observer's answers to the main trials; a tie counts one half.

    Trials it refused or failed are left out.
    """
    shown = trials.to_frame().assign(unit_id=trials.unit_id)
    answered = pd.DataFrame({"trial_id": decisions.trial_id, "correct": decisions.credit})
    answered = answered[~np.isnan(decisions.decision_variable)]
    frame = shown.merge(answered, on="trial_id", how="inner", validate="one_to_one")
    frame = frame[~frame["catch"]].reset_index(drop=True)
    return _table(decisions.observer, simulated, _laid_out(frame, columns))


def depths_by_name(
    networks: Iterable[object], *, columns: pd.DataFrame | None = None
) -> tuple[str, ...]:
    """What to say of networks whose layers' depth is known by their names alone.

    Examples
    --------
    >>> depths_by_name(["resnet50", "mine"])
    ('depth of layers read from the numbers in their names, for lack of a column depth: mine',)
    """
    if columns is not None and "depth" in columns.columns:
        return ()
    unknown = ", ".join(sorted({str(name) for name in networks} - set(card_names())))
    said = "depth of layers read from the numbers in their names, for lack of a column depth"
    return (f"{said}: {unknown}",) if unknown else ()


def _laid_out(frame: pd.DataFrame, columns: pd.DataFrame | None) -> pd.DataFrame:
    if frame.empty:
        raise NotEnoughDataError("no answer to a main trial", found="0 rows")
    _refuse_one(frame["unit_id"], "unit")
    mode, difficulty = frame["mode"].astype(str), frame["difficulty"].astype(str)
    layers = frame[["network", "layer", "unit"]].astype({"network": str, "layer": str})
    known = layers.drop_duplicates().reset_index(drop=True)
    if columns is None or "depth" not in columns.columns:
        known["depth"] = relative_depths(known["network"], known["layer"])
    known["type"] = layer_types(known["layer"])
    if columns is not None:
        known = _replaced(known, columns)
    known = layers.merge(known, how="left", on=["network", "layer", "unit"])
    laid = pd.DataFrame(
        {
            "correct": frame["correct"].astype(float),
            "network": frame["network"].astype(str),
            "unit": frame["unit_id"].astype(str),
            "layer": frame["network"].astype(str) + "/" + frame["layer"].astype(str),
            "condition": frame["unit_id"].astype(str) + "/" + mode + "/" + difficulty,
            **{name: (mode == name).astype(float) for name in ("synthetic", "natural")},
            **{name: (difficulty == name).astype(float) for name in HARDER},
            **{
                f"synthetic_{name}": ((difficulty == name) & (mode == "synthetic")).astype(float)
                for name in HARDER
            },
            "depth": known["depth"].to_numpy(dtype=float) - 0.5,
        }
    )
    for name in (*TYPES, *sorted(set(known["type"]) - set(TYPES))):
        share = (known["type"] == name).to_numpy(dtype=float)
        if name != "convolution" and share.any():
            laid[f"type_{name}"] = share - share.mean()
    if "width" in known:
        width = np.log10(known["width"].to_numpy(dtype=float))
        laid["width"] = width - width.mean()
    return laid


def _refuse_one(column: pd.Series, kind: str) -> None:
    if column.nunique() == 1:
        raise NotEnoughDataError(
            f"one {kind} says nothing of how others would differ",
            found=f"{plural(len(column), 'answer')}, all of {column.iloc[0]!r}",
            wanted="two or more",
            do="`imi-bench paper` shows the proportions",
        )


def _replaced(known: pd.DataFrame, columns: pd.DataFrame) -> pd.DataFrame:
    columns = whole_units(columns)
    keys = [name for name in ("network", "layer", "unit") if name in columns.columns]
    if keys[:2] != ["network", "layer"]:
        raise InputError(
            "no table of layers",
            found=", ".join(map(str, columns.columns)),
            wanted="columns network and layer",
        )
    if "layer_type" in columns.columns:
        raise InputError(
            "a column of another name",
            found="layer_type",
            wanted=f"type: {', '.join(TYPES)}",
            do="rename it, and classes of modules to types (`layer_names.type_of_module`)",
        )
    wanted = [name for name in ("depth", "type", "width") if name in columns.columns]
    if not wanted:
        raise InputError(
            "no property of layers",
            found=", ".join(map(str, columns.columns)),
            wanted="any of depth, type, width",
        )
    given = _checked(columns[keys + wanted].drop_duplicates(), keys)
    rest = known.drop(columns=[name for name in wanted if name in known])
    merged = rest.merge(given, on=keys, how="left")
    if missing := [name for name in wanted if merged[name].isna().any()]:
        row = merged[merged[missing[0]].isna()].iloc[0]
        raise InputError(
            "layer without a value",
            where=f"{row['network']} {row['layer']}",
            wanted=", ".join(missing),
        )
    return merged


def _checked(given: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the layers' properties, numbers as numbers, one row a layer or unit."""
    if (twice := given[given.duplicated(keys)]).size:
        raise InputError("layer with two values", where=" ".join(map(str, twice[keys].iloc[0])))
    for name, (wanted, low, high) in _RANGES.items():
        if name not in given:
            continue
        numbers = pd.to_numeric(given[name], errors="coerce")
        wrong = given[name].notna() & ~numbers.between(low, high)
        if wrong.any():
            row = given[wrong].iloc[0]
            raise InputError(
                f"not a {name}",
                where=f"{row['network']} {row['layer']}",
                found=row[name],
                wanted=wanted,
            )
        given = given.assign(**{name: numbers.astype(float)})
    return given


def _table(who: str, simulated: bool, laid: pd.DataFrame) -> AnswerTable:
    named = ("synthetic", *HARDER, "depth", "width")
    prefixes = ("type_", "synthetic_")
    fixed = [name for name in laid.columns if name in named or name.startswith(prefixes)]
    by_network = laid.groupby("network")[fixed]
    inside = laid[fixed] - by_network.transform("mean")
    within: list[str] = []
    for name in fixed:
        columns = inside[[*within, name]].to_numpy()
        if np.linalg.matrix_rank(columns.T @ columns, tol=1e-8 * len(laid)) == len(within) + 1:
            within.append(name)
    return AnswerTable(who, simulated, laid, tuple(within))
