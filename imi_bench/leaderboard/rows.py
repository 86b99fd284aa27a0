"""What a board shows: one object from which every rendering is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from markupsafe import Markup

from imi_bench.arguments import checked
from imi_bench.choice.calibration import Calibration
from imi_bench.leaderboard.submission import Declaration
from imi_bench.plots import Interval, forest
from imi_bench.results import Record, Result
from imi_bench.scores.report import SHARE_OF_CEILING, share_of
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate
from imi_bench.stats.jackknife import Jackknife, combined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["submission", "reference", "anchor"]
UNDISCLOSED = "undisclosed"
_LAST = ("score", "share", "strata", "more")


@dataclass(frozen=True, repr=False)
class Row(Record):
    """One line of a board.

    Attributes
    ----------
    kind : str
        ``submission``; ``reference`` (chance, one side, people …: unranked yardsticks);
        ``anchor`` (a published number, unranked).
    name, revision, title : str
    score : Estimate
        The primary score.
    strata : dict of str to Estimate
        The primary score by ``mode=…`` and ``difficulty=…``.
    more : dict of str to Estimate
        Further scores by name.
    share : Estimate or None
        Score as a share of the human ceiling; above 1 is flagged, never capped.
    coverage : float
        Answered trials as a share of all.
    rank, rank_low, rank_high, group : int or None
        None for rows that are not ranked.
    p_leader : float or None
        Holm-adjusted p value against the leader of the tie group.
    facts : dict of str to str
        What the submission declares, ready to show: authors, link, licence, training data …
    claims : dict of str to float
        Self-reported scores; shown beside the recomputed ones, never used.
    """

    kind: Kind
    name: str
    revision: str
    title: str
    score: Estimate
    strata: dict[str, Estimate] = field(default_factory=dict)
    more: dict[str, Estimate] = field(default_factory=dict)
    share: Estimate | None = None
    coverage: float = 1.0
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    group: int | None = None
    p_leader: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    claims: dict[str, float] = field(default_factory=dict)

    @property
    def above_ceiling(self) -> bool:
        """Whether the score exceeds what people's own agreement allows."""
        return self.share is not None and self.share.value > 1

    def placed(self, *, rank: int, low: int, high: int, group: int, p_leader: float) -> Row:
        """The same row with its place on the board."""
        return replace(
            self, rank=rank, rank_low=low, rank_high=high, group=group, p_leader=p_leader
        )

    def with_scores(
        self, score: Estimate, *, strata: dict[str, Estimate], more: dict[str, Estimate]
    ) -> Row:
        """The same row with its scores."""
        return replace(self, score=score, strata=strata, more=more)

    def to_json(self) -> dict[str, Any]:
        """JSON object; numbers with intervals come last."""
        record = super().to_json()
        last = {"above_ceiling": self.above_ceiling} | {name: record.pop(name) for name in _LAST}
        return {**record, **last}


@dataclass(frozen=True)
class Detail:
    """What a submission's own page shows beside its row.

    Attributes
    ----------
    figures : tuple of Markup
        Inline SVG.
    trials : tuple of dict
        Trials to browse; see `imi_bench.leaderboard.browser`.
    total : int
        Number of trials they were taken from.
    sheet : int
        Width of the contact sheet in CSS pixels.
    """

    figures: tuple[Markup, ...] = ()
    trials: tuple[dict[str, object], ...] = ()
    total: int = 0
    sheet: int = 0


@dataclass(frozen=True, eq=False)
class Scored:
    """A row with what ranking needs.

    Attributes
    ----------
    row : Row
    found : Jackknife or None
        The primary score without each cluster, the same clusters for all rows of an observers
        board; None where the score is undefined.
    detail : Detail
    """

    row: Row
    found: Jackknife | None
    detail: Detail = Detail()

    def with_share(self, ceiling: Jackknife | None, *, level: float) -> Scored:
        """The same with its score as a share of the ceiling, both without the same clusters."""
        n, clusters = self.row.score.n, self.row.score.clusters
        facts: dict[str, Any] = {"n": n, "clusters": clusters, "level": level}
        if self.found is None or ceiling is None:
            share = Estimate.undefined("no score or no ceiling", **facts)
        else:
            share = estimate(combined(SHARE_OF_CEILING, share_of, self.found, ceiling), **facts)
        return replace(self, row=replace(self.row, share=share))


def facts_of(declared: Declaration) -> dict[str, str]:
    """What a submission declares, as text ready to show; undisclosed where it does not say."""

    def said(value: bool | None) -> str:
        return UNDISCLOSED if value is None else "yes" if value else "no"

    training, cost = declared.training, declared.cost
    facts = {
        "authors": ", ".join(declared.authors),
        "link": "" if declared.link is None else str(declared.link),
        "licence": declared.licence,
        "weights": declared.weights.source,
        "weights sha256": declared.weights.sha256 or "",
        "training data": UNDISCLOSED
        if training.data is None
        else ", ".join(training.data) or "none",
        "human similarity judgements": said(training.human_similarity_judgements),
        "IMI answers": said(training.imi),
        "preprocessing": declared.preprocessing,
        "parameters": "" if declared.parameters is None else f"{declared.parameters:,}",
        "cost": "" if cost.seconds is None else f"{cost.seconds:.1f}",
        "device": cost.device or "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def choice_model(calibrations: Iterable[Calibration]) -> dict[str, str]:
    """How the choice models ended where that is no maximum inside the range, as a fact to show."""
    said = []
    for calibration in calibrations:
        overall = calibration.overall
        if overall is not None and overall.state in _TOLD:
            whose = f"{calibration.observer}: " if calibration.observer else ""
            said.append(f"{whose}{overall.state}, {_TOLD[overall.state]}")
    return {"choice model": "; ".join(said)} if said else {}


_TOLD = {
    "separated": "evidence tells people's answers apart without error; the slope is at its limit",
    "weak": "answers do not move with the evidence; the lapse is held at its least",
    "one size": "evidence of one size; the lapse is held at its least",
    "flat": "all evidence is zero; the slope is 0",
    "unidentified": "slope and lapse cannot be told apart; no intervals",
}


@dataclass(frozen=True, repr=False)
class Table(Result):
    """A board's rows in order, and how they came about.

    Attributes
    ----------
    board, heading, question, about, kind : str
        From the rules.
    simulated : bool
    version : int
    rules_hash, study_hash : str
    score_name, score_help : str
        Name and one-line meaning of the primary score.
    unit : str
    chance : float
        The score of guessing.
    rule : str
        The ranking rule in words.
    ceiling : Estimate or None
        Human ceiling in the unit of the score.
    resolvable : float
        Smallest difference between two rows that the units of this board can resolve (median
        over ranked pairs, 80% power, two-sided 5%, one comparison); NaN with fewer than two.
    rows : tuple of Row
        Ranked ones first, by rank; references and anchors at the place of their score.
    rejected : tuple of (str, str)
        Folders of submissions that did not validate, and the first problem.
    """

    board: str
    heading: str
    question: str
    about: str
    kind: str
    simulated: bool
    version: int
    rules_hash: str
    study_hash: str
    score_name: str
    score_help: str
    unit: str
    chance: float
    rule: str
    ceiling: Estimate | None
    resolvable: float
    rows: tuple[Row, ...]
    rejected: tuple[tuple[str, str], ...] = ()

    shown_columns = ("rank", "name", "revision", "score", "score_low", "score_high", "coverage")

    @property
    def title(self) -> str:
        """The board's heading."""
        return self.heading

    def summary(self) -> str:
        """Heading, rule and rows; says where data are simulated."""
        made_up = "simulated answers or images; " if self.simulated else ""
        return f"{self.title} ({made_up}{self.rule})\n{self._table()}\n"

    @property
    def extra(self) -> list[str]:
        """Names of the further scores that any row has."""
        return list(dict.fromkeys(name for row in self.rows for name in row.more))

    def to_frame(self) -> pd.DataFrame:
        """One row a row of the board, as in ``board.csv``."""
        columns: dict[str, list[Any]] = {
            "rank": [row.rank for row in self.rows],
            "rank_low": [row.rank_low for row in self.rows],
            "rank_high": [row.rank_high for row in self.rows],
            "tie_group": [row.group for row in self.rows],
            "kind": [row.kind for row in self.rows],
            "name": [row.name for row in self.rows],
            "revision": [row.revision for row in self.rows],
            "title": [row.title for row in self.rows],
            "score": [row.score.value for row in self.rows],
            "score_low": [row.score.low for row in self.rows],
            "score_high": [row.score.high for row in self.rows],
            "share_of_ceiling": [_value(row.share) for row in self.rows],
            **{n: [_value(row.more.get(n)) for row in self.rows] for n in self.extra},
            "coverage": [row.coverage for row in self.rows],
        }
        ranks = dict.fromkeys(("rank", "rank_low", "rank_high", "tie_group"), "Int64")
        return pd.DataFrame(columns).astype(ranks)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw every row's score with its interval; a line is what guessing scores."""
        rows = [
            Interval(f"{one.name}@{one.revision}", one.score.value, one.score.low, one.score.high)
            for one in self.rows
        ]
        xlabel = f"{self.score_name.replace('_', ' ')} ({self.unit})"
        return forest(rows, xlabel=xlabel, title=self.title, reference=self.chance, ax=ax)

    @property
    def zero(self) -> str:
        """What the score of `chance` is that of."""
        return "Base rate" if self.kind == "measures" else "Guessing"

    def ordered(self) -> Table:
        """Rows by score, best first; name decides among equals."""

        def key(row: Row) -> tuple[float, str, str]:
            value = row.score.value
            return (-value if value == value else float("inf"), row.name, row.revision)

        return replace(self, rows=tuple(sorted(self.rows, key=key)))

    def to_json(self) -> dict[str, Any]:
        """JSON object; what is long comes last."""
        record = super().to_json()
        record = {("title" if name == "heading" else name): v for name, v in record.items()}
        last = {name: record.pop(name) for name in ("ceiling", "resolvable", "rejected", "rows")}
        return {**record, **last}

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        return {**found, "heading": found["title"]}


@checked
def _value(estimate: Estimate | None) -> float:
    return math.nan if estimate is None else estimate.value


def published(table: Table) -> Any:
    """JSON value of ``board.json``, floats to six decimals."""
    return _rounded({"format": 1, **table.to_json()})


def _rounded(value: Any) -> Any:
    """Floats to six decimals, so that the last bits of another machine change no file."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value
