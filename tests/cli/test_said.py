"""What every printout says: how many answers are missing, and that data are made up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from support.made_submissions import (
    Files,
    good_files,
    good_frame,
    good_toml,
    made_board,
    parquet,
    sealed,
    write_folder,
)
from support.small_study import SmallStudy
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.leaderboard.site import build_board
from imi_bench.tables import DecisionVariables

STUMBLES = """
import numpy as np
from imi_bench.observers import pooling

class Stumbles:
    name = "stumbles"

    def describe(self):
        return {"kind": "mean colour, raises on some images", "version": 1}

    def encode(self, images):
        if any(int(image.sum(dtype=int)) % 37 == 0 for image in images):
            raise ValueError("cannot see this")
        return np.array([image.mean(axis=(0, 1)) for image in images])

    def decide(self, trials, codes):
        return pooling.decide(codes, trials, similarity="l2")
"""


@dataclass(frozen=True)
class Gaps:
    """A run that owes `lost` answers, a machine that owes `machine_lost`, and a board."""

    study: SmallStudy
    folder: Path
    lost: int
    machine_lost: int

    @property
    def people(self) -> tuple[object, ...]:
        return ("--responses", self.study.folder / "people")


def refused(decisions: DecisionVariables, folder: Path, *, every: int) -> int:
    """Write the decisions with some refused; how many."""
    gone = np.arange(len(decisions)) % every == 0
    value = np.where(gone, np.nan, decisions.decision_variable)
    status = np.where(gone, "refused", decisions.status)
    folder.mkdir()
    kept = replace(decisions, decision_variable=value, status=status)
    kept.to_frame().to_parquet(folder / "decisions.parquet")
    return int(gone.sum())


def gappy_files(name: str) -> Files:
    """A submission that answers 23 of the 24 trials."""
    frame = good_frame()
    frame.loc[0, ["decision_variable", "status"]] = [np.nan, "refused"]
    toml = tomli_w.dumps({**good_toml(), "name": name, "claims": {}}).encode()
    return sealed(good_files() | {"submission.toml": toml, "decisions.parquet": parquet(frame)})


@pytest.fixture(scope="module")
def gaps(shared_study: SmallStudy, tmp_path_factory: pytest.TempPathFactory) -> Gaps:
    folder = tmp_path_factory.mktemp("gaps")
    (folder / "stumbles.py").write_text(STUMBLES)
    trials = shared_study.folder / "trials"
    run = imi.answer(f"{folder / 'stumbles.py'}:Stumbles", trials, out=folder / "gappy")
    lost = int((~run.decisions.answered).sum())
    machine_lost = refused(shared_study.machine, folder / "machine", every=9)
    board = made_board(folder, names=())
    write_folder(gappy_files("first"), board.folder / "submissions" / "first" / "1")
    build_board(board)
    write_folder(gappy_files("gappy"), folder / "submission")
    return Gaps(shared_study, folder, lost, machine_lost)


Verb = tuple[Callable[[Gaps], tuple[object, ...]], Callable[[Gaps], int | None]]


VERBS: dict[str, Verb] = {
    "run": (
        lambda g: (
            *("run", "--observer", f"{g.folder / 'stumbles.py'}:Stumbles"),
            *("--trials", g.study.folder / "trials", "--out", g.folder / "run"),
        ),
        lambda g: g.lost,
    ),
    "run of several": (
        lambda g: (
            *("run", "--observer", f"{g.folder / 'stumbles.py'}:Stumbles"),
            *("--observer", "chance"),
            *("--trials", g.study.folder / "trials", "--out", g.folder / "several"),
        ),
        lambda g: g.lost,
    ),
    "calibrate": (
        lambda g: ("calibrate", "--decisions", g.folder / "gappy", *g.people),
        lambda g: g.lost,
    ),
    "score": (
        lambda g: (*("score", "--decisions", g.folder / "gappy", *g.people), "--resamples", 50),
        lambda g: g.lost,
    ),
    "compare": (
        lambda g: (
            *("compare", g.folder / "gappy", g.study.folder / "chance", *g.people),
            *("--resamples", 50),
        ),
        lambda g: g.lost,
    ),
    "gate, new": (
        lambda g: ("gate", g.folder / "gappy", "--against", g.study.folder / "chance"),
        lambda g: g.lost,
    ),
    "gate, baseline": (
        lambda g: ("gate", g.study.folder / "chance", "--against", g.folder / "gappy"),
        lambda g: g.lost,
    ),
    "report": (
        lambda g: (
            *("report", g.folder / "gappy", *g.people),
            *("--trials", g.study.folder / "trials", "--out", g.folder / "page.html"),
        ),
        lambda g: g.lost,
    ),
    "learn": (
        lambda g: (
            *("learn", "--decisions", g.folder / "gappy", "--decisions", g.study.folder / "chance"),
            *(*g.people, "--boot", 0, "--curves", 0),
        ),
        lambda g: g.lost,
    ),
    "effects": (
        lambda g: (
            *("effects", "--responses", g.study.folder / "wide"),
            *("--decisions", g.folder / "machine"),
        ),
        lambda g: g.machine_lost,
    ),
    "stimuli show": (
        lambda g: (
            *("stimuli", "show", g.study.folder / "trials", "--count", 1),
            *("--out", g.folder / "sheet.png"),
        ),
        lambda _: None,
    ),
    "submit validate": (
        lambda g: ("submit", "validate", g.folder / "submission", "--board", g.folder / "tiny"),
        lambda _: 95.8,
    ),
    "leaderboard add": (
        lambda g: ("leaderboard", "add", g.folder / "submission", g.folder / "tiny"),
        lambda _: 95.8,
    ),
    "leaderboard verify": (
        lambda g: ("leaderboard", "verify", g.folder / "tiny"),
        lambda _: 95.8,
    ),
    "leaderboard build": (
        lambda g: ("leaderboard", "build", g.folder / "tiny"),
        lambda _: None,
    ),
    "leaderboard check": (
        lambda g: ("leaderboard", "check", g.folder / "tiny"),
        lambda _: None,
    ),
    "leaderboard list": (
        lambda g: ("leaderboard", "list", "--boards", g.folder),
        lambda _: None,
    ),
}
SLOW = ("learn", "effects", "report", "leaderboard add")


def said(arguments: tuple[object, ...], *more: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, [*map(str, arguments), *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout, result.stdout + result.stderr


def counted(text: str, lost: float) -> bool:
    """Whether a text speaks of that many missing answers, or of that share of answers."""
    if isinstance(lost, float):
        return f"{lost:.1f}%" in text
    missing = r"no answer|without an answer|have no answer|refused"
    return any(
        re.search(rf"\b{lost}\b", line) and re.search(missing, line) for line in text.splitlines()
    )


def told(record: Any, lost: float) -> bool:
    """Whether a JSON object holds the count under a name or in a sentence that says what it is."""
    if isinstance(record, list):
        return any(told(one, lost) for one in record)
    if not isinstance(record, dict):
        return isinstance(record, str) and counted(record, lost)
    for name, value in record.items():
        if re.search("unanswered|refused|error", name) and holds(value, lost):
            return True
        if name == "coverage" and isinstance(value, float) and round(100 * value, 1) == lost:
            return True
        if told(value, lost):
            return True
    return False


def holds(value: Any, lost: float) -> bool:
    if isinstance(value, dict):
        return any(holds(one, lost) for one in value.values())
    return isinstance(value, int) and value == lost


def marked_made_up(record: Any) -> bool:
    if isinstance(record, list):
        return any(map(marked_made_up, record))
    if not isinstance(record, dict):
        return False
    return record.get("simulated") is True or any(map(marked_made_up, record.values()))


CASES = [pytest.param(name, marks=pytest.mark.whole) if name in SLOW else name for name in VERBS]


@pytest.mark.parametrize("name", CASES)
def test_missing_answers_and_made_up_data_are_said(name: str, gaps: Gaps) -> None:
    arguments, owed = VERBS[name]
    lost = owed(gaps)
    _, printed = said(arguments(gaps))
    assert re.search("simulated", printed, re.IGNORECASE)
    assert lost is None or counted(printed, lost)


@pytest.mark.parametrize("name", CASES)
def test_json_has_them_too(name: str, gaps: Gaps) -> None:
    arguments, owed = VERBS[name]
    lost, given = owed(gaps), list(arguments(gaps))
    if name.startswith("run"):
        given[given.index("--out") + 1] = gaps.folder / f"json-{name.replace(' ', '-')}"
    if name == "leaderboard add":
        again = write_folder(gappy_files("gappy-too"), gaps.folder / "submission-too")
        given[2] = again
    record = json.loads(said(tuple(given), "--json")[0])
    assert marked_made_up(record)
    assert lost is None or told(record, lost)


def test_a_model_of_a_table_that_says_so_is_of_simulated_answers(tmp_path: Path) -> None:
    rows = [
        f"{(k * 7) % 3 // 2},{k % 2},u{k % 5},True" for k in range(60)
    ]  # `effects --out` writes such a column beside the answers
    table, saved = tmp_path / "answers.csv", tmp_path / "model.json"
    table.write_text("\n".join(["correct,synthetic,unit,simulated", *rows]))
    formula = "correct ~ synthetic + (1 | unit)"
    printed, _ = said(("fit", formula, table, "--save", saved))
    assert "SIMULATED answers" in printed
    record = json.loads(said(("fit", formula, table), "--json")[0])
    assert any("SIMULATED" in one for one in record["remarks"])
    assert "SIMULATED answers" in said(("model", "intervals", saved))[1]
    table.write_text(table.read_text().replace("True", "False"))
    assert "SIMULATED" not in said(("fit", formula, table))[1]
