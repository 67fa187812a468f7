"""Base of all data modules: loaders, workers, seeds, and the position in the epoch for exact resuming."""

import os
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, ClassVar, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datamodules.devices import to_device
from datamodules.sampler import DistributedSequentialSampler, EpochSampler
from datamodules.setting_roles import Role
from datamodules.workers import Collate, Loader, outlive_signals
from modules.contracts import Batch, DataError, check_range, check_sizes
from modules.contracts.data_info import DataInfo
from modules.contracts.kinds import check_kinds
from modules.contracts.palette import RGB
from modules.contracts.preprocessing import Preprocessing
from modules.training.trusted import trusted_settings

MOST_WORKERS = 64  # on machines of few cores
MEANING = ("palette", "mask_values")
Split = Literal["train", "val", "test"]
Purpose = Literal["train", "evaluate", "plain"]
"""`train`: augmented; `evaluate`: as the task's validation step needs them; `plain`: images for probes."""


class DataModule(L.LightningDataModule):
    """Base of all data modules.

    Deterministic sampling: all that is random about sample i in epoch e is drawn from (seed, e, i), so the number of
    workers changes nothing, and a killed run resumes in the middle of an epoch with the samples it has not seen.

    Args:
        batch_size: samples per device and step.
        workers: processes that load; 0 loads in the main process.

    Attributes: `noun` is the word for samples, `unit` that for the count of `per_step` if not these; `classes` names
    the classes, `things` those of segments told apart, `palette` colors them, and `mask_values` is the value of each in
    mask files; `category_ids` and `image_ids` are ids of classes and samples in annotations; all are null without such.
    `letterbox` asks for whole, letterboxed images with `size` and `inside` to evaluate and predict, as dense prediction
    needs them; with `original_size` such images stay as they are, for exported files. `roles` gives each setting's.
    """

    noun: str = "images"
    unit: str = ""
    classes: list[str] | None = None
    things: list[str] | None = None
    palette: list[RGB] | None = None
    mask_values: list[int] | None = None
    category_ids: list[int] | None = None
    image_ids: dict[str, int] | None = None
    letterbox = original_size = False
    repeats: int = 1  # times that a sample comes in a row
    roles: ClassVar[dict[str, Role]] = {"batch_size": "loading", "workers": "loading"}

    def __init__(self, batch_size: int = 64, workers: int = 2):
        super().__init__()
        self.save_hyperparameters(logger=False)
        check_kinds("data", type(self), self.hparams)
        check_sizes("data", batch_size=batch_size)
        check_range("data.workers", workers, high=max(MOST_WORKERS, 4 * (os.cpu_count() or 1)))
        self.batch_size, self.workers = batch_size, workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # set by --seed_everything
        self.resume = (0, 0)
        self.input_notes: list[str] = []  # sentences about the values of the samples, for every command
        self.skipped: list[str] = []  # samples left out because they cannot be used: ids, or sentences
        self.dropped: list[str] = []  # a line for each annotation left out

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        """The samples of a split as `purpose` needs them; null when there is no such split."""
        raise NotImplementedError

    def collate(self, samples: list[Any]) -> Batch:
        """Samples to a batch."""
        raise NotImplementedError

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors; Lightning's own looks into every id on the way, at every step."""
        return to_device(batch, device)

    @property
    def view_count(self) -> int:
        """Views of each sample in training, local ones included."""
        return 1

    @property
    def sides(self) -> dict[str, int]:
        """Sides of the square training views in pixels, by the option that sets them; empty without square views."""
        return {}

    @property
    def per_step(self) -> int:
        """Samples, or units of `unit`, per device and step in training."""
        return self.batch_size

    def cached(
        self, name: str, splits: Sequence[Split], about: Iterable[object], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Tensors that `compute` gives for the plain samples of some splits.

        Cached on disk by data modules whose samples have a fingerprint.

        Args:
            name: of the result, one word.
            splits: that the result depends on.
            about: further dependencies; their texts count.
            compute: gives tensors by name.
        """
        return compute()

    def kinds(self) -> np.ndarray | None:
        """Group of each training sample, int (N,), for batches of one group (aspect-ratio grouping); null for none."""
        return None

    def set_letterbox(self, letterbox: bool) -> None:
        """Set `letterbox`, as the task needs it; to be called before `setup`."""
        self.letterbox = letterbox

    def set_original_size(self) -> None:
        """Give whole images in their own size with `size` and `inside`, as exported files take them."""
        self.letterbox = self.original_size = True

    def data_info(self) -> DataInfo:
        """Facts about the data for tasks; a subclass adds what it knows by `dataclasses.replace`.

        To be had before `setup`, but its functions work only after.
        """
        name, known = type(self).__name__, self.preprocessing
        return DataInfo(name, self.classes, self.seed, self.batch_size, self.per_step, preprocessing=known)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Evaluation transform of the images, which exports rebuild inside the graph; null if it is another."""

    def majority_accuracy(self, split: Split) -> float | None:
        """Majority baseline: accuracy of always the most frequent class in training; null without classes."""
        return None

    def describe(self) -> list[str]:
        """Lines of the startup summary about the data."""
        return []

    def describe_classes(self, remedy: bool = True) -> list[str]:
        """Lines of the startup summary for tasks judged by class: the majority baseline, and a class imbalance.

        Args:
            remedy: advise class weights, for a task that has the setting and does not use it.
        """
        return []

    def train_dataloader(self) -> DataLoader:
        data, world = self.dataset("train", "train"), self._world()
        if data is None:
            raise DataError(self._missing("training", "test"))
        batch, size = self.batch_size * world, len(data)
        if batch > size:
            raise DataError(
                f"data.batch_size {self.batch_size} on {world} device(s) is larger than the training set of "
                f"{size} {self.noun}: choose at most {size // world}"
            )
        more = {"kinds": self.kinds(), "repeats": self.repeats}
        return self._loader(data, EpochSampler(size, self.seed, batch, self._rank(), world, self.resume, **more))

    def val_dataloader(self) -> DataLoader | list:
        loader = self._in_order("val", "evaluate")
        if loader is None and self.trainer and self.trainer.state.fn == "validate":
            raise DataError(self._missing("validation", "test"))
        return loader or []

    def test_dataloader(self) -> DataLoader:
        loader = self._in_order("test", "evaluate")
        if loader is None:
            raise DataError(self._missing("test", "val"))
        return loader

    def predict_dataloader(self) -> DataLoader:
        return self._in_order(self.predicted, "evaluate" if self.letterbox else "plain")

    def plain_dataloader(self, split: Split) -> DataLoader | None:
        """Every sample of a split in order and without augmentation; all of it on every device."""
        return self._in_order(split, "plain", shared=False)

    @property
    def predicted(self) -> Split:
        """The split that `predict` reads: the first of test, val and train that there is."""
        return next(split for split in ("test", "val", "train") if self.has(split))

    def has(self, split: Split) -> bool:
        """True if there is such a split."""
        return self.dataset(split, "plain") is not None

    def state_dict(self) -> dict[str, Any]:
        """Position of training in the epoch, and classes and colors of mask values; goes into the checkpoint."""
        loop = self.trainer.fit_loop
        seen, epoch = loop.epoch_loop.batch_progress.current.processed, self.trainer.current_epoch
        if seen >= loop.max_batches:  # the checkpoint of an epoch's last batch belongs to the next epoch
            seen, epoch = 0, epoch + 1
        return {"epoch": epoch, "samples": seen * self._step()} | {key: getattr(self, key) for key in MEANING}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> "DataModule":
        """The data module that a checkpoint was trained on; refuses settings that name code which is not imported."""
        trusted_settings(checkpoint_path, "datamodule_hyper_parameters", kwargs)
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.resume = (state["epoch"], state["samples"])

    def adopt(self, known: dict[str, Any], typed: Set[str] = frozenset()) -> None:
        """Take from the training data the meaning of values, such as colors of predicted masks.

        Args:
            known: the state of the training's data module.
            typed: names of the settings that the user typed, which no checkpoint handed on.
        """
        for key in MEANING:
            setattr(self, key, getattr(self, key) or known.get(key))

    def _missing(self, name: str, other: Split) -> str:
        """Sentence about a set that is not there, and the command for the `other` one where there is that."""
        command = {"val": "validate", "test": "test"}[other]
        use = f"use {command}, " if self.has(other) else ""
        return f"{type(self).__name__} has no {name} set here: {use}point --data.root to one, or choose other --data"

    def _in_order(self, split: Split, purpose: Purpose, shared: bool = True) -> DataLoader | None:
        data = self.dataset(split, purpose)
        if data is None:
            return None
        place = (self._rank(), self._world()) if shared else (0, 1)
        return self._loader(data, DistributedSequentialSampler(len(data), self.batch_size, *place))

    def _loader(self, data: Dataset, sampler: DistributedSampler, batched: bool = False) -> DataLoader:
        """A data loader; `batched`: a key of the sampler stands for a batch, not for a sample."""
        return Loader(  # by keyword: Lightning rebuilds it from its arguments to predict
            dataset=data,
            batch_size=None if batched else self.batch_size,
            sampler=sampler,
            drop_last=not batched and sampler.seed is not None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=Collate(self.collate, getattr(sampler, "surplus", False)),
            worker_init_fn=outlive_signals,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # without one, every iterator draws from torch's global generator
        )

    def _step(self) -> int:
        """Advance of the position in the epoch per step, on all devices together."""
        return self.batch_size * self._world()

    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1
