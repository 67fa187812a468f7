"""Generators and discriminators of GANs."""

from modules.gan.backbone import BackboneDiscriminator
from modules.gan.contracts import Condition, Discriminator, DiscriminatorOutput, Generator, ImageSpec, to_bytes
from modules.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from modules.gan.resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "BackboneDiscriminator",
    "Condition",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "DiscriminatorOutput",
    "Generator",
    "ImageSpec",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "to_bytes",
]
