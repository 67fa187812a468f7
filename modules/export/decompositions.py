"""Operations that onnxruntime runs slowly on a CPU, written as others for ONNX files."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pixel_shuffle

aten = torch.ops.aten


def softmax(values: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Softmax over an axis that is not the last, which onnxruntime would move to the end and back."""
    if dim in (-1, values.ndim - 1):
        return NotImplemented
    exponents = (values.to(dtype) - values.amax(dim, keepdim=True)).exp()
    return exponents / exponents.sum(dim, keepdim=True)


def conv_transpose2d(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    dilation: Sequence[int] = (1,),
) -> Tensor:
    """A transposed convolution by a convolution of all its phases and a pixel shuffle.

    Of a stride s and a kernel of m s: each of the s^2 phases is a convolution with a kernel of m.
    """
    step, (inputs, _, *kernel) = stride[0], weight.shape
    plain = step > 1 and {*stride} == {step} and groups == 1 and {*dilation} == {1} and not any(output_padding)
    if not plain or any(side % step for side in kernel):
        return NotImplemented
    high, wide = (side // step for side in kernel)
    weight = weight.reshape(inputs, -1, high, step, wide, step).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    bias = None if bias is None else bias.repeat_interleave(step**2)
    phases = conv2d(image, weight.reshape(-1, inputs, high, wide), bias, padding=(high - 1, wide - 1))
    found, top, left = pixel_shuffle(phases, step), padding[0], padding[-1]
    return found[:, :, top : found.shape[2] - top, left : found.shape[3] - left]


DECOMPOSITIONS = {aten.softmax.int: softmax, aten.conv_transpose2d.input: conv_transpose2d}
"""By operation; those that give `NotImplemented` leave it as it is."""
