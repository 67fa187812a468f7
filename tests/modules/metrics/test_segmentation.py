"""Segmentation scores against scikit-learn, torchmetrics, and boundaries matched by scipy's distance transforms."""

import math
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, jaccard_score
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics.classification import MulticlassJaccardIndex

from modules.contracts import IGNORE
from modules.metrics import PROTOCOLS, SegmentationScores, per_class
from modules.metrics.segmentation import boundary_counts
from tests.helpers.forks import in_group

CLASSES = 6


def maps(count: int = 3, size: tuple[int, int] = (40, 32), missing: tuple[int, ...] = (5,)) -> tuple[Tensor, Tensor]:
    """A prediction and the truth, int64 (count, *size): patches that mostly agree, the truth with a void corner."""
    scores = interpolate(torch.randn(count, CLASSES, 6, 5), size, mode="bilinear")
    scores[:, list(missing)] = -torch.inf
    target = scores.argmax(1)
    prediction = (scores + interpolate(torch.randn(count, CLASSES, 6, 5) * 0.6, size, mode="bilinear")).argmax(1)
    target[:, :7, :5] = IGNORE
    target[torch.rand(target.shape) < 0.02] = IGNORE
    return prediction, target


def scored(*batches: tuple[Tensor, Tensor], classes: int = CLASSES) -> SegmentationScores:
    scores = SegmentationScores(classes)
    for batch in batches:
        scores.update(*batch)
    return scores


def labeled(*batches: tuple[Tensor, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """The true and the predicted classes of all pixels that are not void, as scikit-learn takes them."""
    prediction, target = (torch.cat([b[i].flatten() for b in batches]).numpy() for i in (0, 1))
    return target[target != IGNORE], prediction[target != IGNORE]


def test_the_matrix_is_that_of_scikit_learn_over_all_batches():
    batches = [maps(), maps(1), maps(2, (17, 23))]
    expected = confusion_matrix(*labeled(*batches), labels=range(CLASSES))
    np.testing.assert_array_equal(scored(*batches).matrix.numpy(), expected)


def test_scores_are_those_of_scikit_learn_over_the_classes_that_occur():
    batches = [maps(missing=(1, 5)), maps(missing=(1, 5))]
    true, predicted = labeled(*batches)
    found = scored(*batches).compute()
    expected = {
        "miou": jaccard_score(true, predicted, average="macro"),
        "micro_iou": jaccard_score(true, predicted, average="micro"),
        "pixel_accuracy": (true == predicted).mean(),
        "mean_accuracy": balanced_accuracy_score(true, predicted),
        "dice": f1_score(true, predicted, average="macro"),
    }
    assert {name: found[name].item() for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found["micro_iou"] > found["miou"]


def test_miou_is_that_of_torchmetrics_without_void():
    batches = [maps(), maps()]
    reference = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE)
    for prediction, target in batches:
        reference.update(prediction, target)
    torch.testing.assert_close(scored(*batches).compute()["miou"], reference.compute())


def test_a_class_that_is_only_predicted_counts_as_zero_in_miou_but_not_in_mean_accuracy():
    prediction, target = torch.tensor([[[0, 0, 1, 2]]]), torch.tensor([[[0, 0, 1, 1]]])
    found = scored((prediction, target), classes=4).compute()
    assert found["miou"].item() == pytest.approx((1 + 0.5 + 0) / 3)
    assert found["dice"].item() == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["mean_accuracy"].item() == pytest.approx((1 + 0.5) / 2)


def test_metrics_of_each_class_of_a_hand_made_matrix():
    metrics = per_class(torch.tensor([[6, 1, 1, 0], [0, 3, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    nan = math.nan
    for name, expected in {
        "pixels": [8, 4, 0, 0],
        "iou": [6 / 8, 3 / 5, 0, nan],
        "dice": [12 / 14, 6 / 8, 0, nan],
        "precision": [1, 3 / 4, 0, nan],
        "recall": [6 / 8, 3 / 4, nan, nan],
    }.items():
        assert metrics[name].tolist() == pytest.approx(expected, nan_ok=True), name


def test_every_score_has_its_protocol():
    found = scored(maps()).compute()
    assert set(found) == set(PROTOCOLS)
    assert all(value.ndim == 0 and 0 < value < 1 for value in found.values())
    assert all(text.startswith(("macro: ", "micro: ")) and "void" in text for text in PROTOCOLS.values())


def test_boundary_f1_can_be_left_out():
    scores = SegmentationScores(CLASSES, boundary=False)
    scores.update(*maps())
    assert set(scores.compute()) == set(PROTOCOLS) - {"boundary_f1"}


def test_nothing_labeled_is_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scored((torch.zeros(1, 4, 4).long(), torch.full((1, 4, 4), IGNORE))).compute()
    assert all(value.isnan() for value in found.values())


def test_a_perfect_prediction_scores_one_everywhere():
    _, target = maps()
    found = scored((target.where(target != IGNORE, 2), target)).compute()
    assert {name: value.item() for name, value in found.items()} == dict.fromkeys(PROTOCOLS, 1.0)


def edges_by_hand(labels: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels one of whose four neighbors has another class, pixel by pixel."""
    height, width = labels.shape
    on = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(height, width):
        for other_y, other_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= other_y < height and 0 <= other_x < width:
                pair = {int(labels[y, x]), int(labels[other_y, other_x])}
                on[y, x] |= len(pair) == 2 and IGNORE not in pair
    return on


def counts_by_distance(prediction: np.ndarray, target: np.ndarray, reach: float) -> np.ndarray:
    """int64 (4, C) of one image, each class by itself, with exact Euclidean distances."""
    prediction = np.where(target == IGNORE, IGNORE, prediction)
    rows = np.zeros((4, CLASSES), int)
    for c in range(CLASSES):
        said, true = (edges_by_hand(labels) & (labels == c) for labels in (prediction, target))
        for row, (edge, other) in enumerate(((said, true), (true, said))):
            near = distance_transform_edt(~other) <= reach if other.any() else np.zeros_like(other)
            rows[2 * row : 2 * row + 2, c] = edge.sum(), (edge & near).sum()
    return rows


@pytest.mark.parametrize(("size", "tolerance"), [((40, 32), 0.0075), ((40, 32), 0.05), ((24, 70), 0.08)])
def test_boundary_pixels_are_matched_by_euclidean_distance_within_their_class(size, tolerance):
    prediction, target = maps(3, size)
    reach = max(1.0, tolerance * math.hypot(*size))
    expected = sum(counts_by_distance(p, t, reach) for p, t in zip(prediction.numpy(), target.numpy(), strict=True))
    found = boundary_counts(prediction.masked_fill(target == IGNORE, IGNORE), target, CLASSES, tolerance)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert 0 < found[1].sum() < found[0].sum()


def test_boundary_f1_is_counted_over_the_set_then_averaged_over_classes():
    batches = [maps(2), maps(1)]
    reach = max(1.0, 0.0075 * math.hypot(40, 32))
    pairs = [(p, t) for b in batches for p, t in zip(b[0].numpy(), b[1].numpy(), strict=True)]
    said, hit, true, found = sum(counts_by_distance(p, t, reach) for p, t in pairs)[:, :5]  # class 5 does not occur
    precision, recall = hit / said, found / true
    expected = (2 * precision * recall / (precision + recall)).mean()
    assert scored(*batches).compute()["boundary_f1"].item() == pytest.approx(expected, abs=1e-6)


def test_a_boundary_moved_by_more_than_the_tolerance_is_not_matched():
    target = torch.zeros(1, 160, 120).long()  # a diagonal of 200 pixels: a tolerance of 1.5
    target[:, :, 60:] = 1
    scores = [scored((target.roll(shift, 2).index_fill(2, torch.arange(10), 0), target)) for shift in (1, 2)]
    assert [s.compute()["boundary_f1"].item() for s in scores] == [1.0, 0.0]


def test_a_class_with_boundaries_in_one_map_alone_counts_as_zero():
    target = torch.zeros(1, 8, 8).long()
    target[:, :, 4:] = 1
    prediction = target.clone()
    prediction[:, 7, 7] = 2
    found = scored((prediction, target)).compute()["boundary_f1"].item()
    edge = 2 / 10  # of the predicted boundary of class 1, what lies around the intruder
    assert found == pytest.approx((1 + 2 * (1 - edge) / (2 - edge) + 0) / 3)


def test_void_and_the_images_edge_make_no_boundary():
    target = torch.zeros(1, 12, 12).long()
    target[:, 4:8] = IGNORE
    assert scored((torch.zeros(1, 12, 12).long(), target)).edges.sum() == 0
    inside_void = torch.zeros(1, 12, 12).long()
    inside_void[:, 5:7, 5:7] = 3
    assert scored((inside_void, target)).edges.sum() == 0


def test_real_maps_are_scored_as_scikit_learn_and_scipy_do(data_root):
    def read(name: str) -> Tensor:
        with Image.open(data_root / "camvid" / name) as image:
            return torch.from_numpy(np.array(image.resize((80, 60), Image.Resampling.NEAREST))).long()

    names = sorted(path.name for path in (data_root / "camvid" / "valannot").glob("*.png"))[:2]
    images = torch.stack([read(f"valannot/{name}") for name in names])
    target = images.masked_fill(images == 11, IGNORE).where(images < CLASSES, IGNORE)
    prediction = images.roll((2, 1), (1, 2)).clamp(max=CLASSES - 1)
    scores = scored((prediction, target))
    true, predicted = labeled((prediction, target))
    assert scores.compute()["miou"].item() == pytest.approx(jaccard_score(true, predicted, average="macro"), abs=1e-6)
    reach = max(1.0, 0.0075 * math.hypot(60, 80))
    pairs = zip(prediction.numpy(), target.numpy(), strict=True)
    np.testing.assert_array_equal(scores.edges.numpy(), sum(counts_by_distance(p, t, reach) for p, t in pairs))


def test_scores_survive_inference_mode_and_begin_anew_after_reset():
    scores, batch = SegmentationScores(CLASSES), maps()
    with torch.inference_mode():
        scores.update(*batch)
        first = scores.compute()
    scores.reset()
    scores.update(*batch)
    torch.testing.assert_close(scores.compute(), first)
    assert scores.matrix.sum() == (batch[1] != IGNORE).sum()


@pytest.mark.integration
def test_two_processes_score_as_one(tmp_path):
    batches = [maps(), maps(1), maps(2, (17, 23))]
    expected = scored(*batches).compute()
    for found in in_group(lambda rank: scored(*batches[rank::2]).compute(), tmp_path):
        torch.testing.assert_close(found, expected)


@pytest.mark.gpu
def test_a_gpu_counts_as_the_cpu_does_without_the_host_waiting():
    prediction, target = maps()
    scores = SegmentationScores(CLASSES).cuda()
    prediction, target = prediction.cuda(), target.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        scores.update(prediction, target)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = scored((prediction.cpu(), target.cpu()))
    torch.testing.assert_close((scores.matrix.cpu(), scores.edges.cpu()), (expected.matrix, expected.edges))
