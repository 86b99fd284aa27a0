"""The pages of a board in a headless Chromium: sort, filter, open, no error, no outside request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imi_bench.leaderboard.board import find
from imi_bench.leaderboard.render import render, render_pages, write
from imi_bench.leaderboard.site import build_site
from imi_bench.leaderboard.verify import verify

pytestmark = pytest.mark.browser

DESKTOP, PHONE = {"width": 1300, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site([find("observers-mini"), find("networks-cifar")], folder)
    return folder


@pytest.fixture(params=["observers-mini", "networks-cifar"])
def board(request: pytest.FixtureRequest, site: Path) -> Path:
    return site / str(request.param)


class Watched:
    """A page whose errors and outside requests are collected."""

    def __init__(self, browser: Any, address: Path, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.errors: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        self.page.on("request", self._note)
        self.page.goto(address.as_uri())

    def _note(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.outside.append(request.url)

    def names(self) -> list[str]:
        """Names of the rows shown, top to bottom."""
        return list(self.page.locator("#board tbody th small").all_inner_texts())

    def clean(self) -> None:
        assert self.errors == []
        assert self.outside == []


def test_sorts_filters_and_opens(chromium: Any, board: Path) -> None:
    watched = Watched(chromium, board / "index.html", viewport=DESKTOP)
    page = watched.page
    by_rank = watched.names()
    scores = page.locator("#board td.score").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.order))"
    )
    header = page.locator("#board thead th", has_text="Score")
    header.click()
    ascending = watched.names()
    assert sorted(scores) == page.locator("#board td.score").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.order))"
    )
    header.click()
    assert set(watched.names()) == set(by_rank) == set(ascending)
    first = by_rank[0]
    page.fill("#search", first)
    assert first in watched.names()
    assert len(watched.names()) < len(by_rank)
    page.fill("#search", "no such row anywhere")
    assert watched.names() == []
    page.fill("#search", "")
    page.select_option("#difficulty", "hard85")
    changed = page.locator("#board td.score").first.inner_text()
    page.select_option("#difficulty", "")
    assert page.locator("#board td.score").first.inner_text() != changed
    training = page.locator("#training option").all_inner_texts()[-1]
    page.select_option("#training", training)
    assert 0 < len(watched.names()) < len(by_rank)
    page.select_option("#training", "")
    page.locator("tr.submission th a").first.click()
    page.wait_for_url("**/pages/*.html")
    assert page.locator("h2", has_text="recomputed from the evidence").count() == 1
    watched.clean()


def test_keyboard_sorts(chromium: Any, board: Path) -> None:
    watched = Watched(chromium, board / "index.html", viewport=DESKTOP)
    before = watched.names()
    watched.page.locator("#search").focus()
    for _ in range(40):
        watched.page.keyboard.press("Tab")
        if "Score" in watched.page.evaluate(
            "document.activeElement.closest('th')?.innerText || ''"
        ):
            break
    watched.page.keyboard.press("Enter")
    watched.page.wait_for_function(  # sorting ends after the key press returns
        "name => document.querySelector('#board tbody th small').innerText != name", arg=before[0]
    )
    watched.clean()


def test_phone_width_and_dark(chromium: Any, board: Path) -> None:
    watched = Watched(chromium, board / "index.html", viewport=PHONE, color_scheme="dark")
    width = watched.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    background = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, *_ = (int(part) for part in background.removeprefix("rgb(").rstrip(")").split(","))
    assert red < 60
    watched.page.click("#theme")
    assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    watched.clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_problem(
    chromium: Any, board: Path, long_board: Path, scheme: str
) -> None:
    axe_module = pytest.importorskip("axe_playwright_python.sync_playwright")
    pages = [
        board.parent / "index.html",
        board / "index.html",
        *sorted((board / "pages").glob("*.html"))[:1],
        long_board / "index.html",
    ]
    for path in pages:
        watched = Watched(chromium, path, viewport=DESKTOP, color_scheme=scheme, bypass_csp=True)
        found = axe_module.Axe().run(watched.page)
        serious = [
            (rule["id"], [node["html"][:160] for node in rule["nodes"][:3]])
            for rule in found.response["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == []


@pytest.fixture(scope="module")
def long_board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table, details = verify(find("observers-mini"))
    rows = [
        replace(row, name=f"{row.name}-{copy}", score=replace(row.score, value=score))
        for row in table.rows
        for copy in range(8)
        for score in (row.score.value + copy,)
    ]
    folder = tmp_path_factory.mktemp("long")
    longer = replace(table, rows=tuple(rows))
    write(render(longer) | render_pages(longer, details=details), folder)
    return folder


def test_a_long_board_comes_in_pages(chromium: Any, long_board: Path) -> None:
    watched = Watched(chromium, long_board / "index.html", viewport=DESKTOP)
    page = watched.page
    expected = json.loads((long_board / "board.json").read_text())["rows"]
    assert len(expected) > 100
    assert len(watched.names()) == 50
    assert f"1 to 50 of {len(expected)} rows" in page.locator(".dt-info").inner_text()
    for pick in (min, max):  # sorting ends after the click returns
        page.locator("#board thead th", has_text="Score").click()
        end = pick(row["score"]["value"] for row in expected)
        page.wait_for_function(
            "end => Math.abs(document.querySelector('#board td.score').dataset.order - end) < 1e-5",
            arg=end,
        )
    page.select_option("#difficulty", "hard85")
    page.locator(".dt-paging button", has_text="3").click()
    page.wait_for_function("document.querySelector('.dt-info').innerText.startsWith('101 to')")
    stratum = page.locator("#board td.score").first.inner_text()
    page.select_option("#difficulty", "")
    page.locator(".dt-paging button", has_text="3").click()
    page.wait_for_function("document.querySelector('.dt-info').innerText.startsWith('101 to')")
    assert page.locator("#board td.score").first.inner_text() != stratum
    page.select_option(".dt-length select", "-1")
    page.wait_for_function(
        "n => document.querySelectorAll('#board tbody tr').length == n", arg=len(expected)
    )
    watched.clean()


def test_images_of_trials_are_there(chromium: Any, site: Path) -> None:
    folder = site / "observers-mini"
    page = Watched(chromium, folder / "pages" / "classical@1.html", viewport=DESKTOP)
    address = page.page.locator(".trial .image").first.evaluate(
        "tile => getComputedStyle(tile).backgroundImage"
    )
    assert "stimuli.webp" in address
    assert page.page.locator(".trial").count() > 20
    page.clean()


def test_the_interval_column_has_an_axis_and_names_stay(chromium: Any, board: Path) -> None:
    watched = Watched(chromium, board / "index.html", viewport=PHONE)
    page = watched.page
    assert page.locator("#board thead svg.axis text").count() >= 2
    assert page.locator(".cue").first.is_visible()
    assert "`" not in page.locator("main").inner_text()
    frame, name = page.locator(".scroll").first, page.locator("#board tbody th").first
    frame.evaluate("one => { one.scrollLeft = 500; }")
    assert abs(name.bounding_box()["x"] - frame.bounding_box()["x"]) < 3
    watched.clean()


def test_a_submission_reads_from_weak_to_strong(chromium: Any, site: Path) -> None:
    address = next((site / "observers-mini" / "pages").glob("classical@*.html"))
    watched = Watched(chromium, address, viewport=DESKTOP)
    page = watched.page
    heads = page.locator("article.trial").first.locator("h4").all_inner_texts()
    assert heads == ["Weak response", "Strong response"]
    assert "simulated people" in page.locator("article.trial").first.inner_text()
    for figure in page.locator("figure.plot").all():
        assert figure.locator("figcaption").inner_text()
        frame = figure.bounding_box()
        for text in figure.locator("svg text").all():
            box = text.bounding_box()
            assert frame["x"] - 1 <= box["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    watched.clean()
