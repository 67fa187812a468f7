from itertools import pairwise

import numpy as np
import pytest
import torch

from callbacks.collectors import classification, suspects
from callbacks.collectors.base import Highest, name_text, visible
from callbacks.collectors.classification import ClassificationCollector, _caption
from callbacks.figures import grids
from callbacks.figures.confusion import confusion
from callbacks.figures_callback import Figures
from callbacks.predictions import Predictions
from tests.helpers.files import figures, rows
from tests.helpers.small_task import CLASSES, Backbone, Data, Pretraining, Task


def test_a_classifier_leaves_its_batch_predictions_mistakes_and_confusions(trainer, tmp_path):
    run = trainer(Figures())
    run.fit(Task(), datamodule=Data())
    found = figures(tmp_path) - {"val_suspects"}  # where there are any
    assert found == {"train_batch", "val_predictions", "val_mistakes", "val_confusion"}
    run.test(Task(), datamodule=Data(), verbose=False)
    assert {"test_predictions", "test_mistakes", "test_confusion"} <= figures(tmp_path)


def test_the_figure_of_mistakes_names_their_files(trainer, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(classification, "grid", lambda *args: said.append(args[1]) or grids.grid(*args))
    trainer(Figures(samples=4)).validate(Task(), datamodule=Data(), verbose=False)
    assert len(said) in (2, 3) and said[1], "a sample and the mistakes, and probable label errors"
    assert all(caption.split("\n")[-1].endswith(".png") for captions in said for caption in captions)


def test_a_pretraining_draws_its_views_only(trainer, tmp_path):
    run = trainer(Figures())
    run.fit(Pretraining(), datamodule=Data(views=True))
    run.test(Pretraining(), datamodule=Data(), verbose=False)
    assert figures(tmp_path) == {"train_batch"}


def test_the_batch_is_drawn_before_the_first_step_and_not_again(trainer, tmp_path):
    class Stop(Exception):
        pass

    class Stopping(Task):
        def training_step(self, batch, batch_idx):
            raise Stop

    with pytest.raises(Stop):
        trainer(Figures()).fit(Stopping(), datamodule=Data())
    assert figures(tmp_path) == {"train_batch"}
    run, path = trainer(Figures(), max_epochs=1), tmp_path / "figures" / "train_batch.png"
    run.fit(Task(), datamodule=Data())
    run.save_checkpoint(tmp_path / "end.ckpt")
    path.write_text("seen")
    again = trainer(Figures(), max_epochs=2)
    again.fit(Task(), datamodule=Data(), ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    assert path.read_text() == "seen"


def test_every_draws_between(trainer, tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr("callbacks.figures_callback.log_figure", lambda trainer, name, image: names.append(name))
    trainer(Figures(every=2), max_epochs=5).fit(Task(), datamodule=Data())
    assert names.count("val_confusion") == 3  # after epochs 2 and 4, and at the end


def test_what_is_shown_is_what_the_network_was_given():
    backbone = Backbone()
    image = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    assert torch.equal(visible(backbone.normalize(image), backbone), image)


def test_views_of_several_sizes_stand_side_by_side_in_their_own_pixels():
    colors = (10, 20, 30, 40, 50)
    large, small = ([np.full((n, n, 3), c, np.uint8) for c in colors] for n in (64, 32))
    row = grids.side_by_side((*large[:2], *small[2:]))
    assert row.shape == (32 + 2 + 32, 64 + 2 + 64 + 2 + 32 + 2 + 32, 3)
    assert [(row[..., 0] == c).sum() for c in colors] == [64**2, 64**2, 32**2, 32**2, 32**2]
    # the third and fourth stand above each other, the fifth starts a column; the rest is white
    assert [row[y, x, 0] for y, x in ((0, 132), (65, 132), (0, 166), (65, 166), (65, 0), (0, 64))] == [
        *(30, 40, 50),
        *(255, 255, 255),
    ]
    assert grids.side_by_side((large[0], large[1])).shape == (64, 130, 3)


def test_a_collector_counts_every_answer_and_keeps_the_most_confident_mistakes():
    generator = torch.Generator().manual_seed(0)
    true, scores = torch.randint(0, 4, (50,), generator=generator), torch.rand(50, 4, generator=generator).softmax(1)
    image = torch.arange(50.0).view(50, 1, 1, 1).expand(50, 3, 2, 2)
    collector = ClassificationCollector(5)
    for part in torch.arange(50).split(8):
        answers = {"label": scores[part].argmax(1), "scores": scores[part]}
        names = [f"pets/{i}.jpg" for i in part.tolist()]
        collector.update({"image": image[part], "label": true[part], "id": names}, answers, Task(), int(part[0]))
    confusion = np.zeros((4, 4), dtype=int)
    np.add.at(confusion, (true.numpy(), scores.argmax(1).numpy()), 1)
    assert collector.counts().tolist() == confusion.tolist()
    wrong = [i for i in range(50) if scores[i].argmax() != true[i]]
    worst = sorted(wrong, key=lambda i: -scores[i].max().item())[:5]
    assert collector.worst.kept()["image"][:, 0, 0, 0].int().tolist() == worst
    assert [name_text(name) for name in collector.worst.kept()["name"].numpy()] == [f"pets/{i}.jpg" for i in worst]
    shown = sorted(collector.sample.kept()["image"][:, 0, 0, 0].int().tolist())
    assert len(set(shown)) == 5
    assert min(b - a for a, b in pairwise(shown)) >= 4  # spread over the split, not its first five


def test_probable_label_errors_are_listed_and_drawn_the_least_credible_first(tmp_path):
    true = torch.arange(60) % 3
    given = true.clone()
    given[[7, 31]] = (true[[7, 31]] + 1) % 3
    scores = (6 * torch.nn.functional.one_hot(true, 3) + torch.linspace(0, 1, 180).view(60, 3).sin()).softmax(1)
    image = torch.arange(60.0).view(60, 1, 1, 1).expand(60, 3, 2, 2)
    task, collector = Task(), ClassificationCollector(4)
    for part in torch.arange(60).split(8):
        batch = {"image": image[part], "label": given[part], "id": [f"pets/{i}.jpg" for i in part.tolist()]}
        collector.update(batch, {"label": true[part], "scores": scores[part]}, task, int(part[0]))
    collector.gather()
    collector.write(tmp_path, "val", task)
    found = rows(tmp_path / "val_suspects.csv")
    worst = sorted((7, 31), key=lambda i: scores[i, given[i]].item())
    assert [row["path"] for row in found] == [f"pets/{i}.jpg" for i in worst]
    assert [row["given"] for row in found] == [CLASSES[given[i]] for i in worst]
    assert [row["suggested"] for row in found] == [CLASSES[true[i]] for i in worst]
    assert collector.suspects.kept()["image"][:, 0, 0, 0].int().tolist() == worst
    assert "suspects" in dict(collector.draw("val", task, Data()))
    assert any("2 of 60" in line for line in collector.summarize("val", task) if isinstance(line, str))


def test_of_large_splits_no_label_errors_are_looked_for(monkeypatch):
    monkeypatch.setattr(suspects, "MAX_VALUES", 20)
    collector = suspects.Suspects(4)
    kept = {"true": torch.tensor([0, 1]), "predicted": torch.tensor([1, 1])}
    for first in range(0, 20, 2):
        collector.update(["a", "b"], torch.eye(2), kept, first)
    collector.gather()
    assert collector.found is None


def test_fewer_samples_than_places_leave_places_empty():
    highest = Highest(4)
    highest.update(torch.tensor([-torch.inf, 0.5]), {"true": torch.tensor([1, 2])})
    assert highest.kept()["true"].tolist() == [2]


@pytest.mark.integration
def test_two_processes_draw_and_write_what_one_does(trainer, tmp_path):
    """Two gloo processes that take whole batches in turn."""
    torch.manual_seed(0)
    task = Task()
    files = [
        *(f"figures/test_{kind}.png" for kind in ("predictions", "mistakes", "confusion")),
        "predictions/test.csv",
        "predictions/test_suspects.csv",
    ]
    contents = []
    for settings in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        trainer(Figures(), Predictions(), **settings).test(task, datamodule=Data(batch=5), verbose=False)
        contents.append([(tmp_path / name).read_bytes() for name in files])
        for name in files:
            (tmp_path / name).unlink()
    assert contents[0] == contents[1]


def test_small_images_are_enlarged_pixel_by_pixel():
    image = np.random.default_rng(0).integers(0, 256, (10, 10, 3)).astype(np.uint8)
    grid = grids.grid([image], [""], "one")
    enlarged = image.repeat(15, axis=0).repeat(15, axis=1)
    assert any(np.array_equal(grid[44:194, left : left + 150], enlarged) for left in range(grid.shape[1] - 149))


def test_captions_of_narrow_images_have_room():
    caption = "…/folder/img_0001.jpg"
    narrow = [np.zeros((150, 20, 3), np.uint8)] * 3
    drawn = grids.grid(narrow, [caption] * 3, "narrow", columns=3)
    ink = np.flatnonzero((drawn[-30:] < 200).any((0, 2)))  # columns of the captions
    assert (np.diff(ink) > 12).sum() == 2  # two gaps between three captions


def test_white_images_have_an_edge():
    drawn = grids.grid([np.full((150, 150, 3), 255, np.uint8)], [""], "white")
    assert (drawn[100] < 255).any(1).sum() == 2


def test_class_names_with_formula_signs_are_drawn_as_they_are():
    names = ["a$b$", "$\\frac$", "x" * 60]
    assert confusion(np.eye(3, dtype=int), names, "100 $ of $").ndim == 3
    assert grids.grid([np.zeros((8, 8, 3), np.uint8)], ["$\\frac$"], "$\\bad$").dtype == np.uint8


def test_mixed_labels_name_their_two_largest_shares():
    assert _caption(torch.tensor([0.1, 0.7, 0.2]), CLASSES) == "square 70 %\ntriangle 20 %"
    assert _caption(torch.tensor([0.0, 1.0, 0.0]), CLASSES) == "square 100 %"
    assert _caption(torch.tensor(2), CLASSES) == "triangle"
