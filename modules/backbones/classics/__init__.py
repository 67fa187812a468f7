"""Published networks that neither timm nor torchvision has, registered among timm's models under their names.

Common arguments, where a network has them:

    num_classes: number of logits; 0 is without classifier.
    in_chans: channels of the images.
    dropout: before the classifier.
    norm: of all convolutions, by timm's names, such as `batchnorm` or `layernorm2d`.
    activation: of all layers that have one, by timm's names, such as `relu` or `silu`.
    init: see `initialize`.
    block_args: `{"attn_layer": NAME}` puts a block of `plugins` into it.
"""

from modules.backbones.classics import (
    alexnet,
    convnext_steps,
    convolutional_vit,
    densenet,
    effnet,
    hardnet,
    inception,
    inception_resnet,
    lenet,
    mobilenetv1,
    resnet,
    resnext,
    shufflenetv1,
    squeezenet,
    vgg,
    wide_resnet,
)

__all__ = [
    "alexnet",
    "convnext_steps",
    "convolutional_vit",
    "densenet",
    "effnet",
    "hardnet",
    "inception",
    "inception_resnet",
    "lenet",
    "mobilenetv1",
    "resnet",
    "resnext",
    "shufflenetv1",
    "squeezenet",
    "vgg",
    "wide_resnet",
]
