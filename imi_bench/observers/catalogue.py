"""Every observer by name, built on use.

A name is one of

- a card's: ``classical``, ``clip-vit-b32``; options override the card's parameters:
  ``clip-vit-b32?pooling=max``;
- any architecture: ``timm:NAME?checkpoint=FILE.safetensors``, ``open_clip:NAME?pretrained=TAG``
  or ``torchvision:NAME?pretrained=IMAGENET1K_V1``; random weights by ``?pretrained=false&seed=0``;
- a vision-language model that answers in context: ``vlm:openai/MODEL?base_url=URL&shots=4`` or
  ``vlm:hf/PATH-OR-ID?shots=4`` (see `imi_bench.observers.incontext.observer.from_name`);
- a file's: ``path/file.py:Class`` (or a function or a ready object in it), with options
  ``path/file.py:Class?path=x``; a function is a factory, or a plain ``similarity(image, image)``
  or ``encode(images)`` (see `imi_bench.observers.functions`);
- a learned measure's folder or file: ``learned/`` (see `imi_bench.observers.learned`);
- an installed package's: an entry point of the group ``imi_bench.observers``.

Any object with the methods of `imi_bench.observers.protocol.Observer` needs no name: pass it.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Container, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from imi_bench.arguments import checked, held, refuse_idle
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.card import ObserverCard, cards
from imi_bench.observers.functions import observer_from_function
from imi_bench.observers.learned import FILE, LearnedObserver, is_learned, read_record
from imi_bench.observers.loader_names import reference
from imi_bench.observers.options import parameters_of, read_options
from imi_bench.observers.protocol import Named, Observer
from imi_bench.vision.code_files import faults_told, from_file
from imi_bench.vision.references import split_reference

GROUP = "imi_bench.observers"

_WHOSE = ("architecture", "pretrained", "trunk", "variant")  # parameters that choose the weights
_SCHEMES = {
    "timm": "imi_bench.observers.encoders:from_timm",
    "open_clip": "imi_bench.observers.encoders:from_open_clip",
    "torchvision": "imi_bench.observers.encoders:from_torchvision",
    "vlm": "imi_bench.observers.incontext.observer:from_name",
}


def names() -> list[str]:
    """Names of all cards, then of entry points of other packages; imports none of them.

    Examples
    --------
    >>> "chance" in names()
    True
    """
    shipped = list(cards())
    return shipped + sorted(set(plugins()) - set(shipped))


def plugins() -> dict[str, metadata.EntryPoint]:
    """Entry points of other packages by name, those whose name a shipped observer has included.

    A shipped observer wins; `load_observer` warns of one that it hides.
    """
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


@checked
def card(name: str) -> ObserverCard:
    """The card of an observer of this package.

    Raises
    ------
    UnknownNameError
        If there is none; the message suggests the nearest names.
    """
    known = cards()
    UnknownNameError.unless_among(name, known, kind="observer card")
    return known[name]


@checked
def described(name: str) -> dict[str, Any]:
    """What is known of an observer before anything of it is loaded, as a JSON object.

    Parameters
    ----------
    name : str
        A card's, with or without options; an architecture of timm, open_clip, torchvision
        or ``vlm:``; a plug-in's.

    Raises
    ------
    UnknownNameError
        An unknown name, or an option that it does not have.

    Examples
    --------
    >>> described("clip-vit-b32?pooling=max")["parameters"]["pooling"]
    'max'
    """
    base, given = _split(name)
    if base in cards():
        known = cards()[base]
        options = _options(_imported(known.loader), given, name) if given else {}
        return {**known.to_json(), "name": name, "parameters": {**known.parameters, **options}}
    scheme, _, architecture = base.partition(":")
    if scheme in _SCHEMES:
        options = _options(_imported(_SCHEMES[scheme]), given, name)
        return {
            "name": name,
            "kind": f"an architecture of {scheme}, without a card",
            "loader": _SCHEMES[scheme],
            "parameters": {"architecture": architecture, **options},
        }
    if (entry := plugins().get(base)) is not None:
        return {
            "name": name,
            "kind": "plug-in",
            "loader": entry.value,
            "package": None if entry.dist is None else entry.dist.name,
            "version": None if entry.dist is None else entry.dist.version,
        }
    return card(base).to_json()


@checked
def load_observer(
    name: str | Path | Observer | Callable[..., Any],
    *,
    device: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
) -> Observer:
    """Build an observer.

    Parameters
    ----------
    name : str, Path, Observer, callable or torch.nn.Module
        Any of the forms in the module's docstring; an object that is an observer is given back; a
        function ``similarity(image, image)`` or ``encode(images)``, as
        `imi_bench.observers.functions` says; a network in memory, whose output is the code.
    device : {"auto", "cpu", "cuda", "mps"}
    dtype : {"float32", "bf16", "fp16"}
        Both for encoders that run in torch.
    seed : int
        For observers that draw at random (``chance``) and for random weights.

    Returns
    -------
    Observer

    Raises
    ------
    UnknownNameError
        An unknown name or option; the message suggests the nearest ones.
    InputError
        A file, class or value that does not give an observer.
    MissingExtraError
        If the observer needs an extra that is not installed.

    Examples
    --------
    >>> load_observer("chance", seed=1).name
    'chance'
    """
    if isinstance(name, Path):
        name = str(name)
    if not isinstance(name, str):
        return _in_memory(name, device=device, dtype=dtype)
    if is_learned(name):
        return LearnedObserver(
            read_record(name),
            lambda part: load_observer(part, device=device, dtype=dtype, seed=seed),
            beside=Path(name).parent if Path(name).name == FILE else Path(name),
        )
    runtime = {"device": device, "dtype": dtype, "seed": seed}
    base, given = _split(name)
    if in_file := re.fullmatch(r"(.+\.py):([A-Za-z_]\w*)", base):
        found_there = from_file(Path(in_file[1]), in_file[2], kind="observer")
        called = Path(in_file[1]).name + name[len(in_file[1]) :]
        options = _options(found_there, given, name)
        return _observer(found_there, options, runtime, where=name, called=called)
    if base.endswith(".py"):
        raise InputError("no class named", found=name, wanted=f"{name}:CLASS")
    # the name of an observer travels to reports; folders of this machine do not
    shown = re.sub(r"(?<=checkpoint=)[^&]*[/\\]", "", name)
    scheme, _, architecture = base.partition(":")
    if scheme in _SCHEMES:
        if "architecture" in given:
            raise InputError("an architecture twice", where=name, do="leave the option out")
        loader = _imported(_SCHEMES[scheme])
        options = {**_options(loader, given, name), "architecture": architecture}
        offered = {**runtime, "name": _told(shown, loader, options, runtime)}
        return _with_file(_observer(loader, options, offered, where=name), options)
    known = cards()
    if base in known:
        if (hidden := plugins().get(base)) is not None:
            warnings.warn(
                f"the plug-in '{base}' ({hidden.value}) is not used: a shipped observer has its "
                "name; give it by FILE.py:CLASS, or rename it",
                stacklevel=2,
            )
        found = known[base]
        loader = _imported(found.loader)
        options = _options(loader, given, name)
        settings = {**found.parameters, **options}
        offered = {**runtime, "name": _told(shown, loader, settings, runtime)}
        if all(
            options.get(one, own) == own for one, own in found.parameters.items() if one in _WHOSE
        ):
            offered["weights"] = found.weights
        return _with_file(_observer(loader, settings, offered, where=name), options)
    for entry in metadata.entry_points(group=GROUP, name=base):
        where = f"{base} ({entry.value})"
        with faults_told("observer of another package cannot be imported", where=where):
            plugin = entry.load()
        return _observer(plugin, _options(plugin, given, name), runtime, where=name)
    raise UnknownNameError.among(
        base, [*names(), *(f"{s}:NAME" for s in _SCHEMES)], kind="observer"
    )


def _told(shown: str, loader: Any, options: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
    """The name of a shipped observer: its reference, with what else of this call changes answers.

    Raises
    ------
    InputError
        A seed in the reference, where nothing is drawn.
    """
    taken = inspect.signature(loader).parameters
    if "pretrained" not in taken:
        return shown
    random = options.get("pretrained", True) is False
    if "seed" in options:
        refuse_idle("seed", options["seed"], unless=random, do="add pretrained=false", where=shown)
    free = {"dtype": "float32", "seed": 0 if random else runtime["seed"]}
    said = {one: runtime[one] for one, value in free.items() if runtime[one] != value}
    return reference(shown, {n: v for n, v in said.items() if n in taken and n not in options})


def _with_file(observer: Observer, options: Mapping[str, Any]) -> Observer:
    if isinstance(observer, Named) and "checkpoint" in options:
        observer.local_file = Path(options["checkpoint"]).resolve()
    return observer


def _in_memory(found: Any, *, device: str, dtype: str) -> Observer:
    """An observer as it is; what a network in memory or a plain function makes."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(found, torch.nn.Module):
        from imi_bench.observers.encoders import from_module

        return from_module(found, device=device, dtype=dtype)
    _refuse_unused({"device": device, "dtype": dtype}, frozenset(), "load_observer")
    if isinstance(found, Observer) and not inspect.isclass(found):
        return found
    if callable(found) and not inspect.isclass(found):
        made = observer_from_function(found)
        if made is not None:
            return made
    raise _not_an_observer(found, "load_observer")


def _split(name: str) -> tuple[str, dict[str, str]]:
    base, options = split_reference(name)
    if "input_size" in options and _takes_image_size(base):  # as networks say it
        if "image_size" in options:
            both = "input_size and image_size"
            raise InputError("one option by two names", where=name, found=both)
        options["image_size"] = options.pop("input_size")
    return base, options


def _takes_image_size(name: str) -> bool:
    if name.partition(":")[0] in _SCHEMES:
        return True
    found = cards().get(name)
    if found is None:
        return False
    return "image_size" in inspect.signature(_imported(found.loader)).parameters


def _imported(loader: str) -> Any:
    module, _, attribute = loader.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _observer(
    found: Any,
    options: Mapping[str, Any],
    offered: Mapping[str, Any],
    *,
    where: str,
    called: str | None = None,
) -> Observer:
    """A ready object as it is; a class or function called with what it takes.

    A function that compares or encodes is `called` so; a class names itself.
    """
    built = found
    if inspect.isclass(found) or not isinstance(found, Observer):
        if not callable(found):
            raise _not_an_observer(found, where)
        built = None
        if not inspect.isclass(found):
            _known_options(found, options, where)
            built = observer_from_function(
                found, name=called, options=options, ready=frozenset(offered)
            )
            if built is not None:
                _refuse_unused(offered, frozenset(), where)
        if built is None:
            built = _call(found, options, offered, where=where)
    elif options:
        raise InputError("a ready observer takes no options", where=where, found=list(options))
    else:
        _refuse_unused(offered, frozenset(), where)
    if not isinstance(built, Observer):
        raise _not_an_observer(built, where)
    return built


def _call(
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    offered: Mapping[str, Any],
    *,
    where: str,
) -> Any:
    """Call with all options, and with those of the offered arguments that it names."""
    accepted = _known_options(factory, options, where)
    _refuse_unused(offered, accepted, where)
    ours = getattr(factory, "__module__", "").partition(".")[0] == __name__.partition(".")[0]
    if ours:
        made_by = factory.__init__ if inspect.isclass(factory) else factory
        options = held(made_by, options, where=where, texts=True)
    arguments = {key: value for key, value in offered.items() if key in accepted} | dict(options)
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise InputError("the observer cannot be built", where=where, found=error) from error
    if ours:
        return factory(**arguments)
    with faults_told("the observer cannot be built", where=where):
        return factory(**arguments)


class TakesNoDeviceError(InputError):
    """An observer was given a device, and is built without one."""


def _refuse_unused(offered: Mapping[str, Any], accepted: Container[str], where: str) -> None:
    """A device or number type that was asked for is handed over or refused, never ignored."""
    for name, free in (("device", ("auto", "cpu")), ("dtype", ("float32",))):
        wanted = offered.get(name, free[0])
        if wanted not in free and name not in accepted:
            kind = TakesNoDeviceError if name == "device" else InputError
            raise kind(
                f"the observer takes no {name}",
                where=where,
                found=f"{name} {wanted}",
                wanted=f"an argument `{name}` that it is built with",
                do=f"add one, or leave {name} out",
            )


def _options(found: Any, given: Mapping[str, str], where: str) -> dict[str, Any]:
    """Options of a reference as values, all known to what takes them, if that is known."""
    if callable(found) and not isinstance(found, Observer):
        _known_options(found, given, where)
    return read_options(found, given, where=where)


def _known_options(
    factory: Callable[..., Any], options: Mapping[str, Any], where: str
) -> Mapping[str, inspect.Parameter]:
    """The parameters of a factory; an option it does not have is refused."""
    accepted = parameters_of(factory)
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    for option in options:
        if option not in accepted and not takes_any:
            raise UnknownNameError.among(option, accepted, kind=f"option of '{where}'")
    return accepted


def _not_an_observer(found: object, where: str) -> InputError:
    if isinstance(found, type):
        told = f"the class {found.__name__}: give an instance of it"
    else:
        missing = [m for m in ("name", "describe", "decide") if not hasattr(found, m)]
        told = f"{type(found).__name__} without {', '.join(missing)}"
    return InputError(
        "not an observer",
        where=where,
        found=told,
        wanted="name, describe() and decide(trials, codes); or a function similarity(image, image) "
        "or encode(images)",
    )
