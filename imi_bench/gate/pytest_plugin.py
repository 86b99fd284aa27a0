"""A pytest plug-in: fail a test when an observer has become worse than its baseline.

Installed with the package (entry point ``pytest11``)::

    def test_my_model_is_no_worse(imi_gate):
        imi_gate("runs/new", against="runs/main", by="difficulty")

``--imi-baseline DIR``, ``--imi-max-drop X`` and ``--imi-undecided fail|pass`` set the defaults on
the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from imi_bench.gate.verdict import GateResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("imi-bench")
    group.addoption("--imi-baseline", type=Path, help="output folder of the baseline run")
    group.addoption(
        "--imi-max-drop", type=float, default=0.01, help="tolerated drop of the score [0.01]"
    )
    group.addoption(
        "--imi-undecided",
        choices=("fail", "pass"),
        default="fail",
        help="what a test does when the data cannot tell [fail]",
    )


@pytest.fixture
def imi_gate(request: pytest.FixtureRequest) -> Callable[..., GateResult]:
    """Compare a run with a baseline; fails the test if it is worse (or undecided).

    The fixture is a function ``imi_gate(new, *, against=None, max_drop=None, **options)``: `new`
    and `against` are output folders of ``imi-bench run``, the options those of
    `imi_bench.gate.verdict.gate`. It returns the `GateResult` when the gate passes.
    """
    options = request.config.option

    def check(
        new: str | Path,
        *,
        against: str | Path | None = None,
        max_drop: float | None = None,
        **arguments: Any,
    ) -> GateResult:
        from imi_bench.gate.verdict import gate

        baseline = against if against is not None else options.imi_baseline
        if baseline is None:
            raise pytest.UsageError("imi_gate needs a baseline: against=… or --imi-baseline DIR")
        result = gate(
            new,
            against=baseline,
            max_drop=options.imi_max_drop if max_drop is None else max_drop,
            **arguments,
        )
        if result.verdict == "worse" or (
            result.verdict == "cannot tell" and options.imi_undecided == "fail"
        ):
            pytest.fail(result.sentence, pytrace=False)
        return result

    return check
