"""Wasserstein GAN, whose critic estimates the Wasserstein distance of generated from real images."""

from typing import ClassVar

import torch
from torch.nn.utils.parametrize import is_parametrized

from modules.contracts import ConfigError
from modules.gan import ResNetDiscriminator, ResNetGenerator
from modules.gan.contracts import DiscriminatorFactory, GeneratorFactory
from modules.losses.adversarial import GAN_LOSSES, Penalty
from modules.training.optim import Optim
from tasks.gan.base import AdversarialTask

ADAM = Optim(lr=1e-4, betas=(0.0, 0.9), weight_decay=0.0, schedule="linear", warmup=0.0)


class WGAN(AdversarialTask):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017) or weight clipping (Arjovsky et al. 2017).

    Args:
        generator: noise (and labels) to images.
        discriminator: the critic.
        n_critic: critic steps per generator step.
        penalty: gradient penalty of the critic: `gradient`, `r1` or `dragan`; `none` with clipped weights or spectral
            norm.
        weight_clip: bound of all the critic's parameters after each of its steps, such as 0.01; 0 is off.
        optim: optimizer, learning-rate schedule and weight decay of the generator.
        discriminator_optim: the same for the critic.
    """

    protocols: ClassVar[dict[str, str]] = AdversarialTask.protocols | {
        "wasserstein": "d_real - d_fake, the critic's estimate of the distance, up to its steepness"
    }

    def __init__(
        self,
        generator: GeneratorFactory = ResNetGenerator,
        discriminator: DiscriminatorFactory = ResNetDiscriminator,
        n_critic: int = 5,
        penalty: Penalty = "gradient",
        weight_clip: float = 0.0,
        optim: Optim = ADAM,
        discriminator_optim: Optim = ADAM,
        **kwargs,
    ):
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            n_critic=n_critic,
            penalty=penalty,
            optim=optim,
            discriminator_optim=discriminator_optim,
            **kwargs,
        )
        self.gan_loss, self.weight_clip = GAN_LOSSES["wasserstein"], weight_clip
        if weight_clip < 0 or (weight_clip and penalty != "none"):
            raise ConfigError(
                f"model.weight_clip is {weight_clip:g} with model.penalty {penalty}, but clipped weights take the "
                f"place of a penalty: set --model.penalty none, or --model.weight_clip 0"
            )
        spectral = any(is_parametrized(module) for module in self.discriminator.modules())
        if penalty == "none" and not (weight_clip or spectral):
            raise ConfigError(
                "nothing bounds the critic's slope, so its loss means no distance: set --model.penalty gradient, "
                "--model.weight_clip 0.01 or --model.discriminator.spectral true"
            )

    @torch.no_grad()
    def constrain(self) -> None:
        if self.weight_clip:
            parameters = list(self.discriminator.parameters())
            torch._foreach_clamp_min_(parameters, -self.weight_clip)
            torch._foreach_clamp_max_(parameters, self.weight_clip)
