"""Names that only a board may give, and names made to look like them."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from imi_bench.leaderboard.board import Rules

ALWAYS = (
    "chance",
    "guessing",
    "base rate",
    "one-side",
    "people",
    "humans",
    "human ceiling",
    "other participants (leave one out)",
    "ideal",
    "ideal observer",
)
_NAMED = re.compile(
    r"(?:.* )?(?:LETTER SMALL CAPITAL|SMALL LETTER|CAPITAL LETTER|LETTER|SYMBOL LETTER) "
    r"(?:TURNED |REVERSED |INVERTED |DOTLESS |LONG )?([A-Z])(?: WITH .*)?"
)
_LATIN = {"0": "o", "1": "l", "i": "l", "5": "s"}


def skeleton(text: str) -> str:
    """What a text looks like: two texts of one skeleton can be taken for one another.

    Case, accents, spaces, punctuation and invisible characters are dropped; each letter becomes the
    Latin one that it can be confused with (Unicode Technical Standard 39, by
    ``confusable_homoglyphs``).

    Examples
    --------
    >>> skeleton("One-Side") == skeleton("0nе_s1de")  # a zero and a Cyrillic letter
    True
    >>> skeleton("\u1d18e\u00f8ple")  # a small capital, a stroke
    'people'
    """
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(_latin(c) for c in plain if not unicodedata.combining(c))
    return letters.replace("rn", "m").replace("vv", "w")


@cache
def _latin(character: str) -> str:
    from confusable_homoglyphs import confusables

    if not character.isascii():
        if (named := _NAMED.fullmatch(unicodedata.name(character, ""))) is not None:
            return _latin(named[1].casefold())
        found = confusables.is_confusable(character, greedy=True)
        looks = [h["c"] for h in found[0]["homoglyphs"]] if found else []
        character = next((c for c in looks if c.isascii()), character).casefold()
    if character == "|":
        return "l"
    kept = "".join(c for c in character if c.isalnum())
    return "".join(_LATIN.get(c, c) for c in kept)


def reserved(rules: Rules) -> dict[str, str]:
    """Skeletons that no submission may have, with the name each belongs to."""
    names = [*ALWAYS, *(a.name for a in rules.anchors), *(a.source for a in rules.anchors)]
    for reference in rules.references:
        names += [reference.name, reference.title]
    return {skeleton(name): name for name in names}


def look_alike(text: str, rules: Rules) -> str | None:
    """The reserved name that `text` can be taken for, if there is one."""
    return reserved(rules).get(skeleton(text))
