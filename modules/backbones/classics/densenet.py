"""DenseNet-264: the largest of its paper, of which timm and torchvision have the parts."""

from typing import Any

from timm.models import DenseNet, PretrainedCfg

from modules.backbones.classics.network import register


@register
def densenet264(**options: Any) -> DenseNet:
    """Huang et al. 2017, "Densely connected convolutional networks": growth rate 32, blocks of 6, 12, 64 and 48 layers.

    33,337,704 parameters. Takes the options of timm's `DenseNet`.
    """
    net = DenseNet(growth_rate=32, block_config=(6, 12, 64, 48), **options)
    settings = PretrainedCfg(
        input_size=(net.in_chans, 224, 224),
        num_classes=net.num_classes,
        first_conv="features.conv0",
        classifier="classifier",
    )
    net.pretrained_cfg = settings.to_dict()
    return net
