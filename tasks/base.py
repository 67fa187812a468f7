"""Base of all tasks: optimizer, checks of the data, logging, checkpoint contents."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import lightning as L
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim import Optimizer

from modules.contracts import Backbone, Batch, ConfigError
from modules.contracts.batches import check_labels
from modules.contracts.data_info import DataInfo
from modules.contracts.kinds import check_kinds
from modules.export.graph import Graph
from modules.export.preprocess import Preprocess
from modules.training.accumulation import total_steps
from modules.training.normalization import take_normalization
from modules.training.optim import Optim
from tasks.evaluation import Evaluation
from tasks.evaluation import Stage as Stage
from tasks.plateau import ReduceOnPlateau
from tasks.saved_settings import check_unsaved, check_weights, save_settings, saved_class
from tasks.scheduled import Scheduled
from tasks.train_metrics import TrainMetrics
from tasks.weight_averaging import EpochAverage, MovingAverage, check_averages


class Task(Evaluation, TrainMetrics, Scheduled):
    """Base of all tasks.

    Args:
        optim: optimizer, learning-rate schedule and weight decay.
        ema_decay: EMA decay of the weights, e.g. 0.999; the EMA weights are validated, tested and saved. 0 disables it.
        average_last_epochs: number of last epochs whose weights are averaged; the mean is validated, tested and saved.
            0 disables it.

    Attributes:
        monitor: metric that selects the best checkpoint, `max` or `min` by `mode`.
        fallback: loss that selects it while the monitor is constant.
        required_keys: keys that a batch must have; prediction requires the first only.
        protocols: metric -> definition as text.
        pretraining: the only product is the backbone.
        views: minimum and maximum number of augmented views per image.
        letterbox: dense prediction over the whole image, letterboxed, not cropped.
        generative: images are generated from noise.
        original_size: images are predicted in their own size, unless data.image_size is typed; with `letterbox`.
        quick: validation between epochs is faster and coarser than that of `validate`.
        float32: weights must be float32 (as in mixed precision).
        backbone: null in tasks without one.
        classes: class names in order of their index; null in tasks without.
        data: facts about the data, from `setup` on.
    """

    monitor: ClassVar[str] = "val/loss"
    mode: ClassVar[Literal["min", "max"]] = "min"
    fallback: ClassVar[str] = "val/loss"
    required_keys: ClassVar[tuple[str, ...]] = ()
    protocols: ClassVar[dict[str, str]] = {}
    pretraining: ClassVar[bool] = False
    views: tuple[int, int] = (1, 1)
    letterbox: ClassVar[bool] = False
    generative: ClassVar[bool] = False
    original_size: ClassVar[bool] = False
    quick: ClassVar[bool] = False
    float32: ClassVar[bool] = False
    backbone: Backbone | None
    classes: list[str] | None = None
    data: DataInfo = DataInfo()

    def __init__(self, optim: Optim = Optim(), ema_decay: float = 0.0, average_last_epochs: int = 0):
        super().__init__()
        self.save_hyperparameters(logger=False)
        check_kinds("model", type(self), self.hparams)
        check_averages(ema_decay, average_last_epochs)
        self.optim, self.ema_decay, self.average_last_epochs = optim, ema_decay, average_last_epochs
        self.backbone = None

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        """Networks of the startup summary, by their published names."""
        raise NotImplementedError

    def configure_callbacks(self) -> list[L.Callback]:
        last, plateau = self.average_last_epochs, self.optim.schedule == "plateau"
        average = MovingAverage(self.ema_decay) if self.ema_decay else EpochAverage(last) if last else None
        used = (average, ReduceOnPlateau() if plateau else None)
        return [one for one in used if one is not None and self.trainer.state.fn == "fit"]

    def setup(self, stage: str) -> None:
        source = self.trainer.datamodule  # null for plain loaders
        other = DataInfo() if source is None else DataInfo(type(source).__name__)  # of another program
        self.on_data(source.data_info() if hasattr(source, "data_info") else other, stage)

    def on_data(self, data: DataInfo, stage: str) -> None:
        """Take from the data what the task depends on; called by `setup`, with initial weights in place.

        Args:
            data: facts about the data, kept as `data`.
            stage: fit, validate, test or predict.

        Raises:
            ConfigError: the task does not go with the data.
        """
        self.data = data
        if stage == "fit" and self.classes is not None:
            data.check_classes(self.classes)
        if stage == "fit" and not getattr(self._trainer, "ckpt_path", None):  # a resumed run has its own
            take_normalization(data, {self.backbone, getattr(self, "exported", self.backbone)})

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Reject data of another kind than the task's.

        Raises:
            ConfigError: the batch is no dict, or lacks one of `required_keys`.
        """
        if self._trainer is not None:
            self._check(batch)
            if self.data == DataInfo() and not self.trainer.current_epoch:  # a GPU waits for the answer
                check_labels(batch, self.classes)
        return batch

    def _check(self, batch: Batch) -> None:
        needs = self.required_keys[:1] if self.trainer.predicting else self.required_keys
        if isinstance(batch, dict) and set(needs) <= batch.keys():
            return
        found = ", ".join(batch) if isinstance(batch, dict) else f"a {type(batch).__name__}, no dict (see FromDataset)"
        raise ConfigError(
            f"{type(self).__name__} needs {', '.join(needs) or 'batches by name'}, but {self.data.name} gives {found}: "
            "choose other --data or --config"
        )

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        """Graphs of an exported file by name, the first of them the file itself; see `modules.export.graph`.

        Args:
            preprocess: evaluation transform of the data's images.

        Raises:
            ConfigError: the task, or a setting of it, cannot be exported; says why and what can.
        """
        features = "" if self.backbone is None else ", but with --features it gives the features of its backbone"
        raise ConfigError(f"{type(self).__name__} has no export{features}")

    def targets(self, batch: Batch, wanted: str | None = None) -> list[Any]:
        """Targets of explanations, one per sample (or view) of a batch, for `target_score`; null where there is none.

        Args:
            batch: as the network sees it, after `on_after_batch_transfer`.
            wanted: as typed: class, number of a box, word, ...; null is what the network itself finds.

        Raises:
            ConfigError: there is no such target, or the task has none at all.
        """
        raise ConfigError(f"{type(self).__name__} has no score of single samples, so that nothing can be explained")

    @property
    def explained(self) -> tuple[nn.Module, Backbone | None]:
        """The network that gives `target_score`, and the backbone in it; null without."""
        return self, self.backbone

    def network_input(self, batch: Batch) -> Batch:
        """A batch after `on_after_batch_transfer` as `target_score` takes it."""
        return batch

    def target_score(self, batch: Batch, targets: Sequence[Any]) -> Tensor:
        """Score (B,) of a target per sample, as high as the network finds it present; differentiable.

        Args:
            batch: as the network sees it: normalized floats, at which gradients may be taken, and the keys beside them.
            targets: as `targets` gives them, such as the index of a class.
        """
        raise NotImplementedError

    def attended(self, batch: Batch, targets: Sequence[Any]) -> Tensor | None:
        """Maps (B, h, w) of where a decoder attends to the image for each target; null without such a decoder."""
        return None

    def training_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Training losses of a batch by name, with their graphs; of several networks one each, and nothing is updated.

        Args:
            batch: as `training_step` takes it.
        """
        found: Any = self.training_step(batch, 0)
        return {"loss": found["loss"] if isinstance(found, dict) else found}

    def chance_loss(self) -> float | None:
        """Training loss of a network that finds all answers equally likely, as before training.

        Null without theory: where the loss depends on the data's own spread (pixels, boxes), or there are two.
        """
        return None

    @property
    def effective_batch_size(self) -> int:
        """Samples (or tokens, as the data counts) per optimizer step, over all devices and accumulated batches.

        Raises:
            ConfigError: the data does not tell how many a batch has.
        """
        if self.data.per_step is None:
            raise ConfigError(f"{self.data.name} does not tell the size of its batches: set optim.scale_lr to false")
        return self.data.per_step * self.trainer.world_size * self.batches_per_step

    def configure_optimizers(self) -> dict[str, Any]:
        trainer = self.trainer
        net = getattr(self.backbone, "net", self.backbone)
        epoch, steps = self.steps_per_epoch(), total_steps(trainer)
        fused = trainer.precision != "16-mixed" or not trainer.gradient_clip_val  # unscales too late to be clipped
        batch = self.effective_batch_size if self.optim.scale_lr else 256
        self.check_length(self.optim, steps, epoch)
        optimizer, schedule = self.optim.build(self, net, steps, batch, fused, epoch, self.lr_factors())
        self.check_optimizer(self.optim, optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        plugin = self.trainer.precision_plugin
        # in bf16 nothing is scaled, but Lightning's plugin refuses fused optimizers all the same
        clip = partial(Precision.clip_gradients, plugin) if plugin.precision == "bf16-mixed" else plugin.clip_gradients
        clip(optimizer, gradient_clip_val or 0.0, GradClipAlgorithmType(gradient_clip_algorithm or "norm"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["task"], checkpoint["lr_searched"] = type(self).__name__, self.lr_searched
        save_settings(checkpoint, self)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, weights_only: bool = True, **kwargs: Any) -> "Task":
        """A trained task with the settings that it was trained with, in training mode: call `eval()` to predict.

        Args:
            checkpoint_path: a .ckpt file; a URL or an open file as Lightning takes them.
            args: as Lightning's.
            weights_only: read tensors and plain values only, never code.
            kwargs: as Lightning's; settings that are typed win over the checkpoint's.

        Raises:
            DataError: the path is a folder, or no checkpoint.
            ConfigError: a setting that the checkpoint could not hold is missing, one names code that is not imported,
                or class or weights do not fit.
        """
        kind = saved_class(checkpoint_path, cls, kwargs) if weights_only else cls
        return super(Task, kind).load_from_checkpoint(checkpoint_path, *args, weights_only=weights_only, **kwargs)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.lr_searched = checkpoint.get("lr_searched", False)
        check_unsaved(checkpoint, self.hparams)
        check_weights(checkpoint, self)
