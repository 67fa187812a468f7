"""Dropout that a CPU does quickly."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """torch.nn.Dropout, about three times faster on a CPU: every 64 random bits decide about four numbers.

    The probability is rounded to a multiple of 1 / 65536; means are kept. Elsewhere, and compiled, it is torch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        keep = max(1, round((1 - self.p) * 65536))
        bits = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
        chances = bits.view(torch.int16)[: x.numel()].view(x.shape)
        return x * (chances < keep - 32768).to(x.dtype).mul_(65536 / keep)
