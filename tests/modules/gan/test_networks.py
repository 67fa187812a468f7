"""Generators and discriminators: sizes, labels, published parameter counts, spectral norm."""

import pytest
import torch
from torch import nn

from modules.contracts import ConfigError
from modules.gan import (
    BackboneDiscriminator,
    DCGANDiscriminator,
    DCGANGenerator,
    ImageSpec,
    ResNetDiscriminator,
    ResNetGenerator,
)
from modules.gan.contracts import constrain
from modules.gan.norms import ConditionalBatchNorm
from modules.training.parameter_groups import parameter_groups
from tests.helpers.errors import refuses

PAIRS = [(DCGANGenerator, DCGANDiscriminator), (ResNetGenerator, ResNetDiscriminator)]
CONDITIONS = ["embedding", "projection", "auxiliary"]


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("make", "judge"), PAIRS)
@pytest.mark.parametrize("size", [16, 28, 32, 40, 48, 64, 96, 128])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_every_size_and_channel_count(make, judge, size, channels):
    spec = ImageSpec(channels, size)
    generator, discriminator = make(spec, 10, width=2), judge(spec, width=2)
    image = generator(5 * torch.randn(3, 10))
    assert image.shape == (3, channels, size, size)
    assert image.abs().max() <= 1
    output = discriminator(image)
    assert output.score.shape == (3,)
    assert output.logits is None


@pytest.mark.parametrize("network", [n for pair in PAIRS for n in pair])
@pytest.mark.parametrize(("size", "near"), [(30, (28, 32)), (31, (28, 32)), (100, (96, 112)), (8, (16,))])
def test_a_size_that_cannot_be_made_names_those_that_can(network, size, near):
    arguments = (10,) if "Generator" in network.__name__ else ()
    with refuses(ConfigError, network.__name__, size, "--data.image_size", *near, 128):
        network(ImageSpec(3, size), *arguments)


def test_parameters_of_the_published_networks():
    with torch.device("meta"):
        dcgan = DCGANGenerator(ImageSpec(3, 64), 100), DCGANDiscriminator(ImageSpec(3, 64))
        # Miyato et al. 2018, table 4 (CIFAR-10), layer by layer
        sngan = ResNetGenerator(ImageSpec(3, 32), 128), ResNetDiscriminator(ImageSpec(3, 32), spectral=False)
    # pytorch/examples has 3,576,704 and 2,765,568, without the biases of our layers that no norm follows
    assert count(dcgan[0]) == 3_576_704 + 3
    assert count(dcgan[1]) == 2_765_568 + 64 + 1
    up = 2 * (256 * 256 * 9 + 256) + 2 * 2 * 256 + 256 * 256 + 256
    assert count(sngan[0]) == 129 * 4 * 4 * 256 + 3 * up + 2 * 256 + 256 * 27 + 3
    plain = 2 * (128 * 128 * 9 + 128)
    first = 3 * 9 * 128 + 128 + 128 * 128 * 9 + 128 + 3 * 128 + 128
    assert count(sngan[1]) == first + plain + 128 * 128 + 128 + 2 * plain + 129


@pytest.mark.parametrize(("make", "judge"), PAIRS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditional_networks_look_at_the_label(make, judge, condition):
    spec = ImageSpec(3, 32, classes=4, condition=condition)
    generator, discriminator = make(spec, 10, width=8).eval(), judge(spec, width=8).eval()
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "shift" in name:  # conditional norms start alike for all classes
                parameter.normal_()
        noise, image = torch.randn(1, 10).expand(4, -1), torch.randn(1, 3, 32, 32).expand(4, -1, -1, -1)
        made, output = generator(noise, torch.arange(4)), discriminator(image, torch.arange(4))
    assert all(not torch.allclose(made[0], made[i], atol=1e-4) for i in range(1, 4))
    differ = [not torch.isclose(output.score[0], output.score[i], rtol=1e-5, atol=1e-9) for i in range(1, 4)]
    if condition == "auxiliary":
        assert output.logits.shape == (4, 4)
        assert not any(differ)
    else:
        assert output.logits is None
        assert all(differ)


def test_projection_adds_the_inner_product_with_the_class():
    judge = DCGANDiscriminator(ImageSpec(3, 32, 4, "projection"), width=4)
    image, label = torch.randn(5, 3, 32, 32), torch.tensor([0, 1, 2, 3, 0])
    features = judge.eval().features(image)
    expected = judge.score(features)[:, 0] + torch.stack(
        [f @ judge.embedding.weight[c] for f, c in zip(features, label, strict=True)]
    )
    torch.testing.assert_close(judge(image, label).score, expected)


def test_conditional_batch_norm_is_batch_norm_with_each_class_its_own_scale_and_shift():
    norm, plain = ConditionalBatchNorm(6, 3), nn.BatchNorm2d(6, affine=False)
    x, label = torch.randn(8, 6, 4, 4), torch.arange(8) % 3
    torch.testing.assert_close(norm(x, label), plain(x))
    with torch.no_grad():
        norm.scale.weight[1], norm.shift.weight[1] = 2.0, 5.0
    expected = torch.where((label == 1)[:, None, None, None], 2 * plain(x) + 5, plain(x))
    torch.testing.assert_close(norm(x, label), expected)
    ordinary = nn.BatchNorm2d(6)
    torch.testing.assert_close(ConditionalBatchNorm(6, 0)(x), ordinary(x))


@pytest.mark.parametrize("judge", [DCGANDiscriminator, ResNetDiscriminator, BackboneDiscriminator])
def test_with_spectral_norm_every_layers_largest_singular_value_is_one(judge):
    options = {"backbone": "test_resnet"} if judge is BackboneDiscriminator else {"width": 16}
    discriminator = judge(ImageSpec(3, 32, 4, "projection"), **options, spectral=True)
    for _ in range(30):  # each forward pass in training takes one step of the power iteration
        discriminator(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) >= 5
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.03)


def test_parameters_under_spectral_norm_are_still_decayed_by_their_dimensions():
    layer = nn.Sequential(nn.Conv2d(3, 4, 3))
    constrain(layer)
    groups = parameter_groups(layer)
    assert {(g["decay"], p.ndim) for g in groups for p in g["params"]} == {(True, 4), (False, 1)}


@pytest.mark.parametrize("norm", ["layer", "instance", "none", "batch"])
def test_only_batch_norm_mixes_images(norm):
    judge = DCGANDiscriminator(ImageSpec(3, 32), width=4, norm=norm)
    image = torch.randn(4, 3, 32, 32)
    alone, together = judge(image[:2]).score, judge(image).score[:2]
    assert judge.mixes == (norm == "batch")
    assert torch.allclose(alone, together, atol=1e-6) == (norm != "batch")


def test_any_backbone_is_a_discriminator():
    judge = BackboneDiscriminator(ImageSpec(1, 32, 3, "auxiliary"), backbone="test_resnet")
    output = judge(torch.randn(2, 1, 32, 32))
    assert output.score.shape == (2,)
    assert output.logits.shape == (2, 3)
    assert judge.mixes
    image = torch.rand(2, 3, 32, 32)
    color = BackboneDiscriminator(ImageSpec(3, 32), backbone="test_resnet").eval()
    bytes_ = (255 * image).round()
    expected = color.backbone(color.backbone.normalize(bytes_.to(torch.uint8)))[-1].mean((-2, -1))
    torch.testing.assert_close(color.features(bytes_ / 127.5 - 1), expected, atol=1e-4, rtol=1e-4)


def test_backbones_for_other_images_are_refused():
    from modules.backbones import Timm

    with refuses(ConfigError, "resnet18", 16, 32, "--data.image_size", "--model.discriminator.small_images"):
        BackboneDiscriminator(ImageSpec(3, 16), backbone="resnet18")
    with refuses(ConfigError, "test_resnet", 3, "model.channels", 1):
        BackboneDiscriminator(ImageSpec(1, 32), backbone=Timm("test_resnet"))
