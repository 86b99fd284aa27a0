"""A torch module as an image encoder: device and number type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.extras import require
from imi_bench.vision.weight_files import state_hash

_DTYPES = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}

TOLERANCES = {"float32": 1e-4, "bf16": 3e-2, "fp16": 4e-3}
"""How far answers may move, of codes relative to their norm, when the batch size changes.

Kernels add in another order in batches of another size; these are a few units of rounding of each
type (2^-24, 2^-8, 2^-11) over the depth of the networks used here.
"""


@dataclass(frozen=True, eq=False)
class TorchEncoder:
    """A torch module with its preprocessing, as an encoder for `Embedding`.

    Attributes
    ----------
    forward : callable
        (B, 3, H, W) tensor to (B, D) tensor, on `device` and in `dtype`.
    transform : callable
        PIL image to (3, H, W) float32 tensor.
    device : str
        Not part of the description: devices agree within the tolerance.
    dtype : {"float32", "bf16", "fp16"}
    description : mapping
        Architecture, weights with their hash, preprocessing.
    flat : bool
        Whether a code is one vector; otherwise the features keep their shape.
    """

    forward: Callable[[Any], Any]
    transform: Callable[[Image.Image], Any]
    device: str
    dtype: str
    description: Mapping[str, Any]
    flat: bool = True

    def describe(self) -> Mapping[str, Any]:
        """All that can change a code, and the tolerance within which batches agree."""
        return {
            "kind": "embedding",
            **self.description,
            "dtype": self.dtype,
            "tolerance": TOLERANCES[self.dtype],
        }

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(len(images), D) float32 features; of more axes where they are not `flat`."""
        torch = require("torch", for_="encoding images")
        batch = torch.stack([self.transform(Image.fromarray(image)) for image in images])
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = self.forward(batch.to(self.device, getattr(torch, _DTYPES[self.dtype])))
        features = features.flatten(1) if self.flat else features
        return np.asarray(features.float().cpu().numpy(), dtype=np.float32)


def pick_device(wanted: str) -> str:
    """The device to run on: what is wanted, or the best there is for ``auto``.

    Raises
    ------
    InputError
        An unknown device, or one this machine does not have.
    """
    torch = require("torch", for_="running an encoder")
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    usable = [device for device, present in there.items() if present]
    if wanted == "auto":
        return usable[0]
    if wanted not in usable:
        raise InputError("no such device here", found=wanted, wanted=f"auto, {', '.join(usable)}")
    return wanted


def torch_encoder(
    module: Any,
    forward: Callable[[Any], Any],
    transform: Callable[[Image.Image], Any],
    *,
    device: str,
    dtype: str,
    description: Mapping[str, Any],
    flat: bool = True,
) -> TorchEncoder:
    """Put a module on its device, ready to run, and describe it with the hash of its weights.

    Parameters
    ----------
    module : torch.nn.Module
        In float32.
    forward, transform
        As in `TorchEncoder`.
    device, dtype
        As in `imi_bench.observers.catalogue.load_observer`.
    description : mapping
        JSON values; its ``weights`` gain the hash of the state dict.
    flat : bool
        As in `TorchEncoder`.

    Raises
    ------
    InputError
        An unknown number type or device.
    """
    torch = require("torch", for_="running an encoder")
    if dtype not in _DTYPES:
        raise InputError("unknown dtype", found=dtype, wanted=", ".join(_DTYPES))
    digest = state_hash(module.state_dict())
    weights = {**description["weights"], "sha256": digest}
    device = pick_device(device)
    module.requires_grad_(False).eval().to(device, getattr(torch, _DTYPES[dtype]))
    described = json.loads(json.dumps({**description, "weights": weights}))
    return TorchEncoder(forward, transform, device, dtype, described, flat)
