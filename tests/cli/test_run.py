"""`imi-bench run`: what is printed, what is written, which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support.made_trials import make_task, make_unit

from imi_bench.cli.output import print_table

_OBSERVERS = Path(__file__).parents[1] / "support" / "made_observers.py"


@pytest.fixture
def stimuli(tmp_path: Path) -> Path:
    for channel in (1, 2):
        make_unit(tmp_path / "stimuli" / "layer", channel, batches=2)
    return tmp_path / "stimuli"


@pytest.fixture
def command(tmp_path: Path, stimuli: Path) -> list[object]:
    return [
        "run",
        "--observer",
        f"{_OBSERVERS}:MeanColour",
        "--trials",
        stimuli,
        "--out",
        tmp_path / "out",
        "--cache",
        tmp_path / "cache",
    ]


def test_a_run(
    command: list[object],
    imi_bench_main: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    code, out, err = imi_bench_main(*command, "--network", "net_hard85")
    assert code == 0
    for word in (
        "mean-colour: proportion correct",
        "main",
        "natural",
        "synthetic",
        "hard85",
        "catch",
    ):
        assert word in out
    assert "8 trials (8 ok)" in err
    assert "named" not in err
    frame = pd.read_parquet(tmp_path / "out" / "decisions.parquet")
    assert len(frame) == 8
    assert frame["trial_id"][0] == "net/layer/1/natural/hard85/0/catch"
    code, out, err = imi_bench_main(*command, "--network", "net_hard85")
    assert code == 0
    assert "holds this very run already" in err


def test_json_is_one_object(
    command: list[object],
    imi_bench_main: Callable[..., tuple[int, str, str]],
    stimuli: Path,
) -> None:
    code, out, err = imi_bench_main(*command, "--json", "--batch-size", "7")
    said = json.loads(out)
    assert code == 0
    assert "not named" in err
    assert said["accuracy"]["all"]["main"]["n"] == 4
    assert said["record"]["batch_size"] == 7
    assert said["record"]["source"]["path"] == str(stimuli)
    assert said["record"]["images"]["embedded"] == said["record"]["images"]["distinct"]


def test_bad_files_stop_the_run_or_are_listed(
    command: list[object],
    imi_bench_main: Callable[..., tuple[int, str, str]],
    stimuli: Path,
    tmp_path: Path,
) -> None:
    bad = stimuli / "layer" / "channel_1" / "natural_images" / "batch_1" / "max_3.png"
    bad.write_bytes(bad.read_bytes()[:-40])
    code, out, err = imi_bench_main(*command)
    assert code == 2
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("error: image is damaged or truncated")
    assert "max_3.png" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
    code, _, err = imi_bench_main(*command, "--skip-bad")
    assert code == 0
    assert "skipped 1 in all" in err
    skipped = json.loads((tmp_path / "out" / "run.json").read_text())["source"]["skipped"]
    assert skipped[0]["where"] == "unnamed/layer/1/natural/easy/1"
    assert "max_3.png" in skipped[0]["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--trials": "/nowhere"}, "no such file or folder: /nowhere"),
        ({"--observer": "chanse"}, "did you mean 'chance'"),
        ({"--observer": "/nowhere.py:Class"}, "nowhere.py"),
        ({"--batch-size": "lots"}, "bad batch size"),
        ({"--device": "gpu"}, "unknown device: found 'gpu', wanted one of auto, cpu, cuda, mps"),
        ({"--dtype": "float16"}, "unknown number type"),
        ({"--out": __file__}, "not a folder"),
        ({"--out": f"{__file__}/out"}, "cannot read or write: "),
        ({"--seed": "one"}, "Invalid value for '--seed'"),
        ({"--sede": "1"}, "No such option"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(
    change: dict[str, str],
    message: str,
    command: list[object],
    imi_bench_main: Callable[..., tuple[int, str, str]],
) -> None:
    for option, value in change.items():
        if option in command:
            command[command.index(option) + 1] = value
        else:
            command += [option, value]
    code, out, err = imi_bench_main(*command)
    assert code == 2
    assert out == ""
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["rnu"], ["report"], ["submit", "validate", "x"]], ids=str)
def test_wrong_usage_is_one_line(
    arguments: list[str], imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = imi_bench_main(*arguments)
    assert code == 2
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("error: ")
    assert "--help`" in line


def test_no_arguments_print_the_help(
    imi_bench_main: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, err = imi_bench_main("submit")
    assert code == 2
    assert "validate" in out
    assert "error" not in err


def test_ctrl_c_ends_with_130(
    command: list[object],
    imi_bench_main: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("imi_bench.replay.runner.replay", interrupt)
    code, out, err = imi_bench_main(*command)
    assert code == 130
    assert out == ""
    assert err.strip().splitlines()[-1] == "stopped; no file is half-written"


def test_a_long_title_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["n"], [[1]], title="a title [with brackets] wider than its table")
    assert capsys.readouterr().out.splitlines()[0] == "a title [with brackets] wider than its table"


def test_another_run_in_the_folder(
    command: list[object], imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    assert imi_bench_main(*command)[0] == 0
    code, _, err = imi_bench_main(*command, "--seed", "1")
    assert code == 2
    assert "holds another run" in err
    assert imi_bench_main(*command, "--seed", "1", "--force")[0] == 0


def test_many_notes_are_cut_short(
    command: list[object],
    imi_bench_main: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    for task in range(3):
        make_task(tmp_path / "tasks" / f"{task}_natural", trials=10, numbers=range(10))
    command[command.index("--trials") + 1] = tmp_path / "tasks"
    code, _, err = imi_bench_main(*command)
    assert code == 0
    assert err.count("note: ") == 20
    assert "41 more such lines, listed in run.json" in err
    notes = json.loads((tmp_path / "out" / "run.json").read_text())["source"]["notes"]
    assert len(notes) == 61


@pytest.mark.whole
def test_the_papers_stimuli_and_a_light_import(shared: Path, tmp_path: Path) -> None:
    """The command of the README on the real images, in a fresh process that must not load torch."""
    program = (
        "import sys; from imi_bench.cli.app import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'matplotlib', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "run",
            "--observer",
            "pixel-cosine",
            "--trials",
            str(shared / "imi" / "stimuli"),
            "--out",
            str(tmp_path / "out"),
            "--cache",
            str(tmp_path / "cache"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("[]")
    assert len(pd.read_parquet(tmp_path / "out" / "decisions.parquet")) == 10
