"""Any timm model as a backbone: the maps are timm's, and their channels and strides are as announced."""

import pytest
import timm
import torch
import torchvision
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones import Timm
from modules.backbones.reach import survey, train_only
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

CONVOLUTIONAL = ["resnet18", "test_resnet", "test_convnext", "test_efficientnet"]
DILATED = ["resnet18", "resnet26", "mobilenetv3_small_050", "convnext_atto", "regnety_002", "efficientnet_b0"]
SMALL = ["resnet18", "test_resnet", "test_efficientnet"]


def make_image(channels: int = 3, side: int = 64, batch: int = 2) -> Tensor:
    return torch.rand(batch, channels, side, side)


def assert_announced(backbone: Timm, image: Tensor) -> None:
    maps = backbone.eval()(image)
    height, width = image.shape[-2:]
    sizes = [(len(image), c, height // s, width // s) for c, s in zip(*backbone.features, strict=True)]
    assert [tuple(m.shape) for m in maps] == sizes


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "test_vit"])
def test_maps_have_the_announced_channels_and_strides(name):
    assert_announced(Timm(name), make_image()[..., :32])


@pytest.mark.parametrize(
    ("name", "strides"),
    [("resnet18", [1, 1, 2, 4, 8]), ("test_resnet", [1, 1, 2, 4, 8]), ("test_efficientnet", [1, 2, 4, 8, 16])],
)
def test_small_images_shrink_every_stride(name, strides):
    backbone = Timm(name, small_images=True)
    assert backbone.features.strides == strides
    assert_announced(backbone, make_image(side=32))


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("small", [False, True])
def test_images_may_have_any_number_of_channels(channels, small):
    backbone = Timm("test_resnet", in_channels=channels, small_images=small)
    assert_announced(backbone, make_image(channels))
    assert len(backbone.mean) == len(backbone.std) == channels


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", DILATED)
def test_output_stride_dilates_and_keeps_the_map_of_every_stage(name, stride):
    plain, backbone = Timm(name), Timm(name, output_stride=stride)
    assert backbone.features.channels == plain.features.channels
    assert backbone.features.strides == [min(s, stride) for s in plain.features.strides]
    assert_announced(backbone, make_image(batch=1))
    assert {k: v.shape for k, v in backbone.net.state_dict().items()} == {
        k: v.shape for k, v in plain.net.state_dict().items()
    }


@pytest.mark.parametrize("name", ["resnet18", "resnet26", "mobilenetv2_100"])
def test_dilated_maps_hold_those_of_the_plain_model_in_between(name):
    """Dilated convolutions (output stride): the same filters see the same pixels, at more places."""
    plain, backbone = Timm(name).eval(), Timm(name, output_stride=8).eval()
    backbone.net.load_state_dict(plain.net.state_dict())
    image = make_image(batch=1)
    for ours, theirs in zip(backbone(image), plain(image), strict=True):
        step = ours.shape[-1] // theirs.shape[-1]
        torch.testing.assert_close(ours[..., ::step, ::step], theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_options_hold_in_a_dilated_model_too(name):
    backbone = Timm(name, output_stride=16, in_channels=1, drop_path=0.2)
    assert any(m.drop_prob for m in backbone.modules() if isinstance(m, DropPath))
    assert_announced(backbone, make_image(1, batch=1))


@pytest.mark.parametrize("stride", [8, 16])
def test_small_images_shrink_the_strides_of_a_dilated_model(stride):
    backbone = Timm("resnet18", small_images=True, output_stride=stride)
    assert backbone.features.strides == [max(1, min(s, stride) // 4) for s in (2, 4, 8, 16, 32)]
    assert_announced(backbone, make_image(side=32, batch=1))


def test_a_model_whose_stride_is_fine_enough_needs_no_dilation():
    assert Timm("test_vit", output_stride=16).features.strides == [16]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_maps_equal_those_of_timm_with_the_same_weights(name):
    backbone, reference = Timm(name).eval(), timm.create_model(name, features_only=True).eval()
    flat = {key.replace(".", "_"): tensor for key, tensor in backbone.net.state_dict().items()}
    reference.load_state_dict({key: flat[key.replace(".", "_")] for key in reference.state_dict()})
    image = make_image()
    for ours, theirs in zip(backbone(image), reference(image), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_map_of_a_vit_is_its_normalized_patch_tokens():
    backbone = Timm("test_vit").eval()
    reference = timm.create_model("test_vit", dynamic_img_size=True, num_classes=0).eval()
    reference.load_state_dict(backbone.net.state_dict())
    image = make_image(side=96)
    tokens = reference.forward_features(image)[:, reference.num_prefix_tokens :]
    torch.testing.assert_close(backbone(image)[-1].flatten(2).mT, tokens)


def test_small_images_on_resnet18_is_the_stem_known_from_cifar():
    backbone, reference = Timm("resnet18", small_images=True).eval(), torchvision.models.resnet18().eval()
    reference.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    reference.maxpool = reference.fc = nn.Identity()
    reference.load_state_dict(backbone.net.state_dict())
    image = make_image(side=32)
    torch.testing.assert_close(backbone(image)[-1].mean((-2, -1)), reference(image))


def test_resnet18_has_as_many_parameters_as_in_its_paper():
    assert sum(p.numel() for p in Timm("resnet18").parameters()) == 11_689_512 - 513_000  # without the classifier


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "test_vit"])
def test_exactly_the_parameters_that_maps_need_are_trainable(name):
    backbone = Timm(name)
    train_only(backbone, set.union(*survey(backbone).maps))
    sum(m.square().sum() for m in backbone(make_image())).backward()
    reached = {key for key, p in backbone.named_parameters() if p.grad is not None}
    wanted = {key for key, p in backbone.named_parameters() if p.requires_grad}
    assert reached == wanted != set()


def test_a_misspelt_name_is_answered_with_the_nearest():
    with refuses(ConfigError, "efficentnet_b0", "efficientnet_b0"):
        Timm("efficentnet_b0")


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_small_images_is_refused_where_the_stem_is_no_convolution_of_stride_two(name):
    with refuses(ConfigError, "small_images", name):
        Timm(name, small_images=True)


def test_an_option_that_the_model_lacks_is_refused():
    with refuses(ConfigError, "vgg11", "drop_path_rate"):
        Timm("vgg11", drop_path=0.1)


@pytest.mark.parametrize("name", ["test_vit", "ghostnet_050", "dla34"])
def test_a_model_without_dilation_refuses_an_output_stride_and_names_one_that_has_it(name):
    with refuses(ConfigError, name, "output_stride 8", "resnet50"):
        Timm(name, output_stride=8)


def test_a_model_that_would_ignore_an_output_stride_is_refused(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, output_stride=32, **options: create(name, **options))
    with refuses(ConfigError, "resnet18", "output_stride 16"):
        Timm("resnet18", output_stride=16)


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "test_vit"])
def test_drop_path_rises_with_depth_as_in_timm(name):
    rates, expected = (
        [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
        for model in (Timm(name, drop_path=0.2), timm.create_model(name, drop_path_rate=0.2))
    )
    assert rates == expected
    assert rates == sorted(rates)
    assert rates[-1] > rates[0]


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 4, 8, 8)], ids=["image", "video"])
def test_normalize_scales_bytes_to_the_statistics_of_the_weights(shape):
    backbone = Timm("resnet18")
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    result = backbone.normalize(image)
    assert result.dtype == torch.float32
    for channel, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        torch.testing.assert_close(result[:, channel], (image[:, channel] / 255 - mean) / std)


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (2, 3, 4, 7, 5)], ids=["image", "video"])
def test_normalize_gives_the_same_bits_in_any_layout_and_keeps_the_layout(shape):
    backbone = Timm("resnet18")
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    last = image.movedim(1, -1).contiguous().movedim(-1, 1)
    here, there = backbone.normalize(image), backbone.normalize(last)
    assert torch.equal(here, there) and there.stride() == last.stride() and here.shape == image.shape


def test_input_statistics_are_those_of_the_timm_model():
    config = timm.create_model("test_vit").pretrained_cfg
    backbone = Timm("test_vit")
    assert backbone.mean.tolist() == pytest.approx(config["mean"])
    assert backbone.std.tolist() == pytest.approx(config["std"])


def test_a_frozen_backbone_keeps_its_normalization_statistics():
    backbone = Timm("test_resnet").requires_grad_(False).eval()
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    assert not backbone(make_image())[-1].requires_grad
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("name", SMALL)
def test_small_images_keep_a_trainable_first_convolution(name):
    backbone = Timm(name, small_images=True)
    first = next(m for m in backbone.modules() if isinstance(m, nn.Conv2d))
    assert first.kernel_size == (3, 3)
    functional.adaptive_avg_pool2d(backbone(make_image(side=32))[-1], 1).sum().backward()
    assert first.weight.requires_grad
    assert first.weight.grad is not None


def test_more_arguments_of_a_model_are_options():
    backbone = Timm("resnet18", options={"stem_type": "deep", "stem_width": 16})
    assert [layer.out_channels for layer in backbone.net.conv1 if isinstance(layer, nn.Conv2d)] == [16, 16, 32]
    assert_announced(backbone, make_image())


@pytest.mark.parametrize("options", [{"stem": "deep"}, {"in_chans": 1}])
def test_options_that_a_model_does_not_have_are_refused(options):
    with refuses(ConfigError, "resnet18", *options):
        Timm("resnet18", options=options)
