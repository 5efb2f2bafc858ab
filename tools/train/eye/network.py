"""The eye in PyTorch: a grey picture in, maps of ink, centres and offsets out at a quarter of its size.

A U-shaped network (Ronneberger et al., U-Net, 2015) of depthwise-separable blocks (Howard et al., MobileNets,
2017) with the heads of CenterNet (Zhou et al., Objects as Points, 2019). Maps grow by repeating pixels, which
needs no constant shape: one exported file takes every size whose sides are multiples of 32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

STRIDE = 32
"""Sides of the input are multiples of it."""
CHANNELS = (8, 16, 48, 64, 96)
"""Of the maps at a half, a quarter, an eighth, a sixteenth and a thirty-second of the picture's size.

Multiples of 8, since XNNPACK computes so many at once: 20 channels take longer than 24.
"""
HEADS = {"ink": 4, "centre": 1, "offset": 3}
"""Outputs and their channels."""
_RARE = {"ink": -3.0, "centre": -4.0, "offset": 0.0}
"""What the heads' biases begin with: ink and centres are rare."""


class NormedConvolution(nn.Module):  # type: ignore[misc]
    """Convolution, batch norm and, where `relu`, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, relu: bool = True) -> None:
        super().__init__()
        self.relu = relu
        self.convolution = _padded(nn.Conv2d(inputs, outputs, kernel, stride, bias=False))
        self.norm = nn.BatchNorm2d(outputs, momentum=0.03)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        x = self.norm(self.convolution(x))
        return functional.relu(x, inplace=True) if self.relu else x


class Block(nn.Module):  # type: ignore[misc]
    """A depthwise and a pointwise convolution, with a residual connection where the shapes agree.

    Nothing stands between the two (as in Chollet, Xception, 2017), which trains a sixth faster than with norm
    and ReLU.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = _padded(nn.Conv2d(inputs, inputs, kernel, stride, groups=inputs, bias=False))
        self.pointwise = NormedConvolution(inputs, outputs, 1, relu=False)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y = self.pointwise(self.depthwise(x))
        return functional.relu(x + y if self.residual else y, inplace=True)


def _padded(convolution: nn.Conv2d) -> nn.Module:
    """Padded as TensorFlow's `same` pads pictures of even sides: what is odd goes to the right and below."""
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    before = (kernel - stride) // 2
    after = kernel - stride - before
    if before == after:
        convolution.padding = before, before
        return convolution
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), convolution)


def _same(channels: int, count: int) -> list[Block]:
    return [Block(channels, channels, 5) for _ in range(count)]


class Merge(nn.Module):  # type: ignore[misc]
    """A coarse map, twice as large, added to a finer one, and mixed."""

    def __init__(self, coarse: int, fine: int, kernel: int) -> None:
        super().__init__()
        self.narrow = NormedConvolution(coarse, fine, 1, relu=False)
        self.mix = Block(fine, fine, kernel)

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        """Maps (n, coarse, h, w) and (n, fine, 2h, 2w) to (n, fine, 2h, 2w)."""
        large = functional.interpolate(self.narrow(coarse), scale_factor=2.0, mode="nearest")
        return self.mix(functional.relu(large + fine, inplace=True))


class Eye(nn.Module):  # type: ignore[misc]
    """The whole network; its answers are logits for ink and centre."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, last = channels
        self.stem = NormedConvolution(1, half, 3, 2)
        self.down4 = nn.Sequential(Block(half, quarter, 3, 2), Block(quarter, quarter, 3))
        self.down8 = nn.Sequential(Block(quarter, eighth, 3, 2), Block(eighth, eighth, 3))
        self.down16 = nn.Sequential(Block(eighth, sixteenth, 3, 2), *_same(sixteenth, 2))
        self.down32 = nn.Sequential(Block(sixteenth, last, 3, 2), *_same(last, 2))
        self.up16 = Merge(last, sixteenth, 5)
        self.up8 = Merge(sixteenth, eighth, 5)
        self.up4 = Merge(eighth, quarter, 3)
        self.last = Block(quarter, quarter, 3)
        self.heads = nn.ModuleDict({name: nn.Conv2d(quarter, count, 1) for name, count in HEADS.items()})
        for name, value in _RARE.items():
            nn.init.constant_(self.heads[name].bias, value)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Grey (n, 1, h, w), -1 to 1, to ink, centre and offset (n, 4 or 1 or 3, h / 4, w / 4)."""
        quarter = self.down4(self.stem(x))
        eighth = self.down8(quarter)
        sixteenth = self.down16(eighth)
        y = self.up16(self.down32(sixteenth), sixteenth)
        y = self.last(self.up4(self.up8(y, eighth), quarter))
        return tuple(self.heads[name](y) for name in HEADS)


def multiply_adds(network: Eye, height: int = 480, width: int = 640) -> int:
    """How many multiplications a picture of this size takes in the network's convolutions."""
    total = 0

    def count(module: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * module.in_channels // module.groups * module.kernel_size[0] ** 2

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        network(torch.zeros(1, 1, height, width))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
