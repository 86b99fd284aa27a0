"""Accuracy against the number of solved trials, over draws of them and sizes of model.

The design of Brown et al. (2020, arXiv 2005.14165), section 3: zero-, one- and few-shot, the same
solved trials for all tests of a draw, several draws. A pool of units is set aside for the solved
trials; no unit and no picture of it is ever tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.observers.incontext.observer import InContext, order_table
from imi_bench.observers.incontext.shots import Ablation, Shots, set_aside
from imi_bench.plots import new_axes
from imi_bench.progress import progress
from imi_bench.results import Brief, Result
from imi_bench.scores.report import score
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import DecisionVariables, Study, Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOTS = (0, 1, 2, 4, 8, 16)
_PEOPLE_SCORES = {"bits": "bits", "unit_pearson": "agreement"}


@dataclass(frozen=True, eq=False)
class Design:
    """What is asked.

    Attributes
    ----------
    shots : tuple of int
        Numbers of solved trials; 0 is asked once, every other number once a draw.
    draws : int
    pool_units : int
        Units set aside for solved trials; at least the largest number of them.
    ablations : tuple of str
        Beside ``none``: ``labels``, ``images``.
    seed : int
        Of the pool, the draws, and the sides of the queries.
    """

    shots: tuple[int, ...] = SHOTS
    draws: int = 5
    pool_units: int = 16
    ablations: tuple[Ablation, ...] = ("none",)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 0 or self.draws < 1:
            raise InputError(
                "no study", found=f"shots {self.shots}, {self.draws} draws", wanted="1 or more"
            )
        if self.pool_units < max(self.shots):
            raise NotEnoughDataError(
                "the pool is too small",
                found=f"{self.pool_units} units",
                wanted=f"{max(self.shots)}, one a solved trial",
                do="give a larger --pool-units or fewer --shots",
            )

    def cells(self) -> Iterator[tuple[int, int, Ablation]]:
        """Every (shots, draw, ablation) that is asked."""
        for ablation in dict.fromkeys(("none", *self.ablations)):
            for count in sorted(set(self.shots)):
                if count == 0:
                    if ablation == "none":
                        yield 0, 0, "none"
                    continue
                for draw in range(self.draws):
                    yield count, draw, ablation


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


@dataclass(frozen=True, repr=False)
class FewShot(Result):
    """Curves of accuracy against the number of solved trials.

    Attributes
    ----------
    points : tuple of Point
    answers : DataFrame
        One row an observer, number of shots, ablation, draw and trial: ``trial_id, unit_id, mode,
        difficulty, credit, status, value`` (evidence for the strong query, nats), ``strong_as_a``,
        ``strong_as_b``.
    trials, units, pool_units : int
        Tested, and set aside.
    dropped : tuple of str
        Trials that share a picture with the pool.
    parameters : mapping of str to float
        Of each observer, where given.
    baselines : mapping of str to Estimate
        Proportion correct of other observers, and of people, on the same trials.
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
    simulated: bool = False

    shown_columns = ("observer", "shots", "ablation", "accuracy", "low", "high", "coverage")

    @property
    def title(self) -> str:
        """What this is."""
        said = " (SIMULATED trials)" if self.simulated else ""
        return (
            f"Proportion correct by number of solved trials: {self.trials} trials of {self.units} "
            f"units{said}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a point."""
        return pd.DataFrame(
            [
                {
                    "observer": p.observer,
                    "shots": p.shots,
                    "ablation": p.ablation,
                    "accuracy": p.accuracy.value,
                    "low": p.accuracy.low,
                    "high": p.accuracy.high,
                    "coverage": p.coverage,
                    "says_a": p.says_a,
                    "orders_agree": p.orders_agree,
                    "strong_as_a": p.strong_as_a,
                    "strong_as_b": p.strong_as_b,
                    "mass": p.mass,
                    "bits": math.nan if p.bits is None else p.bits.value,
                    "agreement": math.nan if p.agreement is None else p.agreement.value,
                }
                for p in self.points
            ]
        )

    def by(self, column: str) -> pd.DataFrame:
        """Proportion correct by ``mode`` or ``difficulty``, one row a point and level."""
        keys = ["observer", "shots", "ablation", column]
        return self.answers.groupby(keys)["credit"].mean().reset_index()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the curves on a doubling axis; zero shots stand apart on the left."""
        ax = new_axes(ax, width=6.4, height=4.2)
        counts = sorted({p.shots for p in self.points})
        place = {count: -1.0 if count == 0 else math.log2(count) for count in counts}
        for observer, ablation in dict.fromkeys((p.observer, p.ablation) for p in self.points):
            own = [p for p in self.points if (p.observer, p.ablation) == (observer, ablation)]
            x = [place[p.shots] for p in own]
            y = [p.accuracy.value for p in own]
            errors = [
                [p.accuracy.value - p.accuracy.low for p in own],
                [p.accuracy.high - p.accuracy.value for p in own],
            ]
            label = observer if ablation == "none" else f"{observer}, {ablation} shuffled"
            ax.errorbar(
                x,
                y,
                yerr=np.nan_to_num(errors),
                marker="o",
                capsize=3,
                label=label,
                linestyle="-" if ablation == "none" else ":",
            )
        for name, line in self.baselines.items():
            ax.axhline(line.value, linewidth=1, linestyle="--", color="0.5")
            ax.annotate(
                name,
                (0.99, line.value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color="0.35",
            )
        ax.axhline(0.5, linewidth=1, color="0.8")
        names = {0: "0\nzero-shot", 1: "1\none-shot"}
        ax.set_xticks([place[c] for c in counts], [names.get(c, str(c)) for c in counts])
        ax.set_xlabel("solved trials in the prompt")
        ax.set_ylabel("proportion correct")
        ax.set_title(self.title, fontsize=9)
        ax.legend(fontsize=8)
        return ax

    def gain(self) -> Any:
        """Gain per doubling of solved trials, and per tenfold parameters, as a mixed model.

        ``correct ~ log2(shots) [* log10(parameters)] + (1|unit) + (1|draw)`` over trials with an
        answer and at least one solved trial; ties and missing answers are left out. The
        interaction asks whether larger models gain more from context.

        Returns
        -------
        GlmmResult

        Raises
        ------
        NotEnoughDataError
            Fewer than two numbers of solved trials above zero.
        """
        from imi_bench.glmm import fit

        rows = self.answers[(self.answers["shots"] > 0) & (self.answers["ablation"] == "none")]
        rows = rows[rows["credit"] != 0.5]
        if rows["shots"].nunique() < 2:
            raise NotEnoughDataError(
                "no curve to fit",
                found=f"{rows['shots'].nunique()} numbers of solved trials above zero",
                wanted="2 or more",
            )
        data = rows.assign(
            correct=rows["credit"].astype(int),
            doublings=np.log2(rows["shots"]),
            draw=rows["draw"].astype(str),
            unit=rows["unit_id"],
        )
        fixed = "doublings"
        if self.parameters and len(set(self.parameters.values())) > 1:
            size = np.log10([self.parameters[name] for name in rows["observer"]])
            data["tenfold"] = size - size.mean()
            fixed = "doublings * tenfold"
        elif rows["observer"].nunique() > 1:
            fixed = "doublings + observer"
        grouping = " + (1|draw)" if data["draw"].nunique() > 1 else ""
        return fit(f"correct ~ {fixed} + (1|unit){grouping}", data)


def fewshot(
    build: Callable[[Shots | None], InContext] | Mapping[str, Callable[[Shots | None], InContext]],
    trials: Trials,
    *,
    design: Design | None = None,
    people: Study | None = None,
    baselines: Mapping[str, DecisionVariables] | None = None,
    parameters: Mapping[str, float] | None = None,
    layout: str = "sheets",
    side: int = 224,
    out: Path | None = None,
) -> FewShot:
    """Run the study.

    Parameters
    ----------
    build : callable, or mapping of name to callable
        Gives an observer for some shots (None: zero-shot); several make a family.
    trials : Trials
    design : Design, optional
    people : Study, optional
        For bits and agreement, and as a baseline.
    baselines : mapping of str to DecisionVariables, optional
        Other observers on the same trials.
    parameters : mapping of str to float, optional
        Of each observer of a family.
    layout, side
        As in `Shots`.
    out : Path, optional
        Folder for ``answers.parquet``; other files are the caller's.

    Returns
    -------
    FewShot
    """
    design = design or Design()
    family = build if isinstance(build, Mapping) else {"observer": build}
    pool, tests, dropped = set_aside(trials, units=design.pool_units, seed=design.seed)
    cells = list(design.cells())
    frames, points = [], []
    with progress("few-shot", total=len(cells) * len(family), unit="runs") as advance:
        for given, make in family.items():
            done: dict[tuple[int, Ablation], list[_Run]] = {}
            for count, draw, ablation in cells:
                shots = None
                if count:
                    shots = Shots(
                        pool,
                        count,
                        draw=draw,
                        seed=design.seed,
                        layout=layout,  # type: ignore[arg-type]
                        side=side,
                        ablation=ablation,
                    )
                observer = make(shots)
                run = _ask(observer, tests, design.seed, draw=draw)
                done.setdefault((count, ablation), []).append(run)
                name = observer.name if len(family) == 1 else given
                frames.append(
                    run.frame.assign(observer=name, shots=count, ablation=ablation, draw=draw)
                )
                advance(1)
            for (count, ablation), runs in done.items():
                points.append(_point(name, count, ablation, runs, people, design.seed))
    answers = pd.concat(frames, ignore_index=True)
    if out is not None:
        from imi_bench.provenance import atomic_path

        with atomic_path(out / "answers.parquet") as temporary:
            answers.to_parquet(temporary, index=False)
    return FewShot(
        points=tuple(points),
        answers=answers,
        trials=len(tests),
        units=len(np.unique(tests.index.unit_id.astype(str))),
        pool_units=design.pool_units,
        dropped=dropped,
        parameters=dict(parameters or {}),
        baselines=_baselines(tests, people, baselines or {}),
        simulated=trials.simulated,
    )


@dataclass(frozen=True, eq=False)
class _Run:
    decisions: DecisionVariables
    frame: pd.DataFrame
    habits: Mapping[str, Any]


def _ask(observer: InContext, tests: Trials, seed: int, *, draw: int) -> _Run:
    """One observer on all tests, asked once a prompt (the ledger knows what was asked before)."""
    blind = tests.blind(seed=seed)
    found = observer.both_orders(blind.without_key())
    from imi_bench.observers.incontext.scoring import of_trial

    pairs = [of_trial(a, b) for a, b in zip(found.first, found.second, strict=True)]
    if blind.key is None:
        raise InputError("trials were blinded without a key")
    decisions = DecisionVariables(
        observer=observer.name,
        trial_id=blind.key.index.trial_id,
        decision_variable=np.array([value for value, _ in pairs]),
        status=np.array([status for _, status in pairs], dtype=object),
        shown_first=blind.key.shown_first,
        seconds=np.zeros(len(pairs)),
    )
    index = blind.key.index
    frame = pd.DataFrame(
        {
            "trial_id": index.trial_id,
            "unit_id": index.unit_id,
            "mode": index.mode,
            "difficulty": index.difficulty,
            "credit": decisions.credit,
            "status": decisions.status,
            "value": decisions.toward_correct,
        }
    )
    orders = order_table(found, blind.key.first_is_positive)
    return _Run(decisions, pd.concat([frame, orders], axis=1), found.report())


def _point(
    name: str, count: int, ablation: str, runs: Sequence[_Run], people: Study | None, seed: int
) -> Point:
    frame = pd.concat([run.frame.assign(draw=d) for d, run in enumerate(runs)])
    habits = {
        key: float(np.mean([run.habits[key] for run in runs]))
        for key in ("says_a", "orders_agree", "mass")
    }
    against: dict[str, Estimate] = {}
    if people is not None:
        reports = [score(run.decisions, people, by=(), seed=seed) for run in runs]
        for score_name, shown in _PEOPLE_SCORES.items():
            against[shown] = over_draws([r.scores[score_name].estimate for r in reports])
    return Point(
        observer=name,
        shots=count,
        ablation=ablation,
        accuracy=two_way_mean(
            frame["credit"].to_numpy(), frame["unit_id"].to_numpy(), frame["draw"].to_numpy()
        ),
        coverage=float(frame["status"].isin(["ok", "tie"]).mean()),
        strong_as_a=float(frame["strong_as_a"].mean()),
        strong_as_b=float(frame["strong_as_b"].mean()),
        says_a=habits["says_a"],
        orders_agree=habits["orders_agree"],
        mass=habits["mass"],
        bits=against.get("bits"),
        agreement=against.get("agreement"),
    )


def two_way_mean(values: Floats, units: Any, draws: Any, *, level: float = 0.95) -> Estimate:
    """A mean whose interval clusters by unit and by draw.

    Cameron, Gelbach and Miller's two-way variance (2011, equation 2.9), never below that by unit
    alone; Student's t with the smaller number of clusters less one.

    Parameters
    ----------
    values : (n,) float64
    units, draws : (n,) labels
    level : float

    Examples
    --------
    >>> two_way_mean(np.array([1.0, 0, 1, 1]), np.array(list("aabb")), np.zeros(4)).value
    0.75
    """
    from scipy import stats

    unit, draw = (pd.factorize(np.asarray(labels))[0] for labels in (units, draws))
    count, n_units, n_draws = len(values), unit.max() + 1, draw.max() + 1
    mean = float(np.mean(values))
    facts: dict[str, Any] = {"n": count, "clusters": int(n_units), "level": level}
    if n_units < 2:
        return Estimate(mean, reason="one unit: no interval", **facts)
    rest = np.asarray(values) - mean

    def variance(code: Any) -> float:
        groups = code.max() + 1
        if groups < 2:
            return 0.0
        sums = np.bincount(code, weights=rest)
        return float((sums**2).sum() / count**2 * groups / (groups - 1))

    by_unit = variance(unit)
    both = variance(pd.factorize(unit * n_draws + draw)[0]) if n_draws > 1 else by_unit
    total = max(by_unit, by_unit + variance(draw) - both) if n_draws > 1 else by_unit
    df = min(n_units, n_draws) - 1 if n_draws > 1 and total > by_unit else n_units - 1
    half = float(stats.t.ppf(0.5 + level / 2, df) * math.sqrt(total))
    return Estimate(
        mean,
        max(0.0, mean - half),
        min(1.0, mean + half),
        method=f"two-way clusters (unit, draw), t with {df} degrees of freedom",
        **facts,
    )


def over_draws(found: Sequence[Estimate], *, level: float = 0.95) -> Estimate:
    """One estimate from one a draw: Rubin's rules (1987, equations 3.1.2 to 3.1.6).

    The within-draw variance is read off each interval (as normal), the between-draw variance off
    the values.
    """
    from scipy import stats

    defined = [e for e in found if not math.isnan(e.value)]
    if not defined:
        return Estimate.undefined(found[0].reason if found else "no draw")
    values = np.array([e.value for e in defined])
    z = stats.norm.ppf(0.5 + level / 2)
    within = np.array([((e.high - e.low) / (2 * z)) ** 2 for e in defined])
    count = len(values)
    between = float(values.var(ddof=1)) if count > 1 else 0.0
    total = float(within.mean()) + (1 + 1 / count) * between
    extra = (1 + 1 / count) * between
    df = math.inf if extra == 0 else (count - 1) * (total / extra) ** 2
    half = (
        float(stats.t.ppf(0.5 + level / 2, df) * math.sqrt(total)) if total == total else math.nan
    )
    mean = float(values.mean())
    first = defined[0]
    return Estimate(
        mean,
        mean - half,
        mean + half,
        level=level,
        method=f"{count} draws by Rubin's rules",
        n=first.n,
        clusters=first.clusters,
        unit=first.unit,
        reason="" if half == half else "an interval of a draw is undefined",
    )


def _baselines(
    tests: Trials, people: Study | None, others: Mapping[str, DecisionVariables]
) -> dict[str, Estimate]:
    units = dict(zip(tests.index.trial_id, tests.index.unit_id, strict=True))
    found = {}
    if people is not None:
        rows = [t in units for t in people.responses.trial_id]
        correct = people.responses.correct[rows].astype(float)
        ids = people.responses.trial_id[rows]
        if len(correct):
            people_name = "people (simulated)" if people.responses.simulated else "people"
            found[people_name] = two_way_mean(
                correct, np.array([units[t] for t in ids]), np.zeros(len(ids))
            )
    for name, decisions in others.items():
        keep = np.array([t in units for t in decisions.trial_id])
        if keep.any():
            ids = decisions.trial_id[keep]
            found[name] = two_way_mean(
                decisions.credit[keep], np.array([units[t] for t in ids]), np.zeros(len(ids))
            )
    return found
