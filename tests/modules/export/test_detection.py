"""Graphs of detectors find the objects that PyTorch finds, decoded in fixed sizes."""

from functools import partial

import numpy as np
import pytest
import torch

from commands.export.gate import limits_of
from commands.export.object_agreement import object_differences
from commands.export.onnx_file import write_onnx
from commands.export.runtime import session_of
from commands.export.torch_file import write_torch
from modules.contracts import ConfigError
from modules.contracts.preprocessing import Preprocessing
from modules.decoding.tta import TTA
from modules.export import Graph, preprocess_for
from modules.export.nms import suppress, suppress_by_torchvision
from modules.export.regions import proposed
from modules.heads.detection import DETR, FCOS, SSD, FasterRCNN, MaskRCNN, RetinaNet, SingleObject
from modules.necks import FPN, NoNeck
from tasks import Detection, InstanceSegmentation
from tests.helpers.errors import refuses

SIZES = [(2, 90, 120), (1, 128, 128), (2, 200, 77), (1, 40, 30)]
"""Numbers, heights and widths of images."""
CASES = {
    "retinanet": (RetinaNet, "p6p7", {}),
    "fcos": (FCOS, "p6p7", {}),
    "ssd": (SSD, None, {}),
    "agnostic": (SSD, None, {"agnostic_nms": True}),
    "detr": (DETR, None, {"width": 32, "layers": 2, "queries": 30, "score_threshold": 0.0}),
    "dense": (DETR, None, {"width": 32, "layers": 1, "queries": 300, "attention": "dense", "score_threshold": 0.0}),
    "faster_rcnn": (FasterRCNN, "pool", {"proposals": 60, "hidden": 32}),
    "mask_rcnn": (MaskRCNN, "pool", {"proposals": 60, "hidden": 32, "mask_channels": 8, "detections": 20}),
}


def detector(head, extra, settings) -> Detection:
    """An untrained detector whose scores differ."""
    torch.manual_seed(0)
    neck = partial(FPN, channels=64, levels=3, extra=extra) if extra else NoNeck
    kind = InstanceSegmentation if head is MaskRCNN else Detection
    task = kind(classes=list("abc"), backbone="test_resnet", neck=neck, head=partial(head, **settings)).eval()
    with torch.no_grad():
        for name, weight in task.head.named_parameters():
            if weight.ndim > 1:
                torch.nn.init.kaiming_normal_(weight, nonlinearity="relu")
            elif "cls_logits" in name:
                weight.zero_()
    return task


def images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


def expected(task: Detection, graph: Graph, batch: np.ndarray) -> list[dict]:
    """Predictions of the task itself."""
    with torch.inference_mode():
        pixels, geometry = graph.module.preprocess(torch.from_numpy(batch))
        inside = geometry.inside.long().expand(len(batch), 2)
        found = task(graph.module.normalize(pixels), inside)
        size = torch.tensor(batch.shape[1:3])
        answers = [task.original(*one, size) for one in zip(found, inside, strict=True)]
    masks = [{"mask_probabilities": one["mask_probabilities"]} if task.masks else {} for one in found]
    return [
        {key: value.numpy() for key, value in (one | mask).items() if key != "rle"}
        for one, mask in zip(answers, masks, strict=True)
    ]


def agree(task: Detection, graph: Graph, run) -> None:
    for batch in images():
        theirs = dict(zip(graph.outputs, map(np.asarray, run(batch)), strict=True))
        counts, ours = theirs.pop("count"), expected(task, graph, batch)
        cut = [{key: value[i][: counts[i]] for key, value in theirs.items()} for i in range(len(batch))]
        assert counts.tolist() == [len(one["scores"]) for one in ours] and counts.min() > 0
        labels, objects, *numbers = object_differences(ours, cut, limits_of(task))
        assert labels.agreement == objects.agreement == 1
        assert all(one.relative < 1e-4 for one in numbers)
        if task.masks:
            ours, cut = (np.concatenate([one["mask_probabilities"] for one in each]) for each in (ours, cut))
            assert np.abs(ours - cut).max() < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_a_graph_finds_what_pytorch_finds(case):
    task = detector(*CASES[case])
    graph = task.graphs(preprocess_for(Preprocessing("letterbox", (128, 128))))["model"]
    with torch.inference_mode():
        agree(task, graph, lambda batch: graph.module(torch.from_numpy(batch)))


@pytest.mark.parametrize(("higher", "lower"), [(25, 20), (-110, -120)])
def test_proposals_keep_the_order_of_logits_whose_sigmoids_are_equal(higher, lower, monkeypatch):
    assert torch.tensor([higher]).sigmoid() == torch.tensor([lower]).sigmoid()
    rpn = detector(*CASES["faster_rcnn"]).head.rpn
    maps, deltas, logits = (
        [torch.full((1, channels, side, side), value) for side in (16, 8, 4, 2)]
        for channels, value in ((64, 0.0), (12, 0.0), (3, -torch.inf))
    )
    logits[0][0, 0, 8, 8], logits[1][0, 0, 4, 4] = lower, higher
    monkeypatch.setattr(rpn.head, "forward", lambda maps: (logits, deltas))
    boxes, ranks = proposed(rpn, maps, torch.tensor([128.0, 128.0]))
    assert (ranks > 0).tolist() == [[True] * 2 + [False] * 58]
    wide = (boxes[0, :2, 2] - boxes[0, :2, 0]).tolist()
    assert wide[0] > wide[1]  # anchors of the coarser map, whose logit is higher, are larger


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("size", [(128, 128), None])
@pytest.mark.parametrize("case", CASES)
def test_files_find_what_pytorch_finds(case, size, tmp_path):
    task = detector(*CASES[case])
    graph = task.graphs(preprocess_for(Preprocessing("letterbox", size)))["model"]
    write_onnx(graph, tmp_path / "model.onnx", {}, case)
    session = session_of(tmp_path / "model.onnx", 1)
    agree(task, graph, lambda batch: session.run(list(graph.outputs), {"image": batch}))
    write_torch(graph, tmp_path / "model.pt2", {}, case)
    program = torch.export.load(tmp_path / "model.pt2").module()
    with torch.inference_mode():
        agree(task, graph, lambda batch: program(torch.from_numpy(batch)))


def test_suppression_of_all_groups_at_once_is_that_of_each():
    generator = torch.Generator().manual_seed(0)
    corner, side = torch.rand(6, 50, 2, generator=generator) * 60, torch.rand(6, 50, 2, generator=generator) * 40
    boxes, scores = torch.cat([corner, corner + side], -1), torch.rand(6, 50, generator=generator)
    scores[:, ::7] = 0
    scores[3] = 0
    kept = suppress(boxes, scores, 0.4)
    assert torch.equal(kept, suppress_by_torchvision(boxes, scores, 0.4))
    assert 0 < kept.sum() < (scores > 0).sum() and not kept[scores == 0].any()


class Suppress(torch.nn.Module):
    def forward(self, boxes, scores):
        return (suppress(boxes, scores, 0.5),)


def test_files_suppress_as_torchvision_does(tmp_path):
    generator = torch.Generator().manual_seed(0)
    corner, side = torch.rand(3, 20, 2, generator=generator) * 30, torch.rand(3, 20, 2, generator=generator) * 40
    inputs = {"boxes": torch.cat([corner, corner + side], -1), "scores": torch.rand(3, 20, generator=generator)}
    graph = Graph(Suppress(), inputs, ["kept"], {name: {0: "groups"} for name in inputs})
    write_onnx(graph, tmp_path / "model.onnx", {}, "suppress")
    write_torch(graph, tmp_path / "model.pt2", {}, "suppress")
    session, program = session_of(tmp_path / "model.onnx", 1), torch.export.load(tmp_path / "model.pt2").module()
    boxes, scores = inputs.values()
    for number in (20, 1, 0):  # of boxes, others are none
        known = scores * (torch.arange(20) < number)
        kept = suppress(boxes, known, 0.5)
        assert torch.equal(program(boxes, known)[0], kept)
        (found,) = session.run(None, {"boxes": boxes.numpy(), "scores": known.numpy()})
        assert np.array_equal(found, kept.numpy()) and kept.any() == (number > 0)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"head": SingleObject, "neck": NoNeck}, ["SingleObject", "FasterRCNN"]),
        ({"head": partial(SSD, soft_nms=True), "neck": NoNeck}, ["soft_nms"]),
        ({"head": SSD, "neck": NoNeck, "tile_size": 64}, ["tile_size"]),
        ({"head": SSD, "neck": NoNeck, "tta": TTA(flip=True)}, ["tta"]),
    ],
)
def test_what_a_graph_cannot_hold_is_named(settings, names):
    task = Detection(classes=list("abc"), backbone="test_resnet", **settings)
    with refuses(ConfigError, *names):
        task.graphs(preprocess_for(Preprocessing("letterbox", (64, 64))))
