"""Every exception the package raises on purpose.

::

    ImiBenchError                    exit code 2
    ├── InputError (ValueError)      bad input: a file, a table, an argument
    │   ├── TrialError               a trial or its folder is not what the layout says
    │   ├── ImageError               a file that should be an image is not
    │   ├── ResponseError            a table of human answers breaks its schema
    │   ├── CardError                an observer's or network's card is invalid
    │   ├── UnknownNameError         no such observer, network, layer, score …
    │   ├── FormulaError             a model formula cannot be read or evaluated
    │   ├── ModelError               a statistical model cannot be set up on these data
    │   ├── NetworkError             a network, its weights or a layer do not fit
    │   └── SubmissionError          a submission is invalid
    ├── MissingExtraError (ImportError)   an optional package is not installed
    ├── DownloadError                a file could not be fetched
    ├── LeakageError                 a calibration would be scored on what it was fitted on
    ├── CheckFailedError             exit code 1: a check ran and its answer is no
    │   └── NotConvergedError        … no maximum of the likelihood was found (a ModelError too)
    └── NotComparableError           exit code 3: the two things do not share trials, humans …
        └── NotEnoughDataError       exit code 3: too few answers to say anything
            └── SmallModelError      … too few for a statistical model (a ModelError too)
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from textwrap import shorten

__all__ = [
    "CardError",
    "CheckFailedError",
    "DownloadError",
    "FormulaError",
    "ImageError",
    "ImiBenchError",
    "InputError",
    "LeakageError",
    "MissingExtraError",
    "ModelError",
    "NetworkError",
    "NotComparableError",
    "NotConvergedError",
    "NotEnoughDataError",
    "ResponseError",
    "SmallModelError",
    "SubmissionError",
    "TrialError",
    "UnknownNameError",
]


class ImiBenchError(Exception):
    """One clear line: what, where, found, wanted, and what to do.

    Parameters
    ----------
    what : str
        The problem in a few words, without a full stop.
    where, found, wanted, do : object, optional
        The place (file, row, field), the offending value, the expectation, and the remedy.
        Left out of the message where they are ``None``.

    Examples
    --------
    >>> print(ImiBenchError("query image missing", where="a/max_9.png", wanted="a PNG file"))
    query image missing: a/max_9.png: wanted a PNG file
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        wanted: object = None,
        do: object = None,
    ) -> None:
        self.what, self.where, self.found, self.wanted, self.do = what, where, found, wanted, do
        facts = [
            f"{label} {fact}"
            for label, fact in (("found", found), ("wanted", wanted))
            if fact is not None
        ]
        line = ": ".join([what, *([str(where)] if where is not None else [])])
        line += ": " + ", ".join(facts) if facts else ""
        line += f"; {do}" if do is not None else ""
        super().__init__(" ".join(line.split()))


class InputError(ImiBenchError, ValueError):
    """Bad input: a file, a table, an argument."""


class TrialError(InputError):
    """A trial or its folder is not what the layout says."""


class ImageError(InputError):
    """A file that should be an image is missing, truncated, not an image, or out of bounds."""


class ResponseError(InputError):
    """A table of human answers breaks its schema."""


class CardError(InputError):
    """The card of an observer or network is invalid."""


class UnknownNameError(InputError):
    """A name that is not in its catalogue; the message suggests the nearest ones.

    Examples
    --------
    >>> print(UnknownNameError.among("pixle", ["pixel-l2", "ssim"], kind="observer"))
    unknown observer: found 'pixle', wanted one of pixel-l2, ssim; did you mean 'pixel-l2'?
    """

    @classmethod
    def among(cls, name: object, known: Iterable[str], *, kind: str) -> UnknownNameError:
        """Build the error for `name`, given the names that exist; what is no text is near none."""
        known = sorted(known)
        text = isinstance(name, str)
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5) if text else []
        listed = ", ".join(known[:12]) + (" …" if len(known) > 12 else "")
        return cls(
            f"unknown {kind}",
            found=repr(name) if text else shorten(repr(name), 80),
            wanted=f"one of {listed}" if known else None,
            do=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
        )

    @classmethod
    def unless_among(cls, name: object, known: Collection[str], *, kind: str) -> None:
        """Raise the error of `among` unless `name` is one of those that exist."""
        if not isinstance(name, str) or name not in known:
            raise cls.among(name, known, kind=kind)


class FormulaError(InputError):
    """A model formula cannot be read or evaluated on the data."""


class ModelError(InputError):
    """A statistical model cannot be set up on these data."""


class NetworkError(InputError):
    """A network, its weights or one of its layers do not fit."""


class SubmissionError(InputError):
    """A submission to a leaderboard is invalid."""


class MissingExtraError(ImiBenchError, ImportError):
    """An optional package is needed and not installed."""


class DownloadError(ImiBenchError):
    """A file could not be fetched, or is not what its checksum says."""


class LeakageError(ImiBenchError):
    """A calibration would be scored on trials it was fitted on."""


class CheckFailedError(ImiBenchError):
    """A check ran to its end and its answer is no."""

    exit_code = 1


class NotComparableError(ImiBenchError):
    """Two things do not share what a comparison needs: trials, humans, folds."""

    exit_code = 3


class NotEnoughDataError(NotComparableError):
    """Too few answers, units or clusters to compute what was asked."""


class NotConvergedError(CheckFailedError, ModelError):
    """A model was set up, but no maximum of its likelihood was found."""


class SmallModelError(NotEnoughDataError, ModelError):
    """Too few rows, people, units or values for what a model is to tell apart."""
