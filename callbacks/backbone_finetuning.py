"""Finetuning of a backbone that is unfrozen during the training, also of a training that is resumed after that."""

import lightning as L
from lightning.pytorch.callbacks import BackboneFinetuning


class ResumableFinetuning(BackboneFinetuning):
    """Lightning's BackboneFinetuning, which on resuming restores the optimizer's groups but leaves the backbone frozen.

    Args:
        of: the callback as configured.
    """

    def __init__(self, of: BackboneFinetuning):
        vars(self).update(vars(of))

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        before = [len(optimizer.param_groups) for optimizer in trainer.optimizers]
        super().on_fit_start(trainer, pl_module)
        if before != [len(optimizer.param_groups) for optimizer in trainer.optimizers]:
            self.make_trainable(pl_module.backbone)
