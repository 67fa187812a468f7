"""Convolution blocks that heads and necks are built of."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import DeformConv2d

Convolution = Literal["plain", "separable", "deformable"]
Upsampling = Literal["resize", "transposed"]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that falls back on its running statistics where training gives it one value per channel.

    An image alone in its batch, pooled to 1x1, has no variance: torch raises there.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.numel() > x.shape[1]:
            return super().forward(x)
        statistics = self.running_mean, self.running_var
        return functional.batch_norm(x, *statistics, self.weight, self.bias, training=False, eps=self.eps)


class Deformable(nn.Module):
    """Modulated deformable convolution (Zhu et al. 2019): offset and weight of each tap are computed from the map.

    Offsets start at 0 and modulation at 1, as a plain convolution. Computed in the type of the weights.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, dilation: int = 1, bias: bool = False):
        super().__init__()
        padding = dilation * (kernel // 2)
        self.taps = kernel**2
        self.where = nn.Conv2d(inputs, 3 * self.taps, kernel, padding=padding, dilation=dilation)
        nn.init.zeros_(self.where.weight)
        nn.init.zeros_(self.where.bias)
        self.conv = DeformConv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        offset, weight = self.where(x).split([2 * self.taps, self.taps], 1)
        inputs = (part.to(self.conv.weight.dtype) for part in (x, offset, 2 * weight.sigmoid()))
        with torch.autocast(x.device.type, enabled=False):  # torchvision has no kernel for bfloat16 on a CPU
            return self.conv(*inputs).to(x.dtype)


def convolution(
    inputs: int, outputs: int, kernel: int = 3, dilation: int = 1, kind: Convolution = "plain", bias: bool = False
) -> nn.Module:
    """A convolution that keeps the size of its map, initialized for the ReLU after it (He et al. 2015).

    `separable` filters each channel alone and then mixes them 1x1 (Howard et al. 2017); `deformable` is `Deformable`.
    """
    padding = dilation * (kernel // 2)
    if kind == "deformable":
        layer = Deformable(inputs, outputs, kernel, dilation, bias)
        last = layer.conv
    elif kind == "separable":
        each = nn.Conv2d(inputs, inputs, kernel, padding=padding, dilation=dilation, groups=inputs, bias=False)
        nn.init.kaiming_normal_(each.weight, nonlinearity="linear")
        last = nn.Conv2d(inputs, outputs, 1, bias=bias)
        layer = nn.Sequential(each, last)
    else:
        layer = last = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=bias)
    _for_relu(last)
    return layer


def classifier(inputs: int, outputs: int, kernel: int = 1) -> nn.Conv2d:
    """The convolution that makes logits, of less than unit variance at the start from normalized features after a ReLU.

    Smaller weights would start nearer to the loss of equally likely classes, but then it takes Adam long to grow them.
    """
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    nn.init.zeros_(layer.bias)
    return layer


class ConvNormReLU(nn.Sequential):
    """Convolution, batch norm, ReLU; without `norm` the convolution has a bias."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        dilation: int = 1,
        kind: Convolution = "plain",
        norm: bool = True,
    ):
        layers = [convolution(inputs, outputs, kernel, dilation, kind, bias=not norm)]
        super().__init__(*layers, *[BatchNorm(outputs)] * norm, nn.ReLU(inplace=True))


class UpBlock(nn.Module):
    """One step of a decoder: enlarges a map, joins it with a finer one, and convolves twice.

    Args:
        inputs: channels of the map.
        finer: channels of the finer map; 0 where there is none.
        outputs: channels of the result.
        factor: of upsampling, by which the stride shrinks.
        upsampling: `resize` repeats pixels and lets the convolution after it smooth them; `transposed` learns to
            enlarge, which can leave a checkerboard (Odena et al. 2016).
        kind: of both convolutions.
        norm: batch norm after each convolution; without it they have biases.
    """

    def __init__(
        self,
        inputs: int,
        finer: int,
        outputs: int,
        factor: int = 2,
        upsampling: Upsampling = "resize",
        kind: Convolution = "plain",
        norm: bool = True,
    ):
        super().__init__()
        if upsampling == "transposed":
            self.join = TransposedJoin(inputs, finer, outputs, factor, kind, bias=not norm)
        elif kind == "plain":
            self.join = FusedResizeJoin(inputs, finer, outputs, factor, bias=not norm)
        else:
            self.join = ResizeJoin(inputs, finer, outputs, factor, kind, bias=not norm)
        self.rest = nn.Sequential(
            *[BatchNorm(outputs)] * norm, nn.ReLU(inplace=True), ConvNormReLU(outputs, outputs, kind=kind, norm=norm)
        )

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, ...) of the finer map's size, or `factor` times its own."""
        return self.rest(self.join(x, finer))


class ResizeJoin(nn.Module):
    """Repeats the pixels of a map up to the size of a finer one, and convolves the two together."""

    def __init__(self, inputs: int, finer: int, outputs: int, factor: int, kind: Convolution, bias: bool):
        super().__init__()
        self.factor = factor
        self.conv = convolution(inputs + finer, outputs, kind=kind, bias=bias)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        x = functional.interpolate(x, _size(x, finer, self.factor), mode="nearest")
        return self.conv(x if finer is None else torch.cat([x, finer], 1))


class FusedResizeJoin(ResizeJoin):
    """The same for plain convolutions, without making the enlarged map or the joined one.

    A 3x3 convolution of a doubled map is a transposed 4x4 convolution of the map itself, with 16 products in place of
    36; `_spread` makes its kernel.
    """

    def __init__(self, inputs: int, finer: int, outputs: int, factor: int, bias: bool):
        super().__init__(inputs, finer, outputs, factor, "plain", bias)
        self.register_buffer("spread", _spread(), persistent=False)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        if any(after != 2 * before for after, before in zip(_size(x, finer, self.factor), x.shape[-2:], strict=True)):
            return super().forward(x, finer)
        weight, inputs = self.conv.weight, x.shape[1]
        doubled = torch.einsum("oit,ts->ios", weight[:, :inputs].flatten(2), self.spread).unflatten(2, (4, 4))
        result = functional.conv_transpose2d(x, doubled, self.conv.bias, stride=2, padding=1)
        return result if finer is None else result + functional.conv2d(finer, weight[:, inputs:], padding=1)


class TransposedJoin(nn.Module):
    """Enlarges a map by a learned transposed convolution and convolves it together with a finer one."""

    def __init__(self, inputs: int, finer: int, outputs: int, factor: int, kind: Convolution, bias: bool):
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, factor, factor)
        nn.init.normal_(self.enlarge.weight, std=inputs**-0.5)
        nn.init.zeros_(self.enlarge.bias)
        self.conv = convolution(outputs + finer, outputs, kind=kind, bias=bias)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        x = self.enlarge(x)
        if finer is None:
            return self.conv(x)
        height, width = (after - before for after, before in zip(finer.shape[-2:], x.shape[-2:], strict=True))
        x = functional.pad(x, (0, width, 0, height))  # cuts where negative: all maps share their top left corner
        return self.conv(torch.cat([x, finer], 1))


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Bilinear, corners not aligned; a map of that size already is returned as it is."""
    return x if x.shape[-2:] == size else functional.interpolate(x, size, mode="bilinear", align_corners=False)


def _size(x: Tensor, finer: Tensor | None, factor: int) -> list[int]:
    return [factor * side for side in x.shape[-2:]] if finer is None else list(finer.shape[-2:])


def _spread() -> Tensor:
    """(9, 16) of 0 and 1: which taps of a 3x3 kernel meet in each tap of the transposed 4x4 kernel."""
    rows = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]]).float()
    return torch.kron(rows, rows)


def _for_relu(layer: nn.Conv2d | DeformConv2d) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
