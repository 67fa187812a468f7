"""Pictures of what goes in and what comes out: the first training batch, predictions, mistakes, confusions."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from callbacks import drawing
from callbacks.outcomes import Outcomes
from callbacks.per_class import write_per_class
from modules.contracts import Backbone, Batch, Prediction, writing


def log_picture(trainer: Trainer, name: str, picture: np.ndarray) -> None:
    """Writes `<run>/pictures/<name>.png` and sends it to every logger that takes pictures, from the first process.

    Args:
        trainer: its `default_root_dir` is the run directory.
        name: file name without ending.
        picture: uint8 (H, W, 3).
    """
    if not trainer.is_global_zero:
        return
    from PIL import Image

    path = Path(trainer.default_root_dir) / "pictures" / f"{name}.png"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"pictures/{name}", [picture], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(f"pictures/{name}", picture, trainer.global_step, dataformats="HWC")


def visible(image: Tensor, backbone: Backbone) -> Tensor:
    """Undoes `Backbone.normalise`: float (B, C, H, W) to uint8 (B, 3, H, W); one channel is shown grey, of more than 3
    the first three."""
    mean, std = (255 * value.view(1, -1, 1, 1) for value in (backbone.mean, backbone.std))
    image = (image.float() * std + mean).round_().clamp_(0, 255).to(torch.uint8)
    return image[:, :3] if image.shape[1] >= 3 else image[:, :1].expand(-1, 3, -1, -1)


class Pictures(Callback):
    """Draws the first training batch as the network sees it, and for tasks that name classes a sample of predictions,
    the most confident mistakes and the confusion matrix, after training, validation and test.

    Args:
        samples: pictures in a grid.
        every: also draw the validation pictures every so many epochs; 0 draws them once, when training ends.
    """

    def __init__(self, samples: int = 16, every: int = 0) -> None:
        self.samples = samples
        self.every = every
        self.pending = False
        self.outcomes: Outcomes | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        drawn = Path(trainer.default_root_dir) / "pictures" / "train_batch.png"
        self.pending = trainer.is_global_zero and (trainer.global_step == 0 or not drawn.exists())

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if self.pending:
            self.pending = False
            self._draw_batch(trainer, pl_module, batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.outcomes = None

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, batch: Batch, *_: Any
    ) -> None:
        if trainer.sanity_checking or not outputs or not {"label", "scores"} <= outputs.keys() or "label" not in batch:
            return
        image = batch["image"]
        if self.outcomes is None:
            self.outcomes = Outcomes(outputs["scores"].shape[1], self.samples, image.device)
        answers = outputs["label"], outputs["scores"]
        self.outcomes.update(image, batch["label"], *answers, trainer.global_rank, trainer.world_size)

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fitting = trainer.state.fn == "fit"
        if not fitting or (self.every and (trainer.current_epoch + 1) % self.every == 0):
            self._draw_outcomes(trainer, pl_module, "val")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Early stopping decides late which epoch was the last, so the outcomes of every epoch are kept until the next.
        self._draw_outcomes(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_outcomes(trainer, pl_module, "test")

    def _draw_batch(self, trainer: Trainer, task: LightningModule, batch: Batch) -> None:
        views = batch.get("views") or [batch.get("image")]
        if not all(isinstance(view, Tensor) and view.ndim == 4 for view in views):
            return  # clips and pictures of several sizes are not drawn here
        arrays = [_arrays(visible(view[: self.samples], task.backbone)) for view in views]
        pictures = [drawing.side_by_side(views_of_one) for views_of_one in zip(*arrays, strict=True)]
        labels = batch["label"][: self.samples].cpu() if "label" in batch else None
        # From the data, because a pretraining task has no class names.
        classes = trainer.datamodule.classes
        captions = [""] * len(pictures) if labels is None else [_caption(label, classes) for label in labels]
        title = "First training batch as the network sees it"
        if len(views) > 1:
            title += f": {len(views)} views of each picture"
        log_picture(trainer, "train_batch", drawing.grid(pictures, captions, title))

    def _draw_outcomes(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        if self.outcomes is None:
            return
        outcomes, self.outcomes = self.outcomes, None
        outcomes.gather(trainer.strategy)
        if not trainer.is_global_zero:
            return
        matrix = outcomes.matrix.view(len(task.classes), -1).cpu().numpy()
        right, total = int(matrix.trace()), int(matrix.sum())
        title = f"{stage}: {right:,} of {total:,} right ({100 * right / total:.1f} %)"
        write_per_class(Path(trainer.default_root_dir) / "predictions", stage, matrix, task.classes)
        sample, mistakes = outcomes.sample.kept(), outcomes.mistakes.kept()
        log_picture(trainer, f"{stage}_predictions", _answers(sample, task, title))
        log_picture(trainer, f"{stage}_confusion", drawing.confusion(matrix, task.classes, title))
        title = f"{stage}: the {len(mistakes['true'])} most confident of {total - right:,} mistakes"
        log_picture(trainer, f"{stage}_mistakes", _answers(mistakes, task, title))


def _answers(rows: dict[str, Tensor], task: LightningModule, title: str) -> np.ndarray:
    """Grid of pictures with true and predicted class; `rows` as `Outcomes` keeps them."""
    captions, colours = [], []
    for true, predicted, confidence in zip(rows["true"], rows["predicted"], rows["confidence"].tolist(), strict=True):
        right = bool(true == predicted)
        mark, said = "✓" if right else "✗", drawing.shorten(task.classes[predicted], 14)
        captions.append(f"{mark} {said} {100 * confidence:.0f} %\ntrue: {drawing.shorten(task.classes[true], 16)}")
        colours.append(drawing.RIGHT if right else drawing.WRONG)
    backbone = task.backbone
    pictures = _arrays(visible(rows["image"].to(backbone.mean.device), backbone))
    return drawing.grid(pictures, captions, title, colours)


def _arrays(image: Tensor) -> list[np.ndarray]:
    return list(image.permute(0, 2, 3, 1).cpu().numpy())


def _caption(label: Tensor, classes: list[str]) -> str:
    """The class name; for mixed labels (MixUp, CutMix) the two largest shares."""
    if label.ndim == 0:
        return drawing.shorten(classes[label])
    shares, indices = label.topk(min(2, len(label)))
    parts = zip(shares.tolist(), indices.tolist(), strict=True)
    return "\n".join(f"{drawing.shorten(classes[i], 14)} {100 * share:.0f} %" for share, i in parts if share > 0.005)
