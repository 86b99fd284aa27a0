"""The site's search where the site is opened as files, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]


def test_the_search_works_in_files_and_asks_nothing_of_a_network(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings of the site, over two pages of it."""
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    build = pytest.importorskip("mkdocs.commands.build")
    config = pytest.importorskip("mkdocs.config")
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "assets", docs / "assets")
    (docs / "deep").mkdir()
    (docs / "index.md").write_text("# Start\n\nNothing here.\n")
    (docs / "deep" / "page.md").write_text("# Errors\n\nError consistency is a kappa.\n")
    settings = config.load_config(
        str(ROOT / "mkdocs.yml"),
        docs_dir=str(docs),
        site_dir=str(tmp_path / "site"),
        plugins=["search", "offline"],
        hooks=[],
    )
    settings["nav"] = None
    build.build(settings)
    for name in ("index.html", "deep/page.html"):
        context = chromium.new_context(offline=True, viewport={"width": 1300, "height": 900})
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto((tmp_path / "site" / name).as_uri())
        page.click(".md-search__input")
        page.keyboard.type("kappa", delay=20)
        found = page.locator(".md-search-result__link").first
        found.wait_for(state="attached", timeout=20_000)
        assert "deep/page.html" in str(found.get_attribute("href"))
        assert [one for one in asked if not one.startswith("file:")] == []
        context.close()
