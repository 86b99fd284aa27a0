"""The report in a headless Chromium: keys, filters, phone, dark, no error, accessible."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from imi_bench.study import Plan, made, run_study

pytestmark = pytest.mark.browser

SMALL = {"n_networks": 2, "n_batches": 1, "n_scenes": 200, "size": 32}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    plan = Plan(tmp_path_factory.mktemp("demo"), ("chance", "pixel-l2", "hog"), world=SMALL)
    return Path(made(run_study(plan).page)).as_uri()


def opened(browser: Any, address: str, problems: list[str], **context: Any) -> Any:
    """The page; errors and requests to elsewhere are collected in `problems`."""
    page = browser.new_context(**context).new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", functools.partial(_outside, problems))
    page.goto(address)
    return page


def _outside(problems: list[str], request: Any) -> None:
    if not request.url.startswith(("file:", "data:")):
        problems.append(request.url)


def test_keys_buttons_and_slider_move_through_the_trials(chromium: Any, address: str) -> None:
    problems: list[str] = []
    page = opened(chromium, address, problems)
    count = page.locator("#t-count")
    total = int(count.inner_text().split()[-1])
    assert count.inner_text() == f"1 of {total}"
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    assert count.inner_text() == f"2 of {total}"
    page.keyboard.press("End")
    assert count.inner_text() == f"{total} of {total}"
    assert page.locator("#b-on").is_disabled()
    page.keyboard.press("Home")
    page.locator("#b-on").click()
    assert count.inner_text() == f"2 of {total}"
    page.locator("#b-slide").fill("9")
    assert count.inner_text() == f"10 of {total}"
    assert page.locator("#t-positive img").count() == page.locator("#t-negative img").count() == 9
    assert page.locator("#t-queries figure").count() == 2
    assert problems == []


def test_filters_show_what_they_say(chromium: Any, address: str) -> None:
    problems: list[str] = []
    page = opened(chromium, address, problems)
    page.locator("#f-observer").select_option(label="hog")
    page.locator("#f-mode").select_option("synthetic")
    page.locator("#f-difficulty").select_option("hard95")
    page.locator("#f-network").select_option("toy-birch")
    fit = int(page.locator("#t-count").inner_text().split()[2])
    assert fit == 10
    title = page.locator("#t-title").inner_text()
    assert "toy-birch" in title
    assert "synthetic · hard95" in title
    counts = []
    for outcome, word in (("right", "is right"), ("wrong", "is wrong")):
        page.locator("#f-outcome").select_option(outcome)
        counts.append(int(page.locator("#t-count").inner_text().split()[2]))
        assert f"hog {word}" in page.locator("#t-verdict").inner_text()
        chosen = page.locator("#t-queries .chosen")
        assert chosen.count() == 1
        assert ("correct" in chosen.inner_text()) == (outcome == "right")
    assert sum(counts) == fit
    page.locator("#f-outcome").select_option("open")
    assert page.locator("#t-empty").is_visible()
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_fits_and_is_accessible(chromium: Any, address: str, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    problems: list[str] = []
    page = opened(
        chromium, address, problems, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page)
    told = [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ]
    assert told == []
    assert problems == []


def test_why_shows_similarities_and_a_link_finds_the_trial(chromium: Any, address: str) -> None:
    problems: list[str] = []
    page = opened(chromium, address, problems)
    page.locator("#f-observer").select_option(label="hog")
    unit = page.locator("#f-unit option").nth(1).get_attribute("value")
    page.locator("#f-unit").select_option(unit)
    page.locator("#f-outcome").select_option("split")
    page.locator("#why summary").click()
    assert page.locator("#t-why td.number:not(.total)").count() == 4 * 9 + 2
    pooled = [float(text) for text in page.locator("#t-why td.total").all_inner_texts()]
    weak, strong = pooled[:2], pooled[2:]
    leans = [good - bad for good, bad in zip(strong, weak, strict=True)]
    chosen = page.locator("#t-queries figure").evaluate_all(
        "all => all.map(one => one.classList.contains('chosen'))"
    )
    assert chosen[leans.index(max(leans))]
    assert page.locator("#t-why .near img").count() >= 2
    title = page.locator("#t-title").inner_text()
    link = page.locator("#t-link").get_attribute("href")
    again = opened(chromium, address + link, problems)
    assert again.locator("#t-title").inner_text() == title
    assert "hog" in again.locator("#t-verdict").inner_text()
    page.locator("#f-observer").select_option(label="chance")
    assert "left no similarities" in page.locator("#t-why").inner_text()
    lost = opened(chromium, address + "#trial=no-such-trial", problems)
    assert lost.locator("#t-missing").is_visible()
    assert problems == []


def test_names_stay_and_wide_tables_say_so_on_a_phone(chromium: Any, address: str) -> None:
    problems: list[str] = []
    page = opened(chromium, address, problems, viewport={"width": 390, "height": 800})
    frame = page.locator("#observers .scroll")
    assert page.locator("#observers .cue").is_visible()
    name = page.locator("#observers tbody th[scope=row]").first
    frame.evaluate("one => { one.scrollLeft = 300; }")
    box, edge = name.bounding_box(), frame.bounding_box()
    assert abs(box["x"] - edge["x"]) < 3
    texts = page.locator(".plot svg text").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert min(height for height in texts if height) >= 9
    wide = opened(chromium, address, problems, viewport={"width": 1440, "height": 900})
    assert not wide.locator("#observers .cue").is_visible()
    assert problems == []
