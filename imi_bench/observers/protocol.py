"""What an observer is: anything that turns blind trials into decision variables.

An observer works in two steps, so that each distinct image is looked at once however many trials
it stands in::

    encode(images)          -> one code an image        (cached on disk by content hash)
    decide(trials, codes)   -> one decision variable a trial

An observer that must see a whole trial at once (a vision-language model) has no `encode`; its
`decide` decodes what it needs through ``trials.images.decode(row)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.provenance import sha256_file, sha256_json
from imi_bench.tables import BlindTrials
from imi_bench.vision.code_identity import class_source

Codes = NDArray[Any]


@runtime_checkable
class Observer(Protocol):
    """Anything that answers trials.

    Attributes
    ----------
    name : str
        Stands in tables and reports.

    Notes
    -----
    The decision variable is positive for "the first query is the strongly activating one", 0 for
    a tie, NaN where the observer cannot say. Swapping the queries, or positive and negative
    references, must flip its sign; the order of references and of trials must not matter. The
    contract check (`imi_bench.observers.contract`) tests this.
    """

    name: str

    def describe(self) -> Mapping[str, Any]:
        """Everything that can change an answer, as a JSON object: weights, preprocessing, dtype.

        Its hash is the observer's `fingerprint`, under which codes are cached.
        """
        ...

    def decide(self, trials: BlindTrials, codes: Codes | None) -> NDArray[np.float64] | Answers:
        """Decision variables of some trials.

        Parameters
        ----------
        trials : BlindTrials
            T trials over N images.
        codes : (N, …) array or None
            What `encode` gave for each row of ``trials.images``; None without `encode`.

        Returns
        -------
        (T,) float64 or Answers
        """
        ...


class Named:
    """An observer that prints as its class and its name.

    Attributes
    ----------
    name : str
    local_file : Path, optional
        Where the file of weights lies that a reference named (``?checkpoint=FILE``); no part of
        what the observer is.
    """

    name: str
    local_file: Path | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


@runtime_checkable
class Encoder(Observer, Protocol):
    """An observer that looks at one image at a time."""

    def encode(self, images: Sequence[Pixels]) -> Codes:
        """Code a batch of images, each (H, W, 3) uint8 RGB of its own size.

        Returns
        -------
        (len(images), …) array
            One code an image; must not depend on the other images of the batch. A fixed shape
            and dtype for all images of an observer.
        """
        ...


@dataclass(frozen=True, eq=False)
class Answers:
    """Decision variables with a reason where there is none.

    Attributes
    ----------
    decision_variable : (T,) float64
        NaN exactly where there is no answer.
    status : (T,) str
        As in `DecisionVariables`.
    """

    decision_variable: NDArray[np.float64]
    status: NDArray[np.object_]


class ObserverExitError(Exception):
    """An observer's code called ``sys.exit``: a fault of it, not an answer."""


@contextmanager
def exits_are_faults(observer: object) -> Iterator[None]:
    """Turn ``sys.exit`` inside an observer's code into `ObserverExitError`."""
    try:
        yield
    except SystemExit as error:
        name = getattr(observer, "name", observer)
        raise ObserverExitError(
            f"observer '{name}' ended the program (sys.exit({error.code!r}))"
        ) from error


def require_name(observer: Observer) -> str:
    """The observer's name.

    Raises
    ------
    InputError
        If it is no text, or an empty one.
    """
    name = getattr(observer, "name", None)
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            "an observer without a name",
            where=type(observer).__name__,
            found=f"name = {name!r}",
            wanted="a text that stands in tables and reports",
        )
    return name


def decision_values(value: object, count: int, *, where: str) -> NDArray[np.float64]:
    """Decision variables in what `decide` gave, in either form, as (count,) float64.

    Raises
    ------
    InputError
        Another shape, or no numbers; truth values are none: they have no tie and no strength.
    """
    given = np.asarray(value.decision_variable if isinstance(value, Answers) else value)
    if given.shape != (count,) or given.dtype.kind not in "fiu":
        raise InputError(
            "not one number a trial",
            where=where,
            found=f"{given.dtype} {given.shape}",
            wanted=f"float64 ({count},)",
        )
    return given.astype(np.float64)


def local_file(observer: Observer) -> dict[str, dict[str, str]]:
    """What a record says of the file of weights that a reference named; nothing without one.

    Examples
    --------
    >>> from imi_bench.observers.reference import Chance
    >>> local_file(Chance(seed=0))
    {}
    """
    file = getattr(observer, "local_file", None)
    if file is None:
        return {}
    return {"local_file": {"path": str(file), "sha256": sha256_file(file)}}


def fingerprint(observer: Observer) -> str:
    """SHA-256 of the description, and of the source file of an observer from outside this package.

    Two observers with one fingerprint answer alike, so an edit to the file of an observer makes
    another observer of it. What that file imports is not followed: describe it.

    Raises
    ------
    InputError
        If the description is not a JSON object.
    """
    try:
        said = dict(observer.describe())
        ours = type(observer).__module__.partition(".")[0] == __name__.partition(".")[0]
        return sha256_json(said if ours else [said, class_source(type(observer))])
    except (TypeError, ValueError) as error:
        raise InputError(
            "describe() is not a JSON object",
            where=f"observer '{observer.name}'",
            found=error,
            wanted="names, numbers, lists and dicts of what can change an answer",
        ) from error
