"""Recompute a board from its evidence: validate, score, rank.

Nothing a submission says of its own scores is used. A change to a score is a change to this code,
and re-scores every submission ever made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import stats

from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.networks import NetworkScores
from imi_bench.leaderboard.observers import ObserverScores
from imi_bench.leaderboard.ranking import rank
from imi_bench.leaderboard.rows import Detail, Row, Scored, Table
from imi_bench.leaderboard.validate import validate
from imi_bench.progress import progress
from imi_bench.stats.estimate import Estimate

SCORE_HELP = {
    "bits": "Held-out log-likelihood of single human answers, in bits an answer above guessing, "
    "under a choice model fitted to people on other units. Higher is better.",
    "interpretability": "Mean over units of the probability that a person would choose the "
    "activating query (natural exemplars, easy queries), predicted by a panel of observers whose "
    "choice models were fitted to people on other networks. Higher is better.",
}
SCORE_UNIT = {"bits": "bits/answer", "interpretability": "proportion"}
_BATCH = 32
CHANCE = {"bits": 0.0, "interpretability": 0.5}


def verify(board: Board) -> tuple[Table, dict[tuple[str, str], Detail]]:
    """Recompute every row of a board.

    Returns
    -------
    table : Table
        In no particular order; see `Table.ordered`.
    details : dict
        By name and revision, what each submission's own page shows.

    Raises
    ------
    NotComparableError
        If the board's trials or humans are not those it was published with.
    """
    scored, rejected, ceiling = _scored(board) if board.ready else ([], [], None)
    rows, resolvable = _ranked(scored, board)
    rules = board.rules
    table = Table(
        board=rules.board,
        title=rules.title,
        question=rules.question,
        about=rules.about.strip(),
        kind=rules.kind,
        simulated=rules.simulated,
        version=rules.version,
        rules_hash=board.rules_hash,
        study_hash=rules.study_hash or "",
        score_name=rules.ranking.score,
        score_help=SCORE_HELP[rules.ranking.score],
        unit=SCORE_UNIT[rules.ranking.score],
        chance=CHANCE[rules.ranking.score],
        rule=rules.ranking.rule,
        ceiling=ceiling,
        resolvable=resolvable,
        rows=(*rows, *_anchors(board)),
        rejected=tuple(rejected),
    )
    return table, {(s.row.name, s.row.revision): s.detail for s in scored}


def _scored(board: Board) -> tuple[list[Scored], list[tuple[str, str]], Estimate | None]:
    """Rows of submissions and references, rejected submissions, and the human ceiling."""
    folders = board.submission_folders()
    batches = [folders[i : i + _BATCH] for i in range(0, len(folders), _BATCH)]
    # Processes cost seconds to start; below this number of submissions one is faster.
    jobs = Parallel(n_jobs=-1 if len(folders) >= 40 else 1, return_as="generator")
    scored: list[Scored] = []
    rejected = []
    with progress("validating and scoring", total=len(folders), unit="submissions") as advance:
        for batch in jobs(delayed(_judged)(board, batch) for batch in batches):
            for place, result in batch:
                if isinstance(result, Scored):
                    scored.append(result)
                else:
                    rejected.append((place, result))
            advance(len(batch))
    references = _scores(board).references()
    if not references:
        return scored, rejected, None
    people, level = references[0], board.rules.ranking.level
    top = people.row.score
    shared = [s.with_share(top.value, people.draws, level=level) for s in scored + references[1:]]
    return [*shared, people], rejected, top


def _scores(board: Board) -> ObserverScores | NetworkScores:
    return (ObserverScores if board.rules.kind == "observers" else NetworkScores).of(board)


def _judged(board: Board, folders: Sequence[Path]) -> list[tuple[str, Scored | str]]:
    """Each folder's place, with its row or what is wrong with it."""
    scores = _scores(board)
    judged: list[tuple[str, Scored | str]] = []
    for folder in folders:
        entry, problems = validate(folder, board=board, trials=scores.expected)
        result: Scored | str
        if entry is None:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            result = f"{problems[0]}{more}"
        elif (entry.declaration.name, entry.declaration.revision) != folder.parts[-2:]:
            result = "name and revision are not those of the folder"
        else:
            result = scores.score(entry)
        judged.append((folder.relative_to(board.folder).as_posix(), result))
    return judged


def _ranked(scored: Sequence[Scored], board: Board) -> tuple[list[Row], float]:
    ranked = [s for s in scored if s.row.kind == "submission"]
    if not ranked:
        return [s.row for s in scored], math.nan
    order = rank(
        np.array([s.row.score.value for s in ranked]),
        resampled=np.column_stack([s.draws for s in ranked]),
        level=board.rules.ranking.level,
        alpha=board.rules.ranking.alpha,
    )
    rows = [
        s.row.placed(
            rank=int(order.rank[i]),
            low=int(order.low[i]),
            high=int(order.high[i]),
            group=int(order.group[i]),
            p_leader=float(order.p_leader[i]),
        )
        for i, s in enumerate(ranked)
    ]
    others = [s.row for s in scored if s.row.kind != "submission"]
    return rows + others, _resolvable([s.draws for s in ranked])


def _resolvable(draws: Sequence[NDArray[np.float64]]) -> float:
    """Median over pairs of the smallest paired difference shown with 80% power at 5%."""
    if len(draws) < 2:
        return math.nan
    covariance = np.cov(np.stack(draws))
    variance = np.add.outer(np.diag(covariance), np.diag(covariance)) - 2 * covariance
    pairs = variance[np.triu_indices(len(draws), 1)]
    factor = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    return float(factor * np.median(np.sqrt(np.maximum(pairs, 0))))


def _anchors(board: Board) -> list[Row]:
    return [
        Row(
            kind="anchor",
            name=anchor.source,
            revision="",
            title=anchor.name,
            score=Estimate(
                anchor.value,
                anchor.low,
                anchor.high,
                method=f"published: {anchor.source}",
            ),
            strata={
                f"mode={anchor.mode}": Estimate(
                    anchor.value,
                    anchor.low,
                    anchor.high,
                    method=f"published: {anchor.source}",
                )
            },
        )
        for anchor in board.rules.anchors
    ]
