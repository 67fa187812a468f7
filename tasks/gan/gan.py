"""Generative adversarial networks whose discriminator tells real from generated images (Goodfellow et al. 2014)."""

from typing import Literal

from modules.losses.adversarial import GAN_LOSSES
from tasks.gan.base import AdversarialTask

Loss = Literal["minimax", "non_saturating", "least_squares", "hinge"]


class GAN(AdversarialTask):
    """GAN for image generation: DCGAN, SNGAN, ACGAN or projection, with any loss, penalty and condition.

    Args:
        loss: adversarial loss: `minimax` (Goodfellow et al. 2014), `non_saturating` (ibid., section 3),
            `least_squares` (Mao et al. 2017) or `hinge` (Lim and Ye 2017).
    """

    def __init__(self, loss: Loss = "non_saturating", **kwargs):
        super().__init__(**kwargs)
        self.gan_loss = GAN_LOSSES[loss]
