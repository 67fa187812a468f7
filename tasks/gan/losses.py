"""Losses of discriminator and generator: GAN loss, auxiliary classifier, gradient penalty and DiffAugment."""

from collections.abc import Callable

from torch import Tensor, rand
from torch.nn import functional

from modules.augmentation.diff_augment import PARAMETERS, Change, diff_augment
from modules.contracts import ConfigError, check_range
from modules.gan.contracts import Discriminator, DiscriminatorOutput
from modules.losses.adversarial import GANLoss, Penalty, dragan, gradient_penalty, r1


class AdversarialLoss:
    """Losses of both networks; images are augmented before the discriminator sees them.

    Args:
        discriminator: gives scores, and class logits if it has a classifier.
        aux_loss_weight: weight of the cross-entropy of discriminators with a classifier.
        penalty: gradient penalty of the discriminator.
        penalty_weight: weight of the penalty.
        penalty_every: discriminator steps per step with the penalty, whose weight is multiplied by this number.
        augment: changes by DiffAugment.
        draw: gives random numbers, `draw(sampler, count, *shape)`.

    Raises:
        ConfigError: `penalty_every` is below 1, or the discriminator cannot have a penalty.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        aux_loss_weight: float,
        penalty: Penalty,
        penalty_weight: float,
        penalty_every: int,
        augment: list[Change],
        draw: Callable[..., Tensor],
    ):
        check_range("model.penalty_every", penalty_every, 1)
        check_range("model.aux_loss_weight", aux_loss_weight)
        check_range("model.penalty_weight", penalty_weight)
        if penalty != "none" and discriminator.mixes:
            raise ConfigError(
                f"model.penalty {penalty} is about the slope at each image alone, but batch norm in "
                f"{type(discriminator).__name__} makes every score depend on the whole batch: choose a "
                f"discriminator without it (--model.discriminator.norm layer, or ResNetDiscriminator)"
            )
        self.network, self.draw, self.augment = discriminator, draw, augment
        self.aux_loss_weight = aux_loss_weight
        self.penalty, self.penalty_weight, self.penalty_every = penalty, penalty_weight, penalty_every

    def of_discriminator(
        self, gan_loss: GANLoss, real: Tensor, fake: Tensor, label: Tensor | None, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the discriminator's step number `step`, and detached parts of it.

        These are the scores `real` and `fake` (B,), and the `penalty` of steps that have one.
        """
        real, fake = self._augmented(real), self._augmented(fake)
        on_real, on_fake = self.network.compare(real, fake, label)
        parts = {"real": on_real.score.detach(), "fake": on_fake.score.detach()}
        loss = gan_loss.discriminator(on_real.score, on_fake.score)
        if on_real.logits is not None:
            loss = loss + self._class_loss(on_real, label) + self._class_loss(on_fake, label)
        if self.penalty != "none" and step % self.penalty_every == 0:
            penalty = self.slope_penalty(real, fake, label)
            parts["penalty"] = penalty.detach()
            loss = loss + self.penalty_weight * self.penalty_every * penalty
        return loss, parts

    def of_generator(self, gan_loss: GANLoss, fake: Tensor, label: Tensor | None) -> Tensor:
        """Loss of the generator, by the discriminator's scores of its images."""
        output = self.network(self._augmented(fake), label)
        loss = gan_loss.generator(output.score)
        return loss if output.logits is None else loss + self._class_loss(output, label)

    def slope_penalty(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor:
        """Gradient penalty of the discriminator on a batch."""

        def critic(image: Tensor) -> Tensor:
            return self.network(image, label).score

        if self.penalty == "r1":
            return r1(critic, real)
        mix = self.draw(rand, len(real), 1, 1, 1)
        if self.penalty == "gradient":
            return gradient_penalty(critic, real, fake, mix)
        return dragan(critic, real, mix, self.draw(rand, *real.shape))

    def _augmented(self, image: Tensor) -> Tensor:
        if not self.augment:
            return image
        return diff_augment(image.float(), self.draw(rand, len(image), PARAMETERS), self.augment)

    def _class_loss(self, output: DiscriminatorOutput, label: Tensor) -> Tensor:
        return self.aux_loss_weight * functional.cross_entropy(output.logits.float(), label)
