"""GAN losses and gradient penalties of the discriminator (WGAN-GP, R1, DRAGAN); all in float32.

Scores are (B,) without bounds; a sigmoid makes the probability of being real of those that cross-entropy trained.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Critic = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to scores (B,)."""


def minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Minimax loss: -mean(log D(x)) - mean(log(1 - D(G(z)))) (Goodfellow et al. 2014); 2 ln 2 where D is 0.5."""
    return functional.softplus(-real.float()).mean() + functional.softplus(fake.float()).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    """Minimax loss: mean(log(1 - D(G(z)))), the opposite of the discriminator's; flat where that is sure (ibid.)."""
    return -functional.softplus(fake.float()).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """Non-saturating loss: -mean(log D(G(z))), steepest where the discriminator is sure (ibid., section 3)."""
    return functional.softplus(-fake.float()).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Least-squares loss: half the squared distances to 1 for real and 0 for generated images (Mao et al. 2017)."""
    return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def least_squares_generator(fake: Tensor) -> Tensor:
    """Least-squares loss: half the squared distance to 1 (ibid.)."""
    return (fake.float() - 1).square().mean() / 2


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss: scores above 1 for real and below -1 for generated images (Lim and Ye 2017, Miyato et al. 2018)."""
    return functional.relu(1 - real.float()).mean() + functional.relu(1 + fake.float()).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Wasserstein loss: mean(D(G(z))) - mean(D(x)), minus the distance if D is 1-Lipschitz (Arjovsky et al. 2017)."""
    return fake.float().mean() - real.float().mean()


def critic_generator(fake: Tensor) -> Tensor:
    """-mean(D(G(z))), the generator's side of hinge and Wasserstein."""
    return -fake.float().mean()


class GANLoss(NamedTuple):
    """Losses of both networks of a GAN.

    Args:
    discriminator: its loss, of scores (B,) of real and of generated images.
    generator: its loss, of the scores of its images.
    probability: whether a sigmoid of a score is the probability of being real.
    distance: whether the difference of the mean scores estimates the Wasserstein distance.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    probability: bool = False
    distance: bool = False

    def score_means(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Scalars to log from scores (B,) of real and of generated images: `d_real`, `d_fake`, `wasserstein`."""
        if self.probability:
            real, fake = real.sigmoid(), fake.sigmoid()
        means = {"d_real": real.float().mean(), "d_fake": fake.float().mean()}
        return means | ({"wasserstein": means["d_real"] - means["d_fake"]} if self.distance else {})


Penalty = Literal["none", "gradient", "r1", "dragan"]
GANLossName = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein"]
GAN_LOSSES: dict[GANLossName, GANLoss] = {
    "minimax": GANLoss(minimax_discriminator, minimax_generator, probability=True),
    "non_saturating": GANLoss(minimax_discriminator, non_saturating_generator, probability=True),
    "least_squares": GANLoss(least_squares_discriminator, least_squares_generator),
    "hinge": GANLoss(hinge_discriminator, critic_generator),
    "wasserstein": GANLoss(wasserstein_discriminator, critic_generator, distance=True),
}


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Gradient penalty, WGAN-GP: mean of (|slope| - 1)^2 between real and generated images (Gulrajani et al. 2017).

    Usual weight 10.

    Args:
        critic: a function of each image alone, so without batch norm.
        real: (B, C, H, W).
        fake: (B, C, H, W).
        mix: (B, 1, 1, 1) in 0..1, the share of the real image in each.
    """
    return (slopes(critic, torch.lerp(fake.float(), real.float(), mix)).sqrt() - 1).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """R1 penalty: half the mean of |slope|^2 at real images (B, C, H, W) (Mescheder et al. 2018); weights 0.1 to 10."""
    return slopes(critic, real.float()).mean() / 2


def dragan(critic: Critic, real: Tensor, mix: Tensor, noise: Tensor) -> Tensor:
    """DRAGAN penalty: mean of (|slope| - 1)^2 around real images (Kodali et al. 2017); usual weight 10.

    Args:
        critic: a function of each image alone, so without batch norm.
        real: (B, C, H, W).
        mix: (B, 1, 1, 1) in 0..1, how far each goes toward its noisy version.
        noise: (B, C, H, W) in 0..1, scaled by half the standard deviation of the batch.
    """
    real = real.float()
    return (slopes(critic, real + mix * noise * real.std() / 2).sqrt() - 1).square().mean()


def slopes(critic: Critic, image: Tensor) -> Tensor:
    """Squared norm (B,) of the gradient of each score with respect to its image (B, C, H, W); can be trained.

    Never quite 0, where the norm's own gradient would be nan. Half precision is switched off: it overflows here.
    """
    with torch.autocast(image.device.type, enabled=False), torch.enable_grad():
        image = image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(image).sum(), image, create_graph=True)
        return gradient.flatten(1).square().sum(1) + 1e-12
