import csv

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from callbacks.collectors import segmentation
from callbacks.collectors.base import NAME, Highest
from callbacks.collectors.segmentation import SIDE, SegmentationCollector, confusions, scores, thumbnails
from callbacks.figures.base import percent
from callbacks.figures.class_bars import class_bars
from callbacks.figures.confusion import confusion
from callbacks.figures_callback import Figures
from callbacks.predictions import Predictions
from modules.contracts import IGNORE
from tests.helpers.files import figures
from tests.helpers.small_masks import CLASSES, INSIDE, PADDED, PALETTE, MaskData, Segmentation
from tests.helpers.small_task import Backbone


def maps(count, most=0.9):
    """Truth with ignored pixels, and predictions with a share of errors that rises to `share`."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, 3, (count, 12, 18), generator=generator)
    noise = torch.rand(true.shape, generator=generator)
    said = torch.where(noise < torch.linspace(0.1, most, count).view(-1, 1, 1), (true + 1) % 3, true)
    return torch.where(noise > 0.95, IGNORE, true), said


def collected(true, said, parts=4, size=(12, 18), **extra):
    """Collector after batches whose images show their own number."""
    kept, task = SegmentationCollector(5), Segmentation()
    for part in torch.arange(len(true)).split(parts):
        image = part.view(-1, 1, 1, 1).expand(-1, 3, *size).to(torch.uint8)
        batch = {"image": task.backbone.normalize(image), "mask": true[part], "id": [f"{i}.jpg" for i in part]}
        kept.update(
            batch | {key: value[part] for key, value in extra.items()}, {"mask": said[part]}, task, int(part[0])
        )
    return kept


def test_a_segmenter_leaves_its_batch_predictions_mistakes_confusions_and_classes(trainer, tmp_path):
    kinds = {"predictions", "mistakes", "confusion", "classes"}
    run = trainer(Figures(samples=4))
    run.fit(Segmentation(), datamodule=MaskData())
    assert figures(tmp_path) == {"train_batch", *(f"val_{kind}" for kind in kinds)}
    run.test(Segmentation(), datamodule=MaskData(), verbose=False)
    assert {f"test_{kind}" for kind in kinds} <= figures(tmp_path)


def test_the_tables_hold_the_metrics_of_every_class(trainer, tmp_path):
    task, data = Segmentation(), MaskData()
    trainer(Figures(samples=2)).test(task, datamodule=data, verbose=False)
    with torch.no_grad():
        task.eval()
        batches = [b | {"image": task.backbone.normalize(b["image"])} for b in data.test_dataloader()]
        said = torch.cat([task.validation_step(batch, 0)["mask"] for batch in batches])
    true = torch.cat([batch["mask"] for batch in batches])
    matrix = confusion_matrix(true[true != IGNORE], said[true != IGNORE], labels=range(3))
    with (tmp_path / "predictions" / "test_confusion.csv").open(newline="") as file:
        assert [row[1:] for row in csv.reader(file)] == [CLASSES, *([str(n) for n in row] for row in matrix)]
    with (tmp_path / "predictions" / "test_per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["class", "pixels", "iou", "accuracy", "precision", "dice"]
    expected = jaccard_score(true[true != IGNORE], said[true != IGNORE], labels=range(3), average=None)
    assert [float(row["iou"]) for row in rows] == pytest.approx(expected)


def test_a_file_answers_at_the_original_size_of_images_whose_batch_has_that_size_alone():
    true, said = maps(4)
    kept, task = SegmentationCollector(4), Segmentation()
    image = task.backbone.normalize(torch.zeros(4, 3, 12, 18, dtype=torch.uint8))
    batch = {"image": image, "mask": true, "id": [f"{i}.jpg" for i in range(4)]}
    kept.update(batch, {"mask": said, "original_mask": list(said)}, task, 0)
    assert kept.matrix.equal(confusions(true, said, 3).sum(0))


def test_the_confusions_of_each_image_leave_ignored_pixels_out():
    true, said = maps(6)
    for one, other, matrix in zip(true, said, confusions(true, said, 3), strict=True):
        known = one != IGNORE
        assert matrix.tolist() == confusion_matrix(one[known], other[known], labels=range(3)).tolist()


def test_an_images_scores_are_over_the_classes_it_or_its_prediction_shows():
    true, said = torch.zeros(3, 4, 4, dtype=torch.int64), torch.zeros(3, 4, 4, dtype=torch.int64)
    said[1, :2] = 1  # half of class 0 wrong: IoU 1/2 and 0; class 2 is nowhere
    true[2] = IGNORE
    accuracy, iou = scores(confusions(true, said, 3))
    assert accuracy[:2].tolist() == [1, 0.5]
    assert iou[:2].tolist() == [1, 0.25]
    assert accuracy[2].isnan()
    assert iou[2].isnan()


def test_the_worst_images_come_first_and_right_or_unlabeled_ones_never():
    true, said = maps(20)
    said[3:] = torch.where(true == IGNORE, 0, true)[3:]  # 17 without a mistake
    true[1] = IGNORE
    kept = collected(true, said).worst.kept()
    assert kept["accuracy"].tolist() == sorted(kept["accuracy"].tolist())
    assert [segmentation.name_text(name) for name in kept["name"].numpy()] == ["2.jpg", "0.jpg"]
    assert collected(true, said).sample.kept()["iou"].shape == (5,)


def test_kept_images_are_those_the_network_saw_and_their_maps():
    true, said = maps(20)
    kept = collected(true, said).sample.kept()
    for image, name, one, other in zip(*(kept[key] for key in ("image", "name", "true", "predicted")), strict=True):
        number = int(segmentation.name_text(name.numpy()).removesuffix(".jpg"))
        assert (image == number).all()
        assert torch.equal(one.long(), true[number])
        assert torch.equal(other.long(), said[number])


def test_large_images_are_kept_small_with_their_maps_in_place():
    height, width = 700, 1300
    true = torch.zeros(1, height, width, dtype=torch.int64)
    true[:, 350:, 650:] = 1
    image = Backbone().normalize((200 * true[:, None]).to(torch.uint8).expand(-1, 3, -1, -1))
    inside = torch.tensor([[500, 1300]])
    small = thumbnails({"image": image, "mask": true, "inside": inside}, None, Backbone())
    assert max(small["image"].shape[-2:]) <= SIDE
    assert small["inside"].tolist() == [[500 // 5, 1300 // 5]]
    assert ((small["image"][:, 0] > 100) == (small["true"] == 1)).all()
    assert "predicted" not in small


def test_images_of_several_sizes_are_kept_together_and_drawn_without_their_padding():
    true, said = maps(8, most=0.5)
    inside = torch.tensor([[12, 18]] * 4 + [[9, 7]] * 4)
    kept = collected(true, said, inside=inside)
    large = torch.randint(0, 3, (2, 20, 15), generator=torch.Generator().manual_seed(1))
    said = torch.where(torch.arange(15) < torch.tensor([15, 14])[:, None, None], (large + 1) % 3, large)
    task, batch = Segmentation(), {"image": torch.zeros(2, 3, 20, 15), "mask": large, "id": ["a", "b"]}
    kept.update(batch | {"inside": torch.tensor([[20, 15]] * 2)}, {"mask": said}, task, 0)
    worst = kept.worst.kept()
    assert worst["true"].shape == (5, 20, 18)
    assert torch.equal(worst["true"][:2, :, :15].long(), large)
    shapes = {panels[0].shape[:2] for panels in segmentation._enlarged(worst)}
    assert (20 * 10, 15 * 10) in shapes
    assert shapes <= {(200, 150), (12 * 11, 18 * 11), (9 * 22, 7 * 22)}


def test_ids_travel_as_numbers_and_long_ones_keep_their_end():
    names = ["a.jpg", "straße/ü.jpg", "x" * 200 + "/end.jpg", "odd\udcff.jpg", ""]
    back = [segmentation.name_text(name) for name in segmentation.name_bytes(names).numpy()]
    assert back[:2] == names[:2]
    assert back[2] == names[2][-NAME:]
    assert back[3] == "odd\N{REPLACEMENT CHARACTER}.jpg"
    assert back[4] == ""


def test_the_training_batch_is_drawn_under_its_maps_in_the_colors_of_the_data(trainer, tmp_path):
    trainer(Figures(samples=2)).fit(Segmentation(), datamodule=MaskData())
    image = np.asarray(Image.open(tmp_path / "figures" / "train_batch.png")).astype(int)
    for color in PALETTE:
        assert (image == color).all(2).sum() >= 14 * 22  # its swatch


def test_padding_is_drawn_in_training_where_the_network_sees_it_and_not_in_predictions(trainer, monkeypatch):
    shapes, original = [], segmentation.strips

    def watched(rows, *rest):
        shapes.append(rows[0][0].shape[:2])
        return original(rows, *rest)

    monkeypatch.setattr(segmentation, "strips", watched)
    trainer(Figures(samples=4)).fit(Segmentation(), datamodule=MaskData())
    batch, *answers = shapes
    assert batch == tuple(round(200 / max(PADDED)) * side for side in PADDED)
    assert answers == [tuple(round(200 / max(INSIDE)) * side for side in INSIDE)] * 2


def test_without_a_mistake_the_worst_images_are_a_title_alone(tmp_path):
    true, _ = maps(4)
    said = torch.where(true == IGNORE, 0, true)
    images = dict(collected(true, said).draw("val", Segmentation(), MaskData()))
    assert images["mistakes"].shape[0] == 60
    assert images["predictions"].shape[0] > 60


def test_a_split_without_one_labeled_pixel_is_still_drawn():
    true, said = maps(4)
    images = dict(collected(torch.full_like(true, IGNORE), said).draw("val", Segmentation(), MaskData()))
    assert images.keys() == {"predictions", "mistakes", "confusion", "classes"}


def test_bars_are_as_long_as_the_iou_and_as_bright_as_the_class():
    values = np.array([0.8, np.nan, 0.4])
    colors = [(200, 10, 30), (10, 200, 30), (10, 30, 200)]
    drawn = class_bars(["a $x$", "b", "c"], values, np.array([5, 0, 5]), colors, "t", "IoU", "pixels")
    lengths = [(drawn == color).all(2).sum(1).max() for color in colors]
    assert lengths[0] / lengths[2] == pytest.approx(2, rel=0.05)
    assert lengths[1] == 0


def test_of_many_classes_the_bars_show_the_lowest():
    values = np.linspace(0, 1, 150)
    values[:20] = np.nan
    colors = [(i, 255 - i, 7) for i in range(150)]
    drawn = class_bars(list(map(str, range(150))), values, np.ones(150, int), colors, "many", "IoU", "pixels")
    assert not (drawn == colors[100]).all(2).any()
    assert [(drawn == colors[i]).all(2).any() for i in (19, 20, 79, 80)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0"), (1e-5, "<0.1"), (0.0432, "4.3"), (0.0996, "10"), (0.97, "97"), (1, "100")]
)
def test_shares_of_millions_of_pixels_fit_into_a_cell(share, text):
    assert percent(share) == text


def test_a_confusion_matrix_of_shares_differs_from_one_of_counts_by_its_numbers_only():
    matrix = np.array([[90, 10], [0, 5]])
    counts, shares = (confusion(matrix, ["a", "b"], "t", shares=shares) for shares in (False, True))
    assert counts.shape == shares.shape
    assert not np.array_equal(counts, shares)


def test_tensors_of_several_sizes_are_padded_at_their_ends():
    highest = Highest(2)
    highest.update(torch.tensor([1.0]), {"map": torch.ones(1, 2, 3)})
    highest.update(torch.tensor([2.0]), {"map": torch.full((1, 3, 2), 7.0)})
    assert highest.kept()["map"].tolist() == [[[7, 7, 0], [7, 7, 0], [7, 7, 0]], [[1, 1, 1], [1, 1, 1], [0, 0, 0]]]


@pytest.mark.integration
def test_two_processes_draw_and_write_what_one_does(trainer, tmp_path):
    """Two gloo processes; 20 samples, so that none is duplicated."""
    task, contents = Segmentation(probabilities=True), []
    trainer(max_epochs=2).fit(task, datamodule=MaskData())  # so that some pixels of every image are right
    for settings in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        trainer(Figures(samples=6), **settings).test(task, datamodule=MaskData(), verbose=False)
        trainer(Predictions(), **settings).predict(task, datamodule=MaskData())
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files})
        for path in files:
            path.unlink()
    assert len(contents[0]) == 4 + 2 + 2 + 3 * 20
    assert contents[0] == contents[1]
