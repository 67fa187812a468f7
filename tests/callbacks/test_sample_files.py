"""Files of generated images: single images, a grid, and their classes."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks import Predictions


def written(tmp_path, channels: int, condition: str | None, count: int = 70, predicting: bool = True):
    image = torch.randint(0, 256, (count, channels, 8, 8), dtype=torch.uint8)
    trainer = SimpleNamespace(
        default_root_dir=str(tmp_path),
        global_rank=0,
        world_size=1,
        is_global_zero=True,
        predicting=predicting,
        testing=not predicting,
        strategy=SimpleNamespace(barrier=lambda: None),
    )
    task = SimpleNamespace(classes=["a", "b"], condition=condition)
    writer, step = Predictions(), 50
    for first in range(0, count, step):
        part = image[first : first + step]
        outputs = {"generated": part, "noise": None, "label": torch.arange(first, first + len(part)) % 2}
        batch = {"id": [f"{i:06d}" for i in range(first, first + len(part))]}
        end = writer.on_predict_batch_end if predicting else writer.on_test_batch_end
        end(trainer, task, outputs, batch, 0, 0)
    (writer.on_predict_end if predicting else writer.on_test_end)(trainer, task)
    return image, tmp_path / "predictions", writer.files


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("condition", [None, "projection"])
def test_every_image_and_a_grid_of_the_first(tmp_path, channels, condition):
    image, folder, files = written(tmp_path, channels, condition)
    assert files == [folder / "grid.png", folder / "predict.csv", folder / "samples"]
    names = sorted(path.name for path in (folder / "samples").iterdir())
    assert names == [f"{i:06d}.png" for i in range(70)]
    for i in (0, 55, 69):
        saved = np.array(Image.open(folder / "samples" / f"{i:06d}.png"))
        np.testing.assert_array_equal(saved.reshape(8, 8, channels), image[i].permute(1, 2, 0))
    grid = np.array(Image.open(folder / "grid.png"))
    assert grid.shape == (8 * 10 + 2, 8 * 10 + 2, 3)
    np.testing.assert_array_equal(grid[12:20, 22:30, 0], image[8 + 2, 0])  # second row, third image
    with (folder / "predict.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 70
    assert rows[3] == {"path": "000003"} | ({"label": "b"} if condition else {})


def test_a_test_writes_none(tmp_path):
    assert written(tmp_path, 3, None, predicting=False)[2] == []
    assert not (tmp_path / "predictions").exists()
