"""Whether a network's submission brings enough, and the units that the board's seed draws."""

from __future__ import annotations

import re

from imi_bench.arrays import Bools
from imi_bench.errors import ImiBenchError
from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.board import Board, Evidence
from imi_bench.leaderboard.submission import Declaration
from imi_bench.networks.units import draw_units
from imi_bench.tables import TrialIndex
from imi_bench.text import plural

_TRIALS = "trials.parquet"
_TOML = "submission.toml"


def evidence_problems(declared: Declaration, index: TrialIndex, board: Board) -> list[Problem]:
    """Too few main trials, units or layers; several networks; units that the seed does not draw."""
    main = index.take(~index.catch)
    if not len(main):
        return [Problem(_TRIALS, "", "no main trial: all are catch trials, or there is none")]
    wanted = board.rules.evidence
    problems = [
        Problem(_TRIALS, field, f"found {count:,} {what}, wanted {most} {limit:,}")
        for field, what, count, most, limit, bad in _counts(main, wanted)
        if bad
    ]
    problems += _name_problems(index) + _primary_problems(main)
    if wanted.drawn:
        problems += _sampling_problems(declared, main, wanted)
    return problems


def primary_trials(index: TrialIndex) -> Bools:
    """The trials that networks are ranked by: natural exemplars, easy queries, no catch trials."""
    return ~index.catch & (index.mode == "natural") & (index.difficulty == "easy")


def _name_problems(index: TrialIndex) -> list[Problem]:
    """Names that could be taken for others: seen by nobody, or not ASCII."""
    problems = []
    for field in ("network", "layer"):
        names = set(getattr(index, field).tolist())
        if strange := [n for n in names if not re.fullmatch(r"[!-~]{1,300}", n)]:
            why = f"found {min(strange)[:80]!r}, wanted ASCII without spaces"
            problems.append(Problem(_TRIALS, field, why))
    return problems


def _primary_problems(main: TrialIndex) -> list[Problem]:
    """Units that are not asked the same: none, or other batches, of the trials that are ranked."""
    asked: dict[object, set[int]] = {unit: set() for unit in main.unit_id.tolist()}
    shown = main.take(primary_trials(main))
    for unit, batch in zip(shown.unit_id.tolist(), shown.batch.tolist(), strict=True):
        asked[unit].add(batch)
    every = set().union(*asked.values())
    lacking = [str(unit) for unit, batches in asked.items() if batches != every or not batches]
    if not lacking:
        return []
    why = (
        f"{plural(len(lacking), 'unit')} without a natural, easy trial of every batch, such as "
        f"'{min(lacking)[:80]}'; all units must be asked the same"
    )
    return [Problem(_TRIALS, "batch", why)]


def _counts(main: TrialIndex, wanted: Evidence) -> list[tuple[str, str, int, str, int, bool]]:
    networks = len(set(main.network.tolist()))
    layers = len(set(main.layer.tolist()))
    units, trials = len(set(main.unit_id.tolist())), len(main)
    return [
        ("network", "networks", networks, "exactly", 1, networks != 1),
        ("unit", "units", units, "at least", wanted.least_units, units < wanted.least_units),
        ("layer", "layers", layers, "at least", wanted.least_layers, layers < wanted.least_layers),
        (
            "trial_id",
            "main trials",
            trials,
            "at least",
            wanted.least_trials,
            trials < wanted.least_trials,
        ),
    ]


def _sampling_problems(declared: Declaration, main: TrialIndex, wanted: Evidence) -> list[Problem]:
    sampling = declared.sampling
    if sampling is None:
        why = (
            f"missing: the board draws {wanted.drawn} units by seed {wanted.seed}; list the layers"
        )
        return [Problem(_TOML, "sampling", why)]
    try:
        drawn = draw_units(sampling.layers, wanted.drawn, seed=wanted.seed)
    except ImiBenchError as error:
        return [Problem(_TOML, "sampling.layers", str(error))]
    names = {f"{unit.layer}/{unit.channel}" for unit in drawn}
    pairs = zip(main.layer.tolist(), main.unit.tolist(), strict=True)
    shown = {f"{layer}/{unit}" for layer, unit in pairs}
    left_out = set(sampling.left_out)
    problems = []
    for field, found, what in (
        ("unit", shown - names, "units that the seed does not draw"),
        ("unit", names - shown - left_out, "drawn units without trials, and not declared left out"),
        ("sampling.left_out", (left_out - names) | (left_out & shown), "units not to be left out"),
    ):
        if found:
            example = min(found)[:80]
            file = _TOML if field.startswith("sampling") else _TRIALS
            problems.append(Problem(file, field, f"{len(found)} {what}, such as '{example}'"))
    return problems
