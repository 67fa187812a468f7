"""Termination of training at a nan or infinite loss, before a checkpoint is spoiled."""

from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from modules.contracts import Batch, DataError


class Step(NamedTuple):
    """Place of a step in the training: network, counts, learning rates and the ids of its batch."""

    whose: str
    step: int
    epoch: int
    batch: int
    rates: list[float]
    ids: list[str]


class TerminateOnNaN(Callback):
    """Terminate training when a loss becomes nan or infinite, naming the step and the samples of the batch.

    Checked are `loss` and `NETWORK_loss` of each training step: on a CPU immediately, on an accelerator without
    synchronizing every step: the first bad step is recorded on the device and read every `log_every_n_steps` steps, at
    the end of an epoch, and before validation and each checkpoint.

    Raises:
        DataError: a loss is not finite.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []  # since the last check
        self._first: Tensor | None = None  # (2,) on the device: index into them of the first bad one (or -1), its loss
        self._rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        # Read here, because at the end of the batch the schedule has already moved on.
        self._rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        for name, loss in (outputs or {}).items():
            if name != "loss" and not name.endswith("_loss"):
                continue
            if loss.device.type == "cpu" and loss.isfinite():
                continue
            self._note(loss.detach(), len(self._steps))
            whose, ids = name.removesuffix("loss").removesuffix("_"), list(batch.get("id", []))[:3]
            step = Step(whose, trainer.global_step, trainer.current_epoch, batch_idx, self._rates, ids)
            self._steps.append(step)
            if loss.device.type == "cpu" or len(self._steps) >= max(trainer.log_every_n_steps, 1):
                self._check()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check()

    def _note(self, loss: Tensor, index: int) -> None:
        """Keep index and value of the first loss that is not finite, without synchronizing."""
        entry = torch.stack([torch.full_like(loss, index, dtype=torch.float32), loss.float()])
        if self._first is None:
            self._first = torch.tensor([-1.0, 0.0], device=loss.device)
        self._first = torch.where((self._first[0] >= 0) | loss.isfinite(), self._first, entry)

    def _check(self) -> None:
        if self._first is None:
            return
        index, loss = self._first.tolist()
        if index >= 0:
            bad = self._steps[int(index)]
            images = f", whose images begin with {', '.join(bad.ids)}" if bad.ids else ""
            rates, options = " and ".join(f"{rate:.3g}" for rate in bad.rates), "--model.optim.lr"
            if len(bad.rates) > 1:
                options += " and --model.discriminator_optim.lr"
            raise DataError(
                f"the loss{f' of the {bad.whose}' if bad.whose else ''} is {loss} at step {bad.step} (epoch "
                f"{bad.epoch + 1}, batch {bad.batch + 1}{images}) with learning rate {rates}; lower it ({options}), "
                f"or look at the images in that batch"
            )
        self._first, self._steps = None, []
