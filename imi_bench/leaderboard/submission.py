"""What a submission declares, and how its three files are read.

``submission.toml`` says who, what and on which data; ``decisions.parquet`` is the evidence;
``run.json`` is the provenance. Scores in ``[claims]`` are only claims: boards recompute.
"""

from __future__ import annotations

import io
import json
import tomllib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from imi_bench.leaderboard.archive import Problem

MAX_ROWS = 2_000_000
MAX_UNCOMPRESSED = 512 << 20
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]


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
        description="unit ids (network/layer/unit) whose human answers were used to fit anything",
    )


class Cost(_Strict):
    """What answering took."""

    seconds: Annotated[float, Field(ge=0)] | None = None
    device: Line | None = None


class Declaration(_Strict):
    """``submission.toml``."""

    format: Literal[1] = Field(description="version of this schema")
    board: Slug = Field(description="folder name of the board")
    name: Slug
    revision: Slug
    title: Line
    authors: list[Line] = Field(min_length=1, max_length=100)
    link: HttpUrl | None = None
    licence: Line
    preprocessing: Line
    parameters: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="number of trained parameters"
    )
    weights: Weights
    training: Training = Training()
    calibration: CalibrationSplit = CalibrationSplit()
    cost: Cost = Cost()
    claims: dict[Slug, float] = Field(default_factory=dict, max_length=50)


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


def parse(files: dict[str, bytes]) -> tuple[Submission | None, list[Problem]]:
    """Read the files of a submission; report every problem at once.

    Returns
    -------
    submission : Submission or None
        None if any file could not be read.
    problems : list of Problem
    """
    declaration, problems = _declaration(files.get("submission.toml"))
    run, more = _run(files.get("run.json"))
    problems += more
    decisions, more = _table("decisions.parquet", files.get("decisions.parquet"), _DECISIONS)
    problems += more
    trials = None
    if "trials.parquet" in files:
        trials, more = _table("trials.parquet", files["trials.parquet"], _TRIALS)
        problems += more
    if declaration is None or run is None or decisions is None:
        return None, problems
    return Submission(declaration, decisions, trials, run), problems


def _declaration(data: bytes | None) -> tuple[Declaration | None, list[Problem]]:
    name = "submission.toml"
    if data is None:
        return None, []
    try:
        return Declaration.model_validate_json(
            json.dumps(tomllib.loads(data.decode("utf-8")), allow_nan=True)
        ), []
    except UnicodeDecodeError as error:
        return None, [Problem(name, "", f"not UTF-8 (byte {error.start})")]
    except tomllib.TOMLDecodeError as error:
        return None, [Problem(name, "", f"not TOML ({error})")]
    except ValidationError as error:
        return None, [_from_pydantic(name, detail) for detail in error.errors(include_url=False)]
    except (TypeError, RecursionError, ValueError) as error:
        return None, [Problem(name, "", f"cannot be read ({error})")]


def _from_pydantic(name: str, detail: Any) -> Problem:
    field = ".".join(map(str, detail["loc"]))
    found = "" if detail["type"] == "missing" else f", found {str(detail['input'])[:80]!r}"
    return Problem(name, field, detail["msg"] + found)


def _run(data: bytes | None) -> tuple[dict[str, Any] | None, list[Problem]]:
    if data is None:
        return None, []
    try:
        run = json.loads(data)
    except (ValueError, RecursionError) as error:
        return None, [Problem("run.json", "", f"not JSON ({error})")]
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
    name: str, data: bytes | None, columns: dict[str, str]
) -> tuple[pd.DataFrame | None, list[Problem]]:
    if data is None:
        return None, []
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        rows = file.metadata.num_rows
        size = sum(
            file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)
        )
        if rows > MAX_ROWS or size > MAX_UNCOMPRESSED:
            limit = f"at most {MAX_ROWS:,} rows and {MAX_UNCOMPRESSED:,} bytes"
            return None, [Problem(name, "", f"found {rows:,} rows, {size:,} bytes; wanted {limit}")]
        present = file.schema_arrow.names
        problems = [Problem(name, column, "missing column") for column in columns.keys() - present]
        problems += [
            Problem(
                name, column, f"found type {file.schema_arrow.field(column).type}, wanted {kind}"
            )
            for column, kind in columns.items()
            if column in present and not _is_kind(file.schema_arrow.field(column).type, kind)
        ]
        doubled = sorted({column for column in present if present.count(column) > 1})
        problems += [Problem(name, column[:80], "column stands twice") for column in doubled]
        if problems:
            return None, sorted(problems, key=str)
        wanted = [*columns, *({"seconds"} & set(present))]
        table = file.read(columns=wanted)
        cells = {c: table.column(c).to_numpy(zero_copy_only=False) for c in wanted}
        # text stays as it is: guessing its type costs more than reading it
        frame = pd.DataFrame({c: pd.Series(v, dtype=v.dtype) for c, v in cells.items()})
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        return None, [Problem(name, "", f"not a readable Parquet file ({str(error)[:200]})")]
    holes = [c for c in columns if c != "decision_variable" and frame[c].isna().any()]
    if holes:
        return None, [Problem(name, c, f"{frame[c].isna().sum()} empty cells") for c in holes]
    return frame, []


def _is_kind(type_: Any, kind: str) -> bool:
    if kind == "text":
        return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))
    if kind == "flag":
        return bool(pa.types.is_boolean(type_))
    return bool(pa.types.is_floating(type_) or pa.types.is_integer(type_))
