"""Published networks that neither timm nor torchvision has, registered among timm's models under their names."""

from modules.backbones.classics import alexnet, inception, inception_resnet, lenet, resnet, vgg

__all__ = ["alexnet", "inception", "inception_resnet", "lenet", "resnet", "vgg"]
