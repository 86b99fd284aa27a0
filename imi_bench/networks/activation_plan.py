"""What a pass over images will do, before it does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.networks.collection import ImageSet
from imi_bench.networks.units import Unit, check_units, find_layer
from imi_bench.provenance import sha256_json
from imi_bench.vision.loading import LoadedNetwork

KEEP = 110
"""Extremes a unit: 11 batches of 9 references and a query (Zimmermann et al. 2023)."""
PRECISIONS = ("float32", "bfloat16", "float16")
_MAX_SHARDS, _LEAST_SHARD = 64, 2048
_BLOCK_ON_GPU = 2048


@dataclass(frozen=True)
class ActivationPlan:
    """What one pass does; two passes with equal plans give equal files on equal machines.

    Attributes
    ----------
    layers : tuple of str
        Released names of the layers whose units are followed.
    sampled : tuple of Unit
        Units whose every activation and covariates are kept.
    images : int
        Number of images, N.
    keep : int
        Images kept at either end of a unit.
    batch_size, shard_size : int
        Images a forward pass, and a shard (a multiple of the batch size).
    precision : str
        ``float32``, or autocast to ``bfloat16`` or ``float16``.
    fingerprint : str
        SHA-256 of all of the above, the network's record and the images' fingerprint.
    """

    layers: tuple[str, ...]
    sampled: tuple[Unit, ...]
    images: int
    keep: int
    batch_size: int
    shard_size: int
    precision: str
    fingerprint: str

    @property
    def shards(self) -> tuple[range, ...]:
        """Image numbers of each shard."""
        starts = range(0, self.images, self.shard_size)
        return tuple(range(s, min(s + self.shard_size, self.images)) for s in starts)


def block_size(keep: int, batch_size: int, *, device: str = "cpu") -> int:
    """Images whose activations are held before extremes are selected from them.

    Selecting from blocks four times as long as what is kept halves the cost of selecting. A GPU
    passes over what it selects from once for every other bit of a key, in no less time for a few
    hundred images than for thousands.

    Examples
    --------
    >>> block_size(110, 64), block_size(110, 64, device="cuda")
    (448, 2048)
    """
    least = 4 * keep if device == "cpu" else max(4 * keep, _BLOCK_ON_GPU)
    return -(-least // batch_size) * batch_size


def plan_activations(
    network: LoadedNetwork,
    images: ImageSet,
    *,
    layers: Sequence[str] | None = None,
    sampled: Iterable[Unit] = (),
    keep: int = KEEP,
    batch_size: int = 64,
    shard_size: int | None = None,
    precision: str = "float32",
) -> ActivationPlan:
    """Plan a pass.

    Parameters
    ----------
    layers : sequence of str, optional
        Layers to follow; all if None. Layers of sampled units are added.
    shard_size : int, optional
        About 64 shards, of 2,048 images and of four times `keep` or more, if None.

    Raises
    ------
    UnknownNameError
        For a layer that the network does not have.
    NetworkError
        For a unit that its layer does not have.
    InputError
        For numbers below 1 or an unknown precision.
    """
    if network.device == "meta":
        raise InputError(
            "a network without weights cannot run",
            where=network.name,
            found="device meta, the structure alone",
            wanted="auto, cpu or cuda",
        )
    for name, number in (("keep", keep), ("batch_size", batch_size), ("shard_size", shard_size)):
        if number is not None and number < 1:
            raise InputError(f"{name} out of range", found=number, wanted="1 or more")
    UnknownNameError.unless_among(precision, PRECISIONS, kind="precision")
    units = check_units(network.layers, sampled)
    wanted = network.layer_names if layers is None else layers
    chosen = {find_layer(network.layers, name).name for name in wanted} | {u.layer for u in units}
    ordered = tuple(layer.name for layer in network.layers if layer.name in chosen)
    # a shard's file is as large as what is kept of it: not much smaller than what it was cut from
    size = shard_size or max(_LEAST_SHARD, 4 * keep, -(-len(images) // _MAX_SHARDS))
    size = -(-size // batch_size) * batch_size
    numbers = (min(keep, len(images)), batch_size, size, precision)
    identity = [
        dict(network.record),
        network.name,
        images.fingerprint,
        len(images),
        ordered,
        [str(unit) for unit in units],
        *numbers,
    ]
    return ActivationPlan(ordered, units, len(images), *numbers, sha256_json(identity))
