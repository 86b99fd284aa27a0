"""A torch module as an image encoder: device and number type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.beside import cores
from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.text import plural
from imi_bench.vision.device import pick_device, single_precision
from imi_bench.vision.preprocessing import Preprocess
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
    transform : Preprocess or callable
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

    @property
    def preprocess(self) -> Preprocess | None:
        """What makes the pixels that `of_pixels` takes; None where the transform is another."""
        return self.transform if isinstance(self.transform, Preprocess) else None

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(len(images), D) float32 features; of more axes where they are not `flat`."""
        torch = require("torch", for_="encoding images")
        if self.preprocess is not None:
            return self.of_pixels(np.stack(self._each(self.preprocess.pixels, images)))
        return self._features(torch.stack(self._each(self.transform, map(Image.fromarray, images))))

    def of_pixels(self, pixels: Pixels) -> NDArray[np.float32]:
        """As of images, of (B, height, width, 3) uint8 pixels that `preprocess` has made of them.

        Raises
        ------
        InputError
            Where the transform makes no such pixels.
        """
        torch = require("torch", for_="encoding images")
        if self.preprocess is None:
            raise InputError("an encoder with a transform of its own", do="give it whole images")
        batch = torch.from_numpy(pixels)
        if self.device.startswith("cuda"):  # a quarter of the bytes on the way, the same bits
            return self._features(self.preprocess.normalise(batch.to(self.device)).contiguous())
        return self._features(
            torch.stack([self.preprocess.normalise(one[None])[0] for one in batch])
        )

    def _features(self, batch: Any) -> NDArray[np.float32]:
        torch = require("torch", for_="encoding images")
        doing = f"an encoder on a batch of {plural(len(batch), 'image')}"
        with (
            torch.inference_mode(),
            single_precision(self.device, doing=doing, do="a smaller batch_size="),
        ):
            features = self.forward(batch.to(self.device, getattr(torch, _DTYPES[self.dtype])))
            if not torch.is_tensor(features):
                raise NetworkError(
                    "output is no tensor",
                    where=self.description.get("architecture"),
                    found=type(features).__name__,
                    wanted="a code an image",
                    do="wrap it in a module that gives the one tensor that is meant",
                )
            features = features.flatten(1) if self.flat else features
            return np.asarray(features.float().cpu().numpy(), dtype=np.float32)

    def _each(self, made: Callable[[Any], Any], images: Iterable[Any]) -> list[Any]:
        """What is made of each image; by all cores where a GPU waits for it."""
        if not self.device.startswith("cuda"):
            return [made(image) for image in images]
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(made, images))


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
    UnknownNameError.unless_among(dtype, _DTYPES, kind="dtype")
    digest = state_hash(module.state_dict())
    weights = {**description["weights"], "sha256": digest}
    device = pick_device(device)
    module.requires_grad_(False).eval().to(device, getattr(torch, _DTYPES[dtype]))
    described = json.loads(json.dumps({**description, "weights": weights}))
    return TorchEncoder(forward, transform, device, dtype, described, flat)
