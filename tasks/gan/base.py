"""Base of GANs: losses of discriminator and generator, validation metrics, and image generation."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Optimizer

from modules.augmentation.diff_augment import Change
from modules.contracts import Backbone, Batch, ConfigError, Prediction
from modules.contracts.data_info import class_names
from modules.gan import BackboneDiscriminator, Condition, DCGANDiscriminator, DCGANGenerator, ImageSpec
from modules.gan.contracts import DiscriminatorFactory, GeneratorFactory
from modules.insight.targets import class_index
from modules.losses.adversarial import GANLoss, Penalty
from modules.training.ema import ema_update, warmed_up
from modules.training.optim import Optim
from modules.training.transfer import load_backbone
from tasks.base import Stage
from tasks.gan.generation import Generation
from tasks.gan.losses import AdversarialLoss
from tasks.gan.updates import AlternatingUpdates, frozen

FIXED = 64  # fixed noise vectors for figures
ADAM = Optim(lr=2e-4, betas=(0.5, 0.999), weight_decay=0.0, schedule="linear", warmup=0.0)


class AdversarialTask(Generation):
    """Base of generative adversarial networks; a subclass sets `gan_loss`.

    Args:
        generator: noise (and labels) to images.
        discriminator: images to real-or-generated scores.
        image_size: side of the images in pixels; null takes the data's, 32 where there is none.
        channels: number of image channels.
        latent: dimension of the noise.
        classes: class names in order of their index; null takes the data's.
        condition: conditioning on labels: `embedding`, `projection` or `auxiliary`; null ignores them.
        aux_loss_weight: weight of the auxiliary classifier's cross-entropy, in both losses.
        penalty: gradient penalty of the discriminator: `gradient` (Gulrajani et al. 2017), `r1` (Mescheder et al. 2018)
            or `dragan` (Kodali et al. 2017).
        penalty_weight: weight of the penalty.
        penalty_every: discriminator steps per step with the penalty, whose weight is multiplied by this number (lazy
            regularization).
        augment: DiffAugment (Zhao et al. 2020): augmentations of real and generated images before the discriminator,
            for few training images; some of `color`, `translation`, `cutout`.
        n_critic: discriminator steps per generator step.
        accumulate: batches per step of either network (gradient accumulation).
        gradient_clip: maximum gradient norm of either network; 0 is off.
        optim: optimizer, learning-rate schedule and weight decay of the generator.
        discriminator_optim: the same for the discriminator.
        ema_decay: EMA decay of the generator's weights, e.g. 0.999; the EMA generator then makes all images that are
            evaluated and written. 0 disables it.

    Attributes: `fixed_noise` (64, latent) is the same throughout a run; `averaged` is the EMA of the generator, null
    without; `measured` has the latest value of each logged scalar.
    """

    monitor = "val/FID-test_resnet"
    mode = "min"
    float32 = True
    protocols: ClassVar[dict[str, str]] = {
        "d_real": "mean output of the discriminator on real images",
        "d_fake": "mean output of the discriminator on as many generated images",
        "discriminator_loss": "mean over batches, without penalty",
    }
    gan_loss: GANLoss

    def __init__(
        self,
        generator: GeneratorFactory = DCGANGenerator,
        discriminator: DiscriminatorFactory = DCGANDiscriminator,
        image_size: int | None = None,
        channels: int = 3,
        latent: int = 128,
        classes: list[str] | None = None,
        condition: Condition | None = None,
        aux_loss_weight: float = 1.0,
        penalty: Penalty = "none",
        penalty_weight: float = 10.0,
        penalty_every: int = 1,
        augment: list[Change] = [],  # noqa: B006
        n_critic: int = 1,
        accumulate: int = 1,
        gradient_clip: float = 0.0,
        optim: Optim = ADAM,
        discriminator_optim: Optim = ADAM,
        ema_decay: float = 0.0,
    ):
        super().__init__(optim=optim, ema_decay=ema_decay)
        self.automatic_optimization, self.discriminator_optim = False, discriminator_optim
        self.updates = AlternatingUpdates(self, n_critic, accumulate, gradient_clip)
        self.latent, self.classes, self.condition = latent, class_names(classes, "model.classes"), condition
        self.measured: dict[str, Tensor] = {}
        self.required_keys = ("image", "label") if condition else ("image",)
        self.spec = ImageSpec.of(channels, image_size or 32, len(self.classes or []), condition)
        self.generator = generator(self.spec, latent).to(memory_format=torch.channels_last)
        self.discriminator = discriminator(self.spec).to(memory_format=torch.channels_last)
        self.averaged = deepcopy(self.generator).requires_grad_(False) if ema_decay else None
        self.register_buffer("fixed_noise", torch.randn(FIXED, latent, generator=torch.Generator().manual_seed(0)))
        penalties = penalty, penalty_weight, penalty_every
        self.losses = AdversarialLoss(self.discriminator, aux_loss_weight, *penalties, augment, self.updates.draw)

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        return {type(network).__name__: network for network in (self.generator, self.discriminator)}

    @property
    def batches_per_step(self) -> int:
        return self.updates.accumulate

    def setup(self, stage: str) -> None:
        network, starting = self.discriminator, stage == "fit" and not self.trainer.ckpt_path
        if starting and isinstance(network, BackboneDiscriminator) and network.weights:
            rank_zero_info(load_backbone(network.backbone, network.weights))
        super().setup(stage)

    def _check(self, batch: Batch) -> None:
        if not self.trainer.predicting:  # only their number is needed
            super()._check(batch)

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        updates = self.updates
        real, label = self.spec.scale(batch["image"]), batch["label"] if self.condition else None
        discriminator_steps, generator_steps = updates.due
        shared = generator_steps and updates.accumulate == 1  # then both networks use the same generated images
        with torch.set_grad_enabled(shared):
            fake = self._fake(len(real), label)
        losses = {"discriminator_loss": self._train_discriminator(real, fake.detach(), label)}
        if discriminator_steps:
            updates.step_discriminator(alone=not generator_steps)
            self.constrain()
        if generator_steps:
            fakes = [fake] if shared else (self._fake(len(real), label) for _ in range(updates.accumulate))
            losses["generator_loss"] = self._train_generator(fakes, label)
            updates.step_generator()
            if self.averaged is not None:
                decay = warmed_up(self.ema_decay, self.trainer.global_step)
                ema_update(self.averaged, self.generator, decay)
        self.measured |= losses
        self.log_step(self.measured)
        return losses

    @property
    def explained(self) -> tuple[nn.Module, Backbone | None]:
        network = self.discriminator
        return network, network.backbone if isinstance(network, BackboneDiscriminator) else None

    def network_input(self, batch: Batch) -> Batch:
        return batch | {"image": self.spec.scale(batch["image"])}

    def targets(self, batch: Batch, wanted: str | None = None) -> list[int]:
        """See `Task`: the class that a conditional discriminator judges by; 0 by default, and without classes."""
        if wanted is not None and not self.condition:
            raise ConfigError(f"--target is {wanted!r}, but this discriminator judges without classes: leave it out")
        index = class_index("0" if wanted is None else wanted, self.classes or ()) if self.condition else 0
        return [index] * len(batch["image"])

    def target_score(self, batch: Batch, targets: Sequence[int]) -> Tensor:
        """See `Task`: score of the discriminator, higher for real; images (B, C, H, W) are floats in -1..1."""
        label = torch.tensor(targets, device=self.device) if self.condition else None
        return self.discriminator(batch["image"], label).score.float()

    def training_losses(self, batch: Batch) -> dict[str, Tensor]:
        real, label = self.spec.scale(batch["image"]), batch["label"] if self.condition else None
        fake, step = self._fake(len(real), label), self.updates.discriminator_steps
        losses = {"discriminator": self.losses.of_discriminator(self.gan_loss, real, fake.detach(), label, step)[0]}
        with frozen(self.discriminator):
            return losses | {"generator": self.losses.of_generator(self.gan_loss, fake, label)}

    def constrain(self) -> None:
        """Constrain the discriminator's parameters after each of its steps; does nothing by default."""

    def _fake(self, count: int, label: Tensor | None) -> Tensor:
        return self.generator(self.updates.draw(torch.randn, count, self.latent), label)

    def _train_discriminator(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor:
        step = self.updates.discriminator_steps
        loss, parts = self.losses.of_discriminator(self.gan_loss, real, fake, label, step)
        if self.logging:
            self.measured |= self.gan_loss.score_means(parts["real"], parts["fake"])
        if "penalty" in parts:
            self.measured["penalty"] = parts["penalty"]
        self.updates.backward(loss)
        self.updates.count_batch()
        return loss.detach()

    def _train_generator(self, fakes: Iterable[Tensor], label: Tensor | None) -> Tensor:
        total = torch.zeros((), device=self.device)
        with frozen(self.discriminator):
            for fake in fakes:
                loss = self.losses.of_generator(self.gan_loss, fake, label)
                self.updates.backward(loss)
                total += loss.detach() / self.updates.accumulate
        return total

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        """Evaluate as many generated as real images, of noise that is the same in every epoch and on any devices."""
        real, label = self.spec.scale(batch["image"]), batch["label"] if self.condition else None
        prediction = self.make(batch, index, 0)
        scores = [output.score for output in self.discriminator.compare(real, prediction.pop("image"), label)]
        values = {"discriminator_loss": self.gan_loss.discriminator(*scores)}
        self.log_mean(stage, self.gan_loss.score_means(*scores) | values, len(real))
        return prediction

    @property
    def logging(self) -> bool:
        """True for batches that loggers write."""
        every = self.trainer.log_every_n_steps
        return bool(every) and (self.trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0

    def log_step(self, values: dict[str, Tensor | float]) -> None:
        """Log `train/NAME` every `log_every_n_steps` batches; the progress bar shows both losses."""
        if self.logging:
            for name, value in values.items():
                self.log(f"train/{name}", value, prog_bar=name.endswith("_loss"), sync_dist=True)
            self.on_eval_epoch_end("train")

    def on_eval_epoch_end(self, stage: str) -> None:
        """Log step and epoch, since loggers would count batches as steps."""
        place = {"step": float(self.trainer.global_step), "epoch": float(self.trainer.current_epoch)}
        self.log_dict(place, sync_dist=True)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip gradients, after unscaling for half precision."""
        self.updates.clip(optimizer)

    def configure_callbacks(self) -> list[L.Callback]:
        return self.updates.callbacks(self.optim, self.discriminator_optim)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        batch = self.effective_batch_size if self.optim.scale_lr or self.discriminator_optim.scale_lr else 256
        return self.updates.build(self.optim, self.discriminator_optim, batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["rounds"], checkpoint["measured"] = self.updates.rounds, self.measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.measured = dict(checkpoint["measured"])
        self.updates.resume(checkpoint["rounds"])
