"""Objects of a batch in one tensor, and denoising queries made of them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import box_convert

from modules.heads.detection.base import Target
from modules.heads.detection.detr.decoder import Queries

LABEL_NOISE, BOX_NOISE = 0.25, 1.0


class Objects(NamedTuple):
    """Objects of the images of a batch, filled up to the most in one of them, M.

    Attributes:
        boxes: float32 (B, M, 4), (center x, center y, width, height) in shares of the image without its padding.
        labels: int64 (B, M).
        counts: objects in each image.
    """

    boxes: Tensor
    labels: Tensor
    counts: list[int]

    @property
    def real(self) -> Tensor:
        """Places that hold an object, bool (B, M)."""
        counts = torch.tensor(self.counts, device=self.labels.device)
        return torch.arange(self.labels.shape[1], device=self.labels.device) < counts[:, None]

    def repeated(self, times: int) -> "Objects":
        """The same batch so many times, one after another."""
        return Objects(self.boxes.repeat(times, 1, 1), self.labels.repeat(times, 1), self.counts * times)


def objects_of(targets: list[Target], inside: Tensor) -> Objects:
    """Objects of targets in pixels, on images whose height and width (B, 2) `inside` are no padding."""
    size = inside.flip(1).repeat(1, 2).float()
    boxes = pad_sequence([target["boxes"].float() for target in targets], True)
    labels = pad_sequence([target["labels"] for target in targets], True)
    return Objects(
        box_convert(boxes / size[:, None], "xyxy", "cxcywh"), labels, [len(target["labels"]) for target in targets]
    )


class Noise(NamedTuple):
    """Denoising queries, G groups of 2 M: each object once a little off, then each once far off.

    Attributes:
        queries: (B, G * 2 * M, ...).
        group: int64 (G * 2 * M,), the group of each.
        groups: G.
    """

    queries: Queries
    group: Tensor
    groups: int


class Denoising(nn.Module):
    """Queries made of the training objects, with noise, whose answers need no matching (Zhang et al. 2023).

    Of each object a group has a query that is to find it, off by less than half its sides, and one that is to find
    nothing, off by more; a fourth of both have a random class. Draws come from torch's own generator, whose state is in
    the checkpoints.

    Args:
        width: of the queries.
        outputs: number of classes C.
        count: objects of an image with noise, at least: as many groups as needed, or 0 for none.
    """

    def __init__(self, width: int, outputs: int, count: int):
        super().__init__()
        self.count = count
        self.classes = nn.Embedding(outputs, width)
        nn.init.normal_(self.classes.weight)

    def forward(self, objects: Objects) -> Noise | None:
        """Denoising queries of objects; null where there is none."""
        most = objects.labels.shape[1]
        if not most:
            return None
        groups = max(1, self.count // most)
        times = 2 * groups
        labels, real = objects.labels.repeat(1, times), objects.real.repeat(1, times)
        boxes = objects.boxes.repeat(1, times, 1)
        wrong = torch.rand(labels.shape, device=labels.device) < LABEL_NOISE
        labels = torch.where(wrong, torch.randint_like(labels, self.classes.num_embeddings), labels)
        far = torch.arange(times, device=labels.device).repeat_interleave(most) % 2
        corners = box_convert(boxes, "cxcywh", "xyxy")
        off = torch.rand_like(corners) + far[:, None]
        sign = torch.randint_like(corners, 2) * 2 - 1
        corners = (corners + sign * off * boxes[..., 2:].repeat(1, 1, 2) / 2 * BOX_NOISE).clamp(0, 1)
        boxes = box_convert(corners, "xyxy", "cxcywh").clamp(min=0)
        group = torch.arange(groups, device=labels.device).repeat_interleave(2 * most)
        return Noise(Queries(self.classes(labels), boxes, real), group, groups)
