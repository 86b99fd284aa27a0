"""The multiverse: its grid, runs against a plain loop, summary and figure."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.release.exclusions import Rules, exclude
from imi_bench.release.multiverse import (
    ANALYSES,
    CHOICES,
    Multiverse,
    run_multiverse,
    universes,
)
from imi_bench.release.published import Condition, published
from imi_bench.release.table import ReleasedTable, read_release
from imi_bench.report.multiverse import draw_multiverse
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release

SOME = ("catch_ratio", "row_min", "drop_multiple")
NETWORKS = ("resnet50", "googlenet", "convnext_b")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ReleasedTable:
    conditions = tuple(Condition(n, m) for n in NETWORKS for m in ("natural", "synthetic"))
    release = simulate_release(ReleaseParameters(SimulationParameters(conditions)), seed=6)
    folder = tmp_path_factory.mktemp("release")
    return read_release(write_release(release, folder / "responses_all.csv")[0])


@pytest.fixture(scope="module")
def found(table: ReleasedTable) -> Multiverse:
    return run_multiverse(table, "means", among=universes(SOME))


def test_grid_is_every_combination() -> None:
    grid = universes()
    assert len({tuple(u.levels.items()) for u in grid}) == len(grid) == 3**5 * 2
    (published_one,) = [u for u in grid if set(u.levels.values()) == {"published"}]
    assert published_one.rules == Rules.published()


@pytest.mark.parametrize("rule", list(CHOICES))
def test_levels_are_ordered_from_stricter_to_laxer(rule: str, table: ReleasedTable) -> None:
    ordered = sorted(
        universes((rule,)), key=lambda u: ("stricter", "published", "laxer").index(u.levels[rule])
    )
    kept = []
    for universe in ordered:
        excluded = exclude(table, universe.rules)
        repeated = excluded.why[:, excluded.reasons.index("repeated answer")]
        kept.append(excluded.kept | repeated)
    for stricter, laxer in pairwise(kept):
        assert laxer[stricter].all()
    # Whoever always presses one row gives half the catch trials away, and goes for that.
    assert kept[-1].sum() > kept[0].sum() or rule == "row_min"


def test_runs_agree_with_a_plain_loop(table: ReleasedTable, found: Multiverse) -> None:
    rows = table.frame
    for place in (0, 7, 12, 17):
        universe = universes(SOME)[place]
        part = rows[exclude(table, universe.rules).kept]
        units = part.groupby(["network", "mode", "layer", "channel"], observed=True)[
            "correct"
        ].mean()
        cells = units.groupby(["network", "mode"], observed=True).mean().unstack()
        ours = found.frame.iloc[place]
        assert ours["answers"] == len(part)
        assert ours["participants"] == part["participant_id"].nunique()
        assert ours["natural"] == pytest.approx(cells["natural"].mean())
        assert ours["synthetic"] == pytest.approx(cells["optimized"].mean())
        gap = (cells["natural"] - cells["optimized"]).mean()
        assert ours["natural - synthetic"] == pytest.approx(gap)


def test_published_universe_is_the_release(table: ReleasedTable, found: Multiverse) -> None:
    assert found.published_row()["answers"] == table.kept_as_released.sum() == 6 * 2520
    assert found.simulated
    assert found.distinct < len(found.frame)


def test_summary_by_hand() -> None:
    frame = pd.DataFrame([{**u.levels, "x": 1.0} for u in universes()])
    frame["x"] += 2.0 * (frame["catch_ratio"] == "laxer") - 4.0 * (frame["row_min"] == "stricter")
    row = Multiverse(frame, ("x",), 1, "hand", True).to_frame().iloc[0]
    assert (row["published"], row["lowest"], row["highest"]) == (1.0, -3.0, 3.0)
    # x is -3 or -1 wherever the rows are judged stricter: a third of the universes.
    assert row["same_sign"] == pytest.approx(2 / 3)
    assert (row["moved_by"], row["by"]) == ("row_min", pytest.approx(4.0))


def test_without_a_published_number_no_sign_is_the_same() -> None:
    frame = pd.DataFrame([{**u.levels, "x": 1.0} for u in universes()])
    frame.loc[frame["catch_ratio"] == "published", "x"] = np.nan
    row = Multiverse(frame, ("x",), 1, "hand", True).to_frame().iloc[0]
    assert row[["published", "same_sign", "by"]].isna().all()
    assert (row["undefined"], row["moved_by"]) == (len(frame) // 3, "")


def test_scale_and_kruskal_against_scipy(table: ReleasedTable) -> None:
    only = universes(())
    assert len(only) == 1
    part = table.frame[table.kept_as_released & (table.frame["mode"] == "natural").to_numpy()]
    units = part.groupby(["network", "layer", "channel"], observed=True)["correct"].mean()
    groups = [units.loc[n].to_numpy() for n in NETWORKS]
    expected = stats.kruskal(*groups)
    kruskal = run_multiverse(table, "kruskal", among=only).published_row()
    assert kruskal["H natural"] == pytest.approx(expected.statistic)
    assert kruskal["log10 p natural"] == pytest.approx(np.log10(expected.pvalue))
    rho = stats.spearmanr(
        [published().networks[n].top1 for n in NETWORKS], [g.mean() for g in groups]
    ).statistic
    scale = run_multiverse(table, "scale", among=only).published_row()
    assert scale["spearman(top1, natural)"] == pytest.approx(rho)


def test_any_callable_is_an_analysis(table: ReleasedTable) -> None:
    def people(answers: pd.DataFrame) -> dict[str, float]:
        return {"accuracy": answers["correct"].mean()}

    found = run_multiverse(table, people, among=universes(("drop_multiple",)))
    assert found.numbers == ("accuracy",)
    assert found.analysis == "people"
    assert len(found.frame) == 2


def test_two_networks_have_no_correlation(table: ReleasedTable) -> None:
    answers = pd.DataFrame(
        {
            "participant": "P",
            "unit_id": [0, 1],
            "network": ["resnet50", "googlenet"],
            "mode": "natural",
            "difficulty": "easy",
            "correct": 1.0,
        }
    )
    assert np.isnan(ANALYSES["scale"](answers)["spearman(top1, natural)"])
    assert np.isnan(ANALYSES["means"](answers)["natural - synthetic"])


def test_unknown_names(table: ReleasedTable) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'means'"):
        run_multiverse(table, "mean")
    with pytest.raises(UnknownNameError, match="exclusion rule"):
        universes(("catch",))
    with pytest.raises(InputError, match="published universe is missing"):
        run_multiverse(table, "means", among=universes()[:1])


@pytest.mark.whole
def test_figure(found: Multiverse, tmp_path: Path) -> None:
    first, again = (
        draw_multiverse(found, tmp_path / f"{name}.svg", number="synthetic") for name in "ab"
    )
    assert first.read_bytes() == again.read_bytes()
    assert "proportion correct: synthetic" in first.read_text()
    assert draw_multiverse(found, tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UnknownNameError, match="unknown number"):
        draw_multiverse(found, tmp_path / "d.png", number="gap")
