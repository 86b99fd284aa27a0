"""Workflows under .github: what they call is there."""

from __future__ import annotations

import configparser
import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
typer = pytest.importorskip("typer")

from imi_bench.cli.app import app  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs_of(path: Path) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def commands_of(job: dict[str, Any]) -> list[str]:
    """Its scripts, once for each value of its matrix."""
    scripts = [step["run"] for step in job.get("steps", ()) if "run" in step]
    matrix = job.get("strategy", {}).get("matrix", {})
    values = [[(name, value) for value in given] for name, given in matrix.items()]
    filled = []
    for script, chosen in itertools.product(scripts, itertools.product(*values)):
        for name, value in chosen:
            script = re.sub(rf"\$\{{\{{ *matrix\.{name} *\}}\}}", str(value), script)
        filled.append(script)
    return filled


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_workflow_calls_is_there(path: Path) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    known = typer.main.get_command(app)
    jobs = jobs_of(path)
    called = 0
    for name, job in jobs.items():
        assert set(job.get("needs", [])) <= set(jobs) or job["needs"] in jobs, name
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
        for script in commands_of(job):
            assert "${{ matrix" not in script
            for environment in re.findall(r"tox run -e (\S+)", script):
                assert f"testenv:{environment}" in tox, environment
                called += 1
            for words in re.findall(r"imi-bench ([a-z -]+)", script):
                verb = known
                for word in words.split(" --")[0].split():
                    if not hasattr(verb, "commands"):
                        break
                    assert word in verb.commands, words
                    verb = verb.commands[word]
                    called += 1
    assert called


def test_what_is_run_is_all_that_tox_offers_to_a_change() -> None:
    """A test of a kind that no workflow runs is no test."""
    run = {
        environment
        for path in FILES
        for job in jobs_of(path).values()
        for script in commands_of(job)
        for environment in re.findall(r"tox run -e (\S+)", script)
    }
    assert {"test", "minimal", "lowest", "lint", "types", "docs", "browser"} <= run


def test_the_site_holds_the_boards() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    assert "imi-bench leaderboard build --site site/boards" in tox["testenv:docs"]["commands"]
    upload = [
        step["with"]["path"]
        for job in jobs_of(ROOT / ".github" / "workflows" / "site.yml").values()
        for step in job["steps"]
        if "upload-pages" in step.get("uses", "")
    ]
    assert upload == ["site"]


def test_releases_take_python_that_the_package_takes() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    given = {
        step["with"]["python-version"]
        for path in FILES
        for job in jobs_of(path).values()
        for step in job.get("steps", ())
        if "setup-python" in step.get("uses", "")
    }
    assert {f">={version}" for version in given} == {wanted}
