"""What a submission declares, and how its three files are read.

``submission.toml`` says who, what and on which data; ``decisions.parquet`` is the evidence;
``run.json`` is the provenance. Scores in ``[claims]`` are only claims: boards recompute.
"""

from __future__ import annotations

import reprlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from imi_bench.documents import parse_json, parse_toml
from imi_bench.errors import InputError
from imi_bench.leaderboard.archive import LIMITS, Problem, read_files
from imi_bench.leaderboard.parquet import read_table

MAX_ROWS = 300_000
MAX_TRIALS = 60_000
MOST_PROBLEMS = 50
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{d}{n}" for d in ("com", "lpt") for n in range(10)}
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _visible(text: str) -> str:
    """Refuse what nobody sees, or what turns the direction of the text beside it."""
    marks = 0
    for character in text:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        hidden = kind in _HIDDEN or (kind == "Zs" and character != " ")
        if hidden or character in _BLANK or marks > 2:
            name = f"U+{ord(character):04X}"
            raise ValueError(f"has a character that cannot be seen or stacks ({name})")
    if not text.strip() or text != text.strip():
        raise ValueError("is blank, or begins or ends with a space")
    return text


def _portable(name: str) -> str:
    """Refuse a folder's name that some file systems take for another, or for a device."""
    if name.endswith(".") or name.split(".")[0] in _DEVICES:
        raise ValueError("is a device on some systems, or ends with a dot")
    return name


def _public(link: HttpUrl) -> HttpUrl:
    """Refuse links that go elsewhere than they seem to: with a user's name, or to this machine."""
    host = (link.host or "").strip("[]")
    if link.username is not None or link.password is not None:
        raise ValueError("has a user's name before the host")
    if link.scheme != "https" or "." not in host or host.rpartition(".")[2].isdigit():
        raise ValueError("is no https address of a named host")
    return link


Version = Annotated[int, Field(strict=True, ge=1, le=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$"), AfterValidator(_portable)]
Link = Annotated[HttpUrl, AfterValidator(_public)]
Line = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_visible)]
Claim = Annotated[float, Field(ge=-1e9, le=1e9)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Weights(_Strict):
    """Where the weights come from."""

    source: Line = Field(description="URL, repository and revision, or 'none' without weights")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="hash of the weight file, if there is one"
    )


class Training(_Strict):
    """What the observer has seen. Disclosing never lowers a rank; undisclosed is marked."""

    data: list[Line] | None = Field(
        default=None, description="data sets it was trained on; leave out if undisclosed"
    )
    human_similarity_judgements: bool | None = Field(
        default=None, description="whether human similarity judgements were among it"
    )
    imi: bool | None = Field(
        default=None, description="whether answers of the IMI experiment were among it"
    )


class CalibrationSplit(_Strict):
    """What of the humans the submitter used."""

    units: list[Line] = Field(
        default_factory=list,
        max_length=100_000,
        description="units (network/layer/unit) whose human answers were used to fit anything",
    )
    networks: list[Line] = Field(
        default_factory=list,
        max_length=1000,
        description="networks of which all units' human answers were used",
    )


class Sampling(_Strict):
    """Boards of networks: from which units the judged ones were drawn."""

    layers: dict[Line, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1,
        max_length=2000,
        description="number of units of every layer of the network, in the order of the network",
    )
    left_out: list[Line] = Field(
        default_factory=list,
        max_length=10_000,
        description="drawn units (layer/unit) of which no trials could be made, such as dead ones",
    )


class Files(_Strict):
    """SHA-256 of the other files, as `submit new` and `submit pack` write them."""

    decisions: Digest = Field(alias="decisions.parquet")
    run: Digest = Field(alias="run.json")
    trials: Digest | None = Field(default=None, alias="trials.parquet")


class Cost(_Strict):
    """What answering took."""

    seconds: Annotated[float, Field(ge=0, le=1e10)] | None = None
    device: Line | None = None


class Declaration(_Strict):
    """``submission.toml``."""

    format: Version = Field(description="version of this schema")
    board: Slug = Field(description="folder name of the board")
    name: Slug
    revision: Slug
    title: Line
    authors: list[Line] = Field(min_length=1, max_length=100)
    link: Link | None = None
    licence: Line
    preprocessing: Line
    parameters: Annotated[int, Field(ge=0, le=10**15)] | None = Field(
        default=None, description="number of trained parameters"
    )
    weights: Weights
    training: Training = Training()
    calibration: CalibrationSplit = CalibrationSplit()
    sampling: Sampling | None = None
    cost: Cost = Cost()
    claims: dict[Slug, Claim] = Field(default_factory=dict, max_length=50)
    files: Files


@dataclass(frozen=True, eq=False)
class Submission:
    """A submission whose files were read; not yet held against a board.

    Attributes
    ----------
    declaration : Declaration
    decisions : DataFrame
        Columns ``trial_id, observer, decision_variable, status, shown_first`` and perhaps
        ``seconds``.
    trials : DataFrame or None
        For boards of networks: the trials the observers answered.
    run : dict
        ``run.json``.
    """

    declaration: Declaration
    decisions: pd.DataFrame
    trials: pd.DataFrame | None
    run: dict[str, Any]


def json_schema() -> dict[str, Any]:
    """JSON Schema of ``submission.toml``, for other tools."""
    return Declaration.model_json_schema()


def parse(
    files: dict[str, bytes], *, rows: int = MAX_ROWS
) -> tuple[Submission | None, list[Problem]]:
    """Read the files of a submission; report every problem at once.

    Parameters
    ----------
    files : dict of str to bytes
    rows : int
        Most rows of the decisions.

    Returns
    -------
    submission : Submission or None
        None if any file could not be read.
    problems : list of Problem
    """
    declaration, problems = _declaration(files.get("submission.toml"))
    run, more = _run(files.get("run.json"))
    problems += more
    decisions, more = _table(
        "decisions.parquet", files, _DECISIONS, optional={"seconds": "number"}, rows=rows
    )
    problems += more
    trials, more = _table("trials.parquet", files, _TRIALS, optional={}, rows=MAX_TRIALS)
    problems += more
    if declaration is None or run is None or decisions is None:
        return None, problems
    return Submission(declaration, decisions, trials, run), problems


def declared_place(path: Path) -> str | None:
    """``name/revision`` that a submission declares; None where it cannot be read."""
    declared, _ = _declaration(read_files(path)[0].get("submission.toml"))
    return None if declared is None else f"{declared.name}/{declared.revision}"


def _declaration(data: bytes | None) -> tuple[Declaration | None, list[Problem]]:
    name = "submission.toml"
    if data is None:
        return None, []
    try:
        table = parse_toml(data.decode("utf-8"), limit=LIMITS[name])
        return Declaration.model_validate(table), []
    except UnicodeDecodeError as error:
        return None, [Problem(name, "", f"not UTF-8 (byte {error.start})")]
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        problems = [_from_pydantic(name, detail) for detail in details[:MOST_PROBLEMS]]
        if len(details) > MOST_PROBLEMS:
            problems.append(Problem(name, "", f"and {len(details) - MOST_PROBLEMS:,} more"))
        return None, problems
    except InputError as error:
        return None, [Problem(name, "", str(error))]


def _from_pydantic(name: str, detail: Any) -> Problem:
    field = ".".join(str(part)[:80] for part in detail["loc"])
    missing = detail["type"] == "missing"
    found = "" if missing else f", found {reprlib.repr(detail['input'])[:80]}"
    do = "; write it by `imi-bench submit pack`" if missing and field.startswith("files") else ""
    return Problem(name, field, detail["msg"] + found + do)


def _run(data: bytes | None) -> tuple[dict[str, Any] | None, list[Problem]]:
    if data is None:
        return None, []
    try:
        run = parse_json(data, strict=True)
    except InputError as error:
        return None, [Problem("run.json", "", str(error))]
    if not isinstance(run, dict):
        return None, [Problem("run.json", "", f"found {type(run).__name__}, wanted an object")]
    return run, []


_DECISIONS = {
    "trial_id": "text",
    "observer": "text",
    "decision_variable": "number",
    "status": "text",
    "shown_first": "text",
}
_TRIALS = {
    "trial_id": "text",
    "network": "text",
    "layer": "text",
    "unit": "number",
    "mode": "text",
    "difficulty": "text",
    "batch": "number",
    "catch": "flag",
}


def _table(
    name: str,
    files: dict[str, bytes],
    columns: dict[str, str],
    *,
    optional: dict[str, str],
    rows: int,
) -> tuple[pd.DataFrame | None, list[Problem]]:
    if name not in files:
        return None, []
    frame, refused = read_table(files[name], columns=columns, optional=optional, rows=rows)
    return frame, [Problem(name, r.column, r.why) for r in refused]
