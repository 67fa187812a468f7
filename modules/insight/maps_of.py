"""Outputs of layers of any kind as maps (B, C, h, w)."""

from torch import Tensor


def as_map(output: Tensor, count: int) -> Tensor:
    """The output of a layer as maps (B, C, h, w).

    Frames, in the batch or as a dimension of their own, are averaged. Tokens become a square of cells, without those in
    front, such as a class token; vectors become one cell. Channels in the last dimension come first.

    Args:
        output: (B, C, h, w), (B T, C, h, w), (B, C, T, h, w), (B, h, w, C), (B, N, C) or (B, C).
        count: B.
    """
    if len(output) != count and len(output) % count == 0:
        output = output.unflatten(0, (count, -1)).mean(1)
    if output.ndim == 5:
        return output.mean(2)
    if output.ndim == 4:
        last = output.shape[1] == output.shape[2] != output.shape[3]
        return output.movedim(-1, 1) if last else output
    if output.ndim == 3:
        side = int(output.shape[1] ** 0.5)
        return output[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))
    return output[:, :, None, None]
