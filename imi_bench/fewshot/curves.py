"""Curves of accuracy against the number of solved trials: what a few-shot study found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError, UnknownNameError
from imi_bench.fewshot.contamination import Contamination, on_clean
from imi_bench.fewshot.gain import gain, require_one_evidence, sentences
from imi_bench.fewshot.means import draws_of, two_way_mean
from imi_bench.fewshot.suspicions import suspicions
from imi_bench.observers.incontext.orders import right_by
from imi_bench.observers.incontext.shots import ABLATIONS
from imi_bench.plots import new_axes
from imi_bench.results import Brief, Result
from imi_bench.stats.estimate import Estimate
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = ["observer", "shots", "ablation"]
_HABITS = ["coverage", "says_a", "orders_agree", "strong_as_a", "strong_as_b", "mass", "bounded"]
LEAST_COVERAGE = 0.98  # as the gate asks for
LEAST_MASS = 0.5  # probability of both letters below which a model would rather say other things
MEASURES = {
    "accuracy": "proportion correct",
    "bits": "bits an answer of people",
    "agreement": "correlation with people over units",
}
VARIANTS = ("raw", "content-free", "unconditional", "both orders")


@dataclass(frozen=True, repr=False)
class Point(Brief):
    """One point of a curve.

    Attributes
    ----------
    observer : str
    shots : int
    ablation : str
    accuracy : Estimate
        Proportion correct; a tie or no answer counts one half. Its interval clusters by unit and
        by draw.
    coverage : float
        Share of trials with an answer.
    says_a, orders_agree, strong_as_a, strong_as_b, mass : float
        Habits: share of A, agreement of the two orders, accuracy by the letter of the strong
        query, probability of the options.
    bounded : float
        Share of answers of which one letter was not listed and is bounded.
    bits, agreement : Estimate or None
        Against people, calibrated out of fold; averaged over draws by Rubin's rules.
    """

    observer: str
    shots: int
    ablation: str
    accuracy: Estimate
    coverage: float
    says_a: float
    orders_agree: float
    strong_as_a: float
    strong_as_b: float
    mass: float
    bits: Estimate | None = None
    agreement: Estimate | None = None
    bounded: float = math.nan


@dataclass(frozen=True, repr=False)
class FewShot(Result):
    """Curves of accuracy against the number of solved trials.

    Attributes
    ----------
    points : tuple of Point
    answers : DataFrame
        One row an observer, number of shots, ablation, draw and trial: ``trial_id, unit_id, mode,
        difficulty, credit, status, value`` (evidence for the strong query, nats), ``strong_as_a``,
        ``strong_as_b``, ``difference_a``, ``difference_b`` (``l(A) - l(B)`` by the letter of the
        strong query), ``shots_from`` (network, or network and layer, of the solved trials; empty:
        any), ``bounded`` (share of both orders of which one letter was not listed),
        ``evidence`` (``likelihood`` or ``sampled``), ``served`` (what the server said it was),
        ``input_tokens`` (mean of both orders; NaN where not told).
    trials, units, pool_units : int
        Tested, and set aside.
    dropped : tuple of str
        Trials that share a picture with the pool, or show one nearly equal.
    parameters : mapping of str to float
        Of each observer, where known.
    baselines : mapping of str to Estimate
        Proportion correct of other observers, and of people, on the same trials.
    compared : DataFrame
        ``name, trial_id, credit`` of each baseline; of people the share of right answers.
    letters : DataFrame
        One row an observer, number of shots, ablation, draw and ``shots_from``: ``content_free``
        and ``unconditional``, ``l(A) - l(B)`` without anything to answer about; NaN where the model
        gave none.
    flips : DataFrame
        One row an observer: ``shots, trials, flipped, rate, low, high, largest`` (change of the
        evidence, nats) of trials asked twice.
    contamination : Contamination or None
    simulated : bool
    """

    points: tuple[Point, ...]
    answers: pd.DataFrame
    trials: int
    units: int
    pool_units: int
    dropped: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Estimate] = field(default_factory=dict)
    compared: pd.DataFrame = field(default_factory=pd.DataFrame)
    letters: pd.DataFrame = field(default_factory=pd.DataFrame)
    flips: pd.DataFrame = field(default_factory=pd.DataFrame)
    contamination: Contamination | None = None
    simulated: bool = False

    shown_columns = ("observer", "shots", "ablation", "accuracy", "low", "high", "coverage")

    @property
    def title(self) -> str:
        """What this is."""
        said = " (SIMULATED trials)" if self.simulated else ""
        near = f", {len(self.dropped)} more dropped (pictures near solved ones)"
        return (
            f"Proportion correct by number of solved trials: {plural(self.trials, 'trial')} of "
            f"{plural(self.units, 'unit')}{near if self.dropped else ''}{said}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a point."""
        return pd.DataFrame(
            [
                {
                    **{name: getattr(p, name) for name in KEYS},
                    "accuracy": p.accuracy.value,
                    "low": p.accuracy.low,
                    "high": p.accuracy.high,
                    **{name: getattr(p, name) for name in _HABITS},
                    **_ends("bits", p.bits),
                    **_ends("agreement", p.agreement),
                }
                for p in self.points
            ]
        )

    def by(self, column: str) -> pd.DataFrame:
        """Proportion correct by ``mode`` or ``difficulty``, with intervals.

        Returns
        -------
        DataFrame
            ``observer, shots, ablation, COLUMN, accuracy, low, high, trials``.
        """
        UnknownNameError.unless_among(column, ("mode", "difficulty"), kind="stratum")
        return _means(self.answers, [*KEYS, column], "credit")

    def gaps(self) -> pd.DataFrame:
        """Each point's proportion correct minus that of each baseline on the same trials, paired.

        Returns
        -------
        DataFrame
            ``observer, shots, ablation, baseline, difference, low, high, trials``. People are
            taken by trial, so that every trial counts once; their own mean in `baselines` counts
            every answer once.
        """
        parts = []
        for name in self.compared["name"].unique() if len(self.compared) else ():
            own = self.compared[self.compared["name"] == name].set_index("trial_id")["credit"]
            rows = self.answers[self.answers["trial_id"].isin(own.index)]
            rows = rows.assign(
                baseline=name, difference=rows["credit"] - rows["trial_id"].map(own).astype(float)
            )
            parts.append(_means(rows, [*KEYS, "baseline"], "difference", bounds=(-1.0, 1.0)))
        columns = [*KEYS, "baseline", "difference", "low", "high", "trials"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def variants(self) -> pd.DataFrame:
        """Accuracy in a single order, raw and normalised for the letter, beside both orders.

        ``raw``: the sign of ``l(A) - l(B)``; ``content-free`` and ``unconditional``: of that minus
        what the model says for the letter as such; ``both orders``: of z, from which any habit for
        a letter cancels, so that normalising it changes nothing.

        Returns
        -------
        DataFrame
            ``observer, shots, ablation, variant, accuracy, low, high, strong_as_a, strong_as_b,
            trials``; trials without an answer are left out.
        """
        rows = self.answers[self.answers["difference_a"].notna()]
        rows = rows[rows["difference_b"].notna()]
        if len(self.letters) and len(rows):
            keys = [*KEYS, "draw", *(["shots_from"] if "shots_from" in self.letters else [])]
            rows = rows.merge(self.letters, on=keys, how="left", validate="many_to_one")
        parts = []
        for variant in VARIANTS:
            habit: Any = 0.0
            if variant in ("content-free", "unconditional"):
                column = variant.replace("-", "_")
                if column not in rows or not rows[column].notna().any():
                    continue
                habit = rows[column]
            as_a = right_by(rows["difference_a"] - habit)
            as_b = right_by(habit - rows["difference_b"])
            right = (as_a + as_b) / 2
            if variant == "both orders":
                right = right_by(rows["difference_a"] - rows["difference_b"])
            made = rows.assign(variant=variant, right=right, as_a=as_a, as_b=as_b)
            made = made[np.isfinite(made["right"])]
            if not len(made):
                continue
            keys = [*KEYS, "variant"]
            table = _means(made, keys, "right").rename(columns={"right": "accuracy"})
            each = made.groupby(keys)[["as_a", "as_b"]].mean().reset_index()
            table = table.merge(each, on=keys).rename(
                columns={"as_a": "strong_as_a", "as_b": "strong_as_b"}
            )
            if variant == "both orders":
                table[["strong_as_a", "strong_as_b"]] = math.nan
            parts.append(table)
        columns = [*KEYS, "variant", "accuracy", "low", "high", "trials"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def _doubts(self) -> list[str]:
        """What makes a point's figure doubtful: few answers, or answers in other words."""
        table = self.to_frame()
        said = []
        for name, own in table.groupby("observer", sort=False):
            if (least := own["coverage"].min()) < LEAST_COVERAGE:
                said.append(
                    f"WARNING: {name} answered as few as {least:.1%} of the trials; those without "
                    "an answer count one half, so that its figures are not what it can do."
                )
            if (low := own["mass"].min()) < LEAST_MASS:
                said.append(
                    f"WARNING: {name} puts as little as {low:.2g} of its probability on the two "
                    "letters: it would say something else, and the letters may tell little."
                )
            if (most := own["bounded"].max()) > 0:
                said.append(
                    f"One letter was not listed in up to {most:.1%} of the answers of {name}: it "
                    "is given the largest probability it can have, and the evidence is a bound."
                )
        return said

    def unanswered(self) -> pd.DataFrame:
        """Trials without an answer: one row an observer, number of shots, stratum and status."""
        rows = self.answers[~self.answers["status"].isin(["ok", "tie"])]
        keys = [*KEYS, "mode", "difficulty", "status"]
        return rows.groupby(keys).size().rename("trials").reset_index()

    def plot(self, *, of: str = "accuracy", ax: Axes | None = None) -> Axes:
        """Draw the curves on a doubling axis; zero shots stand apart on the left.

        Parameters
        ----------
        of : {"accuracy", "bits", "agreement"}
            Proportion correct, or likeness to people: bits an answer, correlation over units.
        ax : Axes, optional

        Raises
        ------
        InputError
            No such score, or no people to be like.
        """
        UnknownNameError.unless_among(of, MEASURES, kind="score")
        scores = {id(p): getattr(p, of) for p in self.points}
        if any(score is None for score in scores.values()):
            raise InputError("no answers of people", found=of, do="give people=")
        ax = new_axes(ax, width=6.4, height=4.2)
        place = shots_axis(ax, {p.shots for p in self.points})
        kinds = list(dict.fromkeys((p.observer, p.ablation) for p in self.points))
        observers = list(dict.fromkeys(observer for observer, _ in kinds))
        for number, (observer, ablation) in enumerate(kinds):
            own = [p for p in self.points if (p.observer, p.ablation) == (observer, ablation)]
            label = observer if ablation == "none" else f"{observer}, {ablation} shuffled"
            with_bars(
                ax,
                [place[p.shots] + 0.04 * number for p in own],
                [scores[id(p)] for p in own],
                label,
                colour=observers.index(observer),
                dash=ABLATIONS.index(ablation),
            )
        if of == "accuracy":
            self._lines(ax)
        ax.axhline(0.5 if of == "accuracy" else 0.0, linewidth=1, color="0.6")
        ax.set_ylabel(MEASURES[of])
        ax.set_title(self.title, fontsize=9)
        ax.legend(fontsize=8)
        return ax

    def _lines(self, ax: Axes) -> None:
        """A line for each baseline; names of those that lie close stand one above the other."""
        low, high = ax.get_ylim()
        last, step = -math.inf, 0.065 * (high - low)
        for name, line in sorted(self.baselines.items(), key=lambda item: item[1].value):
            ax.axhline(line.value, linewidth=1, linestyle="--", color="0.5", zorder=0)
            last = max(line.value, last + step)
            ax.annotate(
                name,
                (1.01, line.value),
                xytext=(1.03, last),
                xycoords=("axes fraction", "data"),
                textcoords=("axes fraction", "data"),
                arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.7},
                va="center",
                fontsize=9,
                annotation_clip=False,
            )

    def plot_parameters(self, *, ax: Axes | None = None) -> Axes:
        """Draw proportion correct against parameters, a line for each number of solved trials.

        Raises
        ------
        NotEnoughDataError
            Parameters of fewer than two observers are known.
        NotComparableError
            Sampled answers of one, likelihoods of another.
        """
        known = {p.observer for p in self.points} & set(self.parameters)
        if len({self.parameters[name] for name in known}) < 2:
            raise NotEnoughDataError(
                "no family of models", found=f"parameters of {len(known)}", wanted="2 or more"
            )
        require_one_evidence(self.answers[self.answers["observer"].isin(known)])
        ax = new_axes(ax, width=6.4, height=4.2)
        plain = [p for p in self.points if p.ablation == "none" and p.observer in known]
        for number, count in enumerate(sorted({p.shots for p in plain})):
            own = [p for p in plain if p.shots == count]
            own.sort(key=lambda p: self.parameters[p.observer])
            x = [self.parameters[p.observer] * 1.02**number for p in own]
            label = plural(count, "solved trial")
            with_bars(ax, x, [p.accuracy for p in own], label, colour=number)
        ax.set_xscale("log")
        sizes = sorted({self.parameters[name] for name in known})
        ax.set_xticks(sizes, [shortened(size) for size in sizes])
        ax.set_xticks([], minor=True)
        ax.axhline(0.5, linewidth=1, color="0.6")
        ax.set_xlabel("parameters")
        ax.set_ylabel("proportion correct")
        ax.legend(fontsize=8)
        return ax

    def gain(self) -> Any:
        """Gain per doubling of solved trials and per tenfold parameters: see `gain.gain`."""
        return gain(self.answers, self.parameters)

    def on_clean(self) -> pd.DataFrame:
        """Proportion correct on all trials beside that on the clean ones: see `on_clean`."""
        if self.contamination is None:
            raise InputError("contamination was not checked")
        return on_clean(self.answers, self.contamination)

    def words(self) -> list[str]:
        """The study in sentences: the mixed model, what flips, what is clean, what was dropped."""
        try:
            said = sentences(self.gain())
        except NotComparableError as error:
            said = [f"No mixed model: {error}."]
        drawn = self.answers[self.answers["shots"] > 0]
        if len(drawn) and drawn["draw"].nunique() < 2:
            said.append("One draw of the solved trials: its luck is in no interval.")
        for row in self.flips.to_dict("records"):
            said.append(
                f"Asked twice, {row['observer']} changed its answer in {row['flipped']} of "
                f"{row['trials']} trials; its evidence moved by at most {row['largest']:.2g} nats."
            )
        if self.contamination is not None:
            said.append(f"{self.contamination.title}.")
        said.append(
            f"{plural(len(self.dropped), 'trial')} dropped because of a picture that equals, or "
            f"nearly equals, one of the {self.pool_units} units set aside for solved trials."
        )
        said += [*suspicions(self.answers), *self._doubts()]
        missing = self.unanswered()
        if len(missing):
            by_status = missing.groupby("status")["trials"].sum().to_dict()
            listed = ", ".join(f"{n} {status}" for status, n in by_status.items())
            said.append(f"Without an answer, counted as one half and listed by stratum: {listed}.")
        return said


def shots_axis(ax: Axes, shots: Iterable[int]) -> dict[int, float]:
    """Name zero, one and few shots on a doubling axis; zero shots stand apart on the left.

    Returns
    -------
    dict
        Place of each number of solved trials.
    """
    counts = sorted(set(shots))
    place = {count: -1.0 if count == 0 else math.log2(count) for count in counts}
    first_few = next((c for c in counts if c > 1), None)
    names = {0: "0\nzero-shot", 1: "1\none-shot", first_few: f"{first_few}\nfew-shot"}
    ax.set_xticks([place[c] for c in counts], [names.get(c, str(c)) for c in counts])
    ax.set_xlabel("solved trials in the prompt")
    return place


def with_bars(
    ax: Axes, x: list[float], scores: list[Estimate], label: str, *, colour: int = 0, dash: int = 0
) -> None:
    """Draw a curve with its intervals, none where there is none.

    Parameters
    ----------
    ax : Axes
    x : list of float
    scores : list of Estimate
    label : str
    colour, dash : int
        Place in the cycle of colours and markers, and of line styles.
    """
    values = np.array([score.value for score in scores])
    ends = np.array([[score.low, score.high] for score in scores]).T
    ax.errorbar(
        x,
        values,
        yerr=np.nan_to_num([values - ends[0], ends[1] - values]),
        marker="os^vPX"[colour % 6],
        markerfacecolor=None if dash == 0 else "none",
        color=f"C{colour}",
        capsize=3,
        label=label,
        linestyle=("-", ":", "--", "-.")[dash % 4],
    )


def _ends(name: str, score: Estimate | None) -> dict[str, float]:
    nan = (math.nan,) * 3
    values = nan if score is None else (score.value, score.low, score.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def shortened(value: float) -> str:
    """A count in words of few letters.

    Examples
    --------
    >>> shortened(2.56e8), shortened(7e9), shortened(830)
    ('256 M', '7 B', '830')
    """
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def _means(
    rows: pd.DataFrame, keys: list[str], column: str, *, bounds: tuple[float, float] = (0.0, 1.0)
) -> pd.DataFrame:
    """Means of a column with intervals, one row a combination of keys in order of appearance."""
    found = []
    for names, part in rows.groupby(keys, sort=False):
        made = two_way_mean(
            part[column].to_numpy(dtype=float),
            part["unit_id"].to_numpy(),
            draws_of(part),
            bounds=bounds,
        )
        named = dict(zip(keys, names if isinstance(names, tuple) else (names,), strict=True))
        name = "accuracy" if column == "credit" else column
        found.append(
            {
                **named,
                name: made.value,
                "low": made.low,
                "high": made.high,
                "trials": part["trial_id"].nunique(),
            }
        )
    return pd.DataFrame(found)
