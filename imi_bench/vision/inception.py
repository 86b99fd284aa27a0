"""InceptionV1 as Lucid and Lucent know it: the network the paper calls GoogLeNet.

Not torchvision's GoogLeNet: no batch normalisation, biases in every convolution, local response
normalisation, a 3a..5b table of widths with 204 channels in 4a, and 1,008 outputs. Module names
are those of Lucent's port (torch-lucent, ``lucent.modelzoo.inceptionv1``), so its weight file
``inception5h.pth`` fits.

Sources: Szegedy et al., Going Deeper with Convolutions, CVPR 2015; TensorFlow's ``inception5h``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the usual name

from imi_bench.vision.layer_widths import INCEPTION_WIDTHS

if TYPE_CHECKING:
    from torch import Tensor

_POOLED_BEFORE = ("mixed4a", "mixed5a")


class InceptionV1(nn.Module):  # type: ignore[misc]
    """Images (B, 3, H, W) scaled to 255 x - 117, to logits (B, 1008).

    A convolution's output is read before its rectifier: module ``<block>_<branch>_pre_relu_conv``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv("conv2d0", 3, 64, 7, stride=2)
        self._conv("conv2d1", 64, 64, 1)
        self._conv("conv2d2", 64, 192, 3)
        for block, (inputs, one, three_in, five_in, pool, three, five) in INCEPTION_WIDTHS.items():
            self._conv(f"{block}_1x1", inputs, one, 1)
            self._conv(f"{block}_3x3_bottleneck", inputs, three_in, 1)
            self._conv(f"{block}_5x5_bottleneck", inputs, five_in, 1)
            self._conv(f"{block}_pool_reduce", inputs, pool, 1)
            self._conv(f"{block}_3x3", three_in, three, 3)
            self._conv(f"{block}_5x5", five_in, five, 5)
        self.softmax2_pre_activation_matmul = nn.Linear(1024, 1008)

    def _conv(self, name: str, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        # The stem's stride-2 convolution pads as TensorFlow's SAME does, see `forward`.
        padding = kernel // 2 if stride == 1 else 0
        layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.add_module(f"{name}_pre_relu_conv", layer)

    def _rectified(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.get_submodule(f"{name}_pre_relu_conv")(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        x = self._rectified("conv2d0", F.pad(x, (2, 3, 2, 3)))
        x = _normalise(_pool_down(x))
        x = self._rectified("conv2d2", self._rectified("conv2d1", x))
        x = _pool_down(_normalise(x))
        for block in INCEPTION_WIDTHS:
            if block in _POOLED_BEFORE:
                x = _pool_down(x)
            one = self._rectified(f"{block}_1x1", x)
            three = self._rectified(f"{block}_3x3_bottleneck", x)
            five = self._rectified(f"{block}_5x5_bottleneck", x)
            branches = (
                one,
                self._rectified(f"{block}_3x3", three),
                self._rectified(f"{block}_5x5", five),
                self._rectified(f"{block}_pool_reduce", F.max_pool2d(x, 3, stride=1, padding=1)),
            )
            x = torch.cat(branches, dim=1)
        logits: Tensor = self.softmax2_pre_activation_matmul(x.mean(dim=(2, 3)))
        return logits


def _pool_down(x: Tensor) -> Tensor:
    """3x3 maximum with stride 2, padded below and to the right as TensorFlow's SAME does."""
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, stride=2)


def _normalise(x: Tensor) -> Tensor:
    return F.local_response_norm(x, size=9, alpha=9.99999974738e-05, beta=0.5, k=1.0)
