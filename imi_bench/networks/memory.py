"""How much memory a pass over images takes, and which layers to follow at a time to bound it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imi_bench.errors import InputError
from imi_bench.extras import require
from imi_bench.networks.activation_plan import block_size
from imi_bench.networks.extremes import UNITS_AT_A_TIME
from imi_bench.vision.layers import Layer


def pass_bytes(units: int, *, keep: int, batch_size: int, device: str = "cpu") -> int:
    """What the extremes take at the worst moment of a pass or of merging its shards, about.

    The network and its feature maps come on top. A unit costs both ends as they are and as they
    become (8-byte keys) and a block of 4-byte activations; units that are selected from at the
    same time, all of them on a GPU, cost the keys of the block three times over and the two that
    are put together.

    Examples
    --------
    >>> pass_bytes(1000, keep=100, batch_size=100)
    18400000
    """
    block = block_size(keep, batch_size)
    at_once = min(units, UNITS_AT_A_TIME) if device == "cpu" else units
    return units * (32 * keep + 4 * block) + at_once * (24 * block + 8 * (keep + block))


def available_bytes(device: str) -> int | None:
    """Free memory of a GPU, or what the system can give (Linux); None where it cannot be told."""
    if device.startswith("cuda"):
        free: int = require("torch", for_="asking a GPU for its memory").cuda.mem_get_info()[0]
        return free
    table = Path("/proc/meminfo")
    if not table.is_file():
        return None
    fields = dict(line.split(":") for line in table.read_text(encoding="ascii").splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def layers_by_pass(
    layers: Sequence[Layer],
    *,
    budget: float | None,
    keep: int,
    batch_size: int,
    device: str = "cpu",
) -> tuple[tuple[str, ...], ...]:
    """Names of the layers to follow in each pass, in order, each pass within the budget.

    Parameters
    ----------
    budget : float or None
        Bytes; None: one pass.

    Raises
    ------
    InputError
        If one layer alone exceeds the budget.

    Examples
    --------
    >>> two = [Layer(name, name, "Conv2d", 0.0, 100, 0, 1, (1, 100, 4, 4)) for name in "ab"]
    >>> layers_by_pass(two, budget=2_000_000, keep=100, batch_size=100)
    (('a',), ('b',))
    """
    passes: list[list[str]] = [[]]
    units = 0
    for layer in layers:
        needed = pass_bytes(layer.width, keep=keep, batch_size=batch_size, device=device)
        if budget is not None and needed > budget:
            raise InputError(
                "memory too small for a layer",
                where=f"layer '{layer.name}', {layer.width} units",
                found=f"{budget / 1e9:.2g} GB",
                wanted=f"{needed / 1e9:.2g} GB",
                do="give more, a smaller --quantile, or a sample of the images",
            )
        units += layer.width
        together = pass_bytes(units, keep=keep, batch_size=batch_size, device=device)
        if passes[-1] and budget is not None and together > budget:
            passes.append([])
            units = layer.width
        passes[-1].append(layer.name)
    return tuple(tuple(names) for names in passes)


def check_available(needed: int, *, device: str) -> None:
    """Raise `InputError` if a pass needs more memory than the device has free."""
    free = available_bytes(device)
    if free is not None and needed > free:
        raise InputError(
            "not enough memory for the extremes of all units",
            where=device,
            found=f"{free / 1e9:.1f} GB free",
            wanted=f"{needed / 1e9:.1f} GB",
            do="bound it by --memory (several passes over the images), take a sample of the "
            "images or a smaller --quantile",
        )
