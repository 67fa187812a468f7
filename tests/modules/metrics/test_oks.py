"""Keypoint metrics: as pycocotools counts, sigmas by names, and a similarity by hand."""

import contextlib
import io
from collections.abc import Sequence
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from modules.contracts import ConfigError
from modules.metrics.detection import DetectionScores
from modules.metrics.oks import COCO_NAMES, UNIFORM, oks, sigmas_of
from tests.helpers.errors import refuses

IMAGES = 12
NAMES = [f"keypoint_{name}" for name in ("map", "map50", "map75", "map_medium", "map_large", "mar_20")]
Entries = list[dict[str, Any]]


def drawn(seed: int, count: int, classes: int) -> tuple[Entries, Entries]:
    """Objects and detections of many images in COCO's format: crowds, objects without keypoints, wrong classes."""
    random, true, found = np.random.default_rng(seed), [], []
    for image in range(1, IMAGES + 1):
        for _ in range(random.integers(0, 6)):
            side, x, y = np.float32([random.uniform(10, 160), *random.uniform(0, 100, 2)]).tolist()
            flags = random.integers(0, 3, (count, 1)) * (random.random() > 0.2)
            points = np.hstack([random.uniform(0, side, (count, 2)) + np.array([x, y]), flags]).astype(np.float32)
            points[flags[:, 0] == 0] = 0
            label = int(random.integers(classes)) + 1
            one = {"image_id": image, "category_id": label, "id": len(true) + 1, "bbox": [x, y, side, side]}
            one |= {"area": float(np.float32(side * side * random.uniform(0.3, 1)))}
            one |= {"iscrowd": int(random.random() < 0.1), "keypoints": points.ravel().tolist()}
            true.append(one | {"num_keypoints": int((flags > 0).sum())})
            for _ in range(random.integers(0, 8)):
                said = points + np.float32(1) * random.normal(0, side * random.choice([0.005, 0.03, 0.1]), (count, 3))
                said = said.astype(np.float32)
                other = label if random.random() < 0.8 else int(random.integers(classes)) + 1
                entry = {"image_id": image, "category_id": other, "keypoints": said.ravel().tolist()}
                found.append(entry | {"score": float(np.float32(random.random()))})
    return true, found


def ours(true: Entries, found: Entries, classes: int, sigmas: list[float]) -> DetectionScores:
    """The metric, fed image by image."""
    scores, count = DetectionScores(classes, errors=True, items=True, sigmas=sigmas), len(sigmas)
    for image in range(1, IMAGES + 1):
        here = [one for one in true if one["image_id"] == image]
        boxes = torch.tensor([one["bbox"] for one in here]).reshape(-1, 4)
        truth = {
            "boxes": torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
            "labels": torch.tensor([one["category_id"] - 1 for one in here], dtype=torch.int64),
            "crowd": torch.tensor([one["iscrowd"] for one in here], dtype=torch.bool),
            "area": torch.tensor([one["area"] for one in here]),
            "keypoints": torch.tensor([one["keypoints"] for one in here]).reshape(-1, count, 3),
        }
        scores.update(as_predictions(found, count, [image]), [truth])
    return scores


def as_predictions(found: Entries, count: int, images: Sequence[int] = range(1, IMAGES + 1)) -> dict[str, list]:
    """Detections as a task predicts them, without boxes."""
    each = [[one for one in found if one["image_id"] == image] for image in images]
    return {
        "boxes": [torch.zeros(len(said), 4) for said in each],
        "labels": [torch.tensor([one["category_id"] - 1 for one in said], dtype=torch.int64) for said in each],
        "scores": [torch.tensor([one["score"] for one in said]) for said in each],
        "keypoints": [torch.tensor([one["keypoints"] for one in said]).reshape(-1, count, 3) for said in each],
    }


def theirs(true: Entries, found: Entries, classes: int, sigmas: list[float]) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        categories = [{"id": i + 1} for i in range(classes)]
        images = [{"id": i + 1} for i in range(IMAGES)]
        truth.dataset = {"images": images, "categories": categories, "annotations": true}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.where(evaluation.stats[:6] < 0, np.nan, evaluation.stats[:6])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("names", "classes"), [(COCO_NAMES, 1), (tuple("abcde"), 3)])
def test_average_precision_is_that_of_pycocotools(names, classes, seed):
    sigmas, _ = sigmas_of(names, None)
    true, found = drawn(seed, len(names), classes)
    scores = ours(true, found, classes, sigmas)
    metrics, expected = scores.compute(), theirs(true, found, classes, sigmas)
    assert [metrics[name].item() for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-6, nan_ok=True)
    resampled = scores.statistics[1].values(np.ones((1, IMAGES)))  # each image once
    assert [resampled[name][0] for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-9, nan_ok=True)


def test_the_similarity_of_one_keypoint_falls_with_its_distance_in_sizes_of_the_object():
    true, found = np.array([[[10.0, 10, 2], [0, 0, 0]]]), np.array([[[13.0, 14, 1], [500, 500, 1]]])
    value = oks(found, true, np.zeros((1, 4)), np.array([400.0]), np.array([0.05, 0.05]))
    assert value.item() == pytest.approx(exp(-25 / (2 * 400 * 0.1**2)))


def test_sigmas_are_cocos_for_its_names_those_given_or_the_same_for_all():
    assert sigmas_of(COCO_NAMES, None)[0] == Params("keypoints").kpt_oks_sigmas.tolist()
    assert sigmas_of(["a", "b"], None) == ([UNIFORM] * 2, f"a sigma of {UNIFORM} for all keypoints")
    assert sigmas_of(["a", "b"], [0.1, 0.2]) == ([0.1, 0.2], "sigmas 0.1, 0.2")
    for given in ([0.1], [0.1, 0.0]):
        with refuses(ConfigError, "model.sigmas"):
            sigmas_of(["a", "b"], given)


def test_objects_without_a_labeled_keypoint_are_not_missed():
    true = [one for one in drawn(0, 3, 1)[0] if not one["num_keypoints"]]
    scores = ours(true, [], 1, [0.05] * 3)
    assert len(true) and scores.compute()["keypoint_map"].isnan()
    assert scores.reports["keypoints"].errors["missed"][0] == 0
