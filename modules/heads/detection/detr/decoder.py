"""The decoder: queries chosen among the cells of the encoder's maps, whose boxes each layer moves on."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from modules.heads.detection.detr.attention import (
    DeformableAttention,
    DenseAttention,
    Memory,
    PlacedAttention,
)
from modules.heads.detection.detr.grid import inverse_sigmoid

PRIOR = -4.6
"""Logit of every class at the start, a probability of 1 % (Lin et al. 2017b)."""
CrossAttention = Literal["deformable", "dense"]


class Answers(NamedTuple):
    """Answers of Q queries, of L layers stacked in front where it says so.

    Attributes:
        logits: float32 (..., Q, C) of classes, a sigmoid each.
        boxes: float32 (..., Q, 4), (center x, center y, width, height) in shares of the image without its padding.
    """

    logits: Tensor
    boxes: Tensor


class Queries(NamedTuple):
    """Queries at the start of the decoder.

    Attributes:
        content: (B, Q, D).
        boxes: float32 (B, Q, 4), as of `Answers`.
        real: bool (B, Q); false ones fill up: they are seen by no other and answer nothing.
    """

    content: Tensor
    boxes: Tensor
    real: Tensor


def box_deltas(width: int) -> nn.Sequential:
    """Three layers to four numbers that are 0 at the start."""
    last = nn.Linear(width, 4)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(True), nn.Linear(width, width), nn.ReLU(True), last)


def classifier(width: int, outputs: int) -> nn.Linear:
    """Logits of classes, which all start as unlikely."""
    layer = nn.Linear(width, outputs)
    nn.init.constant_(layer.bias, PRIOR)
    return layer


class QuerySelection(nn.Module):
    """The cells of the encoder that look most like an object become queries, with their boxes (Zhu et al. 2021).

    Args:
        width: of the encoder's maps.
        outputs: number of classes C.
        queries: number of queries Q.
    """

    def __init__(self, width: int, outputs: int, queries: int):
        super().__init__()
        self.queries = queries
        self.embed = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.classifier, self.box = classifier(width, outputs), box_deltas(width)

    def forward(self, memory: Memory) -> tuple[Queries, Answers]:
        """The queries, best first, and the answers of the encoder about them."""
        tokens = self.embed(memory.tokens)
        logits = self.classifier(tokens).float()
        scores = logits.detach().amax(2).masked_fill(~memory.grid.flat, -torch.inf)
        scores, which = pad(scores, (0, self.queries), value=-torch.inf).topk(self.queries)
        real = scores > -torch.inf
        which = torch.where(real, which, 0)
        content, logits, anchors = (picked(each, which) for each in (tokens, logits, memory.grid.anchors))
        boxes = (self.box(content).float() + inverse_sigmoid(anchors)).sigmoid()
        return Queries(content.detach(), boxes.detach(), real), Answers(logits, boxes)


def picked(values: Tensor, which: Tensor) -> Tensor:
    """Rows (B, Q, K) of values (B, N, K) by their indices (B, Q)."""
    return values.gather(1, which[..., None].expand(-1, -1, values.shape[2]))


class DecoderLayer(nn.Module):
    """Attention between queries, attention to the maps, a feed-forward network; each normalized after it."""

    def __init__(self, width: int, levels: int, attention: CrossAttention):
        super().__init__()
        self.between = PlacedAttention(width)
        kind = DeformableAttention if attention == "deformable" else DenseAttention
        self.to_maps = kind(width, levels)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(True), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])

    def forward(self, x: Tensor, places: Tensor, boxes: Tensor, memory: Memory, mask: Tensor) -> Tensor:
        """Queries (B, Q, D) at `places` (B, Q, D) of `boxes` (B, Q, 4), one layer further; `mask` bool (B, 1, Q, Q)."""
        x = self.norms[0](x + self.between(x + places, x + places, x, mask))
        x = self.norms[1](x + self.to_maps(x + places, boxes, memory))
        return self.norms[2](x + self.feed_forward(x))


class Decoder(nn.Module):
    """Layers that refine boxes and classes of queries (Zhu et al. 2021; gradients as by Zhang et al. 2023).

    Args:
        width: D of queries and maps.
        outputs: number of classes C.
        layers: number of layers L.
        levels: number of maps.
        attention: of queries to maps.
    """

    def __init__(self, width: int, outputs: int, layers: int, levels: int, attention: CrossAttention):
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(width, levels, attention) for _ in range(layers)])
        self.classifiers = nn.ModuleList([classifier(width, outputs) for _ in range(layers)])
        self.boxes = nn.ModuleList([box_deltas(width) for _ in range(layers)])
        self.place = nn.Sequential(nn.Linear(4, 2 * width), nn.ReLU(True), nn.Linear(2 * width, width))

    def forward(self, queries: Queries, memory: Memory, mask: Tensor) -> Answers:
        """Answers of all layers, (L, B, Q, ...); `mask` bool (B, 1, Q, Q): which queries see which."""
        x, boxes, before = queries.content, queries.boxes, queries.boxes
        logits, moved = [], []
        for layer, classify, delta in zip(self.layers, self.classifiers, self.boxes, strict=True):
            x = layer(x, self.place(boxes), boxes, memory, mask)
            change = delta(x).float()
            logits.append(classify(x).float())
            # the loss of a layer moves the box of the one before too, but attention reads at fixed places
            moved.append((change + inverse_sigmoid(before)).sigmoid())
            before = (change + inverse_sigmoid(boxes)).sigmoid()
            boxes = before.detach()
        return Answers(torch.stack(logits), torch.stack(moved))
