"""Published networks that neither timm nor torchvision has, registered among timm's models under their names."""

from modules.backbones.classics import (
    alexnet,
    convolutional_vit,
    densenet,
    effnet,
    hardnet,
    inception,
    inception_resnet,
    lenet,
    mobilenetv1,
    resnet,
    shufflenetv1,
    squeezenet,
    vgg,
    wide_resnet,
)

__all__ = [
    "alexnet",
    "convolutional_vit",
    "densenet",
    "effnet",
    "hardnet",
    "inception",
    "inception_resnet",
    "lenet",
    "mobilenetv1",
    "resnet",
    "shufflenetv1",
    "squeezenet",
    "vgg",
    "wide_resnet",
]
