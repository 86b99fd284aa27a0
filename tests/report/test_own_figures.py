"""Drawing leaves the user's session as it was, and her settings leave our figures as they are."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from imi_bench.report.style import as_svg, defaults, panels, styled

COLOURS = ("#0173b2", "#de8f05")


def drawn() -> str:
    with styled(COLOURS):
        canvas, axes = panels(1, 2, figure={"figsize": (4, 2), "layout": "constrained"})
        axes[0, 0].plot([0, 1], [1, 0], label="a")
        axes[0, 1].set_title("$5 and 50%")
        return as_svg(canvas, "x")


@pytest.fixture
def her_settings() -> Iterator[None]:
    with mpl.rc_context({"font.size": 31, "lines.linewidth": 9, "axes.grid": True}):
        mpl.rcParams["text.usetex"] = True
        yield


def test_her_matplotlibrc_changes_no_figure_of_ours(
    her_settings: None, request: pytest.FixtureRequest
) -> None:
    under_hers = drawn()
    with mpl.rc_context():
        mpl.rcdefaults()
        assert drawn() == under_hers


def test_defaults_hold_within_and_end_with_the_block(her_settings: None) -> None:
    with defaults(**{"font.size": 9}):
        assert mpl.rcParams["font.size"] == 9
        assert mpl.rcParams["text.usetex"] is False
        assert mpl.rcParams["lines.linewidth"] == mpl.rcParamsDefault["lines.linewidth"]
    assert mpl.rcParams["font.size"] == 31
    assert mpl.rcParams["text.usetex"] is True


def session() -> dict[str, Any]:
    import matplotlib.pyplot as plt
    from threadpoolctl import threadpool_info

    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "figures": plt.get_fignums(),
        "backend": mpl.get_backend(),
        "settings": dict(mpl.rcParams),
        "numpy": (name, np.asarray(keys).tolist(), rest),
        "random": random.getstate(),
        "filters": list(warnings.filters),
        "threads": sorted((one["filepath"], one["num_threads"]) for one in threadpool_info()),
        "errors": np.geterr(),
    }


def test_nothing_global_is_touched(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt
    from support.made_submissions import made_board

    from imi_bench.leaderboard.verify import verify

    hers = plt.figure()
    board = made_board(tmp_path)
    drawn()
    before = session()
    drawn()
    verify(board, fresh=True)
    assert session() == before
    assert plt.fignum_exists(hers.number)
    plt.close(hers)
