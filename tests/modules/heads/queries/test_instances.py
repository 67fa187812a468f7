"""Mask queries as a detector and as a dense head: objects and classes from known answers."""

import torch
from pycocotools import mask as coco
from torch import Tensor
from torch.nn import functional

from modules.decoding.masks import crop, paste
from modules.heads.queries import MaskQueryHead, Queries, QueryInstances, SemanticQueries
from modules.heads.queries.instances import extents
from modules.heads.queries.semantic import class_scores, segments


class Known(MaskQueryHead):
    """Gives the answers that it was built with."""

    queries = 3

    def __init__(self, answers: Queries):
        super().__init__()
        self.answers = answers

    def forward(self, image: Tensor, see: object, targets: list | None = None) -> tuple[Queries, dict[str, Tensor]]:
        return self.answers, {} if targets is None else {"mask": torch.ones(())}


def answers() -> Queries:
    """Query 0 is an object of class 1, query 1 one of class 0, query 2 none; masks at the resolution of the image."""
    classes, masks = torch.zeros(1, 3, 3), torch.full((1, 3, 24, 32), -20.0)
    classes[0, 0, 1] = classes[0, 2, 2] = 9.0
    classes[0, 1, 0] = 3.0
    masks[0, 0, 4:9, 6:17] = 20.0
    masks[0, 1, 10:24, 20:32] = 20.0
    masks[0, 2, :3, :3] = 20.0
    return Queries(classes, masks)


def found(inside: tuple[int, int] = (24, 32)) -> dict[str, Tensor]:
    head = QueryInstances(Known(answers())).eval()
    return head(torch.zeros(1, 3, 24, 32), lambda image: [], torch.tensor([inside]))[0][0]


def test_objects_are_queries_with_a_class_the_surest_first():
    objects, classes = found(), answers().classes.softmax(2)
    assert objects["labels"].tolist()[:2] == [1, 0]
    assert objects["boxes"][:2].tolist() == [[6, 4, 17, 9], [20, 10, 32, 24]]
    torch.testing.assert_close(objects["scores"][:2], torch.stack([classes[0, 0, 1], classes[0, 1, 0]]))
    assert (objects["scores"].diff() <= 0).all() and objects["scores"].min() > 0.05


def test_masks_are_pasted_as_they_were():
    objects, truth = found(), answers().masks[0] > 0
    drawn = coco.decode(paste(objects["mask_probabilities"][:2], objects["boxes"][:2], (24, 32), exact=True))
    assert torch.equal(torch.from_numpy(drawn).permute(2, 0, 1).bool(), truth[:2])


def test_nothing_is_found_in_the_padding():
    objects = found((20, 24))
    assert objects["boxes"][1].tolist() == [20, 10, 24, 20]
    assert objects["boxes"][:, 2].max() <= 24 and objects["boxes"][:, 3].max() <= 20


def test_small_masks_survive_cropping_and_pasting_in_other_sizes():
    torch.manual_seed(0)
    blobs = functional.interpolate(torch.randn(40, 1, 4, 4), (40, 40), mode="bicubic")[:, 0] > 0.3
    blobs = blobs[blobs.flatten(1).any(1)]
    boxes = extents(blobs)
    for scale, least in ((1, 0.99), (2, 0.93)):
        pasted = paste(crop(blobs.float(), boxes, 56), boxes * scale, (40 * scale, 40 * scale), exact=True)
        drawn = torch.from_numpy(coco.decode(pasted)).permute(2, 0, 1).bool()
        wanted = blobs.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        iou = (drawn & wanted).flatten(1).sum(1) / (drawn | wanted).flatten(1).sum(1)
        assert iou.mean() > least


def test_a_box_beyond_the_image_is_pasted_empty():
    (rle,) = paste(torch.ones(1, 56, 56), torch.tensor([[50.0, 50.0, 60.0, 60.0]]), (24, 32), exact=True)
    assert coco.area(rle) == 0


def test_extents_of_masks():
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    masks[0, 1:3, 2:6] = True
    assert extents(masks).tolist() == [[2, 1, 6, 3], [0, 0, 0, 0]]
    assert extents(masks[:0]).shape == (0, 4)


def test_classes_of_pixels_are_the_published_formula():
    one = Queries(torch.randn(2, 5, 4), torch.randn(2, 5, 6, 8))
    size = torch.Size((12, 16))
    masks = functional.interpolate(one.masks, size, mode="bilinear", align_corners=False).sigmoid()
    wanted = torch.zeros(2, 3, 12, 16)
    for query in range(5):
        shares = one.classes[:, query].softmax(1)[:, :3]
        wanted += shares[:, :, None, None] * masks[:, query, None]
    torch.testing.assert_close(class_scores(one, size), wanted)
    logits = SemanticQueries(Known(one)).logits(torch.zeros(2, 3, 12, 16), lambda image: [])
    torch.testing.assert_close(logits.softmax(1), wanted / wanted.sum(1, keepdim=True))


def test_each_class_of_a_map_is_a_segment():
    mask = torch.tensor([[[0, 0, 3], [255, 3, 3]], [[255, 255, 255], [255, 255, 255]]])
    first, second = segments(mask)
    assert first["labels"].tolist() == [0, 3] and len(second["labels"]) == 0 and second["masks"].shape == (0, 2, 3)
    assert first["masks"].int().tolist() == [[[1, 1, 0], [0, 0, 0]], [[0, 0, 1], [0, 1, 1]]]
    assert first["ignore"].tolist() == [[False] * 3, [True, False, False]] and second["ignore"].all()
