"""Every kind of page at three widths, light and dark: layout, figures, and a coarse picture.

The pictures beside this file are first screens reduced to 24 columns, so that neither fonts nor
anti-aliasing matter: what they hold is where light and dark lie. Run this file with the variable
``IMI_BENCH_SCREENS`` set to a folder to make them anew; the full screens are put there to look at.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.asked_models import fewshot_page
from support.built_units import build_units
from support.scored_units import scored_units
from support.small_study import small_study

import imi_bench as imi
from imi_bench.leaderboard.board import find
from imi_bench.leaderboard.site import build_site

pytestmark = [pytest.mark.browser, pytest.mark.vision]

SCREENS = Path(__file__).parent / "screens"
PAGES = ("report", "several", "units", "index", "board", "submission")
LAID_OUT = (*PAGES, "learned", "mis", "fewshot")
WIDTHS = (1440, 1024, 390)
GRID = (24, 24)
TOLERANCE = 0.045

# Text of figures: inside its card unless that scrolls, no larger than the page's headings, no
# smaller than 9 px, and no two labels of an axis on one another.
FIGURES = """() => [...document.querySelectorAll('figure.plot')].flatMap(card => {
  const found = [], frame = card.getBoundingClientRect();
  const texts = [...card.querySelectorAll('svg text')].filter(t => t.textContent.trim());
  for (const text of texts) {
    const box = text.getBoundingClientRect();
    const scale = Math.abs(text.getCTM().a || text.getCTM().b);
    const size = parseFloat(getComputedStyle(text).fontSize) * scale;
    const scrolls = text.closest('.scroll');
    if (!scrolls && (box.left < frame.left - 1 || box.right > frame.right + 1))
      found.push('outside: ' + text.textContent);
    if (size > 19 || size < 8.9) found.push(size.toFixed(1) + ' px: ' + text.textContent);
  }
  const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]);
  boxes.forEach(([name, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 2 && high > 3) found.push(name + ' on ' + other);
  }));
  const caption = card.querySelector('figcaption');
  if (!caption || caption.textContent.trim().length < 30) found.push('no caption');
  return found;
})"""

# What sticks out of the window, outside of frames that scroll.
WIDER = """() => [...document.querySelectorAll('main *, header *, footer *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !e.closest('.scroll, svg, .unseen, pre');
}).map(e => e.tagName + '.' + e.className)"""

# Weak references left of the queries, strong ones right of them; one under the other on a phone.
SIDES = """() => [...document.querySelectorAll('.trial')].map(trial => {
  const at = s => { const e = trial.querySelector(s); return e && e.getBoundingClientRect(); };
  const weak = at('.weak, .set:not(.strong)'), middle = at('.queries');
  const strong = at('.references.strong, .set.strong');
  if (!weak || !middle || !strong || !weak.width) return 'none';
  if (weak.right <= middle.left + 1 && middle.right <= strong.left + 1) return 'beside';
  if (weak.bottom <= middle.top + 1 && middle.bottom <= strong.top + 1) return 'below';
  return 'otherwise';
})"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "study").mkdir()
    study = small_study(folder / "study")
    runs = [study.folder / name for name in ("pixel-l2", "chance")]
    alone = imi.report(runs[0], responses=study.people, out=folder / "one.html").path
    several = imi.report(runs, responses=study.people, out=folder / "several.html").path
    units = imi.report(build_units(folder / "built")).path
    build_site([find("observers-mini")], folder / "site")
    board = folder / "site" / "observers-mini"
    submission = sorted((board / "pages").glob("*.html"))[0]
    learned = imi.learn(runs, study.people, n_boot=20, curves=0)
    learned.write(folder / "learned")
    scores = imi.report(scored_units(folder / "mis")).path
    site = (folder / "site" / "index.html", board / "index.html", submission)
    asked = fewshot_page(folder / "asked")
    made = (alone, several, units, *site, folder / "learned" / "learned.html", scores, asked)
    return dict(zip(LAID_OUT, made, strict=True))


def opened(browser: Any, path: Path, *, width: int, scheme: str) -> Any:
    size = {"width": width, "height": 1000}
    page = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    made = page.new_page()
    made.goto(path.as_uri())
    made.wait_for_load_state("load")
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", LAID_OUT)
def test_layout(chromium: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for scheme in ("light", "dark"):
        page = opened(chromium, pages[kind], width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(WIDER) == []
        assert page.evaluate(FIGURES) == []
        wanted = {"none", "below" if width < 500 else "beside"}
        assert set(page.evaluate(SIDES)) <= wanted
        violations = axe.Axe().run(page).response["violations"]
        assert [(v["id"], v["impact"]) for v in violations if v["impact"] != "minor"] == []
        page.context.close()


def coarse(page: Any) -> np.ndarray:
    """The first screen as a grid of brightness, 0 to 1."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L")
    return np.asarray(picture.resize(GRID, Image.Resampling.BOX), dtype=np.float64) / 255


@pytest.mark.parametrize("kind", PAGES)
def test_first_screens_look_as_they_did(chromium: Any, pages: dict[str, Path], kind: str) -> None:
    asked = os.environ.get("IMI_BENCH_SCREENS")
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page = opened(chromium, pages[kind], width=width, scheme=scheme)
            kept = SCREENS / f"{kind}-{width}-{scheme}.png"
            seen = coarse(page)
            if asked:
                Path(asked).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=Path(asked) / kept.name, full_page=True)
                Image.fromarray((255 * seen).round().astype(np.uint8)).save(kept)
            wanted = np.asarray(Image.open(kept), dtype=np.float64) / 255
            assert np.abs(seen - wanted).mean() < TOLERANCE, kept.name
            page.context.close()


def test_a_page_without_its_style_would_be_noticed(chromium: Any, pages: dict[str, Path]) -> None:
    for kind in PAGES:
        page = opened(chromium, pages[kind], width=1440, scheme="dark")
        page.evaluate("document.querySelectorAll('style').forEach(style => style.remove())")
        kept = np.asarray(Image.open(SCREENS / f"{kind}-1440-dark.png"), dtype=np.float64) / 255
        assert np.abs(coarse(page) - kept).mean() > 2 * TOLERANCE, kind
        page.context.close()
