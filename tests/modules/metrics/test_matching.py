"""VOC's average precision, the DSB 2018 score and the kinds of errors, against closed forms and other ways to count."""

import json

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask

from benchmarks.evaluation import batches, scenes
from modules.metrics.detection import DetectionScores
from modules.metrics.detection_arrays import Image, pack, unpack
from modules.metrics.matching import ERRORS, average_precision, dsb2018_score, errors, voc, voc_hits

BOX = (0, 0, 10, 10)
FAR = (50, 50, 10, 10)


def shifted(iou: float, box=BOX) -> tuple[float, ...]:
    """The box moved to the right until the IoU with what it was is `iou`."""
    x, y, w, h = box
    return (x + w * (1 - iou) / (1 + iou), y, w, h)


def make_image(found=(), true=()) -> Image:
    """Detections (box, label, score) and objects (box, label, crowd), boxes in x, y, width, height."""
    found = sorted(found, key=lambda entry: -entry[2])
    return Image(
        boxes=np.array([entry[0] for entry in found], float).reshape(-1, 4),
        scores=np.array([entry[2] for entry in found], float),
        labels=np.array([entry[1] for entry in found], int),
        true_boxes=np.array([entry[0] for entry in true], float).reshape(-1, 4),
        true_labels=np.array([entry[1] for entry in true], int),
        crowd=np.array([entry[2] for entry in true], bool),
        area=np.array([np.prod(entry[0][2:]) for entry in true], float),
    )


def hits(*args) -> list[int]:
    return voc_hits(made := make_image(*args), made.overlaps("boxes")).tolist()


def test_a_moved_box_has_the_overlap_that_it_was_moved_for():
    overlap = make_image([(shifted(0.3), 0, 1)], [(BOX, 0, False), (FAR, 1, False)]).overlaps("boxes")
    assert overlap == pytest.approx(np.array([[0.3, 0]]))


def test_voc_takes_each_object_once_and_by_the_highest_score():
    found = [(shifted(0.6), 0, 0.9), (BOX, 0, 0.8), (shifted(0.4, FAR), 0, 0.7), (BOX, 1, 0.6)]
    assert hits(found, [(BOX, 0, False), (FAR, 0, False)]) == [1, 0, 0, 0]


def test_voc_compares_a_detection_with_the_object_that_it_overlaps_most_even_if_that_is_taken():
    """COCO would give the second detection the other object."""
    near = shifted(0.8)
    assert hits([(BOX, 0, 0.9), (shifted(0.95), 0, 0.8)], [(BOX, 0, False), (near, 0, False)]) == [1, 0]


def test_voc_does_not_count_what_lies_in_a_crowd_unless_it_finds_an_object():
    true = [(BOX, 0, False), ((0, 0, 100, 100), 0, True)]
    assert hits([(BOX, 0, 0.9), (FAR, 0, 0.8), (FAR, 1, 0.7), (BOX, 0, 0.6)], true) == [1, -1, 0, 0]


def test_voc_of_nothing_is_nothing():
    assert hits() == []
    assert hits([(BOX, 0, 0.5)]) == [0]
    assert hits([], [(BOX, 0, False)]) == []


def test_average_precision_of_a_hand_drawn_curve():
    """Four objects; right, wrong, right, one that does not count, right: precision 1, 1/2, 2/3, 3/4 at 1/4 .. 3/4."""
    scores, right = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1, 0, 1, -1, 1])
    area, eleven = average_precision(scores, right, 4)
    assert area == pytest.approx((1 + 0.75 + 0.75) / 4)
    assert eleven == pytest.approx((3 * 1 + 5 * 0.75) / 11)  # recalls 0, .1, .2, and .3 to .7


def test_average_precision_reaches_a_recall_that_it_meets_exactly():
    """Three of ten objects: recall .3, of which a computer's 3 * .1 is more."""
    assert average_precision(np.arange(3)[::-1], np.ones(3), 10)[1] == pytest.approx(4 / 11)


def test_average_precision_without_objects_or_detections():
    assert np.isnan(average_precision(np.array([0.5]), np.array([0]), 0)).all()
    assert average_precision(np.zeros(0), np.zeros(0), 3) == (0, 0)


def devkit(scores, labels, right, true, label):
    """Area under the curve as VOC's own code sums it: sentinels at both ends, the envelope, steps of recall."""
    order = [i for i in np.argsort(-scores, kind="stable") if labels[i] == label and right[i] >= 0]
    tp = np.cumsum([right[i] == 1 for i in order])
    recall = [0, *(tp / true), 1]
    precision = [0, *(tp / np.arange(1, len(tp) + 1)), 0]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i + 1] - recall[i]) * precision[i + 1] for i in range(len(recall) - 1))


def made(*args, **options) -> list[Image]:
    return unpack(pack(*scenes(*args, size=(120, 160), **options), masks=True))


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_voc_of_random_images_is_that_of_the_devkits_sum(kind):
    images = made(6, 8, 30, 3, crowds=0.1)
    right = [voc_hits(p, p.overlaps(kind)) for p in images]
    area, _ = voc(images, right, 4)
    scores, labels = (np.concatenate([getattr(p, name) for p in images]) for name in ("scores", "labels"))
    for label in range(3):
        true = sum(int(((p.true_labels == label) & ~p.crowd).sum()) for p in images)
        assert area[label] == pytest.approx(devkit(scores, labels, np.concatenate(right), true, label))
        assert 0 < area[label] < 1
    assert np.isnan(area[3])


def nuclei(*args, confidence=0.5) -> float:
    return dsb2018_score(made := make_image(*args), made.overlaps("boxes"), confidence)


def test_dsb2018_score_of_a_hand_made_image():
    """Two objects: one found perfectly, one at IoU .72; one detection too many; one that is not sure."""
    found = [(BOX, 0, 0.9), (shifted(0.72, FAR), 0, 0.8), ((80, 80, 9, 9), 0, 0.7), ((80, 0, 9, 9), 0, 0.4)]
    score = nuclei(found, [(BOX, 0, False), (FAR, 0, False)])
    assert score == pytest.approx((5 * 2 / 3 + 5 * 1 / 4) / 10)  # .50 to .70, then .75 to .95


def test_nuclei_must_overlap_by_more_than_the_threshold():
    half = (0, 0, 10, 5)
    assert nuclei([(half, 0, 1)], [(BOX, 0, False)]) == 0
    assert nuclei([((0, 0, 10, 5.01), 0, 1)], [(BOX, 0, False)]) == pytest.approx(0.1)
    assert nuclei([((0, 0, 10, 6), 0, 1)], [(BOX, 0, False)]) == pytest.approx(0.2)  # .6 is more than .50 and .55


def test_nuclei_make_as_many_pairs_as_possible():
    """The surer detection could take either object; it leaves the other detection the only one within its reach."""
    first, second = (0, 0, 10, 10), (2, 0, 10, 10)
    between, left = (1, 0, 10, 10), (-2, 0, 10, 10)
    pairs = [(between, 0, 0.9), (left, 0, 0.8)]
    overlap = make_image(pairs, [(first, 0, False), (second, 0, False)]).overlaps("boxes")
    assert (overlap > 0.5).tolist() == [[True, True], [True, False]]
    assert overlap[0, 0] == overlap[0, 1]
    whole = [1.0] * 4 + [1 / 3] * 3 + [0] * 3  # .50 to .65 both, .70 to .80 one
    assert nuclei(pairs, [(first, 0, False), (second, 0, False)]) == pytest.approx(np.mean(whole))


def test_nuclei_of_another_class_or_in_a_crowd():
    assert nuclei([(BOX, 1, 1)], [(BOX, 0, False)]) == 0
    assert nuclei([(BOX, 0, 1), (FAR, 0, 1)], [(BOX, 0, False), ((40, 40, 40, 40), 0, True)]) == 1


def test_nuclei_of_an_empty_image_are_no_number_unless_something_was_found():
    assert np.isnan(nuclei())
    assert np.isnan(nuclei([(BOX, 0, 0.4)]))
    assert nuclei([(BOX, 0, 0.6)]) == 0


def test_dsb2018_score_of_label_maps_is_that_of_counting_their_pixels(data_root):
    """Real nuclei, each moved by some pixels: two maps of ids, scored by the histogram of their pairs."""
    path = data_root / "dsb2018_nuclei" / "annotations"
    if not path.is_dir():
        pytest.skip(f"no nuclei in {data_root}")
    truth = json.loads(next(path.glob("*val*.json")).read_text())
    random, scores, expected = np.random.default_rng(0), DetectionScores(1, masks=True, dsb2018=True), []
    for image in truth["images"][:4]:
        entries = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        rle = [entry["segmentation"] for entry in entries]
        size = rle[0]["size"]
        rle = [{"size": size, "counts": r["counts"].encode()} for r in rle]
        true = np.zeros(size, int)
        for i, mask in enumerate(coco_mask.decode(rle).transpose(2, 0, 1), 1):
            true[mask > 0] = i
        found = np.zeros(size, int)
        for i in random.permutation(len(rle)) + 1:
            found[np.roll(true == i, random.integers(-2, 3, 2), (0, 1))] = i
        expected.append(from_maps(true, found))
        scores.update(*as_batch(found, true))
    assert scores.compute()["mask_dsb2018"].item() == pytest.approx(np.mean(expected), abs=1e-6)
    assert 0.2 < np.mean(expected) < 0.95


def from_maps(true: np.ndarray, found: np.ndarray) -> float:
    """The competition's way: no two objects overlap, so above .5 a pair is a pair."""
    pairs = np.zeros((true.max() + 1, found.max() + 1))
    np.add.at(pairs, (true, found), 1)
    sizes = pairs.sum(1)[1:], pairs.sum(0)[1:]
    both = pairs[1:, 1:]
    iou = both / np.maximum(sizes[0][:, None] + sizes[1] - both, 1)
    hit = [(iou > t).sum() for t in np.arange(0.5, 1, 0.05).round(2)]
    count = sum(int((size > 0).sum()) for size in sizes)
    return float(np.mean([n / (count - n) for n in hit]))


def as_batch(found: np.ndarray, true: np.ndarray):
    sides = []
    for ids in (found, true):
        masks = np.asfortranarray(np.stack([ids == i for i in np.unique(ids[ids > 0])], -1).astype(np.uint8))
        rle = coco_mask.encode(masks)
        boxes = torch.from_numpy(np.array(coco_mask.toBbox(rle), np.float32))
        boxes[:, 2:] += boxes[:, :2]
        sides.append({"boxes": boxes, "labels": torch.zeros(len(rle)).long(), "rle": rle})
    predictions = {key: [value] for key, value in sides[0].items()} | {"scores": [torch.ones(len(sides[0]["rle"]))]}
    crowd, area = torch.zeros(len(sides[1]["rle"])).bool(), torch.ones(len(sides[1]["rle"]))
    return predictions, [sides[1] | {"crowd": crowd, "area": area}]


def kinds(*args, confidence=0.5) -> dict[str, int]:
    counts = errors(made := make_image(*args), made.overlaps("boxes"), confidence)
    assert counts.shape == (len(ERRORS),)
    return {name: count for name, count in zip(ERRORS, counts.tolist(), strict=True) if count}


ONE = [(BOX, 0, False)]


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ([(BOX, 0, 0.9)], ONE, {}),
        ([((0, 0, 10, 5), 0, 0.9)], ONE, {}),
        ([(BOX, 1, 0.9)], ONE, {"class": 1}),
        ([(shifted(0.3), 0, 0.9)], ONE, {"location": 1}),
        ([(shifted(0.3), 1, 0.9)], ONE, {"both": 1, "missed": 1}),
        ([(BOX, 0, 0.9), (shifted(0.8), 0, 0.8)], ONE, {"duplicate": 1}),
        ([(BOX, 0, 0.9), (FAR, 0, 0.8)], ONE, {"background": 1}),
        ([(shifted(0.05), 0, 0.9)], ONE, {"background": 1, "missed": 1}),
        ([], ONE, {"missed": 1}),
        ([(BOX, 0, 0.4)], ONE, {"missed": 1}),
        ([(BOX, 0, 0.9)], [], {"background": 1}),
        ([], [], {}),
        ([(FAR, 0, 0.9)], [((40, 40, 40, 40), 0, True)], {}),
        ([(FAR, 1, 0.9)], [((40, 40, 40, 40), 0, True)], {"background": 1}),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, dict) else "",
)
def test_each_kind_of_error(found, true, expected):
    assert kinds(found, true) == expected


def test_an_object_that_a_wrong_detection_names_is_not_missed_but_its_neighbor_is():
    assert kinds([(shifted(0.3), 0, 0.9)], [*ONE, (FAR, 0, False)]) == {"location": 1, "missed": 1}


def test_errors_at_the_object_of_another_detection_leave_that_object_found():
    assert kinds([(BOX, 0, 0.9), (shifted(0.3), 0, 0.8), (BOX, 1, 0.7)], ONE) == {"class": 1, "location": 1}


def test_location_comes_before_class():
    """As in the authors' code."""
    true = [(shifted(0.4), 0, False), (BOX, 1, False)]
    assert kinds([(BOX, 0, 0.9)], true) == {"location": 1, "missed": 1}


@pytest.mark.parametrize(
    ("kind", "expected"), [("boxes", (40, 42, 34, 115, 18, 2)), ("masks", (42, 36, 31, 117, 23, 2))]
)
def test_errors_of_random_images_are_those_that_tidecv_counts(kind, expected):
    """Expected: counts by tidecv 1.0.1 of the same images, which takes detections of all scores."""
    predictions, truths = scenes(8, 10, 40, 4, size=(200, 240))
    random = np.random.default_rng(0)
    predictions["scores"] = [torch.from_numpy(np.sort(random.random(40))[::-1].astype(np.float32)) for _ in truths]
    images = unpack(pack(predictions, truths, masks=True))
    assert tuple(sum(errors(p, p.overlaps(kind), 0.0) for p in images).tolist()) == expected


def test_every_sure_detection_is_right_or_wrong_in_one_way_and_every_object_found_or_accounted_for():
    for made_ in made(10, 8, 30, 3):
        overlap = made_.overlaps("masks")
        counts = dict(zip(ERRORS, errors(made_, overlap, 0.5).tolist(), strict=True))
        right = right_of(made_, overlap)
        assert sum(counts.values()) - counts["missed"] + right == (made_.scores >= 0.5).sum()
        assert counts["missed"] <= len(made_.true_labels) - right


def right_of(made_: Image, overlap: np.ndarray) -> int:
    """Number of objects that detections of score 0.5 and more take, one after the other."""
    free = np.where(made_.labels[:, None] == made_.true_labels, overlap, 0)[made_.scores >= 0.5]
    count = 0
    for row in range(len(free)):
        best = free[row].argmax()
        if free[row, best] >= 0.5:
            count, free[:, best] = count + 1, 0
    return count


def test_shares_of_errors_are_of_all_errors_of_all_images():
    scores = DetectionScores(3, masks=True, errors=True)
    case = scenes(6, 5, 20, 3, size=(120, 160))
    for batch in batches(*case, 2):
        scores.update(*batch)
    scores.compute()
    images = unpack(pack(*case, masks=True))
    for kind in ("boxes", "masks"):
        report = scores.reports[kind]
        counts = sum(errors(p, p.overlaps(kind), report.threshold) for p in images)
        said = report.errors
        assert [count for count, _ in said.values()] == counts.tolist()
        assert [share for _, share in said.values()] == pytest.approx(counts / counts.sum())
