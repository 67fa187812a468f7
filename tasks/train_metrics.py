"""Metrics of the training: values of single steps, and means of an epoch that survive a resume."""

from typing import Any

import lightning as L
from torch import Tensor
from torch.distributed import all_gather_object

from modules.metrics.means import Means

AVERAGED = ("loss", "accuracy")


class TrainMetrics(L.LightningModule):
    """Metrics of the training: `train/NAME` of single steps, and of loss and accuracy the mean `train/NAME_epoch`.

    The means are over the batches as the network was trained on them: augmented, in train mode, with the weights of
    their time. They are summed on the device, saved with checkpoints, and equal on every device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.train_means = Means()
        self._logged = -1

    def log_step(self, values: dict[str, Tensor | float], count: int = 1) -> None:
        """Log `train/NAME` every `log_every_n_steps` steps, and means at the end of the epoch.

        The progress bar shows `train/loss`. Of a batch that is evaluated several times (L-BFGS, SAM), the first counts.

        Args:
            values: scalars of a training batch.
            count: number of samples behind each, to weigh it in the means.
        """
        trainer: Any = self.trainer
        batch = trainer.fit_loop.epoch_loop.total_batch_idx
        if trainer.training and batch == self._logged:
            return
        self._logged = batch
        self.train_means.update({name: values[name] for name in AVERAGED if name in values}, count)
        if trainer.log_every_n_steps and (trainer.global_step + 1) % trainer.log_every_n_steps == 0:
            for name, value in values.items():
                self.log(f"train/{name}", value, prog_bar=name == "loss", sync_dist=True)

    def on_train_start(self) -> None:
        super().on_train_start()
        self._logged = -1
        if not self.trainer.ckpt_path:
            self.train_means = Means()  # without the steps of a learning-rate finder

    def on_train_epoch_end(self) -> None:
        means = {f"train/{name}_epoch": value.to(self.device) for name, value in self.train_means.compute().items()}
        self.log_dict(means, batch_size=1, sync_dist=True)  # a mean of equals

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = [{name: part.cpu() for name, part in self.train_means.sums.items()}]
        if (trainer := self._trainer) is not None and trainer.world_size > 1:
            here, states = states[0], [{}] * trainer.world_size
            all_gather_object(states, here)
        checkpoint["train_means"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        rank, world = (0, 1) if (trainer := self._trainer) is None else (trainer.global_rank, trainer.world_size)
        self.train_means = Means()
        for state in checkpoint.get("train_means", [])[rank::world]:  # of as many devices as then
            self.train_means.add(state)
