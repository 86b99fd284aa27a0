"""A board on disk: its rules, its trials and humans, its submissions.

::

    leaderboards/<board>/
      board.toml           the rules; frozen once published, a new version is a new folder
      trials.parquet       observers boards: what was shown
      responses.parquet    observers boards: what people (or simulated participants) answered
      calibrations/        networks boards: one fitted choice model an observer of the panel
      submissions/<name>/<revision>/{submission.toml, decisions.parquet, run.json}
      board.json board.csv README.md      rendered by `leaderboard build`
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imi_bench.errors import InputError, NotComparableError, UnknownNameError
from imi_bench.leaderboard.submission import Line, Slug
from imi_bench.provenance import sha256_bytes
from imi_bench.release.study_files import read_study
from imi_bench.tables import Study

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ranking(_Strict):
    """How rows are ordered."""

    score: Literal["bits", "interpretability"]
    link: Literal["logit", "probit"] = "logit"
    folds_by: Literal["unit", "network"] = "unit"
    n_folds: Annotated[int, Field(ge=2, le=100)] = 10
    seed: int = 0
    n_resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    rule: Line


class Anchor(_Strict):
    """A published number shown as a row of its own, unranked."""

    name: Line
    value: float
    low: float
    high: float
    mode: Literal["natural", "synthetic"]
    source: Line


class Rules(_Strict):
    """``board.toml``."""

    format: Literal[1]
    board: Slug
    version: Annotated[int, Field(ge=1)]
    kind: Literal["observers", "networks"]
    title: Line
    question: Line
    about: str
    simulated: bool
    published: Line | None = Field(default=None, description="date; rules are frozen from then on")
    study_hash: Digest | None = Field(default=None, description="hash of trials and humans")
    trials_hash: Digest | None = Field(default=None, description="hash of trials and images")
    sides_seed: int = Field(default=0, description="seed of the sides on which queries are shown")
    references: list[Slug] = Field(
        default_factory=list, description="submissions shown as yardsticks, unranked"
    )
    panel: list[Slug] = Field(default_factory=list, description="networks boards: observers asked")
    ranking: Ranking
    anchors: list[Anchor] = Field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Board:
    """A board's folder, its rules read and checked.

    Attributes
    ----------
    folder : Path
    rules : Rules
    rules_hash : str
        SHA-256 of ``board.toml``.
    """

    folder: Path
    rules: Rules
    rules_hash: str

    @classmethod
    def read(cls, folder: Path) -> Board:
        """Read ``board.toml``.

        Raises
        ------
        InputError
            If it is missing or breaks the schema.
        """
        path = folder / "board.toml"
        if not path.is_file():
            raise InputError("no board", where=folder, wanted="a folder with board.toml")
        data = path.read_bytes()
        try:
            rules = Rules.model_validate(tomllib.loads(data.decode("utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError("not TOML", where=path, found=error) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(f"bad field '{field}'", where=path, found=first["msg"]) from error
        if rules.board != folder.name:
            raise InputError("board's name is not its folder's", where=path, found=rules.board)
        return cls(folder, rules, sha256_bytes(data))

    @property
    def ready(self) -> bool:
        """Whether there is evidence to score against; the IMI boards wait for theirs."""
        if self.rules.kind == "networks":
            return (self.folder / "calibrations").is_dir()
        return (self.folder / "responses.parquet").is_file()

    def study(self) -> Study:
        """Trials and humans of an observers board, held against the recorded hash.

        Raises
        ------
        NotComparableError
            If they are missing or not those the board was published with.
        """
        for name in ("trials", "responses"):
            path = self.folder / f"{name}.parquet"
            if not path.is_file():
                raise NotComparableError(
                    f"the board has no {name}", where=path, do="see the board's README.md"
                )
        study = read_study(self.folder)
        if study.hash != self.rules.study_hash:
            raise NotComparableError(
                "trials or humans changed since the board was published",
                where=self.folder,
                found=study.hash,
                wanted=self.rules.study_hash,
                do="restore the files; other humans make a new board",
            )
        return study

    def require_frozen(self) -> None:
        """Refuse rules that changed after the board was published.

        Raises
        ------
        NotComparableError
            If the rules name a date of publication and ``board.json`` was made by others.
        """
        built = self.folder / "board.json"
        if self.rules.published is None or not built.is_file():
            return
        known = json.loads(built.read_text(encoding="utf-8")).get("rules_hash")
        if known != self.rules_hash:
            raise NotComparableError(
                "rules changed since the board was published",
                where=self.folder / "board.toml",
                found=self.rules_hash,
                wanted=known,
                do="restore them; other rules are a new version in a new folder",
            )

    def submission_folders(self) -> list[Path]:
        """``submissions/<name>/<revision>`` folders, by name and revision."""
        return sorted(p for p in (self.folder / "submissions").glob("*/*") if p.is_dir())


def shipped() -> list[str]:
    """Names of the boards that come with the package."""
    root = resources.files("imi_bench.leaderboard.boards")
    return sorted(p.name for p in root.iterdir() if p.joinpath("board.toml").is_file())


def find(name_or_path: str) -> Board:
    """A board by path, or by the name of one that comes with the package.

    Raises
    ------
    UnknownNameError
        If it is neither.
    """
    path = Path(name_or_path)
    if path.joinpath("board.toml").is_file() or path.is_dir():
        return Board.read(path.resolve())
    names = shipped()
    if name_or_path not in names:
        raise UnknownNameError.among(name_or_path, names, kind="board")
    return Board.read(Path(str(resources.files("imi_bench.leaderboard.boards"))) / name_or_path)
