"""COCO results: written with the annotations' own ids, loaded and scored by pycocotools."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as pycoco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.evaluation import coco_eval, scenes
from callbacks.writers.coco_results import ResultFile, records, write_results
from modules.contracts.image_ids import image_number
from modules.metrics.detection import DetectionScores
from tests.modules.metrics.test_oks import IMAGES, as_predictions, drawn, ours, theirs

CATEGORY_IDS, IMAGE_IDS = [7, 3], {"a.png": 40, "b.png": 12, "c.png": 5}
HEIGHT, WIDTH = 40, 60


def mask(*box: int) -> dict:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    left, top, right, bottom = box
    drawn[top:bottom, left:right] = 1
    return pycoco.encode(drawn)


def prediction(images: int = 2, masks: bool = True, dtype: torch.dtype = torch.float32) -> dict:
    """Two objects in every image but the last, which has none."""
    boxes = torch.tensor([[10.0, 5, 30, 15], [0.25, 0, 59.9, 40]])
    found = {
        "boxes": [boxes] * (images - 1) + [boxes[:0]],
        "scores": [torch.tensor([0.9, 0.4], dtype=dtype)] * (images - 1) + [torch.zeros(0)],
        "labels": [torch.tensor([1, 0])] * (images - 1) + [torch.zeros(0, dtype=torch.int64)],
    }
    return found | ({"rle": [[mask(10, 5, 30, 15), mask(0, 0, 60, 40)]] * (images - 1) + [[]]} if masks else {})


def test_an_entry_has_the_original_ids_and_sides(tmp_path):
    write_results(tmp_path / "r.json", records(["a.png", "b.png"], prediction(), CATEGORY_IDS, IMAGE_IDS))
    first, second = json.loads((tmp_path / "r.json").read_text())
    assert first == {
        "image_id": 40,
        "file_name": "a.png",
        "category_id": 3,
        "bbox": [10, 5, 20, 10],
        "score": 0.9,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": mask(10, 5, 30, 15)["counts"].decode()},
    }
    assert (second["category_id"], second["bbox"], second["score"]) == (7, [0.25, 0, 59.65, 40], 0.4)


def test_without_masks_there_is_no_segmentation_and_without_numbers_the_path_makes_one():
    entries = list(records(["x/a.png", "b.png"], prediction(masks=False), CATEGORY_IDS))
    assert [entry["image_id"] for entry in entries] == [image_number("x/a.png")] * 2
    assert [entry["file_name"] for entry in entries] == ["x/a.png"] * 2
    assert all("segmentation" not in entry for entry in entries)


def test_numbers_made_of_paths_differ_and_keep_their_digits_in_every_program():
    numbers = {image_number(f"train/{i}.jpg") for i in range(20_000)} | {image_number("\udce9.jpg")}
    assert len(numbers) == 20_001
    assert all(0 <= number < 2**52 for number in numbers)


def test_every_image_has_a_row_with_its_number_also_one_without_objects(tmp_path):
    file = ResultFile(tmp_path / "r.json", 0, CATEGORY_IDS, {"a.png": 40}, sure=0.5)
    file.add({"id": ["a.png", "x/b.png"]}, prediction(masks=False))
    file.close()
    assert file.merge(1) == [tmp_path / "r.json", tmp_path / "r.csv"]
    other = str(image_number("x/b.png"))
    rows = [("path", "image_id", "objects", "detections"), ("a.png", "40", "1", "2"), ("x/b.png", other, "0", "0")]
    assert (tmp_path / "r.csv").read_text().split() == [",".join(row) for row in rows]


def test_objects_are_counted_by_the_threshold_of_their_class(tmp_path):
    found = prediction(masks=False)
    least = [1.0] * len(CATEGORY_IDS)
    for certain, label in ((0, None), (1, int(found["labels"][0][0]))):
        if label is not None:
            least[label] = 0.0
        file = ResultFile(tmp_path / f"{certain}.json", 0, CATEGORY_IDS, {"a.png": 40}, sure=least)
        file.add({"id": ["a.png", "x/b.png"]}, found)
        file.close()
        file.merge(1)
        assert (tmp_path / f"{certain}.csv").read_text().split()[1] == f"a.png,40,{certain},2"


def test_pycocotools_finds_our_metrics_by_size_in_the_files(tmp_path):
    """Thin masks in large boxes: the size of an object is that of its mask for masks, of its box for boxes."""
    predictions, truths = scenes(12, 6, 20, 2, size=(200, 260), seed=3)
    scores = DetectionScores(2, masks=True)
    scores.update(predictions, truths)
    ours = {name: value.item() for name, value in scores.compute().items()}
    names = [f"{i}.png" for i in range(12)]
    file = ResultFile(tmp_path / "r.json", 0, [0, 1], {name: i for i, name in enumerate(names)})
    file.add({"id": names}, predictions)
    file.close()
    file.merge(1)
    for kind, prefix in (("bbox", ""), ("segm", "mask_")):
        evaluation = coco_eval(predictions, truths, 2, "masks" if prefix else "boxes")
        evaluation = COCOeval(evaluation.cocoGt, evaluation.cocoGt.loadRes(str(tmp_path / f"r_{kind}.json")), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        values = [ours[prefix + name] for name in ("map", "map_small", "map_medium", "map_large")]
        assert [evaluation.stats[i] for i in (0, 3, 4, 5)] == pytest.approx(values, abs=1e-6)


def test_keypoints_are_a_file_of_their_own_in_which_pycocotools_finds_our_metric(tmp_path):
    sigmas = [0.05] * 3
    true, found = drawn(0, 3, 2)
    scores, predictions = ours(true, found, 2, sigmas), as_predictions(found, 3)
    names = [f"{i}.png" for i in range(1, IMAGES + 1)]
    file = ResultFile(tmp_path / "r.json", 0, [1, 2], {name: i for i, name in enumerate(names, 1)})
    file.add({"id": names}, predictions)
    file.close()
    written = file.merge(1)
    assert [path.name for path in written] == ["r_bbox.json", "r_keypoints.json", "r.csv"]
    boxes, points = (json.loads(path.read_text()) for path in written[:2])
    assert all("keypoints" not in one for one in boxes) and all("bbox" not in one for one in points)
    metric = scores.compute()["keypoint_map"].item()
    assert theirs(true, points, 2, sigmas)[0] == pytest.approx(metric, abs=1e-6)


def test_half_precision_scores_are_written(tmp_path):
    entries = list(records(["a.png", "b.png"], prediction(dtype=torch.bfloat16), CATEGORY_IDS, IMAGE_IDS))
    assert entries[0]["score"] == pytest.approx(0.9, abs=0.01)


def test_numbers_keep_what_float32_tells_apart():
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(200, 2, generator=random) * 3000
    boxes = torch.cat([corners, corners + torch.rand(200, 2, generator=random) * 900], 1)
    scores = torch.rand(200, generator=random)
    found = {"boxes": [boxes], "scores": [scores], "labels": [torch.zeros(200, dtype=torch.int64)]}
    entries = list(records(["a.png"], found, CATEGORY_IDS))
    assert torch.equal(torch.tensor([entry["score"] for entry in entries]), scores)
    again = np.array([entry["bbox"] for entry in entries])
    again[:, 2:] += again[:, :2]
    np.testing.assert_allclose(again, boxes.double(), rtol=1e-7)
    assert max(len(str(entry["score"])) for entry in entries) <= 14


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_pycocotools_loads_the_file_and_finds_a_perfect_answer_perfect(tmp_path, kind):
    truth = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in IMAGE_IDS.values()],
        "categories": [{"id": i, "name": str(i)} for i in CATEGORY_IDS],
        "annotations": [],
    }
    for number in (40, 12):
        for category, box in ((3, (10, 5, 30, 15)), (7, (0, 0, 60, 40))):
            rle = mask(*box)
            left, top, right, bottom = box
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(pycoco.area(rle)),
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    write_results(tmp_path / "r.json", records([*IMAGE_IDS], prediction(3), CATEGORY_IDS, IMAGE_IDS))
    known = COCO(str(tmp_path / "truth.json"))
    scores = COCOeval(known, known.loadRes(str(tmp_path / "r.json")), kind)
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1.0)


def test_nothing_found_is_an_empty_list(tmp_path):
    write_results(tmp_path / "r.json", [])
    assert json.loads((tmp_path / "r.json").read_text()) == []


@pytest.mark.parametrize("world", [1, 2])
def test_processes_write_one_file_in_the_order_of_the_data(tmp_path, world):
    ids = ["a.png", "b.png", "c.png"]
    dealt = [ids] if world == 1 else [["a.png", "c.png"], ["b.png"]]
    files = [ResultFile(tmp_path / "out" / "r.json", rank, CATEGORY_IDS, IMAGE_IDS) for rank in range(world)]
    one = {key: [values[0]] for key, values in prediction().items()}
    for file, names in zip(files, dealt, strict=True):
        for name in names:
            file.turn = None if world == 1 else ids.index(name)
            file.add({"id": [name]}, one)
        file.close()
    written = [tmp_path / "out" / name for name in ("r_bbox.json", "r_segm.json", "r.csv")]
    assert files[0].merge(world) == written
    for path, key, other in zip(written[:2], ("bbox", "segmentation"), ("segmentation", "bbox"), strict=True):
        entries = json.loads(path.read_text())
        assert [entry["image_id"] for entry in entries] == [40, 40, 12, 12, 5, 5]
        assert all(key in entry and other not in entry for entry in entries)
    assert sorted((tmp_path / "out").iterdir()) == sorted(written)


def test_an_image_with_very_many_masks_is_written(tmp_path):
    count = 600
    noise = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    rle = pycoco.encode(np.asfortranarray(noise))
    found = {
        "boxes": [torch.tensor([[0.0, 0, 60, 40]]).expand(count, 4)],
        "scores": [torch.linspace(1, 0, count)],
        "labels": [torch.zeros(count, dtype=torch.int64)],
        "rle": [[rle] * count],
    }
    file = ResultFile(tmp_path / "r.json", 0, CATEGORY_IDS, IMAGE_IDS)
    file.add({"id": ["a.png"]}, found)
    file.close()
    file.merge(1)
    assert len(json.loads((tmp_path / "r_segm.json").read_text())) == count


def test_a_run_that_failed_leaves_no_file(tmp_path):
    file = ResultFile(tmp_path / "r.json", 0, CATEGORY_IDS, IMAGE_IDS)
    file.add({"id": ["a.png", "b.png"]}, prediction())
    file.discard()
    assert list(tmp_path.iterdir()) == []
