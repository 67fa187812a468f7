"""Scheduled accumulation of gradients: the steps of an epoch that is resumed, and of the training."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from torch.utils.data import DataLoader

from callbacks.gradient_accumulation import ResumableAccumulation
from modules.training.accumulation import first_batches_per_step, total_steps


class Line(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, index):
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAt(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 5:
            trainer.save_checkpoint("five.ckpt")


@pytest.mark.parametrize("most", [-1, 7])
def test_the_factor_of_the_epoch_holds_when_it_is_resumed(tmp_path, monkeypatch, most):
    monkeypatch.chdir(tmp_path)

    def trained(*more, **resume) -> L.Trainer:
        accumulation = ResumableAccumulation(GradientAccumulationScheduler({0: 1, 1: 2, 2: 3}))
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
        quiet |= {"enable_model_summary": False, "accelerator": "cpu", "max_steps": most}
        trainer = L.Trainer(max_epochs=3, callbacks=[accumulation, *more], **quiet)
        trainer.fit(Line(), DataLoader(torch.ones(4, 1)), **resume)
        return trainer

    whole, resumed = trained(SaveAt()), trained(ckpt_path="five.ckpt", weights_only=True)
    for trainer in (whole, resumed):
        assert trainer.global_step == total_steps(trainer) == (4 + 2 + 2 if most < 0 else most)
        assert first_batches_per_step(trainer) == 1
