"""Base of GANs: losses of discriminator and generator, gradient penalties, augmentation, validation metrics."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.augmentation.diff_augment import PARAMETERS, Change, diff_augment
from modules.contracts import Batch, ConfigError, Prediction
from modules.gan import DiscriminatorOutput
from modules.losses.adversarial import GANLoss, dragan, gradient_penalty, r1
from tasks.base import Stage
from tasks.generation import Generation

Penalty = Literal["none", "gradient", "r1", "dragan"]


class Adversarial(Generation):
    """Base of generative adversarial networks; a subclass names the `game`.

    Args:
        aux_loss_weight: weight of the auxiliary classifier's cross-entropy, in both losses.
        penalty: gradient penalty of the discriminator: `gradient` (Gulrajani et al. 2017), `r1` (Mescheder et al. 2018)
            or `dragan` (Kodali et al. 2017).
        penalty_weight: weight of the penalty.
        penalty_every: discriminator steps per step with the penalty, whose weight is multiplied by this number (lazy
            regularization).
        augment: DiffAugment (Zhao et al. 2020): augmentations of real and generated images before the discriminator,
            for few training images; some of `color`, `translation`, `cutout`.
    """

    monitor = "val/FID-test_resnet"
    mode = "min"
    protocols: ClassVar[dict[str, str]] = {
        "d_real": "mean output of the discriminator on real images",
        "d_fake": "mean output of the discriminator on as many generated images",
        "discriminator_loss": "mean over batches, without penalty",
    }
    game: GANLoss

    def __init__(
        self,
        aux_loss_weight: float = 1.0,
        penalty: Penalty = "none",
        penalty_weight: float = 10.0,
        penalty_every: int = 1,
        augment: list[Change] = [],  # noqa: B006
        **kwargs,
    ):
        super().__init__(**kwargs)
        if penalty_every < 1:
            raise ConfigError(f"model.penalty_every is {penalty_every}, but it counts from 1")
        self.mixes = self.discriminator.mixes
        if penalty != "none" and self.mixes:
            raise ConfigError(
                f"model.penalty {penalty} is about the slope at each image alone, but batch norm in "
                f"{type(self.discriminator).__name__} makes every score depend on the whole batch: choose a "
                f"discriminator without it (--model.discriminator.norm layer, or ResNetDiscriminator)"
            )
        self.aux_loss_weight, self.augment = aux_loss_weight, augment
        self.penalty, self.penalty_weight, self.penalty_every = penalty, penalty_weight, penalty_every

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        real, label = self.scaled(batch["image"]), batch["label"] if self.condition else None
        stepping, persuading = self.turns
        once = persuading and self.accumulate == 1  # then both networks use the same generated images
        with torch.set_grad_enabled(once):
            fake = self._fake(len(real), label)
        losses = {"discriminator_loss": self._train_discriminator(real, fake.detach(), label)}
        self.collected += 1
        if stepping:
            self.step_discriminator(alone=not persuading)
            self.constrain()
        if persuading:
            fakes = [fake] if once else (self._fake(len(real), label) for _ in range(self.accumulate))
            losses["generator_loss"] = self._train_generator(fakes, label)
            self.step_generator()
        self.measured |= losses
        self.log_step(self.measured)
        return losses

    def constrain(self) -> None:
        """Constrain the discriminator's parameters after each of its steps; does nothing by default."""

    def _fake(self, count: int, label: Tensor | None) -> Tensor:
        return self.generator(self.draw(torch.randn, count, self.latent), label)

    def _train_discriminator(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor:
        real, fake = self._changed(real), self._changed(fake)
        on_real, on_fake = self._outputs(real, fake, label)
        if self.logging:
            self.measured |= self.outlook(on_real.score.detach(), on_fake.score.detach())
        loss = self.game.discriminator(on_real.score, on_fake.score)
        if self.condition == "auxiliary":
            loss = loss + self._naming(on_real, label) + self._naming(on_fake, label)
        steps = self.trainer.global_step * self.n_critic + self.rounds
        if self.penalty != "none" and steps % self.penalty_every == 0:
            penalty = self._penalty(real, fake, label)
            self.measured["penalty"] = penalty.detach()
            loss = loss + self.penalty_weight * self.penalty_every * penalty
        self.collect(loss)
        return loss.detach()

    def _train_generator(self, fakes: Iterable[Tensor], label: Tensor | None) -> Tensor:
        total = torch.zeros((), device=self.device)
        with _held(self.discriminator):
            for fake in fakes:
                output = self.discriminator(self._changed(fake), label)
                loss = self.game.generator(output.score)
                if self.condition == "auxiliary":
                    loss = loss + self._naming(output, label)
                self.collect(loss)
                total += loss.detach() / self.accumulate
        return total

    def _changed(self, image: Tensor) -> Tensor:
        if not self.augment:
            return image
        return diff_augment(image.float(), self.draw(torch.rand, len(image), PARAMETERS), self.augment)

    def _outputs(
        self, real: Tensor, fake: Tensor, label: Tensor | None
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """Discriminator outputs on real and generated images, in one pass unless its batch norm mixes images."""
        if self.mixes:
            return self.discriminator(real, label), self.discriminator(fake, label)
        twice = None if label is None else torch.cat([label, label])
        score, logits = self.discriminator(torch.cat([real, fake.to(real.dtype)]), twice)
        count = len(real)
        parts = slice(None, count), slice(count, None)
        return tuple(DiscriminatorOutput(score[part], None if logits is None else logits[part]) for part in parts)

    def _naming(self, output: DiscriminatorOutput, label: Tensor) -> Tensor:
        return self.aux_loss_weight * functional.cross_entropy(output.logits.float(), label)

    def _penalty(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor:
        def critic(image: Tensor) -> Tensor:
            return self.discriminator(image, label).score

        if self.penalty == "r1":
            return r1(critic, real)
        mix = self.draw(torch.rand, len(real), 1, 1, 1)
        if self.penalty == "gradient":
            return gradient_penalty(critic, real, fake, mix)
        return dragan(critic, real, mix, self.draw(torch.rand, *real.shape))

    def outlook(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Scalars to log from discriminator scores (B,) of real and of generated images."""
        if self.game.probability:
            real, fake = real.sigmoid(), fake.sigmoid()
        return {"d_real": real.float().mean(), "d_fake": fake.float().mean()}

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        """Evaluate as many generated as real images, of noise that is the same in every epoch and on any devices."""
        real, label = self.scaled(batch["image"]), batch["label"] if self.condition else None
        prediction = self.make(batch, index, 0)
        scores = [v.score for v in self._outputs(real, prediction.pop("image"), label)]
        values = self.outlook(*scores) | {"discriminator_loss": self.game.discriminator(*scores)}
        self.log_mean(stage, values, len(real))
        return prediction


@contextmanager
def _held(network: nn.Module) -> Iterator[None]:
    """Context manager without gradients for a network through which another one is trained."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
