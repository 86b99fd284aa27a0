"""A job of a workflow file, run as a host would: step by step, in a checkout of a repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["JobRun", "run_job"]


@dataclass
class JobRun:
    """What a job did.

    Attributes
    ----------
    printed : list of (str, int, str)
        Of every shell step that ran: its command, exit code, and what it printed.
    artifacts : list of Path
        Files that upload steps named, which exist.
    summary : str
        What steps added to the job's summary.
    """

    printed: list[tuple[str, int, str]] = field(default_factory=list)
    artifacts: list[Path] = field(default_factory=list)
    summary: str = ""

    @property
    def green(self) -> bool:
        """Whether every step ended with 0."""
        return all(code == 0 for _, code, _ in self.printed)

    @property
    def output(self) -> str:
        """Everything that was printed."""
        return "\n".join(text for _, _, text in self.printed)


def run_job(
    steps: list[Mapping[str, Any]],
    *,
    repository: Path,
    workspace: Path,
    package: Path,
    inputs: Mapping[str, str] | None = None,
) -> JobRun:
    """Run a job's steps.

    Parameters
    ----------
    steps : list of mapping
        As a workflow's or composite action's YAML has them. Steps that use an action of the host
        are played: checkout (of `repository`, or of `package` into `path`), setup-python,
        upload-artifact; another is an error.
    repository, package : Path
        What checkouts copy.
    workspace : Path
        New folder in which steps run.
    inputs : mapping, optional
        Of a composite action.

    Steps of ``pip install`` do nothing, as the package is installed.
    """
    done, summary = JobRun(), workspace.parent / f"{workspace.name}-summary.md"
    summary.touch()
    workspace.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    host = {**os.environ, "PATH": path, "GITHUB_ACTIONS": "true"}
    host["GITHUB_STEP_SUMMARY"] = str(summary)
    for step in steps:
        if not done.green and step.get("if") != "always()":
            continue
        if "uses" in step:
            _use(step, done, repository=repository, package=package, workspace=workspace)
            continue
        command = step["run"]
        if command.startswith("pip install"):
            assert (workspace / re.findall(r"\./([\w.]+)", command)[0] / "pyproject.toml").is_file()
            command = "true"
        given = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: (inputs or {})[m[1]], value)
            for name, value in step.get("env", {}).items()
        }
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
            cwd=workspace,
            env={**host, **given},
            capture_output=True,
            text=True,
        )
        done.printed.append((command, ran.returncode, ran.stdout + ran.stderr))
    done.summary = summary.read_text()
    return done


def _use(
    step: Mapping[str, Any], done: JobRun, *, repository: Path, package: Path, workspace: Path
) -> None:
    action, given = step["uses"].partition("@")[0], step.get("with", {})
    if action == "actions/checkout" and "path" in given:
        shutil.copytree(
            package,
            workspace / given["path"],
            ignore=shutil.ignore_patterns(".*", "site", "demo", "build", "*.egg-info"),
        )
    elif action == "actions/checkout":
        shutil.copytree(repository, workspace, dirs_exist_ok=True)
    elif action == "actions/upload-artifact":
        file = workspace / given["path"]
        assert file.is_file()
        done.artifacts.append(file)
    elif action != "actions/setup-python":
        raise ValueError(f"the host has no action {action}")
