"""A pytest plug-in: fail a test when an observer has become worse than its baseline.

Installed with the package (entry point ``pytest11``)::

    def test_my_model_is_no_worse(imi_gate):
        imi_gate("runs/new", against="runs/main", by="difficulty")

``--imi-baseline DIR``, ``--imi-max-drop X`` and ``--imi-undecided fail|pass`` set the defaults on
the command line, ``imi_baseline``, ``imi_max_drop`` and ``imi_undecided`` in pytest's ini file. A
relative baseline counts from pytest's rootdir.

Every test run of everybody who has the package installed loads this module, so it imports nothing
but pytest before the fixture is called.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what `typing` has, without the time that its import takes

import pytest  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from imi_bench.gate.verdict import GateResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, on the command line and in the ini file."""
    group = parser.getgroup("imi-bench")
    group.addoption("--imi-baseline", help="output folder of the baseline run")
    group.addoption("--imi-max-drop", type=float, help="tolerated drop of the score [0.01]")
    group.addoption(
        "--imi-undecided",
        choices=("fail", "pass"),
        help="what a test does when the data cannot tell [fail]",
    )
    parser.addini("imi_baseline", "output folder of the baseline run, relative to rootdir")
    parser.addini("imi_max_drop", "tolerated drop of the score", default="0.01")
    parser.addini("imi_undecided", "fail or pass: a test whose data cannot tell", default="fail")


@pytest.fixture(scope="session")
def imi_gate(pytestconfig: pytest.Config) -> Callable[..., GateResult]:
    """Compare a run with a baseline; fails the test if it is worse (or undecided).

    The fixture is a function ``imi_gate(new, *, against=None, max_drop=None, **options)``: `new`
    and `against` are what `imi_bench.gate` takes, such as output folders of ``imi-bench run``;
    the options are those of `imi_bench.gate.verdict.gate`. It returns the `GateResult` when the
    gate passes. Session-wide, so that fixtures of any scope may use it.
    """

    def check(
        new: Any, *, against: Any = None, max_drop: float | None = None, **arguments: Any
    ) -> GateResult:
        __tracebackhide__ = True
        from imi_bench.errors import ImiBenchError, NotEnoughDataError
        from imi_bench.gate.verdict import gate

        baseline = _baseline(pytestconfig) if against is None else against
        margin = _max_drop(pytestconfig) if max_drop is None else max_drop
        try:
            result = gate(new, against=baseline, max_drop=margin, **arguments)
        except NotEnoughDataError as error:
            pytest.fail(f"cannot tell: {error}", pytrace=False)
        except ImiBenchError as error:
            pytest.fail(str(error), pytrace=False)
        undecided = result.verdict == "cannot tell" and _undecided(pytestconfig) == "fail"
        if result.verdict == "worse" or undecided:
            pytest.fail(result.sentence, pytrace=False)
        return result

    return check


def _baseline(config: pytest.Config) -> Path:
    named = config.getoption("--imi-baseline") or config.getini("imi_baseline")
    if not named:
        raise pytest.UsageError(
            "imi_gate needs a baseline: against=…, --imi-baseline DIR or imi_baseline in the ini"
        )
    return config.rootpath / str(named)


def _max_drop(config: pytest.Config) -> float:
    given = config.getoption("--imi-max-drop")
    said = config.getini("imi_max_drop") if given is None else given
    try:
        return float(said)
    except ValueError:
        raise pytest.UsageError(f"imi_max_drop: found {said!r}, wanted a number") from None


def _undecided(config: pytest.Config) -> str:
    said = str(config.getoption("--imi-undecided") or config.getini("imi_undecided"))
    if said not in ("fail", "pass"):
        raise pytest.UsageError(f"imi_undecided: found {said!r}, wanted fail or pass")
    return said
