"""A study by name: dry run, budgets, a killed process that goes on, page and record."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from support.bright_trials import bright_trials
from support.chat_server import Server, brightness_mind, serving

import imi_bench as imi
from imi_bench.cli.app import main
from imi_bench.errors import InputError, NotComparableError
from imi_bench.fewshot.record import read_study
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.prompt import Prompt
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.stimuli.trial_files import write_trials


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server(brightness_mind(per_shot=0.5))) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, server: Server) -> list[str]:
    write_trials(bright_trials(7), tmp_path / "trials")
    name = f"vlm:openai/scripted?base_url={server.url}&side=8&price_in=1&in_flight=1"
    return [
        *("fewshot", "--observer", name, "--trials", str(tmp_path / "trials")),
        *("--shots", "0,1,2", "--draws", "2", "--repeats", "2", "--out", str(tmp_path / "out")),
    ]


def run(command: list[str], capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    before, sys.argv = sys.argv, ["imi-bench", *command, *more]
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.whole
def test_dry_run_and_budget(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = run(command, capsys, "--dry-run")
    # 5 tests in 2 orders, 1 + 2 x 2 cells, a call for letters each and one without any image,
    # 2 trials twice in 2 orders
    assert code == 0
    assert "60 calls to make (0 known)" in said
    assert server.requests == []
    code, _, said = run(command, capsys)
    assert code == 2
    assert "add --yes" in said
    code, _, said = run(command, capsys, "--yes", "--max-requests", "20")
    assert code == 3
    assert "budget of requests" in said
    assert len(server.requests) == 20
    for wrong in (["--seed", "-1"], ["--tokens-per-image", "-3"], ["--parameters", "-5"]):
        code, _, said = run([*command, *wrong], capsys, "--yes", "--force")
        assert code == 2
        assert said.strip().splitlines()[-1].startswith("error: ")


@pytest.mark.whole
def test_a_study_and_its_page(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = run(command, capsys, "--yes", "--max-requests", "20")
    assert code == 3
    code, out, said = run(command, capsys, "--yes")
    assert code == 0, said
    assert len(server.requests) == 60
    assert "SIMULATED" in out
    assert "changed its answer in 0 of 2" in said
    found = read_study(tmp_path / "out")
    assert {p.shots for p in found.points} == {0, 1, 2}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["flips"][0]["flipped"] == 0
    assert record["ledgers"]["ledger.db"]["calls"] == {"ok": 60}
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Simulated data" in page
    shown = list((tmp_path / "out" / "prompts").glob("*.png"))
    assert shown
    assert all(f"prompts/{file.name}" in page for file in shown)
    code, _, said = run(command, capsys, "--dry-run")
    assert "0 calls to make (60 known)" in said
    code, _, said = run([*command, "--seed", "1"], capsys, "--yes")
    assert code == 2
    assert "holds another run" in said


@pytest.mark.whole
def test_a_killed_study_asks_no_question_twice(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enough, killed = threading.Event(), threading.Event()

    def hold(own: Server, body: object, handler: object) -> bool:
        if len(own.requests) >= 15:
            enough.set()
            killed.wait(200)
        return False

    server.behave = hold
    child = subprocess.Popen(
        [sys.executable, "-m", "imi_bench", *command, "--yes"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert enough.wait(120)
    child.send_signal(signal.SIGKILL)
    child.wait()
    killed.set()
    server.behave = None
    assert len(server.requests) == 15
    code, _, said = run(command, capsys, "--yes")
    assert code == 0, said
    assert len(server.requests) == 61  # one was in flight when the process died


@pytest.mark.whole
def test_ctrl_c_loses_no_answer_and_the_study_goes_on(
    command: list[str], server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers under way are awaited and kept; the end is 130; nothing is asked twice."""
    enough, go = threading.Event(), threading.Event()

    def hold(own: Server, body: object, handler: object) -> bool:
        if len(own.requests) >= 15:
            enough.set()
            go.wait(200)
        return False

    server.behave = hold
    command = [part.replace("in_flight=1", "in_flight=3") for part in command]
    screen, terminal = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "imi_bench", *command, "--yes"],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        # a shell without job control starts what runs in the background deaf to SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(terminal)
    shown = bytearray()

    def watch() -> None:
        """The server goes on once the program says that it stops."""
        with contextlib.suppress(OSError):  # the end of a terminal
            while more := os.read(screen, 4096):
                shown.extend(more)
                if b"stopping:" in shown:
                    go.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert enough.wait(120)
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130, shown
    watcher.join()
    os.close(screen)
    assert b"stopping:" in shown
    assert b"Traceback" not in shown
    asked = len(server.requests)
    ledger = Ledger(tmp_path / "out" / "ledger.db")
    assert ledger.totals()["calls"] == {"ok": asked}
    ledger.close()
    assert not (tmp_path / "out" / "run.json").exists()
    server.behave = None
    code, _, said = run(command, capsys, "--yes")
    assert code == 0, said
    assert len(server.requests) == 60


@pytest.mark.whole
def test_no_output_holds_the_key(
    command: list[str],
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    command = [part.replace("http://", "http://user:password@") for part in command]
    code, out, said = run(command, capsys, "--yes")
    assert code == 0, said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"ledger.db", "run.json", "index.html", "answers.parquet"} <= {p.name for p in files}
    for secret in ("very-secret", "password"):
        assert secret not in out + said
        for path in files:
            assert secret.encode() not in path.read_bytes(), path
            assert secret not in path.name


def test_a_letter_bias_is_normalised_away_in_one_order() -> None:
    class Biased:
        """Knows the answer faintly, and loves the letter A."""

        identity: ClassVar[dict[str, str]] = {"model": "biased"}
        reads_words_alone = True

        def __call__(self, prompt: Prompt) -> Scored:
            if not prompt.images:
                return Scored(1.0, -1.0)
            right, a, b = (float(image.mean()) for image in prompt.question.images[1:])
            fits = 0.01 * (abs(b - right) - abs(a - right))
            return Scored(1.0 + fits, -1.0 - fits)

    found = imi.fewshot(
        InContext(Biased(), identity=Biased.identity, name="biased", side=8),
        bright_trials(20),
        shots=(0, 2),
        draws=2,
        repeats=5,
    )
    table = found.variants().set_index(["shots", "variant"])
    for shots in (0, 2):
        assert table.loc[(shots, "raw"), "accuracy"] == 0.5
        assert table.loc[(shots, "raw"), "strong_as_a"] == 1.0
        for variant in ("content-free", "unconditional", "both orders"):
            # the grey gaps of a sheet mislead it now and then; the letter no more
            assert table.loc[(shots, variant), "accuracy"] > 0.9
    assert found.flips["flipped"].tolist() == [0]
    assert (found.letters["content_free"] == 2.0).all()


def test_gaps_are_paired_and_a_baseline_on_other_trials_is_refused() -> None:
    trials = bright_trials(12)
    scripted = InContext(
        lambda prompt: Scored(0.0, -1.0), identity={"model": "always A"}, name="a", side=8
    )
    chance = imi.answer("chance", trials)
    made = imi.fewshot(
        scripted, trials, shots=(0, 1), draws=1, repeats=0, baselines=[chance.decisions]
    )
    gap = made.gaps().set_index("shots").loc[0]
    credit = made.answers[made.answers["shots"] == 0].set_index("trial_id")["credit"]
    other = dict(zip(chance.decisions.trial_id, chance.decisions.credit, strict=True))
    assert gap["difference"] == pytest.approx(np.mean([c - other[t] for t, c in credit.items()]))
    foreign = imi.answer("chance", bright_trials(3, batches=2).take(np.array([1, 3, 5])))
    with pytest.raises(NotComparableError, match="baseline on other trials"):
        imi.fewshot(scripted, trials, shots=(0,), baselines=[foreign.decisions])


def test_a_budget_of_money_without_prices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs prices"):
        imi.fewshot("vlm:openai/m", bright_trials(4), max_cost=1.0, out=tmp_path)
