"""A board on disk: its rules, its trials and humans, its submissions.

::

    leaderboards/<board>/
      board.toml           the rules; frozen once published, until the version is raised
      trials.parquet       observers and measures boards: what was shown
      responses.parquet    the same boards: what people (or simulated participants) answered
      calibrations/        networks boards: one fitted choice model an observer of the panel
      references/<name>/   the same boards: evidence of the yardsticks, held by the rules' hashes
      submissions/<name>/<revision>/{submission.toml, decisions.parquet, run.json}
      submissions/<any>.zip  the same, packed
      board.json board.csv README.md      rendered by `leaderboard build`
"""

from __future__ import annotations

import sysconfig
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imi_bench.arguments import checked
from imi_bench.documents import read_json, read_toml
from imi_bench.errors import InputError, NotComparableError, UnknownNameError
from imi_bench.leaderboard.submission import Digest, Line, Slug, Version, declared_place
from imi_bench.provenance import sha256_file, sha256_json
from imi_bench.release.study_files import read_study
from imi_bench.tables import Study
from imi_bench.text import plural

_DATA = ("trials.parquet", "responses.parquet", "responses.json", "stimuli.parquet")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Ranking(_Strict):
    """How rows are ordered."""

    score: Literal["bits", "gain", "interpretability"]
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


class Reference(_Strict):
    """A yardstick of the board's own: shown unranked, its evidence held by its hash."""

    name: Slug
    title: Line
    sha256: Digest = Field(description="of references/<name>/decisions.parquet")


class Evidence(_Strict):
    """Boards of networks: the least that is ranked, and how units are drawn."""

    least_units: Annotated[int, Field(ge=2)] = 10
    least_layers: Annotated[int, Field(ge=1)] = 2
    least_trials: Annotated[int, Field(ge=2)] = 50
    drawn: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=0, description="units drawn of each network; 0: submitters choose them"
    )
    seed: int = Field(default=0, description="of the draw (`imi-bench networks units --seed`)")
    reach: Annotated[float, Field(ge=1)] = Field(
        default=10.0,
        description="largest decision variable allowed, in multiples of the largest one that the "
        "observer's calibration saw",
    )


class Rules(_Strict):
    """``board.toml``."""

    format: Version
    board: Slug
    version: Annotated[int, Field(ge=1)]
    kind: Literal["observers", "measures", "networks"]
    title: Line
    question: Line
    about: str
    simulated: bool
    published: Line | None = Field(default=None, description="date; rules are frozen from then on")
    study_hash: Digest | None = Field(default=None, description="hash of trials and humans")
    trials_hash: Digest | None = Field(default=None, description="hash of trials and images")
    sides_seed: int = Field(default=0, description="seed of the sides on which queries are shown")
    references: list[Reference] = Field(
        default_factory=list, description="yardsticks of the board's own, shown unranked"
    )
    panel: list[Slug] = Field(default_factory=list, description="networks boards: observers asked")
    evidence: Evidence = Evidence()
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
        table = read_toml(path)
        try:
            rules = Rules.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(f"bad field '{field}'", where=path, found=first["msg"]) from error
        if rules.board != folder.name:
            raise InputError(
                "board's name is not its folder's",
                where=path,
                found=repr(rules.board),
                wanted=repr(folder.name),
                do=f"rename the folder to {rules.board}, or, for a board of your own, write "
                f'board = "{folder.name}" and remove `published` and board.json',
            )
        return cls(folder, rules, sha256_file(path))

    @property
    def ready(self) -> bool:
        """Whether there is evidence to score against; the IMI boards wait for theirs."""
        if self.rules.kind == "networks":
            return (self.folder / "calibrations").is_dir()
        return (self.folder / "responses.parquet").is_file()

    def study(self) -> Study:
        """Trials and humans of a board of observers or measures, held against the recorded hash.

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

    @property
    def published_rows(self) -> dict[str, Any]:
        """``board.json`` as built last; empty where there is none."""
        built = self.folder / "board.json"
        record = read_json(built) if built.is_file() else {}
        return record if isinstance(record, dict) else {}

    def require_frozen(self) -> None:
        """Refuse rules that changed after the board was published, under the same version.

        Raises
        ------
        NotComparableError
            If the rules name a date of publication and ``board.json`` was made by others.
        """
        record = self.published_rows
        if self.rules.published is None or not record:
            return
        before = record.get("version", 0)
        if type(before) is not int:
            raise InputError(
                "board.json is not of a board",
                where=self.folder / "board.json",
                found=f"version {str(before)[:40]!r}",
                do="restore it",
            )
        raised = self.rules.version > before
        if record.get("rules_hash") != self.rules_hash and not raised:
            raise NotComparableError(
                "rules changed since the board was published",
                where=self.folder / "board.toml",
                found=self.rules_hash,
                wanted=record.get("rules_hash"),
                do="restore them, or raise `version`: other rules are another version",
            )

    def require_evidence(self, *, withdrawn: Collection[str] = ()) -> None:
        """Refuse to recompute a board of which rows are known but not their evidence.

        Parameters
        ----------
        withdrawn : Collection[str]
            Collection of str
            ``name/revision`` of submissions taken back on purpose.

        Raises
        ------
        NotComparableError
            Naming the rows of ``board.json`` without files.
        """
        rows = self.published_rows.get("rows", [])
        if not isinstance(rows, list):
            raise InputError(
                "board.json is not of a board",
                where=self.folder / "board.json",
                found=f"rows of type {type(rows).__name__}",
                do="restore it",
            )
        known = {
            f"{row.get('name')}/{row.get('revision')}"
            for row in rows
            if isinstance(row, dict) and row.get("kind") == "submission"
        }
        paths = self.submissions()
        here = {"/".join(path.parts[-2:]) for path in paths}
        if known - here - set(withdrawn):
            here |= {name for path in paths if path.is_file() and (name := declared_place(path))}
        gone = sorted(known - here - set(withdrawn))
        if gone:
            raise NotComparableError(
                f"evidence of {len(gone)} of {plural(len(known), 'row')} is missing",
                where=self.folder / "submissions",
                found=f"none of {', '.join(gone[:4])}" + (" …" if len(gone) > 4 else ""),
                do="restore the folders, or take rows back by withdraw=NAME/REVISION",
            )

    def require_writable(self) -> None:
        """Refuse to write into an installed package.

        Raises
        ------
        InputError
            If the board's folder lies in a folder of installed packages.
        """
        for name in ("purelib", "platlib"):
            if self.folder.resolve().is_relative_to(Path(sysconfig.get_paths()[name]).resolve()):
                raise InputError(
                    "the board belongs to an installed package",
                    where=self.folder,
                    do="copy its folder elsewhere and name the copy, or work in a checkout",
                )

    def submissions(self) -> list[Path]:
        """Everything that lies in ``submissions/`` and is to be used or refused, by path.

        Folders ``<name>/<revision>`` first, zips, and whatever else stands in their places.
        """
        found: list[Path] = []
        root = self.folder / "submissions"
        for entry in sorted(root.iterdir()) if root.is_dir() else []:
            if entry.name == ".DS_Store":
                continue
            try:
                plain = entry.is_dir() and not entry.is_symlink()
                inside = sorted(entry.iterdir()) if plain else []
            except OSError:  # refused where it is read
                inside = []
            nested = inside and all(p.is_dir() or p.suffix == ".zip" for p in inside)
            found += inside if nested else [entry]
        return sorted(found, key=lambda path: (path.is_file(), path))

    @cached_property
    def data_hash(self) -> str:
        """Of the board's own files: trials, people, calibrations, yardsticks, stimuli."""
        folders = [self.folder / name for name in ("calibrations", "references")]
        files = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()]
        files += [self.folder / name for name in _DATA if (self.folder / name).is_file()]
        return sha256_json({p.relative_to(self.folder).as_posix(): sha256_file(p) for p in files})


def shipped() -> list[str]:
    """Names of the boards that come with the package."""
    root = resources.files("imi_bench.leaderboard.boards")
    return sorted(p.name for p in root.iterdir() if p.joinpath("board.toml").is_file())


@checked
def find(name_or_path: str, *, boards: Path | None = None) -> Board:
    """A board by path, or by the name of one in `boards` or that comes with the package.

    Parameters
    ----------
    name_or_path : str
    boards : Path, optional
        Folder of boards to look in; by default those of the package.

    Raises
    ------
    UnknownNameError
        If it is neither.
    """
    path = Path(name_or_path)
    if path.joinpath("board.toml").is_file() or (boards is None and path.is_dir()):
        return Board.read(path.resolve())
    root = boards or Path(str(resources.files("imi_bench.leaderboard.boards")))
    names = [folder.name for folder in _boards_in(root)]
    UnknownNameError.unless_among(name_or_path, names, kind="board")
    return Board.read(root.resolve() / name_or_path)


@checked
def listed(boards: Path | None = None) -> list[Board]:
    """The boards of a folder, by default those that come with the package."""
    root = boards or Path(str(resources.files("imi_bench.leaderboard.boards")))
    return [Board.read(folder.resolve()) for folder in _boards_in(root)]


def _boards_in(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError("no folder of boards", where=root)
    return sorted(p for p in root.iterdir() if p.joinpath("board.toml").is_file())
