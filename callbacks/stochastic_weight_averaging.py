"""Stochastic weight averaging whose batch-norm pass follows the training (Izmailov et al. 2018)."""

from itertools import islice

import lightning as L
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging


class AveragingAfterTraining(StochasticWeightAveraging):
    """Lightning's StochasticWeightAveraging without its additional epoch.

    Lightning measures the statistics of batch norms under the averaged weights in one more epoch of the training, which
    everything then counts, saves and resumes as an epoch. Here the pass over the training samples is part of the end of
    the training: `last.ckpt` holds the weights of the last epoch, and a resumed run goes on from them.

    Args:
        of: the callback as configured.
    """

    def __init__(self, of: StochasticWeightAveraging):
        vars(self).update(vars(of))

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        trainer.fit_loop.max_epochs = self._max_epochs
        self.norms, self._model_contains_batch_norm = self._model_contains_batch_norm, False

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_end(trainer, pl_module)  # puts the averages into the task after the last epoch
        if self.norms and self.n_averaged and trainer.current_epoch - 1 >= self.swa_end:
            self.reset_batch_norm_and_save_state(pl_module)
            self._measure(trainer, pl_module)
            self.reset_momenta()

    @torch.no_grad()
    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pass over the training samples."""
        pl_module.train()
        pl_module.log = lambda *args, **kwargs: None  # training is over
        for i, batch in enumerate(islice(trainer.train_dataloader, int(trainer.num_training_batches))):
            batch = pl_module._on_before_batch_transfer(trainer.precision_plugin.convert_input(batch), dataloader_idx=0)
            trainer.strategy.training_step(trainer.strategy.batch_to_device(batch, dataloader_idx=0), i)
        del pl_module.log
