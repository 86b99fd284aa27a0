"""How much memory a pass over images takes, and which layers to follow at a time to bound it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imi_bench.errors import InputError
from imi_bench.extras import require
from imi_bench.networks.activation_plan import block_size
from imi_bench.networks.extremes import units_at_a_time
from imi_bench.vision.layers import Layer, hooked
from imi_bench.vision.loading import LoadedNetwork


def pass_bytes(units: int, *, keep: int, batch_size: int, device: str = "cpu") -> int:
    """What the extremes take at the worst moment of a pass or of merging its shards, about.

    The network and its feature maps come on top. A unit costs both ends as they are and as they
    become (8-byte keys) and a block of 4-byte activations; units that are selected from at the
    same time cost the keys of the block three times over and the two that are put together.

    Examples
    --------
    >>> pass_bytes(1000, keep=100, batch_size=100)
    18400000
    """
    block = block_size(keep, batch_size, device=device)
    at_once = min(units, units_at_a_time(device))
    return units * (32 * keep + 4 * block) + at_once * (24 * block + 8 * (keep + block))


def available_bytes(device: str) -> int | None:
    """Free memory of a GPU, or what the system can give (Linux); None where it cannot be told."""
    if device.startswith("cuda"):
        cuda = require("torch", for_="asking a GPU for its memory").cuda
        # what torch holds and does not use is free, too
        unused = cuda.memory_reserved(device) - cuda.memory_allocated(device)
        return int(cuda.mem_get_info(device)[0] + unused)
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
                do="give more, a smaller quantile=, or a sample of the images",
            )
        units += layer.width
        together = pass_bytes(units, keep=keep, batch_size=batch_size, device=device)
        if passes[-1] and budget is not None and together > budget:
            passes.append([])
            units = layer.width
        passes[-1].append(layer.name)
    return tuple(tuple(names) for names in passes)


def ascent_bytes(network: LoadedNetwork, images: int) -> int:
    """What a step of gradient ascent keeps for its way back, about: every module's output.

    Measured by one image through the network.

    Parameters
    ----------
    network : LoadedNetwork
    images : int
        Optimised at the same time.
    """
    torch = require("torch", for_="feature visualisation")
    kept: dict[int, int] = {}

    def seen(_path: str, output: object) -> None:
        if isinstance(output, torch.Tensor):
            kept[output.data_ptr()] = output.numel() * output.element_size()
            alive.append(output)  # an address is used again once its tensor is gone

    alive: list[object] = []
    leaves = [p for p, part in network.module.named_modules() if p and not [*part.children()]]
    shape = (1, 3, *network.preprocess.size)
    drawn = torch.zeros(shape, dtype=torch.float32, device=network.device)
    with hooked(network.module, leaves, seen), torch.no_grad():
        network.module(drawn)
    return images * sum(kept.values())


def check_ascent(network: LoadedNetwork, *, group: int, images: int) -> None:
    """Raise `InputError` if a group of units takes more memory than there is.

    Parameters
    ----------
    network : LoadedNetwork
    group : int
        Units optimised at a time.
    images : int
        Images a unit.
    """
    one, free = ascent_bytes(network, images), available_bytes(network.device)
    if free is not None and group * one > free:
        raise InputError(
            "not enough memory for feature visualisation",
            where=f"{network.name} on {network.device}, {group} units of {images} images at a time",
            found=f"{free / 1e9:.1f} GB free",
            wanted=f"about {group * one / 1e9:.1f} GB",
            do=f"group={max(1, int(free // one))}" if one <= free else "use a machine with more",
        )


def check_available(needed: int, *, device: str) -> None:
    """Raise `InputError` if a pass needs more memory than the device has free."""
    free = available_bytes(device)
    if free is not None and needed > free:
        raise InputError(
            "not enough memory for the extremes of all units",
            where=device,
            found=f"{free / 1e9:.1f} GB free",
            wanted=f"{needed / 1e9:.1f} GB",
            do="bound it by memory= (several passes over the images), take a sample of the "
            "images or a smaller quantile=",
        )
