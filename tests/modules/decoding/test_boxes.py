"""NMS, merging and pasting of detections, against literal loops, torchvision and pycocotools."""

import math

import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import box_iou, nms

from modules.decoding.boxes import Selection, merge, merge_tiles, mirrored, moved, soft_nms, suppress, to_original
from modules.decoding.masks import paste


def detection(count: int, side: float = 200, classes: int = 2, masks: bool = False) -> dict[str, Tensor]:
    corner = torch.rand(count, 2) * side / 2
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2) * side / 2], 1)
    found = {"boxes": boxes, "scores": torch.rand(count).sort(descending=True).values}
    found["labels"] = torch.randint(0, classes, (count,))
    return found | ({"mask_probabilities": torch.rand(count, 28, 28)} if masks else {})


def literal_soft_nms(boxes: Tensor, scores: Tensor, labels: Tensor, sigma: float, floor: float) -> list[tuple]:
    """The paper's figure 2, one box at a time."""
    left, result = list(range(len(boxes))), []
    scores = scores.tolist()
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        if scores[best] < floor:
            break
        result.append((best, scores[best]))
        for i in left:
            if labels[i] == labels[best]:
                scores[i] *= math.exp(-(box_iou(boxes[best : best + 1], boxes[i : i + 1]).item() ** 2) / sigma)
    return result


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_soft_nms_is_that_of_the_paper(floor):
    found = detection(40)
    keep, scores = soft_nms(found["boxes"], found["scores"], found["labels"], floor)
    expected = literal_soft_nms(found["boxes"], found["scores"], found["labels"], 0.5, floor)
    assert (keep.tolist() == [i for i, _ in expected] and len(keep) < 40) or floor == 0.0
    torch.testing.assert_close(scores, torch.tensor([s for _, s in expected]))


def test_nms_across_classes_is_nms_without_classes():
    found = detection(60, masks=True)
    kept = suppress(found, Selection(0.0, 0.4, agnostic_nms=True))
    expected = nms(found["boxes"], found["scores"], 0.4)
    for key, values in kept.items():
        assert torch.equal(values, found[key][expected])


def test_the_better_of_two_classes_stays_across_and_both_within():
    found = both(one([0.0, 0, 10, 10], 0.6, label=0), one([0.0, 0, 10, 10], 0.9, label=1))
    assert suppress(found, Selection(agnostic_nms=True))["labels"].tolist() == [1]
    assert suppress(found, Selection())["labels"].tolist() == [1, 0]


@pytest.mark.parametrize("settings", [{}, {"agnostic_nms": True}, {"soft_nms": True}], ids=str)
def test_nothing_stays_nothing(settings):
    kept = suppress(detection(0, masks=True), Selection(**settings))
    assert [len(values) for values in kept.values()] == [0] * 4


def test_a_mirrored_view_adds_nothing_to_what_is_seen_already():
    found = detection(5, masks=True)
    found["boxes"] = torch.tensor([[40.0 * i, 0, 40 * i + 30, 50] for i in range(5)])
    again = mirrored(mirrored(found, 200), 200)
    merged = merge([found, again], Selection(score_threshold=0.0))
    for key, values in merged.items():
        torch.testing.assert_close(values, found[key])


def test_mirroring_turns_boxes_and_masks_around():
    found = {"boxes": torch.tensor([[10.0, 20, 30, 60]]), "mask_probabilities": torch.rand(1, 28, 28)}
    turned = mirrored(found, 100)
    assert turned["boxes"].tolist() == [[70, 20, 90, 60]]
    assert torch.equal(turned["mask_probabilities"][0, :, 0], found["mask_probabilities"][0, :, -1])


def one(box: list[float], score: float, label: int = 0) -> dict[str, Tensor]:
    return {"boxes": torch.tensor([box]), "scores": torch.tensor([score]), "labels": torch.tensor([label])}


def both(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.cat([first[key], second[key]]) for key in first}


@pytest.mark.parametrize("piece_score", [0.5, 0.99])
def test_a_piece_on_the_border_of_a_tile_goes_where_its_neighbor_sees_it_whole(piece_score):
    """An object from x 70 to 110 of an image 180 wide, tiles from 0 to 100 and from 60 to 160."""
    piece, whole = one([70.0, 10, 100, 50], piece_score), one([10.0, 10, 50, 50], 0.8)
    merged = merge_tiles([piece, whole], [(0, 0), (0, 60)], (100, 100), (100, 180), Selection(nms_threshold=0.9))
    assert merged["boxes"].tolist() == [[70, 10, 110, 50]]


def test_pieces_of_other_classes_and_boxes_at_the_border_of_the_image_stay():
    other, edge = one([70.0, 10, 100, 50], 0.9, label=1), one([0.0, 60, 30, 100], 0.9)
    whole, cover = one([10.0, 10, 50, 50], 0.8), one([0.0, 50, 39, 99], 0.8)
    merged = merge_tiles(
        [both(other, edge), both(whole, cover)], [(0, 0), (0, 60)], (100, 100), (100, 160), Selection()
    )
    assert len(merged["boxes"]) == 4


def test_boxes_return_to_the_original_image():
    inside, size = torch.tensor([50, 100]), torch.tensor([200, 300])  # height x4, width x3
    boxes = torch.tensor([[10.0, 10, 20, 20], [90, 40, 120, 60]])
    assert to_original(boxes, inside, size).tolist() == [[30, 40, 60, 80], [270, 160, 300, 200]]


def test_moved_boxes_count_from_the_corner_of_the_image():
    assert moved(one([1.0, 2, 3, 4], 0.5), (100, 10))["boxes"].tolist() == [[11, 102, 13, 104]]


def test_pasted_masks_are_torchvisions():
    size, masks = (90, 130), torch.rand(40, 7, 7).repeat_interleave(4, 1).repeat_interleave(4, 2)
    boxes = detection(40, 120)["boxes"]
    boxes[:4] = torch.tensor([[-20.0, -10, 30, 30], [100, 60, 200, 150], [50.2, 40.1, 50.3, 40.2], [0, 0, 130, 90]])
    expected = paste_masks_in_image(masks[:, None], boxes, size)[:, 0] > 0.5
    found = paste(masks, boxes, size)
    decoded = torch.from_numpy(coco.decode(found)).permute(2, 0, 1).bool()
    assert torch.equal(decoded, expected) and expected.any()
    assert all(each["size"] == [90, 130] and isinstance(each["counts"], bytes) for each in found)


@pytest.mark.parametrize("box", [[300.0, 10, 320, 40], [10.0, -60, 40, -20]], ids=["right of it", "above it"])
def test_a_mask_outside_of_the_image_is_empty(box):
    found = paste(torch.ones(1, 28, 28), torch.tensor([box]), (100, 200))
    assert coco.area(found).tolist() == [0] and found[0]["size"] == [100, 200]


def test_no_masks_are_no_run_lengths():
    assert paste(torch.zeros(0, 28, 28), torch.zeros(0, 4), (100, 200)) == []


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that was made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.numel = max(self.numel, made.numel() if isinstance(made, Tensor) else 0)
        return made


def test_pasting_never_holds_full_size_floats():
    size, count = (1024, 1024), 10
    boxes = torch.tensor([[0.0, 0, 1024, 1024]]).repeat(count, 1)
    masks = torch.rand(count, 28, 28)
    with Largest() as largest:
        found = paste(masks, boxes, size)
    assert len(found) == count and (coco.area(found) > 0).all()
    assert largest.numel <= 1.2 * 1024 * 1024  # of one mask, which grows by its border
