"""The composite action's own script, run by bash as a runner runs it, with its summary file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imi_bench.simulation.world import build
from imi_bench.stimuli.trial_files import write_trials

ACTION = Path(__file__).parents[2] / ".github" / "actions" / "imi-gate" / "action.yml"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    write_trials(build(seed=0).trials, folder / "trials")
    program = folder / "bin" / "imi-bench"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nfrom imi_bench.cli.app import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return folder


@pytest.mark.whole
@pytest.mark.parametrize(
    ("baseline", "max_drop", "code", "says"),
    [("colour-histogram", "0.05", 0, "::notice"), ("classical", "0.01", 1, "::error")],
)
def test_action(
    workspace: Path, baseline: str, max_drop: str, code: int, says: str, tmp_path: Path
) -> None:
    text = ACTION.read_text(encoding="utf-8")
    script = textwrap.dedent(text.partition("run: |\n")[2])
    given = {
        "OBSERVER": "colour-histogram",
        "TRIALS": "trials",
        "BASELINE": f"observers-mini/{baseline}",
        "MAX_DROP": max_drop,
        "OUT": str(tmp_path / "run"),
    }
    assert set(re.findall(r"^ +([A-Z_]+): \$", text, re.M)) == set(given)
    ended = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=workspace,
        env={
            **os.environ,
            **given,
            "PATH": f"{workspace / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "IMI_BENCH_CACHE": str(workspace / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert "simulated data" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "<testsuite" in (workspace / "gate.xml").read_text(encoding="utf-8")
