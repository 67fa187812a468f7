"""Panoptic segments from the answers of mask queries: each pixel to one query, stuff of a class made one."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.contracts import check_range


@dataclass(frozen=True)
class SegmentSelection:
    """Choice of the segments among the answers of mask queries (Cheng et al. 2021).

    Args:
        score_threshold: lowest probability of its class, 0..1, that makes an answer a segment.
        visible_share: share of a mask, 0..1, that no surer mask may cover; segments with less are left out.
        min_area: pixels of the original image that a segment must have; smaller ones are left out.

    Raises:
        ConfigError: a value out of range.
    """

    score_threshold: float = 0.5
    visible_share: float = 0.8
    min_area: int = 1

    def __post_init__(self) -> None:
        check_range("model.selection.score_threshold", self.score_threshold, high=1)
        check_range("model.selection.visible_share", self.visible_share, high=1)
        check_range("model.selection.min_area", self.min_area, 1)


class Segments(NamedTuple):
    """Segments of an image, which do not overlap.

    Args:
        segments: int32 (h, w), 0 for none and k for segment k, from 1 on.
        labels: int64 (S,), class of each.
        scores: float32 (S,), probability of its class.
    """

    segments: Tensor
    labels: Tensor
    scores: Tensor


def panoptic(
    classes: Tensor,
    masks: Tensor,
    things: Tensor,
    selection: SegmentSelection,
    shown: tuple[int, int],
    inside: tuple[int, int],
    size: tuple[int, int],
) -> Segments:
    """Segments of one image in pixels of the original.

    A pixel belongs to the query of the highest product of class and mask probability, and to none where that mask is
    below one half. One mask is resized at a time, so that memory holds a few maps of the original's size.

    Args:
        classes: logits (Q, C + 1), the last for no object.
        masks: logits (Q, h, w), which cover the image as the network sees it.
        things: bool (C,), classes whose segments stay apart; of others one segment is made.
        selection: of the segments.
        shown: height and width of the image as the network sees it, padded.
        inside: height and width of its part, from the top left corner, that shows the image.
        size: height and width of the original.
    """
    probabilities = classes.float().softmax(1)
    scores, labels = probabilities[:, :-1].max(1)
    kept = (probabilities.argmax(1) < len(things)) & (scores >= selection.score_threshold)
    scores, labels, masks = scores[kept], labels[kept], masks[kept]
    best, owner = masks.new_zeros(size, dtype=torch.float32), torch.zeros(size, dtype=torch.int32, device=masks.device)
    sure, areas = torch.zeros_like(owner, dtype=torch.bool), []
    for number, (mask, score) in enumerate(zip(masks, scores, strict=True), 1):
        found = _resized(mask.float(), shown, inside, size).sigmoid()
        within, wins = found >= 0.5, score * found > best
        best, owner, sure = (
            torch.where(wins, new, old) for new, old in ((score * found, best), (number, owner), (within, sure))
        )
        areas.append(within.sum())
    return _merged(owner * sure, labels, scores, torch.stack(areas) if areas else labels, things, selection)


def _merged(
    owner: Tensor, labels: Tensor, scores: Tensor, areas: Tensor, things: Tensor, selection: SegmentSelection
) -> Segments:
    """Leave out what is mostly covered or small, and make stuff of a class one; `areas` (S,) of whole masks."""
    visible = owner.flatten().long().bincount(minlength=len(labels) + 1)[1:]
    seen = (visible > 0) & (visible >= selection.visible_share * areas)
    numbers = torch.zeros(len(labels) + 1, dtype=torch.int32, device=owner.device)
    of_stuff: dict[int, int] = {}
    members: list[list[int]] = []
    for i in seen.nonzero()[:, 0].tolist():
        label = int(labels[i])
        place = len(members) if things[label] else of_stuff.setdefault(label, len(members))
        if place == len(members):
            members.append([])
        members[place].append(i)
    members = [each for each in members if int(visible[each].sum()) >= selection.min_area]
    for number, each in enumerate(members, 1):
        numbers[torch.tensor(each, device=owner.device) + 1] = number
    firsts = [each[0] for each in members]
    best = [scores[each].max() for each in members]
    return Segments(numbers[owner.long()], labels[firsts], torch.stack(best) if best else scores[:0])


def _resized(mask: Tensor, shown: tuple[int, int], inside: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Logits (h, w) of a padded image to pixels of the original, float32 (*size)."""
    found = mask[None, None]
    for target, part in ((shown, inside), (size, size)):
        if tuple(found.shape[-2:]) != target:
            found = interpolate(found, target, mode="bilinear")
        found = found[..., : part[0], : part[1]]
    return found[0, 0]
