"""Convolution by hand: loops first, then as one product of matrices, and its gradients.

A filter is laid on every place of the image; what lies under it is multiplied by it and summed. So one output is a
product of vectors, all outputs of a place are a vector times a matrix, and all places together are one product of
matrices, once the patches under the filter are copied into rows ("im2col"). Libraries do the same, without the copy.

python examples/from_scratch/convolution.py
"""

import numpy as np
from gradient_check import Array, report


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Places at which a kernel fits: floor((size + 2 padding - kernel) / stride) + 1.

    Raises:
        ValueError: the kernel is larger than the padded image.
    """
    if size + 2 * padding < kernel:
        raise ValueError(f"a kernel of {kernel} does not fit into {size} + 2 x {padding}")
    return (size + 2 * padding - kernel) // stride + 1


def by_loops(image: Array, weight: Array, bias: Array, stride: int = 1, padding: int = 0) -> Array:
    """The definition: image (N, C, H, W), weight (F, C, k, k), bias (F,) to maps (N, F, H', W').

    As in every library it is a cross-correlation: the filter is not mirrored.
    """
    count, _, height, width = image.shape
    filters, _, k, _ = weight.shape
    padded = np.pad(image, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    maps = np.zeros((count, filters, output_size(height, k, stride, padding), output_size(width, k, stride, padding)))
    for n, f, i, j in np.ndindex(maps.shape):
        patch = padded[n, :, i * stride : i * stride + k, j * stride : j * stride + k]
        maps[n, f, i, j] = (patch * weight[f]).sum() + bias[f]
    return maps


def patches(image: Array, k: int, stride: int, padding: int) -> Array:
    """Everything that a filter sees: (N, H', W', C k k), copied."""
    padded = np.pad(image, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*windows.shape[:1], *windows.shape[2:4], -1)


def forward(image: Array, weight: Array, bias: Array, stride: int = 1, padding: int = 0) -> Array:
    """The same as `by_loops`, as one product of matrices."""
    rows = patches(image, weight.shape[-1], stride, padding)
    return (rows @ weight.reshape(len(weight), -1).T + bias).transpose(0, 3, 1, 2)


def backward(
    upstream: Array, image: Array, weight: Array, stride: int = 1, padding: int = 0
) -> tuple[Array, Array, Array]:
    """Gradients by image, weight and bias, given that by the maps (N, F, H', W').

    A weight was used at every place, so its gradient is a sum over places. A pixel was seen by every filter that
    covered it, so each patch's share is added back to where the patch came from; overlapping shares accumulate.
    """
    k, (_, _, rows, columns) = weight.shape[-1], upstream.shape
    flat = upstream.transpose(0, 2, 3, 1)  # (N, H', W', F)
    d_weight = np.einsum("nijf,nijp->fp", flat, patches(image, k, stride, padding)).reshape(weight.shape)
    shares = (flat @ weight.reshape(len(weight), -1)).reshape(*flat.shape[:3], -1, k, k)
    padded = np.zeros_like(np.pad(image, ((0, 0), (0, 0), (padding, padding), (padding, padding))))
    for i, j in np.ndindex(rows, columns):
        padded[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += shares[:, i, j]
    height, width = image.shape[2:]
    return padded[:, :, padding : padding + height, padding : padding + width], d_weight, upstream.sum((0, 2, 3))


def main() -> None:
    """Find an edge, compare both ways, check the gradients."""
    step = np.zeros((1, 1, 5, 6))
    step[..., 3:] = 1
    edge = np.array([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
    print("a bright right half under Sobel's filter, which answers where brightness changes from left to right:")
    print(forward(step, edge, np.zeros(1))[0, 0])

    random = np.random.default_rng(0)
    image, weight, bias = random.normal(size=(2, 3, 7, 6)), random.normal(size=(4, 3, 3, 3)), random.normal(size=4)
    maps = forward(image, weight, bias, 2, 1)
    difference = np.abs(maps - by_loops(image, weight, bias, 2, 1)).max()
    print(f"{image.shape} by 4 filters of 3 x 3, stride 2, padding 1: {maps.shape}")
    print(f"loops and product differ by {difference:.0e} at most")
    upstream = random.normal(size=maps.shape)
    d_image, d_weight, d_bias = backward(upstream, image, weight, 2, 1)
    derived = {"image": (image, d_image), "weight": (weight, d_weight), "bias": (bias, d_bias)}
    report(lambda: float((upstream * forward(image, weight, bias, 2, 1)).sum()), derived)


if __name__ == "__main__":
    main()
