"""Strangers' text does nothing where it is shown."""

from __future__ import annotations

import doctest
import html.parser
import re
import unicodedata
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imi_bench.text as safe

ANYTHING = st.text(st.characters(), max_size=60)
HOSTILE = [
    "\x1b[2J\x1b[31mPASS",
    "a\u202egnp.exe",
    "<script>alert(1)</script>",
    "a | b\n---|---",
    "\\input{/etc/passwd} 50% $x$ a_b^c~",
    "::error::boom\r\n::set-output name=a::b",
    "]]> \x00 \ud800 \ufffe",
    "1. one",
    "- item",
    "@everyone see https://example.org www.example.org",
]


def test_examples() -> None:
    assert doctest.testmod(safe).failed == 0


@given(ANYTHING)
def test_nothing_that_acts_is_left_and_nothing_else_is_changed(text: str) -> None:
    shown = safe.printable(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        acts = unicodedata.category(before) in ("Cc", "Cs") and before not in "\n\t"
        assert not acts or after in (" ", safe.REPLACEMENT)
        assert unicodedata.bidirectional(after) not in (
            *("LRE", "RLE", "LRO", "RLO", "PDF"),
            *("LRI", "RLI", "FSI", "PDI"),
        )
        if before.isprintable():
            assert after == before
    assert safe.printable(shown) == shown


class Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@given(ANYTHING | st.sampled_from(HOSTILE))
def test_html_shows_the_text_in_elements_and_attributes(text: str) -> None:
    reader = Reader()
    reader.feed(f'<p title="{safe.html(text)}">{safe.html(text)}</p>')
    reader.close()
    assert reader.tags == [("p", {"title": safe.printable(text)})]
    assert reader.text == safe.printable(text)
    assert safe.html(safe.html(text)) == safe.html(text)


@given(ANYTHING | st.sampled_from(HOSTILE))
def test_xml_is_read_back(text: str) -> None:
    element = ET.Element("a", name=safe.xml(text))
    element.text = safe.xml(text)
    read = ET.fromstring(ET.tostring(element, encoding="unicode"))
    assert (read.text or "") == safe.printable(text)
    assert read.get("name") is not None


@given(ANYTHING | st.sampled_from(HOSTILE))
def test_an_annotation_is_one_command(text: str) -> None:
    line = f"::error::{safe.annotation(text)}"
    assert len(line.splitlines()) == 1
    decoded = safe.annotation(text)
    for code, sign in (("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        decoded = decoded.replace(code, sign)
    assert decoded == safe.printable(text)


@given(ANYTHING | st.sampled_from(HOSTILE))
def test_a_cell_of_markdown_holds_nothing_that_acts(text: str) -> None:
    cell = safe.markdown(text)
    assert "\n" not in cell
    bare = re.sub(r"\\.", "", cell)
    assert not set(bare) & set("|`*_[]<>$~")
    assert "://" not in cell
    assert not re.search(r"@\w", cell)
    assert not re.match(r"[-+](\s|$)|[-=\s]+$|\d+[.)](\s|$)", cell)


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_leaves_no_command(text: str) -> None:
    known = r"\\(text(backslash|asciitilde|asciicircum|bar|quotedbl)\{\}|[&%$#_{}])"
    rest = re.sub(known, "", safe.latex(text)).replace("$<$", "").replace("$>$", "")
    assert not set(rest) & set('\\&%$#_{}~^<>|"')
