"""Base of the data modules: transfer of batches to the device, loaders, and resuming."""

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import datamodules
from datamodules.base import DataModule, to_device

META = torch.device("meta")  # has no bytes, so what lies there was moved


def make_images(*sizes: tuple[int, int]) -> list[Tensor]:
    return [torch.zeros(3, *size, dtype=torch.uint8) for size in sizes]


BATCHES = {
    "image": {"image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "label": torch.tensor([0, 1]), "id": ["a", "b"]},
    "views": {"views": [torch.zeros(2, 3, n, n, dtype=torch.uint8) for n in (8, 8, 4, 4)], "id": ["a", "b"]},
    "video": {"video": torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8), "label": torch.tensor([0, 1])},
    "detection": {
        "image": make_images((8, 9), (7, 6)),
        "boxes": [torch.rand(3, 4), torch.rand(0, 4)],
        "labels": [torch.tensor([1, 2, 0]), torch.zeros(0, dtype=torch.int64)],
        "masks": [torch.ones(3, 8, 9, dtype=torch.bool), torch.ones(0, 7, 6, dtype=torch.bool)],
        "id": ["a", "b"],
    },
    "semantic": {"image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "mask": torch.full((2, 8, 8), 255)},
    "translation": {
        "source": torch.tensor([[1, 2, 0], [1, 2, 3]]),
        "target": torch.tensor([[4], [5]]),
        "source_text": ["one", "two"],
        "target_text": ["eins", "zwei"],
    },
    "captions": {"image": torch.zeros(1, 3, 8, 8), "captions": [["a cat", "one cat"], []], "id": ["a", "b"]},
    "nested": {"image": torch.zeros(1, 3, 8, 8), "more": {"pair": (torch.ones(2), "text"), "count": 3, "none": None}},
    "empty": {"boxes": [], "id": []},
}


def leaves(value: object) -> list:
    if isinstance(value, dict):
        return leaves(list(value.values()))
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


@pytest.mark.parametrize("name", BATCHES)
def test_every_tensor_of_a_batch_moves_and_nothing_else_changes(name):
    batch = BATCHES[name]
    moved = to_device(batch, META)
    assert moved.keys() == batch.keys()
    for before, after in zip(leaves(batch), leaves(moved), strict=True):
        if isinstance(before, Tensor):
            assert (after.device, after.shape, after.dtype) == (META, before.shape, before.dtype)
        else:
            assert after is before
    for before, after in zip(batch.values(), moved.values(), strict=True):
        assert type(after) is type(before)


def test_strings_are_not_walked_through():
    class Names(list):
        def __iter__(self):
            raise AssertionError("walked through")

    names = Names(["a", "b"])
    assert to_device({"id": names}, META)["id"] is names


class Numbers(DataModule):
    def train_dataloader(self) -> DataLoader:
        batches = [{"image": torch.ones(2, 3), "id": ["a", "b"]}] * 2
        return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)

    def dataset(self, split: str, purpose: str) -> None:
        return None


def test_the_trainer_moves_batches_our_way(tmp_path, monkeypatch):
    seen = []

    class Task(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def training_step(self, batch: dict, index: int) -> Tensor:
            seen.append(batch["id"])
            return self.layer(batch["image"]).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def never(*_: object) -> None:
        raise AssertionError("Lightning's own was used")

    monkeypatch.setattr(L.LightningModule, "transfer_batch_to_device", never)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(Task(), datamodule=Numbers())
    assert seen == [["a", "b"]] * 2


@pytest.mark.parametrize(
    "name", ["Shapes", "ShapesMasks", "ShapesObjects", "ShapesVideo", "ShapesCaptions", "ShapesSentences"]
)
def test_built_in_data_has_no_split_that_was_given_no_samples(name):
    data = getattr(datamodules, name)(train=12, val=0, test=0, workers=0)
    data.setup("fit")
    assert [split for split in ("train", "val", "test") if data.has(split)] == ["train"]
    assert not any("nan" in line or "val" in line for line in data.describe())
