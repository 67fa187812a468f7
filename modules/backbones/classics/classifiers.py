"""From the last map of a network to its logits."""

from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.classics.blocks import convolution


class Pooled(nn.Module):
    """The mean of the map and one linear layer; without classes the mean alone.

    Args:
        inputs: channels of the map.
        num_classes: number of logits.
        dropout: share of the pooled features set to zero in training, 0..1.
    """

    def __init__(self, inputs: int, num_classes: int = 0, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, num_classes)."""
        return self.fc(self.dropout(x.mean((-2, -1))))

    def score_map(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to the logits of each cell (B, num_classes, h, w)."""
        return self.fc(x.movedim(1, -1)).movedim(-1, 1)


class Dense(nn.Sequential):
    """Fully connected layers as convolutions: a map of the size of the first kernel gives one vector of logits, a
    larger one the mean of those of all places (Simonyan and Zisserman 2015). Smaller maps are enlarged to the kernel.

    Args:
        layers: such as `nn.Conv2d(512, 4096, 7)`, `nn.ReLU()`, ..., `nn.Conv2d(4096, 1000, 1)`.
    """

    def __init__(self, *layers: nn.Module):
        super().__init__(*layers)
        self.kernel = next(layer.kernel_size for layer in self.modules() if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, num_classes)."""
        return self.score_map(x).mean((-2, -1))

    def score_map(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, num_classes, h - kernel + 1, w - kernel + 1)."""
        size = [max(side, kernel) for side, kernel in zip(x.shape[-2:], self.kernel, strict=True)]
        return super().forward(x if size == list(x.shape[-2:]) else functional.adaptive_avg_pool2d(x, size))


def fully_connected(inputs: int, cells: int, hidden: int, num_classes: int, activation: str) -> Dense | None:
    """AlexNet's and VGG's three layers over a map of `cells` x `cells`, with dropout; nothing without classes."""
    if not num_classes:
        return None
    return Dense(
        convolution(inputs, hidden, cells, padding=0, norm=None, activation=activation),
        nn.Dropout(0.5),
        convolution(hidden, hidden, 1, norm=None, activation=activation),
        nn.Dropout(0.5),
        nn.Conv2d(hidden, num_classes, 1),
    )


def last_layer(head: nn.Module) -> str:
    """The name of the layer that makes the logits; empty where there is none."""
    return next((n for n, m in reversed(list(head.named_modules())) if isinstance(m, nn.Linear | nn.Conv2d)), "")
