r"""Text that somebody else wrote, made safe for the place where it will be read.

Names of observers, citations, paths, error messages and levels of factors come from submissions,
cards and tables of strangers. Each function here makes one of them harmless for one kind of
reader; nothing else in the package escapes text.

All of them first pass through `printable`: control characters (which move a terminal's cursor or
end an XML document), bidirectional overrides (which show a line in another order than a program
reads it) and lone surrogates become U+FFFD, the replacement character. Source: Boucher & Anderson,
"Trojan Source", USENIX Security 2023; Unicode Technical Report 36.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "annotation",
    "html",
    "latex",
    "markdown",
    "one_line",
    "plural",
    "printable",
    "torn",
    "xml",
]

REPLACEMENT = "\ufffd"
_JOINERS = "\u200c\u200d"  # within words of Persian and Hindi, and within emoji
_NO_WIDTH = "\u200b"
_TORN = re.compile("[\0\ud800-\udfff]")

_MARKDOWN = str.maketrans(
    {c: "\\" + c for c in "\\`*_{}[]|#!~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_OPENS_BLOCK = re.compile(r"^([-+](?=\s|$)|[-=](?=[-=\s]*$)|\d+(?=[.)](?:\s|$)))")

_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "×": r"$\times$",
        "\u2212": "$-$",
        "±": r"$\pm$",
        "≤": r"$\le$",
        "≥": r"$\ge$",
        "→": r"$\to$",
        "²": r"$^2$",
        "Δ": r"$\Delta$",
        "χ": r"$\chi$",
        "ρ": r"$\rho$",
        "σ": r"$\sigma$",
        "τ": r"$\tau$",
        REPLACEMENT: "?",
    }
)


def printable(text: str) -> str:
    r"""Replace what cannot be seen but acts; line ends and tabs stay. For terminals.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Of the same length.

    Examples
    --------
    >>> printable("red \x1b[31m\nalert")
    'red �[31m\nalert'
    >>> printable("user\u202etxt.exe")
    'user�txt.exe'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t" or character in _JOINERS:
        return character
    return " " if character.isspace() else REPLACEMENT


def torn(texts: Iterable[object]) -> str | None:
    r"""Return the first text with a NUL or half a character, which libraries take for another.

    In tables of pandas before 3.1 a text ends at a NUL and every lone surrogate is the same, so
    that two units or people become one; NumPy cuts NULs off the end.

    Parameters
    ----------
    texts : iterable of object
        What is no text is passed over.

    Returns
    -------
    str or None
        None if all are whole.

    Examples
    --------
    >>> torn(["unit", "unit\0", 3.0]), torn(["\u00fcnit", None])
    ('unit\x00', None)
    """
    present = [one for one in texts if isinstance(one, str)]
    joined = "".join(present)
    if (joined.isascii() and "\0" not in joined) or not _TORN.search(joined):
        return None
    return next(one for one in present if _TORN.search(one))


def padded_twins(texts: Iterable[object]) -> tuple[str, str] | None:
    """Return the first two names that only spaces around them tell apart, which is one name.

    Parameters
    ----------
    texts : iterable of object
        What is no text is passed over.

    Returns
    -------
    (str, str) or None
        None if there are none.

    Examples
    --------
    >>> padded_twins(["unit 1", "unit 1 ", "unit 2 "]), padded_twins(["a ", "b"])
    (('unit 1', 'unit 1 '), None)
    """
    distinct = {one for one in texts if isinstance(one, str)}
    bare: dict[str, str] = {}
    for one in sorted(distinct):
        if (other := bare.setdefault(one.strip(), one)) != one:
            return (other, one) if other == one.strip() else (one, other)
    return None


def one_line(text: str) -> str:
    r"""Printable text on one line, runs of white space as one space. For tables and errors.

    Examples
    --------
    >>> one_line("a\n  b\r\n")
    'a b'
    """
    return " ".join(printable(text).split())


def plural(count: int, noun: str, many: str = "") -> str:
    """A number and its noun, of which `many` is the plural where it is no regular one.

    Examples
    --------
    >>> plural(1, "unit"), plural(2000, "unit"), plural(2, "entry", "entries")
    ('1 unit', '2,000 units', '2 entries')
    """
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def html(text: str) -> Markup:
    """Text for HTML, in an element or in a quoted attribute; templates escape by this too.

    Returns
    -------
    markupsafe.Markup
        A `str` that templates do not escape again. `Markup` itself goes through unchanged.

    Examples
    --------
    >>> str(html('<b title="x">'))
    '&lt;b title=&#34;x&#34;&gt;'
    """
    from markupsafe import Markup, escape

    return text if isinstance(text, Markup) else escape(printable(text))


def markdown(text: str) -> str:
    r"""One line of Markdown that shows the text: in a paragraph, a list item, or a table's cell.

    Nothing becomes a link, a mention of a person, HTML, mathematics or a list.

    Examples
    --------
    >>> markdown("a|b *c* <d>")
    'a\\|b \\*c\\* &lt;d&gt;'
    """
    line = one_line(text).translate(_MARKDOWN)
    line = _OPENS_BLOCK.sub(lambda found: _escaped_start(found[1]), line)
    for sign, broken in (
        ("://", f":{_NO_WIDTH}//"),
        ("@", f"@{_NO_WIDTH}"),
        ("www.", f"www{_NO_WIDTH}."),
    ):
        line = line.replace(sign, broken)
    return line


def _escaped_start(start: str) -> str:
    return start + "\\" if start.isdigit() else "\\" + start


def latex(text: str) -> str:
    r"""One line of LaTeX text mode that shows the text.

    Examples
    --------
    >>> latex("50% of a_b < 3")
    '50\\% of a\\_b $<$ 3'
    """
    return one_line(text).translate(_LATEX)


def annotation(text: str) -> str:
    r"""Message of a GitHub workflow command (``::error::message``).

    Source: ``escapeData`` in ``actions/toolkit``, ``packages/core/src/command.ts``.

    Examples
    --------
    >>> annotation("50%\nof it")
    '50%25%0Aof it'
    """
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def xml(text: str) -> str:
    r"""Text that may stand in XML 1.0, for a library that escapes ``<``, ``&`` and quotes itself.

    ``xml.etree`` writes control characters that no parser takes back; here they are replaced.

    Examples
    --------
    >>> xml("a\x00 < b")
    'a� < b'
    """
    return printable(text)
