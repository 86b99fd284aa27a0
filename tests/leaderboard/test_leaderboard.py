"""Ranks and tie groups, boards recomputed from evidence, and what strangers' text becomes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from scipy import stats
from support.made_submissions import (
    good_files,
    good_frame,
    good_toml,
    made_board,
    parquet,
    sealed,
    small_study,
    write_folder,
)
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import CheckFailedError, NotComparableError, UnknownNameError
from imi_bench.leaderboard.board import Board, find, shipped
from imi_bench.leaderboard.pack import seal
from imi_bench.leaderboard.ranking import Ranking, rank
from imi_bench.leaderboard.render import check, render, render_pages, write
from imi_bench.leaderboard.rows import Row, Table
from imi_bench.leaderboard.site import build_board, build_site
from imi_bench.leaderboard.verify import verify
from imi_bench.release.study_files import write_study
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.jackknife import Spread


def spread(by_unit: np.ndarray) -> Spread:
    none = np.zeros(0)
    return Spread(by_unit, none, none, np.zeros(len(by_unit), dtype=np.int64))


class TestRank:
    def ranked(
        self, scores: list[float], *moved: np.ndarray | None, paired: bool = True
    ) -> Ranking:
        spreads = [None if one is None else spread(one) for one in moved]
        return rank(np.array(scores), spreads=spreads, paired=paired)

    def test_certain_order_has_ranks_without_width(self) -> None:
        noise = np.random.default_rng(0).normal(scale=1e-4, size=(3, 30))
        found = self.ranked([1.0, 3.0, 2.0], *noise)
        assert found.rank.tolist() == [3, 1, 2]
        assert found.low.tolist() == found.high.tolist() == [3, 1, 2]
        assert found.group.tolist() == [3, 1, 2]

    def test_what_is_common_cancels(self) -> None:
        """Rows that vary together are told apart although their intervals overlap."""
        rng = np.random.default_rng(1)
        common, (one, other) = rng.normal(size=40) / 40, rng.normal(size=(2, 40)) / 2000
        paired = self.ranked([0.50, 0.45], common + one, common + other)
        assert paired.group.tolist() == [1, 2]
        assert (paired.low.tolist(), paired.high.tolist()) == ([1, 2], [1, 2])
        apart = self.ranked([0.50, 0.45], common + one, common + other, paired=False)
        assert apart.group.tolist() == [1, 1]
        assert (apart.low.tolist(), apart.high.tolist()) == ([1, 1], [2, 2])
        assert paired.resolvable < apart.resolvable

    def test_p_is_that_of_a_paired_t_test(self) -> None:
        x, y = np.random.default_rng(2).normal(size=(2, 20)) * 0.1
        moved = [(v - v.mean()) / np.sqrt(20 * 19) for v in (x, y)]
        found = self.ranked([x.mean(), y.mean()], *moved)
        assert max(found.p_leader) == 1
        assert min(found.p_leader) == pytest.approx(stats.ttest_rel(x, y).pvalue)

    def test_equal_rows_share_rank_and_group(self) -> None:
        moved = np.random.default_rng(3).normal(size=20)
        found = self.ranked([0.0, 0.0], moved, moved)
        assert found.rank.tolist() == [1, 1]
        assert found.group.tolist() == [1, 1]

    def test_undefined_is_last(self) -> None:
        found = self.ranked([np.nan, 0.0], None, np.random.default_rng(4).normal(size=20))
        assert found.rank.tolist() == [2, 1]
        assert found.group.tolist() == [2, 1]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return made_board(tmp_path, names=("some-observer", "other-observer"))


def test_same_evidence_same_bytes(board: Board) -> None:
    table, details = verify(board)
    files = render(table)
    again, more = verify(board)
    assert render(again) == files
    assert render_pages(again, details=more) == render_pages(table, details=details)
    write(files, board.folder)
    check(files, board.folder)
    first = {row.name: row for row in table.rows}
    assert first["some-observer"].rank == first["other-observer"].rank == 1
    assert {"people"} <= set(first)


def test_claims_are_shown_and_not_used(board: Board) -> None:
    table, _ = verify(board)
    row = next(row for row in table.rows if row.name == "some-observer")
    assert row.claims == {"accuracy": 0.99}
    assert row.more["proportion correct"].value != 0.99
    decisions = good_frame()
    sides = np.where(decisions["shown_first"] == "positive", 1, -1)
    expected = (sides * decisions["decision_variable"] > 0).mean()
    assert row.more["proportion correct"].value == pytest.approx(expected)


def test_a_changed_file_fails_the_check(board: Board) -> None:
    table = build_board(board)
    page = board.folder / "README.md"
    page.write_text(page.read_text().replace("| 1 [", "| 2 [", 1) + " ")
    (board.folder / "board.csv").unlink()
    with pytest.raises(CheckFailedError, match=r"board\.csv, README\.md"):
        check(render(table), board.folder)
    build_board(board)
    check(render(table), board.folder)


def test_the_last_decimal_of_another_processor_changes_no_file(tmp_path: Path) -> None:
    files = {"board.json": '{"a": 0.062919, "b": 0.0, "v": "1.24"}', "board.csv": "x,1.000000"}
    there = {"board.json": '{"a": 0.062918, "b": -1e-06, "v": "1.24"}', "board.csv": "x,0.999999"}
    for name, text in there.items():
        (tmp_path / name).write_text(text)
    check(files, tmp_path)
    write(files, tmp_path)
    assert {name: (tmp_path / name).read_text() for name in there} == there
    for text in ("0.062917", "1.25", "1e-05", '"c"', ", 2"):
        (tmp_path / "board.json").write_text(files["board.json"].replace("0.062919", text))
        with pytest.raises(CheckFailedError, match=r"board\.json"):
            check(files, tmp_path)


def test_a_site_has_an_index_over_all_boards(board: Board, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in board.folder.rglob("*") if path.is_file()}
    site = tmp_path / "site"
    pages = build_site([board], site)
    left = site / board.rules.board / "pages" / "left-over@1.html"
    left.write_text("x")
    again = build_site([board], site)
    assert again == pages
    assert not left.exists()
    assert all(page.is_file() for page in pages)
    index = pages[0].read_text()
    assert f'href="{board.rules.board}/index.html"' in index
    assert board.rules.title in index
    assert "simulated" in index
    for page in pages:
        for target in re.findall(r'href="([^"#:]+)"', page.read_text()):
            assert (page.parent / target).is_file(), f"{page}: {target}"
    assert before == {path: path.read_bytes() for path in board.folder.rglob("*") if path.is_file()}


def test_changed_humans_are_refused(board: Board) -> None:
    study = small_study()
    flipped = study.responses.take(np.arange(len(study.responses))[::-1][:50])
    write_study(type(study)(study.trials, flipped), board.folder)
    with pytest.raises(NotComparableError, match="changed since the board was published"):
        verify(board)


def test_a_bad_submission_is_listed_not_scored(board: Board) -> None:
    frame = good_frame().assign(decision_variable=np.inf)
    files = sealed(good_files() | {"decisions.parquet": parquet(frame)})
    write_folder(files, board.folder / "submissions" / "bad" / "1")
    table, _ = verify(board)
    assert [folder for folder, _ in table.rejected] == ["submissions/bad/1"]
    assert "bad" not in {row.name for row in table.rows}


def test_disclosing_training_data_changes_no_rank(board: Board) -> None:
    def ranks() -> dict[str, tuple[object, ...]]:
        table, _ = verify(board)
        return {row.name: (row.rank, row.group, row.score.value) for row in table.rows}

    before = ranks()
    path = board.folder / "submissions" / "some-observer" / "1" / "submission.toml"
    silent = {k: v for k, v in good_toml().items() if k != "training"}
    path.write_text(tomli_w.dumps(silent))
    seal(path.parent)
    assert ranks() == before
    table, details = verify(board)
    assert "undisclosed" in render_pages(table, details=details)["index.html"]


HOSTILE = "<script>alert(1)</script> \"' onload=alert(1) ](javascript:alert(1)) =1+1 | `x`"


def test_text_of_strangers_is_escaped_everywhere() -> None:
    row = Row(
        kind="submission",
        name="x",
        revision="1",
        title=HOSTILE,
        score=Estimate(0.1, 0.0, 0.2),
        rank=1,
        rank_low=1,
        rank_high=1,
        group=1,
        facts={"authors": HOSTILE, "licence": HOSTILE},
    )
    formula = Row(
        kind="submission",
        name="y",
        revision="1",
        title="=HYPERLINK(1)",
        score=Estimate(0.1, 0.0, 0.2),
        facts={"training data": "@SUM(1)"},
    )
    table = Table(
        board="b",
        heading=HOSTILE,
        question=HOSTILE,
        about="plain",
        kind="observers",
        simulated=True,
        version=1,
        rules_hash="",
        study_hash="",
        score_name="bits",
        score_help="h",
        unit="bits",
        chance=0.0,
        rule="r",
        ceiling=None,
        resolvable=float("nan"),
        rows=(row, formula),
        rejected=((HOSTILE, HOSTILE),),
    )
    files = render(table) | render_pages(table, details={})
    for name in ("index.html", "pages/x@1.html"):
        assert "<script>alert" not in files[name]
        assert "&lt;script&gt;alert" in files[name]
    assert "<script" not in files["README.md"]
    assert not re.search(r"(?<!\\)\]\(javascript", files["README.md"])
    assert "\n=HYPERLINK" not in files["board.csv"]
    assert ",'=HYPERLINK(1)" in files["board.csv"]
    assert ",'@SUM(1)" in files["board.csv"]
    assert json.loads(files["board.json"])["rows"][0]["title"] == HOSTILE


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.whole] if "-mini" in name else [])
        for name in shipped()
    ],
)
def test_shipped_boards_are_what_their_evidence_gives(name: str) -> None:
    result = CliRunner().invoke(app, ["leaderboard", "check", name])
    assert result.exit_code == 0, result.output or result.exception


@pytest.mark.whole
def test_rules_are_frozen_once_published(tmp_path: Path) -> None:
    folder = tmp_path / "observers-mini"
    shutil.copytree(find("observers-mini").folder, folder)
    rules = (folder / "board.toml").read_text()
    (folder / "board.toml").write_text(rules.replace("n_resamples = 2000", "n_resamples = 999"))
    assert (folder / "board.toml").read_text() != rules
    result = CliRunner().invoke(app, ["leaderboard", "build", str(folder)])
    assert result.exit_code != 0
    assert "rules changed since the board was published" in str(result.exception)
    (folder / "board.toml").write_text(rules)
    assert CliRunner().invoke(app, ["leaderboard", "build", str(folder)]).exit_code == 0


def test_published_anchors_are_the_published_means() -> None:
    anchors = {a.name: a.value for a in find("networks-imi").rules.anchors}
    assert anchors["GoogLeNet, natural"] == 0.8792
    assert anchors["ConvNeXt-B, synthetic"] == 0.6
    assert len(anchors) == 16


def test_unknown_board_suggests() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'observers-mini'"):
        find("observer-mini")


def test_reference_rows_stand_on_the_observers_board() -> None:
    record = json.loads((find("observers-mini").folder / "board.json").read_text())
    references = {row["name"] for row in record["rows"] if row["kind"] == "reference"}
    assert references == {"chance", "one-side", "pixel-cosine", "people", "ideal"}
    score = {row["name"]: row["score"]["value"] for row in record["rows"]}
    assert abs(score["chance"]) < 0.02
    assert score["ideal"] > score["chance"]
    assert score["people"] > score["ideal"]
