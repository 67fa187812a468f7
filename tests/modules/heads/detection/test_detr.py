"""DETR: losses and attention beside the field's, padding, denoising, more objects than queries."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou

from modules.contracts import Features
from modules.heads.detection import DETR
from modules.heads.detection.detr.attention import DeformableAttention, DenseAttention, Memory, sampled
from modules.heads.detection.detr.decoder import Answers
from modules.heads.detection.detr.grid import grid
from modules.heads.detection.detr.losses import corners, matched, overlap
from modules.heads.detection.detr.targets import objects_of
from tests.helpers.errors import assert_named

FEATURES = Features([16, 24, 32], [8, 16, 32])
ATTENTION = pytest.mark.parametrize("attention", ["deformable", "dense"])


def detr(**settings) -> DETR:
    """A small head whose layers have all been moved from their zeros."""
    torch.manual_seed(0)
    head = DETR(FEATURES, 3, **{"width": 32, "layers": 2, "queries": 12, "denoising": 6, **settings})
    for name, weight in head.named_parameters():
        if weight.ndim > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
        elif "classifier" in name and weight.ndim == 1:
            torch.nn.init.zeros_(weight)
    return head


def maps(height: int, width: int, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(height + width)
    return [
        torch.randn(count, c, -(-height // s), -(-width // s), generator=generator)
        for c, s in zip(*FEATURES[:2], strict=True)
    ]


def target(count: int, height: int = 64, width: int = 96, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.6
    sides = (0.1 + 0.3 * torch.rand(count, 2, generator=generator)) * torch.tensor([width, height])
    labels = torch.randint(0, 3, (count,), generator=generator)
    return {"boxes": torch.cat([corner, corner + sides], 1), "labels": labels}


def test_overlaps_are_torchvisions():
    one, other = target(6)["boxes"], target(5, seed=1)["boxes"]
    iou, giou = overlap(one[:, None], other[None])
    torch.testing.assert_close(giou, generalized_box_iou(one, other))
    assert ((giou <= iou) & (iou >= 0)).all()


@pytest.mark.parametrize("kind", ["varifocal", "focal"])
def test_matching_and_losses_are_those_of_transformers(kind):
    """All layers, the encoder's answers and denoising queries, on the same tensors."""
    loss = pytest.importorskip("transformers.loss.loss_rt_detr", reason="transformers is not installed (dev only)")
    head, inside = detr(class_loss=kind).train(), torch.tensor([[64, 96]] * 3)
    targets = [target(3), target(0), target(5, seed=1)]
    truth = objects_of(targets, inside)
    noise = head.denoising(truth)
    queries, first, answers = head.answers(maps(64, 96, 3), inside, noise)
    ours = head._losses(queries, first, answers, truth, noise)

    config = SimpleNamespace(
        matcher_class_cost=2, matcher_bbox_cost=5, matcher_giou_cost=2, use_focal_loss=True, matcher_alpha=0.25,
        matcher_gamma=2.0, num_labels=3, weight_loss_vfl=1, weight_loss_bbox=5, weight_loss_giou=2, eos_coefficient=0.1,
        focal_loss_alpha=0.75 if kind == "varifocal" else 0.25, focal_loss_gamma=2.0,
    )  # fmt: skip
    peer = loss.RTDetrLoss(config)
    peer.losses, peer.weight_dict["loss_focal"] = ["vfl" if kind == "varifocal" else "focal", "boxes"], 1.0
    older = pytest.importorskip("transformers.loss.loss_deformable_detr").DeformableDetrImageLoss(None, 3, 0.25, [])
    peer.loss_labels_focal = lambda *given: {"loss_focal": older.loss_labels(*given)["loss_ce"]}
    parts = [{"logits": a, "pred_boxes": b} for a, b in zip(*answers, strict=True)]
    start = noise.queries.real.shape[1]
    found = [{name: value[:, start:] for name, value in part.items()} for part in parts]
    most = truth.labels.shape[1]
    places = [
        torch.cat([torch.arange(len(each["labels"])) + 2 * group * most for group in range(noise.groups)])
        for each in targets
    ]
    real = noise.queries.real[..., None]
    noisy = [
        # theirs count queries that only fill up: none here
        {"logits": part["logits"][:, :start].masked_fill(~real, -1e4), "pred_boxes": part["pred_boxes"][:, :start]}
        for part in parts
    ]
    outputs = found[-1] | {
        "auxiliary_outputs": [*found[:-1], {"logits": first.logits, "pred_boxes": first.boxes}],
        "dn_auxiliary_outputs": noisy,
        "denoising_meta_values": {"dn_positive_idx": places, "dn_num_group": noise.groups},
    }
    given = [
        {"class_labels": each["labels"], "boxes": boxes[: len(each["labels"])]}
        for each, boxes in zip(targets, truth.boxes, strict=True)
    ]
    theirs = peer(outputs, given)
    names = {"classifier": "loss_vfl" if kind == "varifocal" else "loss_focal", "box": "loss_bbox", "giou": "loss_giou"}
    for name, other in names.items():
        expected = sum(value for key, value in theirs.items() if key.startswith(other))
        torch.testing.assert_close(ours[name], expected, atol=1e-5, rtol=1e-5)
    pairs = matched(Answers(*(each[-1, :, start:] for each in answers)), truth, [12] * 3)
    for i, (rows, columns) in enumerate(peer.matcher(found[-1], given)):
        assert torch.equal(pairs.queries[pairs.images == i], rows)
        assert torch.equal(pairs.objects[pairs.images == i], columns)


def memory_of(height: int, width: int, inside: Tensor, channels: int = 16) -> Memory:
    generator = torch.Generator().manual_seed(0)
    shapes = [(-(-height // s), -(-width // s)) for s in FEATURES.strides]
    made = [torch.randn(len(inside), channels, *shape, generator=generator) for shape in shapes]
    cells = grid(made, FEATURES.strides, inside)
    made = [each * real for each, real in zip(made, cells.real, strict=True)]
    return Memory(made, torch.cat([each.flatten(2) for each in made], 2).transpose(1, 2), cells)


def bilinear(value: Tensor, x: float, y: float) -> Tensor:
    """Value (C, h, w) at pixels whose middles lie at whole numbers; 0 outside."""
    total = torch.zeros(value.shape[0])
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < value.shape[1] and 0 <= column < value.shape[2]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * value[:, row, column]
    return total


def test_deformable_attention_is_a_loop_over_points():
    torch.manual_seed(0)
    inside = torch.tensor([[64, 96], [40, 72]])
    memory, layer = memory_of(64, 96, inside), DeformableAttention(16, 3, points=2)
    for part in (layer.offsets, layer.weights):
        torch.nn.init.normal_(part.weight, std=0.3)
    queries, boxes = torch.randn(2, 4, 16), torch.rand(2, 4, 4)
    with torch.no_grad():
        found = layer(queries, boxes, memory)
        offsets = layer.offsets(queries).view(2, 4, 8, 3, 2, 2)
        weights = layer.weights(queries).view(2, 4, 8, 6).softmax(-1).view(2, 4, 8, 3, 2)
        values = [layer.value(each.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for each in memory.maps]
        values = [each * real for each, real in zip(values, memory.grid.real, strict=True)]
        expected = torch.zeros(2, 4, 16)
        for image, query, head, level, point in np.ndindex(2, 4, 8, 3, 2):
            place = boxes[image, query, :2] + offsets[image, query, head, level, point] * boxes[image, query, 2:] / 2
            x, y = (place * inside[image].flip(0) / FEATURES.strides[level] - 0.5).tolist()
            part = slice(2 * head, 2 * head + 2)
            read = bilinear(values[level][image, part], x, y)
            expected[image, query, part] += weights[image, query, head, level, point] * read
        torch.testing.assert_close(found, layer.output(expected), atol=1e-5, rtol=1e-4)


def test_sampled_points_are_those_of_transformers():
    modeling = pytest.importorskip(
        "transformers.models.rt_detr.modeling_rt_detr", reason="transformers is not installed (dev only)"
    )
    torch.manual_seed(0)
    value, places, weights = torch.randn(2, 48, 16), 1.4 * torch.rand(2, 5, 8, 3, 2) - 0.2, torch.rand(2, 5, 8, 3)
    theirs = modeling.MultiScaleDeformableAttention()(
        value.unflatten(2, (8, 2)), None, [(6, 8)], None, places[:, :, :, None], weights[:, :, :, None], 64
    )
    torch.testing.assert_close(sampled(value, 6, 8, places, weights), theirs, atol=1e-5, rtol=1e-5)


def test_dense_attention_reads_no_padding():
    torch.manual_seed(0)
    inside = torch.tensor([[40, 72]])
    memory, layer = memory_of(64, 96, inside), DenseAttention(16, 3)
    tokens = torch.where(memory.grid.flat[..., None], memory.tokens, 100.0)
    queries, boxes = torch.randn(1, 4, 16), torch.rand(1, 4, 4)
    with torch.no_grad():
        clean, dirty = layer(queries, boxes, memory), layer(queries, boxes, memory._replace(tokens=tokens))
    torch.testing.assert_close(clean, dirty)


@ATTENTION
def test_padding_changes_neither_answers_nor_losses(attention):
    head, inside, targets = detr(attention=attention).eval(), torch.tensor([[40, 72]]), [target(3, 40, 72)]
    # maps of the image alone, whose last cells are cut, and among others in a batch
    cut = maps(64, 96, 1)
    wide = [
        torch.nn.functional.pad(each, (0, 96 // s, 0, 64 // s), value=7.0)
        for each, s in zip(cut, FEATURES.strides, strict=True)
    ]
    for each, s in zip(wide, FEATURES.strides, strict=True):
        each[:, :, -(-40 // s) :], each[:, :, :, -(-72 // s) :] = 7.0, 7.0
    images = torch.zeros(1, 3, 64, 96), torch.zeros(1, 3, 128, 192)
    with torch.no_grad():
        (alone, losses), (padded, others) = (
            head(image, each, inside, targets) for image, each in zip(images, (cut, wide), strict=True)
        )
    for key, values in alone[0].items():
        torch.testing.assert_close(padded[0][key], values, atol=1e-4, rtol=1e-4)
    assert len(alone[0]["boxes"])
    for name, value in losses.items():
        torch.testing.assert_close(others[name], value, atol=1e-4, rtol=1e-4)


@ATTENTION
def test_chosen_queries_do_not_see_denoising_queries(attention):
    head, inside = detr(attention=attention).eval(), torch.tensor([[64, 96]] * 2)
    noise = head.denoising(objects_of([target(3), target(1)], inside))
    with torch.no_grad():
        _, _, plain = head.answers(maps(64, 96), inside)
        _, _, noisy = head.answers(maps(64, 96), inside, noise)
        first = noise.queries.content.clone()
        first[:, noise.group == 0] = 0
        _, _, changed = head.answers(
            maps(64, 96), inside, noise._replace(queries=noise.queries._replace(content=first))
        )
    count = noise.queries.real.shape[1]
    assert noise.groups == 2 and count == 2 * 2 * 3
    for one, other, third in zip(plain, noisy, changed, strict=True):
        torch.testing.assert_close(one, other[:, :, count:], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            other[:, :, :count][:, :, noise.group == 1], third[:, :, :count][:, :, noise.group == 1]
        )


def test_denoising_queries_are_near_and_far_in_turn():
    head, inside = detr(denoising=300), torch.tensor([[64, 96]] * 2)
    truth = objects_of([target(3), target(1)], inside)
    noise = head.denoising(truth)
    assert noise.groups == 100 and noise.queries.real[1].sum() == 200
    kept = noise.queries.boxes[0].view(100, 2, 3, 4)
    iou = overlap(corners(kept), corners(truth.boxes[0]).expand(100, 2, 3, 4))[0].mean((0, 2))
    assert iou[0] > 0.3 > 0.2 > iou[1]
    assert (kept >= 0).all() and (kept <= 1).all()


def test_losses_follow_from_the_seed():
    head, inside, targets = detr().train(), torch.tensor([[64, 96]] * 2), [target(3), target(2, seed=1)]
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(
            {k: v.item() for k, v in head(torch.zeros(2, 3, 64, 96), maps(64, 96), inside, targets)[1].items()}
        )
    assert found[0] == found[1] != found[2]


def test_more_objects_than_queries_are_counted_said_and_trained():
    head, inside = detr(queries=4), torch.tensor([[64, 96]] * 2)
    assert head.places_for(np.array([4, 0, 2])) is None
    assert_named(head.places_for(np.array([4, 6, 1, 9])), "2 training images", 4, 9, 7, "--model.head.queries")
    inputs = torch.zeros(2, 3, 64, 96), maps(64, 96), inside
    with pytest.warns(UserWarning, match="--model.head.queries") as said:
        losses = head.train()(*inputs, [target(11), target(0)])[1]
        head(*inputs, [target(10), target(11)])  # no more than before
    assert_named(str(said[0].message), 11, 4, 7)
    assert len(said) == 1
    sum(losses.values()).backward()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())


def test_more_queries_than_cells_answer_for_the_cells():
    head, inside = detr(queries=500, score_threshold=0.0, detections=500).eval(), torch.tensor([[64, 96], [40, 72]])
    with torch.no_grad():
        found, losses = head(torch.zeros(2, 3, 64, 96), maps(64, 96), inside, [target(3), target(2, 40, 72)])
    cells = [96 + 24 + 6, 45 + 15 + 6]
    assert [len(each["boxes"]) <= 3 * count for each, count in zip(found, cells, strict=True)] == [True, True]
    assert all(loss.isfinite() for loss in losses.values())


@ATTENTION
@pytest.mark.parametrize("strides", [[16], [8, 16, 32, 64, 128]], ids=str)
def test_any_pyramid_trains_with_one_small_image(attention, strides):
    features, inside = Features([16] * len(strides), strides), torch.tensor([[32, 32]])
    head = DETR(features, 3, width=16, layers=1, queries=5, denoising=4, attention=attention).train()
    given = [torch.randn(1, 16, -(-32 // s), -(-32 // s)) for s in strides]
    losses = head(torch.zeros(1, 3, 32, 32), given, inside, [target(2, 32, 32)])[1]
    sum(losses.values()).backward()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())
