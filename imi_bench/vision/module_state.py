"""What a network in memory does that neither its weights nor its text show.

Hooks, attributes, tensors that are no parameters, a `forward` put in place of the class's: two
networks that differ in any of these answer differently, and must not share a name or a cache.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from imi_bench.extras import require
from imi_bench.provenance import sha256_bytes
from imi_bench.vision.code_identity import identity
from imi_bench.vision.weight_files import state_hash

if TYPE_CHECKING:
    from torch import nn

__all__ = ["module_state"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_PLAIN = (bool, int, float, str, type(None))


def module_state(module: nn.Module, *, libraries: Collection[str]) -> list[Any]:
    """Hashes of what is set on a network's parts beside parameters; JSON values, in one order.

    Parameters
    ----------
    module : torch.nn.Module
    libraries : set of str
        Packages of whose classes only hooks, tensors, functions and plain public values count:
        what else they keep is theirs, and follows from how they were built.

    Returns
    -------
    list
        Of what can be hashed neither as numbers nor as code, the name of its type.
    """
    known = {*vars(require("torch.nn", for_="a network in memory").Module()), "training"}
    found: list[Any] = []
    for path, part in module.named_modules():
        theirs = type(part).__module__.partition(".")[0] in libraries
        own = {
            name: value
            for name, value in vars(part).items()
            if name not in known and not (theirs and not _counts(name, value))
        }
        parts = {name: _content(own[name], set()) for name in sorted(own)}
        for name in _HOOKS:
            if hooks := list(vars(part).get(name, {}).values()):
                parts[name] = [_content(hook, set()) for hook in hooks]
        if hidden := [name for name in sorted(part._buffers) if _hidden(part, name)]:
            parts["buffers"] = [[name, _content(part._buffers[name], set())] for name in hidden]
        if parts:
            found.append([path, parts])
    return found


def _hidden(part: nn.Module, name: str) -> bool:
    return name in part._non_persistent_buffers_set


def _counts(name: str, value: Any) -> bool:
    """Whether an attribute of a library's class may have been set by a user."""
    if isinstance(value, FunctionType | MethodType) or hasattr(value, "detach"):
        return True
    return not name.startswith("_") and isinstance(value, _PLAIN)


def _content(value: Any, seen: set[int]) -> Any:
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in seen:
        return "seen"
    seen.add(id(value))
    if hasattr(value, "detach"):
        return "meta" if value.is_meta else state_hash({"": value})
    if isinstance(value, Mapping):
        return [[repr(key), _content(one, seen)] for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [_content(one, seen) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if hasattr(value, "state_dict") and hasattr(value, "named_modules"):
        return [repr(value), state_hash(value.state_dict())]
    if isinstance(value, MethodType):
        return ["method", identity(value.__func__)]
    if isinstance(value, FunctionType):
        return ["function", identity(value)]
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        return [kind, sha256_bytes(pickle.dumps(value, protocol=5))]
    except Exception:  # whatever a stranger's object raises when it is pickled
        return [kind]
