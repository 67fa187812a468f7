"""GAN training monitor: saturated discriminators and clipped weights stuck at their bound."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.results.metrics import check_generative
from modules.contracts import check_sizes

PATIENCE = 5  # checks in a row
STUCK = 0.9  # of the weights
CLIPPED_SHARE = 0.999  # of the bound


class GANMonitor(Callback):
    """Warn once when the discriminator is saturated, and once when clipped weights are stuck at their bound.

    Log key: `train/clipped_weights`, the share of a critic's weights at the bound. Saturation is read from the last
    `train/d_real` and `train/d_fake`, mean discriminator outputs on real and generated images: 1 and 0, with a hinge
    loss 1 and -1. Critics, whose outputs have no bounds (they also log `train/wasserstein`), are checked for weights
    only.

    Args:
        every: batches between two checks; each synchronizes with the device.
    """

    def __init__(self, every: int = 100) -> None:
        check_sizes("GANMonitor", every=every)
        self.every = every
        self._sure = self._stuck = 0  # checks in a row
        self._warned: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_generative(pl_module, self)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % self.every:
            return
        known = trainer.callback_metrics
        if "train/d_real" in known and "train/wasserstein" not in known:
            self._check_outputs(trainer, float(known["train/d_real"]), float(known["train/d_fake"]))
        bound = getattr(pl_module, "weight_clip", 0.0)
        if bound:
            self._check_weights(trainer, pl_module, bound)

    def _check_outputs(self, trainer: Trainer, real: float, fake: float) -> None:
        sure = real > 0.99 and (abs(fake) < 0.01 or fake < -0.99)
        self._sure = self._sure + 1 if sure else 0
        if self._sure >= PATIENCE:
            self._warn(
                "outputs",
                f"The discriminator is saturated at step {trainer.global_step}: for {PATIENCE} checks in a row it was "
                f"sure of every image (now {real:.3f} of real ones, {fake:.3f} of generated ones), which leaves the "
                f"generator little to learn from. Lower its learning rate (--model.discriminator_optim.lr), make it "
                f"smaller or spectrally normalized, or add a penalty (--model.penalty r1) or --model.augment.",
            )

    def _check_weights(self, trainer: Trainer, task: LightningModule, bound: float) -> None:
        weights = torch.cat([p.detach().flatten() for p in task.discriminator.parameters()])
        share = (weights.abs() >= CLIPPED_SHARE * bound).float().mean().item()
        task.log("train/clipped_weights", share, batch_size=1)
        self._stuck = self._stuck + 1 if share > STUCK else 0
        if self._stuck >= PATIENCE:
            self._warn(
                "weights",
                f"{100 * share:.0f} % of the critic's weights are stuck at the bound {bound:g} at step "
                f"{trainer.global_step}: it has become nearly the simplest function there is. Take a gradient penalty "
                f"(--model.weight_clip 0 --model.penalty gradient), or a smaller learning rate of the critic.",
            )

    def _warn(self, kind: str, sentence: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            rank_zero_warn(sentence)
