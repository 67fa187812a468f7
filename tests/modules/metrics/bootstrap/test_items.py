"""Statistics of items: the metrics of a set in which items repeat are those of libraries on such a set."""

import random

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_cohen_kappa,
    multiclass_f1_score,
)

from benchmarks.evaluation import scenes
from modules.contracts import DataError
from modules.metrics import coco, matching
from modules.metrics.bootstrap import Items, Sums, load
from modules.metrics.bootstrap.answers import answers, labels, of_answers
from modules.metrics.bootstrap.matches import objects
from modules.metrics.bootstrap.records import Records, means
from modules.metrics.captions import caption_scores, caption_statistics
from modules.metrics.detection_arrays import pack, unpack
from modules.metrics.segmentation import SegmentationScores
from modules.metrics.translation import translation_scores, translation_statistics
from tests.helpers.errors import refuses
from tests.helpers.forks import in_group


def drawn(count: int, sets: int = 4) -> np.ndarray:
    """Counts of a set as it is, and of some resampled ones."""
    generator = np.random.default_rng(1)
    return np.concatenate([np.ones((1, count), int), generator.multinomial(count, np.ones(count) / count, sets)])


def repeated(rows: list, times: np.ndarray) -> list:
    return [row for row, count in zip(rows, times, strict=True) for _ in range(count)]


def check(statistics: list, count: int, reference) -> None:
    """Compare the metrics with a function of the indices of the items, some of which repeat."""
    sets = drawn(count)
    found = Items(np.arange(count).astype(str), statistics).values(sets)
    for i, times in enumerate(sets):
        expected = reference(repeated(list(range(count)), times))
        assert {name: found[name][i] for name in expected} == pytest.approx(expected, abs=1e-5, nan_ok=True)
        assert set(expected) == set(found)


def test_labels():
    torch.manual_seed(0)
    scores, true = (torch.randn(40, 7) * 2).softmax(1), torch.randint(0, 5, (40,))
    columns = answers({"label": scores.argmax(1), "scores": scores}, true)
    columns = {name: column.numpy() for name, column in columns.items()}

    def reference(chosen: list[int]) -> dict[str, float]:
        said, real, options = scores[chosen], true[chosen], {"num_classes": 7}
        found = {
            "accuracy": multiclass_accuracy(said, real, **options, average="micro"),
            "accuracy_top5": multiclass_accuracy(said, real, **options, top_k=5, average="micro"),
            "accuracy_macro": multiclass_accuracy(said, real, **options, average="macro"),
            "f1": multiclass_f1_score(said, real, **options, average="macro"),
            "kappa": multiclass_cohen_kappa(said, real, **options),
            "calibration_error": multiclass_calibration_error(said, real, **options, n_bins=15, norm="l1"),
        }
        return {name: value.item() for name, value in found.items()}

    check(of_answers(["f1", "accuracy_macro", "kappa"], 7, columns), 40, reference)


def test_maps():
    torch.manual_seed(0)
    said, true = torch.randint(0, 4, (2, 9, 20, 24)).repeat_interleave(3, 3)
    true[true == 3] = 255
    scores, rows = SegmentationScores(4), []
    for one, other in zip(said, true, strict=True):
        scores.update(one[None], other[None])
        rows.append(scores.latest.numpy().ravel())

    def reference(chosen: list[int]) -> dict[str, float]:
        scores.reset()
        scores.update(said[chosen], true[chosen])
        return {f"{name}_end": value.item() for name, value in scores.compute().items()}

    check([Sums("regions", ["_end"], np.stack(rows))], 9, reference)


@pytest.mark.parametrize("kind", ["boxes", "masks"])
@pytest.mark.parametrize("maximum", [100, 3])
def test_objects(kind, maximum):
    predictions, truths = scenes(12, 6, 20, 3, (120, 160), crowds=0.2)
    for truth in truths:  # so that annotations of all areas meet detections of others
        truth["area"] = truth["area"] * torch.rand(len(truth["area"])) * 10
    images = unpack(pack(predictions, truths, True))

    def reference(chosen: list[int]) -> dict[str, float]:
        several = [images[i] for i in chosen]
        hits = [matching.voc_hits(image, image.overlaps("boxes")) for image in several]
        found = coco.evaluate(several, 3, kind, maximum).metrics
        if kind == "masks":
            return {f"mask_{name}": value for name, value in found.items()}
        return found | dict(
            zip(("voc_ap50", "voc07_ap50"), map(coco.mean, matching.voc(several, hits, 3)), strict=True)
        )

    prefix = "mask_" if kind == "masks" else ""
    check([objects(images, kind, maximum, kind == "boxes", prefix)], 12, reference)


def sentences(count: int) -> tuple[list[str], list[list[str]]]:
    """Captions and references that have words in common; one caption is empty."""
    chosen, words = random.Random(0), [*"abcdefgh", "red", "blue", "circle", "square", "left", "of"]
    true, said = [], []
    for _ in range(count):
        text = [chosen.choice(words) for _ in range(chosen.randint(3, 12))]
        near = [[w if chosen.random() < 0.7 else chosen.choice(words) for w in text] for _ in range(4)]
        said.append(" ".join(near[0]))
        true.append([" ".join(one) for one in near[1 : chosen.randint(2, 4)]])
    return ["", *said[1:]], true


def test_translations():
    said, several = sentences(20)
    true = [first for first, *_ in several]

    def reference(chosen: list[int]) -> dict[str, float]:
        return translation_scores([said[i] for i in chosen], [true[i] for i in chosen])

    check(translation_statistics(said, true)[1], 20, reference)


def test_captions():
    said, true = sentences(20)

    def reference(chosen: list[int]) -> dict[str, float]:
        found = caption_scores([said[i] for i in chosen], [true[i] for i in chosen])
        return {name: value for name, value in found.items() if name != "meteor"}

    check(caption_statistics(said, true)[1], 20, reference)


def test_a_file_holds_all_that_resampling_takes(tmp_path):
    said, true = sentences(6)
    predictions, truths = scenes(6, 3, 5, 2, (60, 80))
    boxes = objects(unpack(pack(predictions, truths, True)), "boxes", 100, True, "")
    kinds = [*caption_statistics(said, true)[1], boxes, labels(["f1"], np.arange(6) % 2, np.arange(6) % 3, 3)]
    ids = np.array(["a", "b/c", "ä", "d", "e", "\udcff"])
    Items(ids, kinds).save(tmp_path / "items.npz")
    again = load(tmp_path / "items.npz")
    assert again.ids.tolist() == ids.tolist()
    for name, values in Items(ids, kinds).values(drawn(6)).items():
        assert again.values(drawn(6))[name].tolist() == pytest.approx(values.tolist(), nan_ok=True), name


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", features=np.zeros(3))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    for name in ("other.npz", "torn.npz", "missing.npz"):
        with refuses(DataError, name):
            load(tmp_path / name)


def record(rank: int, world: int) -> tuple[list[str], dict[str, list]]:
    """Records of this process's batches, of 3, 2, 2, ... items."""
    records = Records()
    for turn in range(rank, 3, world):
        size = 3 if turn == 0 else 2
        records.begin(turn, [f"{turn}.{i}" for i in range(size)])
        records.add("test", x=torch.arange(size) + 10.0 * turn, y=torch.ones(size, 2))
        records.add("val", z=torch.zeros(size))
    ids, columns = records.gather()
    return ids.tolist(), {name: column.tolist() for name, column in columns.items()}


@pytest.mark.integration
def test_two_processes_have_the_records_of_one(tmp_path):
    alone = record(0, 1)
    assert alone[0] == ["0.0", "0.1", "0.2", "1.0", "1.1", "2.0", "2.1"] and set(alone[1]) == {"x", "y"}
    for found in in_group(lambda rank: record(rank, 2), tmp_path):
        assert found == alone


def test_means_leave_out_what_has_no_weight():
    (statistic,) = means({"loss": np.array([[2.0, 10], [np.nan, 0], [5.0, 20]])})
    assert statistic.values(np.ones((1, 3)))["loss"] == pytest.approx(4)
