"""Generators and discriminators of GANs."""

from modules.generative.backbone import BackboneDiscriminator
from modules.generative.contracts import Canvas, Condition, Discriminator, Generator, Verdict
from modules.generative.dcgan import DCGANDiscriminator, DCGANGenerator
from modules.generative.resnet import ResNetDiscriminator, ResNetGenerator

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
