"""Generators and discriminators of GANs."""

from modules.gan.backbone import BackboneDiscriminator
from modules.gan.contracts import Canvas, Condition, Discriminator, Generator, Verdict
from modules.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from modules.gan.resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "BackboneDiscriminator",
    "Canvas",
    "Condition",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "Generator",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "Verdict",
]
