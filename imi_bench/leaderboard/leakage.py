"""Whether a submission was fitted on answers that the board scores it on.

What a submitter writes is compared as what it means: ``ResNet50_hard95/Layer1.0/007`` is unit 7 of
layer ``layer1_0`` of network ``resnet50``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from imi_bench.errors import InputError
from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.submission import CalibrationSplit
from imi_bench.tables import TrialIndex
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.text import plural

_FILE = "submission.toml"


def plain(name: str) -> str:
    """A network's or layer's name without case, spaces, signs and difficulty.

    Examples
    --------
    >>> plain(" CLIP-ResNet50_hard95"), plain("layer1.0.conv1") == plain("layer1_0_conv1")
    ('clip_resnet50', True)
    """
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    text = re.sub(r"[\W_]+", "_", text).strip("_")
    while (found := re.fullmatch(r"(.+)_(?:easy|hard\d*|natural|synthetic)", text)) is not None:
        text = found[1]
    return text


def parse_unit(text: str) -> tuple[str, str, int] | None:
    """Network, layer and unit, normalised; None for what is not ``network/layer/unit``.

    Examples
    --------
    >>> parse_unit(" Net_hard85 / layer1.0 / 007 ")
    ('net', 'layer1_0', 7)
    >>> parse_unit("net") is None
    True
    >>> parse_unit("n\u0435t/layer/2") is None  # a Cyrillic letter
    True
    """
    parts = unicodedata.normalize("NFKC", text).split("/")
    if len(parts) != 3 or re.fullmatch(r"[0-9]{1,9}", parts[2].strip()) is None:
        return None
    network, layer = plain(parts[0]), plain(parts[1])
    named = network and layer and (network + layer).isascii()
    return (network, layer, int(parts[2])) if named else None


def leakage(declared: CalibrationSplit, index: TrialIndex, board: Board) -> list[Problem]:
    """Problems of the units and networks that a submission says it was fitted on.

    Units of a board that holds out whole networks leak by their network.
    """
    if not declared.units and not declared.networks:
        return []
    units = {text: parse_unit(text) for text in declared.units}
    if wrong := [text for text, unit in units.items() if unit is None]:
        why = "not network/layer/unit; put a whole network under calibration.networks"
        return [_problem("units", wrong, f"{plural(len(wrong), 'entry is', 'entries are')} {why}")]
    shown = set(zip(index.network.tolist(), index.layer.tolist(), index.unit.tolist(), strict=True))
    triples = {(plain(n), plain(la), int(u)) for n, la, u in shown}
    networks = {network for network, _, _ in triples}
    by_network = board.rules.ranking.folds_by == "network"
    seen = [
        text
        for text, unit in units.items()
        if unit is not None and (unit in triples or (by_network and unit[0] in networks))
    ]
    problems = []
    if seen:
        problems.append(
            _problem("units", seen, f"fitted on {plural(len(seen), 'unit')} the board scores")
        )
    if strange := [name for name in declared.networks if not plain(name).isascii()]:
        problems.append(
            _problem(
                "networks", strange, f"{plural(len(strange), 'name is', 'names are')} not ASCII"
            )
        )
    whole = [name for name in declared.networks if plain(name.rpartition("/")[2]) in networks]
    if whole:
        what = f"fitted on {plural(len(whole), 'network')} the board scores"
        problems.append(_problem("networks", whole, what))
    return problems


def leakage_of_run(record: Mapping[str, Any], index: TrialIndex, board: Board) -> list[Problem]:
    """Problems of what the record of a run says its observer was fitted on."""
    return [
        problem
        for name in ("observer", "parts")
        for field, described in _described(record.get(name), name)
        for problem in _leakage_of(field, described, index, board)
    ]


def _leakage_of(
    field: str, described: Mapping[str, Any], index: TrialIndex, board: Board
) -> list[Problem]:
    try:
        known = FittedOn.of(described)
    except InputError as error:
        return [Problem("run.json", field, str(error))]
    if known is None:
        return []
    units = CalibrationSplit(units=sorted(known.units))
    problems = [Problem("run.json", field, one.message) for one in leakage(units, index, board)]
    if not problems and (seen := known.problem(index)) is not None:
        problems = [Problem("run.json", field, f"was fitted on {seen}")]
    return problems


def _described(value: object, field: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each part of a record, an observer's or one inside it, that says what it was fitted on."""
    if isinstance(value, Mapping):
        if "fitted_on" in value:
            yield f"{field}.fitted_on", value
        for name, part in value.items():
            yield from _described(part, f"{field}.{name}"[:200])
    elif isinstance(value, list):
        for part in value:
            yield from _described(part, field)


def _problem(field: str, found: list[str], what: str) -> Problem:
    return Problem(_FILE, f"calibration.{field}", f"{what}, such as '{found[0][:80]}'")
