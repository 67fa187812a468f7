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
        norm: of the mean (B, inputs, 1, 1), as in ConvNeXt; null is none.
    """

    def __init__(self, inputs: int, num_classes: int = 0, dropout: float = 0.0, norm: nn.Module | None = None):
        super().__init__()
        self.norm = norm or nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, num_classes)."""
        return self.fc(self.dropout(self.pre_logits(x)))

    def pre_logits(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to its mean (B, inputs), normalized if it has a norm."""
        return self.norm(x.mean((-2, -1), keepdim=True)).flatten(1)

    def score_map(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to the logits of each cell (B, num_classes, h, w).

        Their mean is what `forward` returns, unless there is a norm, which each cell goes through alone.
        """
        return self.fc(self.norm(x).movedim(1, -1)).movedim(-1, 1)


class Dense(nn.Sequential):
    """Fully connected layers as convolutions.

    A map of the size of the first kernel gives one vector of logits, a larger one the mean of those of all places
    (Simonyan and Zisserman 2015). Smaller maps are enlarged to the kernel.

    Args:
        layers: such as `nn.Conv2d(512, 4096, 7)`, `nn.ReLU()`, ..., `nn.Conv2d(4096, 1000, 1)`.
        classifies: the last convolution gives the logits; otherwise all layers are hidden ones.
    """

    def __init__(self, *layers: nn.Module, classifies: bool = True):
        super().__init__(*layers)
        self.kernel = next(layer.kernel_size for layer in self.modules() if isinstance(layer, nn.Conv2d))
        last = int(last_convolution(self).partition(".")[0])
        self.before = last if classifies else len(self)  # layers before the one that makes the logits

    @property
    def hidden_size(self) -> int:
        """Width of the last hidden layer; 0 if there is none."""
        hidden = [m for layer in list(self)[: self.before] for m in layer.modules() if isinstance(m, nn.Conv2d)]
        return hidden[-1].out_channels if hidden else 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, num_classes)."""
        return self.score_map(x).mean((-2, -1))

    def pre_logits(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the last hidden layer (B, hidden_size), the mean of all places; without one to (B, C)."""
        if not self.hidden_size:
            return x.mean((-2, -1))
        x = self._enlarged(x)
        for layer in list(self)[: self.before]:
            x = layer(x)
        return x.mean((-2, -1))

    def score_map(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, num_classes, h - kernel + 1, w - kernel + 1)."""
        return super().forward(self._enlarged(x))

    def without_classes(self) -> "Dense":
        """Its hidden layers alone."""
        return Dense(*list(self)[: self.before], classifies=False)

    def _enlarged(self, x: Tensor) -> Tensor:
        size = [max(side, kernel) for side, kernel in zip(x.shape[-2:], self.kernel, strict=True)]
        return x if size == list(x.shape[-2:]) else functional.adaptive_avg_pool2d(x, size)


def fully_connected(inputs: int, cells: int, hidden: int, num_classes: int, activation: str) -> Dense:
    """AlexNet's and VGG's three layers over a map of `cells` x `cells`, with dropout; two of them without classes."""
    layers = [
        convolution(inputs, hidden, cells, padding=0, norm=None, activation=activation),
        nn.Dropout(0.5),
        convolution(hidden, hidden, 1, norm=None, activation=activation),
        nn.Dropout(0.5),
    ]
    last = [nn.Conv2d(hidden, num_classes, 1)] if num_classes else []
    return Dense(*layers, *last, classifies=bool(last))


def last_convolution(head: nn.Module) -> str:
    """The name of the last layer with weights; empty where there is none."""
    return next((n for n, m in reversed(list(head.named_modules())) if isinstance(m, nn.Linear | nn.Conv2d)), "")


def last_layer(head: nn.Module) -> str:
    """The name of the layer that makes the logits; empty where there is none."""
    return "" if isinstance(head, Dense) and head.before == len(head) else last_convolution(head)
