"""ResNets whose residual sum can be read before its rectifier, as the paper's layer `shortcut`.

torchvision adds and rectifies in place inside the block's `forward`; here the sum passes through
a module of its own. Parameters and their names are torchvision's, so its weight files fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

if TYPE_CHECKING:
    from torch import Tensor

SHAPES: dict[str, tuple[list[int], int]] = {
    "resnet50": ([3, 4, 6, 3], 64),
    "wide_resnet50_2": ([3, 4, 6, 3], 128),
}


class PreReluBottleneck(Bottleneck):  # type: ignore[misc]
    """Bottleneck with the modules ``shortcut`` (the residual sum) and ``shortcut_relu``."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.relu = nn.ReLU(inplace=False)
        self.shortcut = nn.Identity()
        self.shortcut_relu = nn.ReLU(inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        rectified: Tensor = self.shortcut_relu(self.shortcut(out + identity))
        return rectified


def pre_relu_resnet(architecture: str) -> nn.Module:
    """A ResNet of `SHAPES` with random weights."""
    blocks, width_per_group = SHAPES[architecture]
    return ResNet(PreReluBottleneck, blocks, width_per_group=width_per_group)
