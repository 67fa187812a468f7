"""Generative adversarial networks."""

from tasks.gan.gan import GAN
from tasks.gan.wgan import WGAN

__all__ = ["GAN", "WGAN"]
