"""The workflow and the action of docs/gate.md, run as written: green, then red."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from support.workflows import JobRun, run_job

import imi_bench as imi
from imi_bench.stimuli.trial_table import write_trials

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```[ ]*$", re.M | re.S)


def block(page: str, containing: str) -> str:
    found = [text for *_, text in FENCE.findall((ROOT / "docs" / page).read_text())]
    return next(text for text in found if containing in text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page asks for: the tutorial's observer, the demo's trials, a baseline."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "my_model.py").write_text(block("tutorials/gate.md", "class Texture"))
    trials, _ = imi.demo_data()
    write_trials(trials, folder / "trials")
    imi.answer(f"{folder / 'my_model.py'}:Texture", trials, out=folder / "baseline")
    return folder


@pytest.fixture
def job(repository: Path, tmp_path: Path):
    workflow = yaml.safe_load(block("gate.md", "runs-on"))
    steps = workflow["jobs"]["gate"]["steps"]

    def run(change: tuple[str, str] | None = None) -> JobRun:
        place = repository.parent / f"{tmp_path.name}-changed"
        shutil.copytree(repository, place, dirs_exist_ok=True)
        if change is not None:
            text = (place / "my_model.py").read_text()
            assert change[0] in text
            (place / "my_model.py").write_text(text.replace(*change))
        return run_job(steps, repository=place, workspace=tmp_path / "job", package=ROOT)

    return run


def verdict(done: JobRun) -> tuple[int, int]:
    """Tests and failures in the file that the job keeps."""
    suite = ET.parse(done.artifacts[0]).getroot()
    suite = suite if suite.tag == "testsuite" else suite[0]
    return int(suite.get("tests", 0)), int(suite.get("failures", 0))


def test_a_change_that_leaves_the_answers_alone_is_green(job) -> None:
    done = job()
    assert done.green, done.output
    assert verdict(done) == (1, 0)
    assert "pass" in done.summary


def test_a_change_that_blinds_the_observer_is_red(job) -> None:
    done = job(("side=96", "side=8"))
    assert [code for _, code, _ in done.printed][-1] == 1, done.output
    assert verdict(done) == (1, 1)
    assert "::error" in done.output
    assert "worse" in done.summary


def test_the_action_does_the_same(repository: Path, tmp_path: Path) -> None:
    given = yaml.safe_load(block("gate.md", "imi-gate"))[0]
    action = yaml.safe_load((ROOT / ".github/actions/imi-gate/action.yml").read_text())
    defaults = {name: one["default"] for name, one in action["inputs"].items() if "default" in one}
    assert set(given["with"]) | set(defaults) == set(action["inputs"])
    steps = [{"uses": "actions/checkout@v4"}, *action["runs"]["steps"]]
    done = run_job(
        steps,
        repository=repository,
        workspace=tmp_path / "job",
        package=ROOT,
        inputs={**defaults, **given["with"]},
    )
    assert done.green, done.output
