"""The inference form of a network gives what the network gives."""

import pytest
import torch
from torch import Tensor, nn

from modules.backbones import Timm, by_name
from modules.backbones.fold_batchnorm import folded
from modules.contracts import Backbone

SIDE = 64
LEFT = {  # batch norms that no convolution feeds alone, so they stay
    "resnet18": 0,
    "torchvision/mobilenet_v2": 0,
    "repvgg_a0": 0,
    "vgg11_bn": 0,
    "mobilenetv3_small_050": 0,
    "resnetv2_18": 9,
    "densenet121": 62,
    "convnext_atto": 0,
}


def trained(name: str):
    """With statistics and scales as after some training."""
    backbone = by_name(name)
    for norm in norms(backbone):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.1)
    return backbone.eval()


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def worst(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", LEFT)
def test_maps_stay_and_batch_norms_go(name):
    backbone, image = trained(name), torch.rand(2, 3, SIDE, SIDE)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    fast = folded(backbone)
    with torch.no_grad():
        assert worst(fast(image), backbone(image)) < 1e-4
    assert len(norms(fast)) == LEFT[name]
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.state_dict().items())


def test_repvgg_becomes_a_plain_chain_of_3x3_convolutions():
    fast = folded(trained("repvgg_a0"))
    convolutions = [layer for layer in fast.modules() if isinstance(layer, nn.Conv2d)]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)} and len(convolutions) == 22  # of the paper


class Shared(nn.Module):
    """A convolution whose output is used beside its batch norm, and one that runs twice."""

    pretrained_cfg = {"input_size": (3, 16, 16)}

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(image)
        x = x + self.norm(x)
        return self.other(self.second(self.second(x)))


class OnShared(Backbone):
    def __init__(self):
        super().__init__()
        self.net, self.in_channels = Shared(), 3

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.net(image)]


def test_a_convolution_that_others_use_too_keeps_its_batch_norm():
    backbone, image = OnShared().eval(), torch.rand(1, 3, 16, 16)
    backbone.net.norm.running_mean.fill_(0.3)
    backbone.net.other.running_var.fill_(0.3)
    fast = folded(backbone)
    assert len(norms(fast)) == 2
    torch.testing.assert_close(fast(image), backbone(image))


def test_the_strided_1x1_convolution_of_repvgg_is_timms():
    """It is computed by another way, because torch's gradient of it breaks the heap when channels lie last."""
    import timm

    backbone, image = Timm("repvgg_a0").eval(), torch.rand(2, 3, 48, 48)
    theirs = timm.create_model("repvgg_a0", num_classes=0).eval()
    theirs.load_state_dict(backbone.net.state_dict())
    torch.testing.assert_close(backbone(image)[-1], theirs.forward_features(image))
    image = image.contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        backbone.to(memory_format=torch.channels_last)(image)[-1].sum().backward()


def test_small_images_shrink_both_ways_in_which_repvgg_sees_the_image():
    backbone = Timm("repvgg_a0", small_images=True).eval()
    assert [m.shape[-1] for m in backbone(torch.rand(1, 3, 32, 32))] == [32, 16, 8, 4, 2]
    assert backbone.features.strides == [1, 2, 4, 8, 16]
