"""Momentum encoder (EMA teacher): the moving average of a student, which gives it targets."""

import math
from copy import deepcopy

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from modules.backbones.lora import Adapter
from modules.contracts import Backbone
from modules.heads.base import Head, through
from modules.training.ema import ema_update


class Teacher(nn.Module):
    """Momentum encoder: exponential moving average (EMA) of its student, without gradients.

    He et al. 2020, Tarvainen and Valpola 2017.

    Its batch-norm statistics are its own: in training mode it normalizes with the batch it sees. It never drops.

    Args:
        backbone: of the student; the copy follows it, wherever it moves.
        head: of the student, as `backbone`; takes its maps, or its pooled features if the head `pools`.
    """

    def __init__(self, backbone: Backbone, head: Head):
        super().__init__()
        self.student = (backbone, head)  # a tuple, so that its tensors do not appear here a second time
        self.net = deepcopy(nn.Sequential(backbone, head)).requires_grad_(False)
        for module in self.net.modules():
            if isinstance(module, DropPath):
                module.drop_prob = 0.0
            elif isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(module, Adapter):
                module.set_dropout(0.0)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        return through(*self.net, image)

    @property
    def backbone(self) -> Backbone:
        """The average of the student's backbone."""
        return self.net[0]

    @property
    def head(self) -> Head:
        """The average of the student's head."""
        return self.net[1]

    def update(self, momentum: float) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student."""
        ema_update(self.net, nn.ModuleList(self.student), momentum, buffers=False)

    @torch.no_grad()
    def reset(self) -> None:
        """Copy the student, statistics included: after weights were loaded into the student."""
        theirs = [t for part in self.student for t in part.state_dict().values()]
        for mine, other in zip(self.net.state_dict().values(), theirs, strict=True):
            mine.copy_(other)


def momentum_at(step: int, steps: int, start: float, end: float) -> float:
    """Momentum schedule: cosine from `start` at step 0 to `end` at step `steps` (Grill et al. 2020, section 3.2)."""
    return end - (end - start) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2
