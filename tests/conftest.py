"""Fixtures every test may use."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from support.small_study import SmallStudy

    from imi_bench.simulation.world import World

# A tenth of a second a property; `pytest --hypothesis-profile many` looks ten times as far.
# A machine that is busy draws slowly, which says nothing of the strategies.
busy = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("imi", max_examples=40, **busy)
settings.register_profile("many", max_examples=400, **busy)
settings.load_profile("imi")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Whoever runs the tests may have a wide terminal, want colours, or reach the world by a proxy.
for name in ("COLUMNS", "LINES", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
    os.environ.pop(name, None)
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = "127.0.0.1,localhost"

# While thousands of modules are imported there is no garbage to look for (see below).
gc.disable()

_SHARED = Path(
    os.environ.get("IMI_BENCH_SHARED", Path(__file__).resolve().parents[2] / "shared")
).resolve()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of the tests, and the tests out of the user's cache."""
    os.environ["IMI_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def one_command_tree() -> None:
    """Build the tree of commands once: typer would build it anew at each of many hundred calls."""
    import typer.main
    import typer.testing

    built = functools.cache(typer.main.get_command)
    typer.main.get_command = built
    typer.testing._get_command = built


@pytest.fixture(scope="session", autouse=True)
def no_loss_of_power() -> None:
    """No test cuts the power, so none waits until a disk has written what it was given."""
    os.fsync = lambda _: None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of data beside the checkout; required in CI, optional elsewhere."""
    if _SHARED.is_dir():
        return _SHARED
    message = f"no folder of shared data at {_SHARED} (set IMI_BENCH_SHARED)"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def demo_world() -> World:
    """The mini-benchmark of the demo, in pictures a third as wide, drawn once."""
    from imi_bench.simulation.world import build

    return build(seed=0, size=32)


@pytest.fixture(scope="session")
def shared_study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """One small study on disk and in memory, made once; new folders may be added."""
    from support.small_study import small_study

    return small_study(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium by Playwright, for the tests marked ``browser``."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("no chromium on the PATH (Debian: apt-get install chromium)")
    quiet = ("background-networking", "component-update", "sync")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += [f"--disable-{what}" for what in quiet]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def imi_bench_main(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`imi-bench` as its `main` runs it: exit code, standard output, standard error."""
    from imi_bench.cli.app import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["imi-bench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def pytest_collection_finish() -> None:
    """Search for garbage again, more rarely, and not among a million objects of imports."""
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)
    gc.enable()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI nothing may be missing, so a skip is a failure there."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped where a skip is a failure: {reason}"
