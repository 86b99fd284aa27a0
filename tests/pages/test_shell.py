"""The shell of every page: its policy, its escapes, what it refuses and where assets are found."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from imi_bench.pages.shell import WrittenPage, asset, code, environment

ODD = "<script>alert('a')</script> & \"b\""
ROOMS = ("imi_bench.report", "imi_bench.measure", "imi_bench.leaderboard")


class Read(HTMLParser):
    """Elements and text of a page, as a browser of the standard library reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("room", ROOMS)
def test_text_is_escaped_in_every_room(room: str) -> None:
    page = environment(room).from_string('<p title="{{ name }}">{{ name }}</p>').render(name=ODD)
    found = Read(page)
    assert [tag for tag, _ in found.tags] == ["p"]
    assert found.tags[0][1]["title"] == ODD
    assert found.text == ODD


@pytest.mark.parametrize("room", ROOMS)
def test_a_page_that_extends_the_shell_loads_nothing_from_elsewhere(room: str) -> None:
    child = environment(room).from_string(
        '{% extends "shell.html.j2" %}{% block title %}{{ name }}{% endblock %}'
        "{% block simulated %}{{ name }}{% endblock %}"
    )
    found = Read(child.render(name=ODD))
    metas = [given for tag, given in found.tags if tag == "meta" and "http-equiv" in given]
    (policy,) = (str(given["content"]) for given in metas)
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert [given["aria-label"] for tag, given in found.tags if tag == "aside"] == [
        "Simulated data"
    ]
    for tag, given in found.tags:
        for name in ("src", "href"):
            assert not str(given.get(name) or "").startswith(("http", "//")), tag
    assert found.text.count(ODD) == 2  # the title, and the banner


def test_a_name_without_a_value_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment("imi_bench.report").from_string("{{ missing }}").render()


def test_a_room_finds_its_own_assets_and_those_of_the_shell() -> None:
    assert asset("imi_bench.report", "page.css") != asset("imi_bench.report", "shell.css")
    shared = {str(asset(room, "shell.css")) for room in ROOMS}
    assert len(shared) == 1
    with pytest.raises(FileNotFoundError, match=r"nothing\.css"):
        asset("imi_bench.report", "nothing.css")


def test_code_between_backticks_is_escaped_too() -> None:
    found = Read(str(code(f"run `{ODD}` and `c`")))
    assert [tag for tag, _ in found.tags] == ["code", "code"]
    assert found.text == f"run {ODD} and c"


def test_a_written_page_shows_itself_as_a_link(tmp_path: Path) -> None:
    class Page(WrittenPage):
        @property
        def title(self) -> str:
            return ODD

    ((tag, given),) = Read(Page(tmp_path / "a b.html")._repr_html_()).tags
    assert (tag, given["href"]) == ("a", (tmp_path / "a b.html").as_uri())
    with pytest.raises(NotImplementedError):
        _ = WrittenPage(tmp_path).title
