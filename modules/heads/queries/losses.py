"""Set loss of mask queries: matching, cross-entropy of the classes, and masks compared at sampled points.

Masks are compared at points, not at all pixels: matching at random ones, losses mostly where a mask is least certain
(Kirillov et al. 2020, "PointRend"; Cheng et al. 2022). Points (N, P, 2) are x, y in 0..1 of the image's width and
height. Random points come from torch's global generator, whose state is in the checkpoint.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from modules.heads.queries.base import Queries, Target
from modules.heads.queries.matching import Pairs, match

MOST_POINTS = 12544  # of a mask, as published
OVERSAMPLED = 3  # candidates of each point
IMPORTANT = 0.75  # share of the points that are where the mask is least certain


@dataclass(frozen=True)
class SetLoss:
    """Weights of the terms, and the number of points; the defaults are those of Mask2Former.

    Args:
        points: at which each mask is compared; null is as many as its logits have cells, 12,544 at most.
        no_object: weight of queries without an object in the cross-entropy of the classes, 0..1.
        class_weight: of the cross-entropy of the classes, in the matching too.
        mask_weight: of the binary cross-entropy of the masks.
        dice_weight: of the Dice loss of the masks.
    """

    points: int | None = None
    no_object: float = 0.1
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0

    def compute(self, layers: list[Queries], targets: list[Target]) -> dict[str, Tensor]:
        """Weighted losses `class`, `mask` and `dice`, scalars in float32, those of all layers summed.

        Args:
            layers: answers of each layer.
            targets: as `MaskQueryHead` takes them.
        """
        truth = _Truth(targets)
        each = [self._one(answers, truth) for answers in layers]
        return {name: torch.stack([losses[name] for losses in each]).sum() for name in each[0]}

    def _one(self, answers: Queries, truth: "_Truth") -> dict[str, Tensor]:
        classes, masks = answers.classes.float(), answers.masks.float()
        points = min(MOST_POINTS, self.points or masks.shape[-2] * masks.shape[-1])
        pairs = self.match(Queries(classes, masks), truth, points)
        chosen = torch.cat([one[queries] for one, (queries, _) in zip(masks, pairs, strict=True)])
        which = truth.rows(pairs)
        segments = max(1, truth.segments)
        bce, dice = self._masks(chosen, which, truth, points)
        return {
            "class": self.class_weight * self._classes(classes, truth, pairs),
            "mask": self.mask_weight * bce / segments,
            "dice": self.dice_weight * dice / segments,
        }

    @torch.no_grad()
    def match(self, answers: Queries, truth: "_Truth", points: int) -> list[Pairs]:
        """Indices of queries and of their segments, of each image; see `matching.match`."""
        places = torch.rand(len(answers.masks), points, 2, device=answers.masks.device)
        found, costs = at(answers.masks, places), []
        for i, (logits, probabilities) in enumerate(zip(found, answers.classes.softmax(-1), strict=True)):
            wanted, weights = truth.at(truth.of_image(i), places[i : i + 1])
            classes = -probabilities[:, truth.labels[i]]
            bce, dice = pairwise_costs(logits, wanted, weights[0])
            costs.append(self.class_weight * classes + self.mask_weight * bce + self.dice_weight * dice)
        return match(costs)

    def _classes(self, logits: Tensor, truth: "_Truth", pairs: list[Pairs]) -> Tensor:
        """Cross-entropy of the classes; queries without a segment have class C."""
        nothing = logits.shape[-1] - 1
        wanted = torch.full(logits.shape[:2], nothing, device=logits.device)
        for row, labels, (queries, segments) in zip(wanted, truth.labels, pairs, strict=True):
            row[queries] = labels[segments]
        weight = torch.ones(nothing + 1, device=logits.device)
        weight[-1] = self.no_object
        losses = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight, reduction="none")
        return losses.sum() / weight[wanted].sum().clamp_min(1e-6)  # torch's mean is nan where all weights are 0

    def _masks(self, masks: Tensor, which: Tensor, truth: "_Truth", points: int) -> tuple[Tensor, Tensor]:
        """Sums of the losses of logits (M, h, w) of the segments of these numbers (M,)."""
        if not len(masks):
            return masks.sum(), masks.sum()
        places = uncertain_points(masks.detach(), points)
        wanted, weights = truth.at(which, places)
        logits = at(masks[:, None], places)[:, 0]
        return mask_losses(logits, wanted, weights)


class _Truth:
    """Segments of all images of a batch.

    Args:
        targets: one per image.

    Attributes:
        labels: int64 (N,) of each image.
        masks: uint8 (S, H, W) of all images.
        valid: float32 (B, H, W), 0 where pixels count for no loss; null where all do.
    """

    def __init__(self, targets: list[Target]):
        self.labels = [target["labels"] for target in targets]
        self.masks = torch.cat([target["masks"].view(torch.uint8) for target in targets])
        self.valid = None
        if "ignore" in targets[0]:
            self.valid = torch.stack([~target["ignore"].bool() for target in targets]).float()
        self.counts = [len(labels) for labels in self.labels]
        self.segments = sum(self.counts)
        device = self.masks.device
        self.image = torch.arange(len(targets)).repeat_interleave(torch.tensor(self.counts)).to(device)

    def of_image(self, image: int) -> Tensor:
        """Numbers (N,) of the segments of an image."""
        first = sum(self.counts[:image])
        return torch.arange(first, first + self.counts[image], device=self.masks.device)

    def rows(self, pairs: list[Pairs]) -> Tensor:
        """Numbers (M,) of the segments that have a query, image by image."""
        return torch.cat([self.of_image(image)[segments] for image, (_, segments) in enumerate(pairs)])

    def at(self, which: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Masks float32 (M, P) of segments at points, and the weights of these points, (M, P) or (1, P).

        Args:
            which: numbers (M,) of segments.
            places: (M, P, 2), or (1, P, 2) for segments of one image.
        """
        masks = self.masks[which].float()
        if len(places) == 1:
            found, images = at(masks[None], places)[0], self.image[which[:1]]
        else:
            found, images = at(masks[:, None], places)[:, 0], self.image[which]
        if self.valid is None or not len(images):
            return found, torch.ones_like(places[..., 0])
        return found, at(self.valid[images][:, None], places, "nearest")[:, 0]


def at(maps: Tensor, points: Tensor, mode: str = "bilinear") -> Tensor:
    """Values (N, K, P) of maps (N, K, h, w) at points (N, P, 2); beyond the middles of the outer cells they fade."""
    if not maps.shape[1]:
        return maps.new_zeros(len(maps), 0, points.shape[1])
    return functional.grid_sample(maps, (2 * points - 1)[:, None], mode=mode, align_corners=False)[:, :, 0]


def pairwise_costs(logits: Tensor, wanted: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and Dice loss of each query with each segment, (Q, N) both, at the same points.

    Args:
        logits: (Q, P).
        wanted: 0..1 (N, P).
        weights: of the points, (P,).
    """
    total = weights.sum().clamp_min(1)
    right = functional.softplus(-logits) * weights, functional.softplus(logits) * weights
    bce = (right[0] @ wanted.T + right[1] @ (1 - wanted).T) / total
    probabilities = logits.sigmoid() * weights
    overlap = probabilities @ wanted.T
    sizes = probabilities.sum(1)[:, None] + (wanted * weights).sum(1)
    return bce, 1 - (2 * overlap + 1) / (sizes + 1)


def mask_losses(logits: Tensor, wanted: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy, the mean over the points, and Dice loss (Milletari et al. 2016), each summed over masks.

    Args:
        logits: (M, P).
        wanted: 0..1 (M, P).
        weights: of the points, (M, P); 0 for those that do not count.
    """
    bce = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    bce = (bce * weights).sum(1) / weights.sum(1).clamp_min(1)
    probabilities, wanted = logits.sigmoid() * weights, wanted * weights
    dice = 1 - (2 * (probabilities * wanted).sum(1) + 1) / (probabilities.sum(1) + wanted.sum(1) + 1)
    return bce.sum(), dice.sum()


@torch.no_grad()
def uncertain_points(masks: Tensor, points: int) -> Tensor:
    """Points (M, P, 2) of mask logits (M, h, w): three quarters where the logits are nearest to 0 among random ones.

    The rest are random (Kirillov et al. 2020).
    """
    candidates = torch.rand(len(masks), OVERSAMPLED * points, 2, device=masks.device)
    certain = at(masks[:, None], candidates)[:, 0].abs()
    important = int(IMPORTANT * points)
    nearest = certain.topk(important, largest=False).indices
    chosen = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, torch.rand(len(masks), points - important, 2, device=masks.device)], 1)
