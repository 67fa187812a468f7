"""Strips of frames, animations and the most confused pairs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.helpers.small_task import CLASSES, Backbone, Task

import lightning.pytorch as L  # isort: skip
from callbacks.collectors import video as module
from callbacks.collectors.base import visible
from callbacks.collectors.video import VideoCollector, _panels, _shown, draw_clips, occlusion
from callbacks.figures.confusion import most_confused
from callbacks.figures_callback import Figures
from callbacks.predictions import Predictions

FRAMES = 5


class Films(Dataset):
    """Clips whose class is the color of their last frame, two views of each."""

    def __init__(self, count: int):
        generator = torch.Generator().manual_seed(0)
        self.label = torch.arange(count) % 3
        self.video = torch.randint(0, 120, (count, 2, 3, FRAMES, 12, 16), generator=generator)
        self.video[:, :, :, -1] += 120 * nn.functional.one_hot(self.label, 3)[:, None, :, None, None]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict:
        return {"video": self.video[index].to(torch.uint8), "label": self.label[index], "id": f"{index}.mp4"}


def collate(samples: list[dict], views: int = 2) -> dict:
    return {
        "video": torch.cat([s["video"][:views] for s in samples]),
        "label": torch.stack([s["label"] for s in samples]),
        "id": [s["id"] for s in samples],
    }


class Data(L.LightningDataModule):
    classes, batch_size = CLASSES, 4

    def test_dataloader(self) -> DataLoader:
        return DataLoader(Films(10), batch_size=4, collate_fn=collate)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Films(10), batch_size=4, collate_fn=lambda samples: collate(samples, views=1))

    val_dataloader = test_dataloader


class Watching(Task):
    """Task that predicts the brightest channel of the last frame; the other frames do not matter."""

    def forward(self, video: Tensor) -> Tensor:
        return 3 * video[:, :, -1].mean((-2, -1)) + 0 * self.head.weight.sum()

    def on_after_batch_transfer(self, batch: dict, dataloader_idx: int) -> dict:
        return batch | {"video": self.backbone.normalize(batch["video"])}

    def training_step(self, batch: dict, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch["video"]), batch["label"])

    def validation_step(self, batch: dict, batch_idx: int) -> dict[str, Tensor]:
        scores = self(batch["video"]).softmax(1).unflatten(0, (-1, 2)).mean(1)
        return {"label": scores.argmax(1), "scores": scores}

    test_step = validation_step


def test_a_run_leaves_strips_animations_confusions_and_a_table(trainer, tmp_path):
    run = trainer(Figures(samples=6), Predictions())
    run.fit(Watching(), datamodule=Data())
    run.test(Watching(), datamodule=Data(), verbose=False)
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    of_each = ("predictions", "mistakes", "confusion", "confused")
    assert drawn == {"train_batch", *(f"{stage}_{kind}" for stage in ("val", "test") for kind in of_each)}
    table = (tmp_path / "predictions" / "test.csv").read_text().splitlines()
    assert len(table) == 11 and table[1].startswith("0.mp4,circle,circle,")
    assert (tmp_path / "predictions" / "test_per_class.csv").is_file()
    animations = sorted((tmp_path / "predictions" / "test_clips").glob("*.gif"))
    assert len(animations) == 6 and "_true_" in animations[0].name


def test_animations_of_an_earlier_epoch_go(trainer, tmp_path):
    old = tmp_path / "predictions" / "test_clips" / "07_cat_true_dog.gif"
    old.parent.mkdir(parents=True)
    old.touch()
    trainer(Figures(samples=2)).test(Watching(), datamodule=Data(), verbose=False)
    assert not old.exists() and len(list(old.parent.glob("*.gif"))) == 2


def test_an_animation_shows_every_frame_of_the_middle_view_in_its_colors(tmp_path):
    task, collector = Watching(), VideoCollector(1)
    batch = task.on_after_batch_transfer(collate([Films(3)[1]]), 0)
    collector.update(batch, {"label": torch.tensor([1]), "scores": torch.eye(3)[1:2]}, task, 0)
    collector.write(tmp_path, "test", task)
    (path,) = (tmp_path / "test_clips").glob("*.gif")
    film = Image.open(path)
    assert path.name == "00_square_true_square.gif" and film.n_frames == FRAMES and film.info["loop"] == 0
    film.seek(FRAMES - 1)
    shown = np.asarray(film.convert("RGB"))
    assert shown.shape == (16 * 12 + 8, 16 * 16 + 8, 3)
    green = shown[4:-4, 4:-4].reshape(-1, 3).mean(0)
    assert green == pytest.approx(Films(3).video[1, 1, :, -1].float().mean((-2, -1)).numpy(), abs=8)


def test_only_the_frame_that_the_answer_comes_from_is_missed_when_hidden():
    clips = torch.stack([film["video"][1] for film in map(Films(6).__getitem__, range(6))])
    task = Watching().train()
    losses = occlusion(task, clips, Films(6).label, list(range(FRAMES)))
    assert losses.tolist() == [[0, 0, 0, 0, 1]] * 6
    assert task.training
    answer = (Films(6).label + 1) % 3  # what hiding the true color only makes likelier
    assert occlusion(task, clips, answer, [FRAMES - 1]).max() == 0


class Answered(Watching):
    """The same task whose network is another: a file answers in its place."""

    answered = True

    def forward(self, video: Tensor) -> Tensor:
        return torch.zeros(len(video), 3)

    def predict_step(self, batch: dict, index: int) -> dict:
        return {"scores": super().forward(self.backbone.normalize(batch["video"])).softmax(1)}


def test_a_file_that_answers_in_place_of_the_network_is_asked_about_hidden_frames():
    clips = torch.stack([film["video"][1] for film in map(Films(6).__getitem__, range(6))])
    assert occlusion(Answered(), clips, Films(6).label, list(range(FRAMES))).tolist() == [[0, 0, 0, 0, 1]] * 6


def test_bars_stand_below_their_frames():
    clip = torch.full((3, 2, 96, 96), 7, dtype=torch.uint8)
    full, none = _panels(clip, [0, 1], np.array([1.0, 0.0]))
    assert full.shape == none.shape == (96 + 26, 96, 3)
    assert [int((panel[96:, 0] != 255).any(1).sum()) for panel in (full, none)] == [24, 1]


def test_long_clips_are_shown_from_their_first_to_their_last_frame():
    assert _shown(3) == [0, 1, 2]
    assert _shown(32)[0] == 0 and _shown(32)[-1] == 31 and len(_shown(32)) == 8


def test_clips_are_shown_as_the_network_was_given_them():
    backbone = Backbone()
    clip = torch.randint(0, 256, (2, 3, 4, 5, 5), dtype=torch.uint8)
    given = (clip.float() / 255 - backbone.mean.view(1, 3, 1, 1, 1)) / backbone.std.view(1, 3, 1, 1, 1)
    assert torch.equal(visible(given, backbone), clip)


def test_the_pairs_most_confused_come_first_and_right_answers_not_at_all():
    matrix = np.array([[9, 2, 0], [5, 1, 1], [0, 0, 8]])
    assert most_confused(matrix) == [(1, 0, 5), (0, 1, 2), (1, 2, 1)]
    assert most_confused(matrix, most=1) == [(1, 0, 5)]
    assert most_confused(np.diag([3, 4])) == []


def test_each_clip_of_a_batch_has_the_class_of_its_video(monkeypatch):
    batch, shown = collate([Films(3)[i] for i in (2, 0, 1)]), []
    monkeypatch.setattr(module, "strips", lambda rows, headings, captions, *_: shown.append((len(rows), captions)))
    for samples in (5, 8):
        draw_clips(batch, samples, Backbone(), Data())
    names = [CLASSES[2]] * 2 + [CLASSES[0]] * 2 + [CLASSES[1]] * 2
    assert shown == [(5, names[:5]), (6, names)]
