"""What an observer is called in tables: the reference that builds it, whoever calls the loader.

Two observers that answer differently have two names: every option is in it that is not the
loader's default. A local checkpoint stands there without its folder, which is this machine's
affair, and with the first digits of its weights: ``timm:vit?checkpoint=last.pth@1f2e3d4c``.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from imi_bench.observers.protocol import Named
from imi_bench.provenance import sha256_json

__all__ = ["named", "reference"]

P = ParamSpec("P")
Loaded = TypeVar("Loaded", bound=Named)

_DIGITS = 8


def named(base: str) -> Callable[[Callable[P, Loaded]], Callable[P, Loaded]]:
    """Let a loader name what it builds by its options, where it is not told a name.

    Parameters
    ----------
    base : str
        Of the name, with the loader's arguments in braces: ``timm:{architecture}``.
    """

    def decorated(loader: Callable[P, Loaded]) -> Callable[P, Loaded]:
        signature = inspect.signature(loader)
        parts = set(re.findall(r"{(\w+)}", base))

        @functools.wraps(loader)
        def loaded(*args: P.args, **kwargs: P.kwargs) -> Loaded:
            given = dict(signature.bind(*args, **kwargs).arguments)
            free = {p.name: p.default for p in signature.parameters.values()}
            if given.get("name") is None:
                options = {
                    option: value
                    for option, value in given.items()
                    if option not in {*parts, "name", "device"} and value != free[option]
                }
                kwargs["name"] = reference(base.format(**{**free, **given}), options)
            made = loader(*args, **kwargs)
            if given.get("checkpoint") is not None:
                _tell_weights(made, Path(given["checkpoint"]).name)
            return made

        return loaded

    return decorated


def reference(base: str, options: Mapping[str, Any]) -> str:
    """A name with options, as one would write it; folders of checkpoints left out.

    Examples
    --------
    >>> reference("timm:resnet18", {"layer": "conv1", "checkpoint": "runs/last.pth"})
    'timm:resnet18?layer=conv1&checkpoint=last.pth'
    >>> reference("timm:resnet18?layer=conv1", {"dtype": "bf16"})
    'timm:resnet18?layer=conv1&dtype=bf16'
    """
    said = "&".join(f"{option}={_text(option, value)}" for option, value in options.items())
    return base + ("&" if "?" in base else "?") * bool(said) + said


def _text(option: str, value: Any) -> str:
    if isinstance(value, Path | str):
        text = Path(value).name if option == "checkpoint" else str(value)
        return text.replace("%", "%25").replace("&", "%26")  # as `split_reference` reads it
    if isinstance(value, list | tuple):
        return ",".join(_text(option, one) for one in value)
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    described = getattr(value, "record", None)
    return sha256_json(described() if callable(described) else str(value))[:_DIGITS]


def _tell_weights(observer: Named, file: str) -> None:
    """Put the first digits of its weights behind the checkpoint of a name."""
    describe = getattr(observer, "describe", None)
    weights = describe().get("weights", {}) if callable(describe) else {}
    digest = str(weights.get("sha256", ""))[:_DIGITS]
    if digest:
        told = f"checkpoint={file}"
        observer.name = re.sub(
            rf"{re.escape(told)}(?=&|$)", lambda _: f"{told}@{digest}", observer.name
        )
