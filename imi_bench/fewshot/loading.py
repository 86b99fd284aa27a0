"""Observers of a study: by name, ready made, or plain models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.observers.card import cards
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.protocol import Encoder

OneObserver: TypeAlias = "str | InContext | Callable[..., Any]"
ObserversLike: TypeAlias = "OneObserver | Iterable[OneObserver] | Mapping[str, OneObserver]"


def observers_of(
    given: ObserversLike,
    *,
    ledger: Ledger | None = None,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
) -> dict[str, InContext]:
    """Zero-shot observers by the name that reports give them.

    Parameters
    ----------
    given : ObserversLike
        Str, InContext, callable, several of them, or a mapping of name to one
        Names as in `imi_bench.observers.catalogue.load_observer`; a callable is a model
        ``prompt -> log-likelihoods`` under a name that stands for all that can change its answers.
    ledger : Ledger, optional
        Where all of them keep their answers.
    device, dtype, seed : str and int
        For observers by name.

    Raises
    ------
    InputError
        No observer, two of one name, one that does not answer in context, or that has solved
        trials already; a budget of money without prices.
    """
    if isinstance(given, Mapping):
        listed = [(str(name), one) for name, one in given.items()]
    else:
        single = isinstance(given, str | InContext) or not isinstance(given, Iterable)
        ones: list[Any] = [given] if single or callable(given) else list(given)  # type: ignore[arg-type]
        listed = [("", one) for one in ones]
    found: dict[str, InContext] = {}
    for name, one in listed:
        made = _made(name, one, ledger=ledger, device=device, dtype=dtype, seed=seed)
        if made.name in found:
            raise InputError("two observers of one name", found=made.name, wanted="one of each")
        found[made.name] = made
    if not found:
        raise InputError("no observer", wanted="a name, an InContext or a model")
    return found


def _made(name: str, one: Any, *, ledger: Ledger | None, **load: Any) -> InContext:
    if isinstance(one, str):
        with_ledger, card = one, cards().get(one.partition("?")[0])
        in_context = card is not None and card.kind == "in-context"
        if ledger is not None and (one.startswith("vlm:") or in_context):
            with_ledger += ("&" if "?" in one else "?") + f"ledger={quote(str(ledger.path))}"
        one = load_observer(with_ledger, **load)
    elif not isinstance(one, InContext) and callable(one):
        said = name or getattr(one, "__name__", type(one).__name__)
        identity = getattr(one, "identity", {"model": said})
        one = InContext(one, identity=identity, name=said)
    if not isinstance(one, InContext):
        raise InputError(
            "not an observer that answers in context",
            found=getattr(one, "name", type(one).__name__),
            wanted="vlm:openai/MODEL, vlm:hf/PATH-OR-ID, or an InContext",
        )
    if one.shots is not None:
        raise InputError(
            "the study gives the solved trials", found=repr(one), do="leave out shots= and pool="
        )
    made = one.keeping(ledger) if ledger is not None else one.keeping(one.ledger)
    if name:
        made.name = name
    _priced(made)
    return made


def _priced(observer: InContext) -> None:
    """Refuse a budget of money that could never be used up."""
    budget = None if observer.ledger is None else observer.ledger.max_cost
    prices = [getattr(observer.model, f"price_{way}", None) for way in ("in", "out")]
    if budget is not None and prices == [0, 0]:
        raise InputError(
            "a budget of money needs prices",
            where=observer.name,
            do="add price_in=… and price_out=… (for a million tokens) to the observer's name",
        )


def parameters_of(
    observers: Mapping[str, InContext], given: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Numbers of parameters: those given, else those that a local model holds."""
    found = dict(given or {})
    if unknown := set(found) - set(observers):
        raise InputError(
            "parameters of no observer", found=sorted(unknown), wanted=sorted(observers)
        )
    for name, count in found.items():
        if not 0 < count < math.inf:
            raise InputError("no number of parameters", where=name, found=count, wanted="above 0")
    for name, observer in observers.items():
        counted = getattr(observer.model, "parameters", None)
        if name not in found and isinstance(counted, int):
            found[name] = float(counted)
    return found


def encoder_of(given: str | Encoder | None) -> Encoder | None:
    """An observer that codes an image at a time, by name or as it is.

    Raises
    ------
    InputError
        One that does not.
    """
    found = load_observer(given) if isinstance(given, str) else given
    if found is not None and not isinstance(found, Encoder):
        raise InputError(
            "not an observer that codes images",
            found=getattr(found, "name", type(found).__name__),
            wanted="one such as efficientnet-lite0 or oriented-energy",
        )
    return found


@checked
def ledger_in(
    folder: str | Path | None,
    path: str | Path | None,
    *,
    max_requests: int | None,
    max_cost: float | None,
) -> Ledger | None:
    """The study's own ledger: the file named, else ``ledger.db`` in its folder, else none."""
    place = (
        Path(path) if path is not None else None if folder is None else Path(folder) / "ledger.db"
    )
    if place is None:
        if max_requests is not None or max_cost is not None:
            raise InputError("a budget needs a ledger", do="give out= or ledger=")
        return None
    return Ledger(place, max_requests=max_requests, max_cost=max_cost)
