"""COCO metrics equal pycocotools', whatever the detections and the truth; states are small and go with reset."""

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.evaluation import batches, coco_eval, ellipse, scenes
from modules.contracts import ConfigError
from modules.metrics import coco
from modules.metrics.detection import DetectionScores, protocols
from modules.metrics.detection_arrays import EMPTY
from tests.helpers.errors import refuses
from tests.helpers.forks import in_group

NAMES = ("map", "map50", "map75", "map_small", "map_medium", "map_large", "mar_1", "mar_10", "mar_100")
SIZE = (60, 80)


def scored(predictions, truths, classes, masks=True, **options) -> tuple[dict[str, float], DetectionScores]:
    scores = DetectionScores(classes, masks, **options)
    for batch in batches(predictions, truths, 3):
        scores.update(*batch)
    return {name: value.item() for name, value in scores.compute().items()}, scores


def reference(evaluation) -> dict[str, float]:
    """Metrics of an evaluation by pycocotools, under our names."""
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: x if x > -1 else np.nan for name, x in zip(NAMES, evaluation.stats, strict=False)}


def prefixed(metrics: dict[str, float], kind: str) -> dict[str, float]:
    return {("mask_" if kind == "masks" else "") + name: value for name, value in metrics.items()}


def equal(metrics: dict[str, float], expected: dict[str, float]) -> bool:
    return {n: metrics[n] for n in expected} == pytest.approx(expected, abs=1e-6, nan_ok=True)


def objects(boxes=(), labels=(), scores=None, crowd=None, size=SIZE) -> dict:
    """Boxes xyxy with ellipses in them, as truth or, with scores, as detections of one image."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    rle = [ellipse(box, size) for box in boxes]
    made = {"boxes": torch.from_numpy(boxes), "labels": torch.tensor(labels, dtype=torch.int64), "rle": rle}
    if scores is not None:
        return made | {"scores": torch.tensor(scores, dtype=torch.float32)}
    area = torch.tensor([float(coco_mask.area(mask)) for mask in rle])
    return made | {"area": area, "crowd": torch.tensor(crowd or [False] * len(boxes), dtype=torch.bool)}


def predicted(*images: dict) -> dict[str, list]:
    return {key: [image[key] for image in images] for key in images[0]}


NOTHING = objects([], [], [])


@pytest.fixture
def real(data_root) -> dict:
    """A hundred images of COCO with crowds, and detections that are its objects disturbed."""
    path = data_root / "coco100_instances" / "annotations" / "instances_all.json"
    truth, random = COCO(str(path)), np.random.default_rng(0)
    ids, categories = sorted(truth.getImgIds()), sorted(truth.getCatIds())
    predictions, truths = {"boxes": [], "scores": [], "labels": [], "rle": []}, []
    for image in ids:
        entries = truth.loadAnns(truth.getAnnIds([image]))
        truths.append(true_objects(truth, entries, categories))
        size = truth.imgs[image]["height"], truth.imgs[image]["width"]
        for key, value in disturbed(truths[-1], len(categories), size, random).items():
            predictions[key].append(value)
    return {"coco": truth, "ids": ids, "categories": categories, "predictions": predictions, "truths": truths}


def true_objects(truth: COCO, entries: list[dict], categories: list[int]) -> dict:
    x, y, w, h = np.array([entry["bbox"] for entry in entries]).reshape(-1, 4).T
    return {
        "boxes": torch.tensor(np.stack([x, y, x + w, y + h], 1), dtype=torch.float32),
        "labels": torch.tensor([categories.index(entry["category_id"]) for entry in entries], dtype=torch.int64),
        "crowd": torch.tensor([entry["iscrowd"] for entry in entries], dtype=torch.bool),
        "area": torch.tensor([entry["area"] for entry in entries], dtype=torch.float32),
        "rle": [truth.annToRLE(entry) for entry in entries],
    }


def disturbed(true: dict, classes: int, size: tuple[int, int], random: np.random.Generator) -> dict:
    """Some objects missed, some found twice, moved and mislabeled, and some that are not there; scores are tied."""
    kept = np.flatnonzero(random.random(len(true["labels"])) < 0.8)
    kept = np.concatenate([kept, kept[random.random(len(kept)) < 0.2]])
    shift = random.normal(0, 3, (len(kept), 2)).round()
    boxes = true["boxes"].numpy()[kept] + np.tile(shift, 2) + random.normal(0, 2, (len(kept), 4))
    spurious = random.uniform(0, 150, (5, 4))
    spurious[:, 2:] += spurious[:, :2]
    labels = np.concatenate([true["labels"].numpy()[kept], random.integers(0, classes, 5)])
    labels = np.where(random.random(len(labels)) < 0.9, labels, random.integers(0, classes, len(labels)))
    moved = [np.roll(coco_mask.decode(true["rle"][i]), s, (1, 0)) for i, s in zip(kept, shift.astype(int), strict=True)]
    masks = [coco_mask.encode(np.asfortranarray(mask)) for mask in moved] + [ellipse(b, size) for b in spurious]
    scores = random.random(len(labels)).round(1)
    return {
        "boxes": torch.tensor(np.concatenate([boxes, spurious]), dtype=torch.float32),
        "labels": torch.from_numpy(labels),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "rle": masks,
    }


def results(real: dict, kind: str) -> list[dict]:
    """The detections as a COCO results file has them."""
    entries, predictions = [], real["predictions"]
    for i, image in enumerate(real["ids"]):
        for j, (x1, y1, x2, y2) in enumerate(predictions["boxes"][i].tolist()):
            category = real["categories"][predictions["labels"][i][j]]
            entry = {"image_id": image, "category_id": category, "score": predictions["scores"][i][j].item()}
            mask = predictions["rle"][i][j]
            shape = {"segmentation": mask} if kind == "masks" else {"bbox": [x1, y1, x2 - x1, y2 - y1]}
            entries.append(entry | shape)
    return entries


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_metrics_of_real_annotations_with_crowds_are_those_of_pycocotools(real, kind):
    assert sum(int(truth["crowd"].sum()) for truth in real["truths"]) == 6
    found = real["coco"].loadRes(results(real, kind))
    evaluation = COCOeval(real["coco"], found, "segm" if kind == "masks" else "bbox")
    expected = reference(evaluation)
    metrics, scores = scored(real["predictions"], real["truths"], len(real["categories"]))
    assert 0.1 < expected["map"] < 0.9
    assert equal(metrics, prefixed(expected, kind))
    precision = evaluation.eval["precision"]
    precision[precision < 0] = np.nan
    report = scores.reports[kind]
    assert report.per_class["ap"] == pytest.approx(precision[:, :, :, 0, 2].mean((0, 1)), abs=1e-6, nan_ok=True)
    assert report.per_class["ap50"] == pytest.approx(precision[0, :, :, 0, 2].mean(0), abs=1e-6, nan_ok=True)
    assert report.per_class["objects"].sum() == 747 - 6
    assert (report.per_class["objects"] == 0).sum() == np.isnan(report.per_class["ap"]).sum() > 0
    assert report.curves["recall"] == pytest.approx(evaluation.params.recThrs)
    for iou, name in ((0, "50"), (5, "75")):
        assert pytest.approx(precision[iou, :, :, 0, 2], abs=1e-6, nan_ok=True) == report.curves["precision" + name].T
        seen = report.per_class["objects"] > 0
        expected_scores = evaluation.eval["scores"][iou, :, seen, 0, 2]
        assert report.curves["score" + name][seen] == pytest.approx(expected_scores, abs=1e-6)


@pytest.mark.parametrize("kind", ["boxes", "masks"])
@pytest.mark.parametrize("seed", range(4))
def test_metrics_of_random_cases_are_those_of_pycocotools(kind, seed):
    random = np.random.default_rng(seed)
    counts = [int(n) for n in random.integers(1, (12, 12, 40, 5))]
    case = scenes(*counts, size=(120, 160), crowds=0.3, seed=seed)
    metrics, _ = scored(*case, counts[3])
    assert equal(metrics, prefixed(reference(coco_eval(*case, counts[3], kind)), kind))


@pytest.mark.parametrize("maximum", [1, 3, 10, 300])
def test_any_maximum_of_detections_gives_what_pycocotools_counts(maximum):
    case = scenes(4, 20, 200, 2, size=(120, 160))
    evaluation = coco_eval(*case, 2, "boxes")
    evaluation.params.maxDets = sorted({1, min(10, maximum), maximum})
    evaluation.evaluate()
    evaluation.accumulate()
    metrics, _ = scored(*case, 2, masks=False, max_detections=maximum)
    assert metrics["map"] == pytest.approx(evaluation.eval["precision"][:, :, :, 0, -1].mean(), abs=1e-6)
    recalls = {
        f"mar_{n}": evaluation.eval["recall"][:, :, 0, i].mean() for i, n in enumerate(evaluation.params.maxDets)
    }
    assert {name for name in metrics if "mar" in name} == set(recalls)
    assert equal(metrics, recalls)


def test_every_metric_has_a_protocol():
    metrics, _ = scored(*scenes(1, 2, 3, 2, SIZE), 2, voc=True, dsb2018=True)
    assert set(metrics) == set(protocols())


def test_perfect_detections_score_one_and_areas_without_objects_are_not_a_number():
    boxes, labels = [[5, 5, 25, 25], [30, 5, 50, 28]], [0, 2]
    metrics, scores = scored(predicted(objects(boxes, labels, [0.9, 0.8])), [objects(boxes, labels)], 4)
    absent = {prefix + name for prefix in ("", "mask_") for name in ("map_medium", "map_large")}
    assert {name for name, value in metrics.items() if np.isnan(value)} == absent
    assert {value for name, value in metrics.items() if name not in absent} == {1.0}
    assert scores.reports["masks"].per_class["objects"].tolist() == [1, 0, 1, 0]
    assert scores.reports["boxes"].per_class["ap"] == pytest.approx([1, np.nan, 1, np.nan], nan_ok=True)


def test_objects_without_any_detection_score_zero():
    metrics, scores = scored(
        predicted(NOTHING), [objects([[5, 5, 25, 25]], [1])], 2, voc=True, dsb2018=True, errors=True
    )
    assert {metrics[name] for name in ("map", "mask_map50", "mar_100", "voc_ap50", "dsb2018", "mask_dsb2018")} == {0}
    assert scores.reports["masks"].errors["missed"] == (1, 1)


@pytest.mark.parametrize(
    "truth", [objects(), objects([[5, 5, 40, 40]], [1], crowd=[True])], ids=["nothing", "only a crowd"]
)
def test_without_an_object_to_find_there_is_no_metric(truth):
    found = predicted(objects([[5, 5, 25, 25]], [1], [0.9]))
    metrics, scores = scored(found, [truth], 2, voc=True)
    assert all(np.isnan(value) for value in metrics.values())
    assert scores.reports["boxes"].per_class["objects"].tolist() == [0, 0]


def test_images_with_nothing_in_them_change_nothing():
    found, truth = objects([[5, 5, 25, 25]], [0], [0.9]), objects([[5, 5, 26, 26]], [0])
    alone, _ = scored(predicted(found), [truth], 1, dsb2018=True)
    among, _ = scored(predicted(NOTHING, found, NOTHING), [objects(), truth, objects()], 1, dsb2018=True)
    assert equal(among, alone)
    assert alone["map"] > 0


def test_no_image_at_all_has_no_metrics():
    scores = DetectionScores(2)
    scores.update({"boxes": [], "scores": [], "labels": []}, [])
    assert all(value.isnan() for value in scores.compute().values())


def test_order_of_detections_within_an_image_does_not_matter():
    found, truths = scenes(6, 5, 20, 3, SIZE)
    found["scores"] = [torch.linspace(1, 0, 20) for _ in truths]
    kept = {key: list(value) for key, value in found.items()}
    for i in range(len(truths)):
        order = torch.randperm(20)
        for key in ("boxes", "scores", "labels"):
            found[key][i] = found[key][i][order]
        found["rle"][i] = [found["rle"][i][j] for j in order]
    options = {"voc": True, "dsb2018": True, "errors": True}
    (metrics, scores), (expected, sorted_) = scored(found, truths, 3, **options), scored(kept, truths, 3, **options)
    assert equal(metrics, expected)
    assert scores.reports["masks"].errors == sorted_.reports["masks"].errors


def test_a_reversed_box_is_a_wrong_detection():
    """Before the right one: precision is 1/2 at every recall."""
    box = [5, 5, 25, 25]
    found = objects([box, box], [0, 0], [0.9, 0.8])
    found["boxes"][0] = torch.tensor([25, 5, 5, 25])
    assert scored(predicted(found), [objects([box], [0])], 1)[0]["map"] == 0.5


def test_half_precision_of_a_network_is_enough():
    """But not for labels, of which bfloat16 has none between 300 and 302."""
    found, truth = objects([[5, 5, 25, 25]], [301], [0.9]), objects([[5, 5, 25, 25]], [301])
    found |= {key: found[key].bfloat16() for key in ("boxes", "scores")}
    assert scored(predicted(found), [truth], 400)[0]["mask_map"] == 1


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"labels": torch.tensor([7])}, ("predictions", "label", 7, 2)),
        ({"scores": torch.tensor([float("nan")])}, ("scores", "predictions")),
        ({"boxes": torch.tensor([[0.0, 0, 1, float("inf")]])}, ("boxes", "predictions")),
        ({"scores": torch.tensor([0.5, 0.4])}, ("[1] `boxes`", "[2] `scores`")),
        ({"rle": []}, ("[1] `boxes`", "[0] `rle`")),
        ({"rle": [ellipse(np.array([1, 1, 9, 9]), (30, 40))]}, ("masks", "(30, 40)", "(60, 80)")),
    ],
)
def test_what_does_not_fit_is_refused(change, names):
    found = objects([[5, 5, 25, 25]], [0], [0.9]) | change
    with refuses(ValueError, *names):
        DetectionScores(2, masks=True).update(predicted(found), [objects([[5, 5, 25, 25]], [0])])


def test_a_label_of_the_truth_that_is_no_class_is_refused():
    with refuses(ValueError, "truths", "label", 5, 2):
        DetectionScores(2, masks=True).update(predicted(NOTHING), [objects([[5, 5, 25, 25]], [5])])


def test_at_least_one_detection_must_count():
    with refuses(ConfigError, "max_detections", 0):
        DetectionScores(2, max_detections=0)


def test_a_batch_must_have_as_many_predictions_as_images():
    with refuses(ValueError, 2, "[0] `boxes`"):
        DetectionScores(2, masks=True).update(predicted(NOTHING), [objects(), objects()])


def held(scores: DetectionScores) -> int:
    return sum(t.untyped_storage().nbytes() for part in scores.parts for t in getattr(scores, part))


def test_states_hold_masks_as_rle_on_the_cpu_and_nothing_after_reset():
    size, images, each = (1024, 1024), 3, 20
    case = scenes(images, each, each, 5, size)
    scores = DetectionScores(5, masks=True)
    codes = sum(len(m["counts"]) for p in (*case[0]["rle"], *(t["rle"] for t in case[1])) for m in p)
    sums = []
    for _ in range(2):
        scores.update(*case)
        assert codes < held(scores) < codes + 40 * 2 * images * each + 100 * images
        assert held(scores) < 2 * images * each * size[0] * size[1] / 500
        assert {t.device.type for part in scores.parts for t in getattr(scores, part)} == {"cpu"}
        sums.append(scores.compute())
        scores.reset()
        assert held(scores) == 0
    assert sums[0] == sums[1]
    assert set(scores.reports) == {"boxes", "masks"}


def test_a_prediction_is_not_kept_alive_by_the_states():
    found = objects([[5, 5, 25, 25]], [0], [0.9])
    scores = DetectionScores(1)
    scores.update(predicted(found), [objects()])
    found["boxes"].zero_()
    assert scores.found[0][0, :4].tolist() == [5, 5, 25, 25]


def everything(images: int, mine: list[slice]) -> dict:
    """Metrics, errors and remaining states from the batches `mine` of that many images."""
    predictions, truths = scenes(images, 6, 15, 3, SIZE, crowds=0.1)
    scores = DetectionScores(3, masks=True, voc=True, dsb2018=True, errors=True)
    for batch in mine:
        scores.update({key: entries[batch] for key, entries in predictions.items()}, truths[batch])
    metrics = {name: float(value) for name, value in scores.compute().items()}
    left = sum(len(t) for t in scores.images)
    return {"metrics": metrics, "left": left, "errors": [list(r.errors.values()) for r in scores.reports.values()]}


@pytest.mark.integration
def test_two_processes_have_the_metrics_of_one(tmp_path):
    """Cases: eleven images, whose scores are tied; and a single one, where the second process has nothing."""
    counts = (11, 1)

    def work(rank: int) -> list[dict]:
        return [everything(images, [slice(i, i + 2) for i in range(2 * rank, images, 4)]) for images in counts]

    said = in_group(work, tmp_path)
    for i, images in enumerate(counts):
        one = everything(images, [slice(None)])
        assert one["metrics"]["mask_map"] > 0
        for rank in (0, 1):
            two = said[rank][i]
            assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-7, nan_ok=True)
            assert two["errors"] == one["errors"]
            mine = [i for i in range(images) if i // 2 % 2 == rank]
            assert two["left"] == len(mine)  # its own, when the others have gone again
    assert len(torch.cat(scenes(11, 6, 15, 3, SIZE)[0]["scores"]).unique()) < 11 * 15


def test_the_empty_states_have_the_types_of_full_ones():
    scores = DetectionScores(3, masks=True)
    scores.update(*scenes(2, 2, 2, 3, SIZE))
    for part in scores.parts:
        empty = EMPTY[part]
        full = getattr(scores, part)[0]
        assert (full.dtype, full.shape[1:]) == (empty.dtype, empty.shape[1:]), part


def test_mean_leaves_out_what_is_not_a_number():
    assert coco.mean(np.array([np.nan, 1, 2])) == 1.5
    assert np.isnan(coco.mean(np.array([np.nan])))


@pytest.mark.parametrize("together", [True, False])
def test_alone_it_waits_for_no_other_process(together, monkeypatch):
    asked = []
    monkeypatch.setattr(DetectionScores, "_sync_dist", lambda self, *_, **__: asked.append(True))
    metric = DetectionScores(2, together=together)
    metric.distributed_available_fn = lambda: True
    metric.compute()
    assert bool(asked) == together
