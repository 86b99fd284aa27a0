"""Whether a layer's output is its network's: then the layer is a head, whatever its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

__all__ = ["Outputs", "heads_in_torchvision", "maps_points"]

_LAST = (
    "low_classifier",
    "high_classifier",
    "bbox_ctrness",
    "bbox_pred",
    "bbox_reg",
    "cls_logits",
    "cls_score",
    "kps_score_lowres",
    "mask_fcn_logits",
)
"""What torchvision calls last layers whose output is worked on: made boxes of, or added up."""


def maps_points(part: nn.Module) -> bool:
    """Whether a module is a linear map of single positions: linear, or a convolution of 1 x 1.

    Examples
    --------
    >>> maps_points(nn.Linear(3, 2)), maps_points(nn.Conv2d(3, 2, 1)), maps_points(nn.ReLU())
    (True, True, False)
    """
    if isinstance(part, nn.modules.conv._ConvNd):
        return all(side == 1 for side in part.kernel_size)
    return isinstance(part, nn.Linear)


def heads_in_torchvision(module: nn.Module) -> frozenset[str]:
    """Paths of the last layers of torchvision's detection and segmentation networks.

    Their names tell; but SSD has one for every scale, the last convolution of each part of a
    scoring head.

    Examples
    --------
    >>> from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    >>> sorted(heads_in_torchvision(FastRCNNPredictor(4, 2)))
    ['bbox_pred', 'cls_score']
    """
    heads = {path for path, _ in module.named_modules() if path.rpartition(".")[2] in _LAST}
    for path, part in module.named_modules():
        if any(kind.__name__ == "SSDScoringHead" for kind in type(part).__mro__):
            inside = f"{path}.module_list".lstrip(".")
            for number, scale in enumerate(part.get_submodule("module_list")):
                last = [name for name, one in scale.named_modules() if hasattr(one, "out_channels")]
                heads.add(f"{inside}.{number}.{last[-1]}".rstrip("."))
    return frozenset(heads)


class Outputs:
    """Outputs of layers during one pass; only the values of the newest are kept.

    Examples
    --------
    >>> outputs, logits = Outputs(), torch.zeros(1, 2)
    >>> outputs.add("last", logits)
    >>> sorted(outputs.given({"probabilities": logits.softmax(1)})), outputs.given(logits + 1)
    (['last'], frozenset())
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[StorageWeakRef, int, int]] = {}
        self._newest: tuple[str, torch.Tensor] | None = None

    def add(self, path: str, output: torch.Tensor) -> None:
        """Remember what a layer gave."""
        if output.layout is not torch.strided or output.is_quantized:
            return
        self._known[path] = (
            StorageWeakRef(output.untyped_storage()),
            output._version,
            output.numel(),
        )
        self._newest = (path, output.detach().clone())

    def given(self, result: Any) -> frozenset[str]:
        """Layers whose output is a tensor of a network's result.

        As it was, or reshaped; that of the newest also through a softmax, its logarithm or a
        sigmoid (not on the meta device, which has no values).
        """
        heads: set[str] = set()
        for tensor in _tensors(result):
            if tensor.layout is not torch.strided or tensor.is_quantized:
                continue
            now = StorageWeakRef(tensor.untyped_storage()).cdata, tensor._version, tensor.numel()
            heads.update(
                path
                for path, (storage, *rest) in self._known.items()
                if not storage.expired() and (storage.cdata, *rest) == now
            )
            if self._newest is not None and _as_probabilities(self._newest[1], tensor):
                heads.add(self._newest[0])
        return frozenset(heads)


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    """The tensors of a network's result, also within tuples, lists, mappings and plain objects."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, Mapping):
        yield from (one for part in result.values() for one in _tensors(part))
    elif isinstance(result, tuple | list):
        yield from (one for part in result for one in _tensors(part))
    elif not isinstance(result, type | nn.Module) and hasattr(result, "__dict__"):
        yield from (one for part in vars(result).values() for one in _tensors(part))


def _as_probabilities(output: torch.Tensor, given: torch.Tensor) -> bool:
    if output.shape != given.shape or output.ndim < 2 or output.device.type == "meta":
        return False
    if not (output.is_floating_point() and output.dtype == given.dtype):
        return False
    classes = -1 if output.ndim == 2 else 1
    made = (output.softmax(classes), output.log_softmax(classes), output.sigmoid())
    return any(torch.allclose(one, given, rtol=1e-4, atol=1e-6) for one in made)
