"""A network written here is a timm model: to timm itself, to our backbone, and in files."""

import pytest
import timm
import torch

from modules.backbones import Timm, by_name
from modules.contracts import ConfigError, DataError
from modules.training.parameter_groups import parameter_groups
from modules.training.transfer import export_backbone, load_backbone
from tests.helpers.errors import assert_named, refuses


def test_timm_lists_and_builds_it_by_name():
    assert "lenet5" in timm.list_models("lenet*")
    net = timm.create_model("lenet5", num_classes=7, in_chans=3).eval()
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert net.num_classes == 7
    assert net.get_submodule(net.pretrained_cfg["first_conv"]).in_channels == 3
    assert net.get_submodule(net.pretrained_cfg["classifier"]) is net.get_classifier()


def test_without_classes_it_gives_what_the_classifier_would_take():
    plain, hidden = (timm.create_model(name, num_classes=0, in_chans=1) for name in ("mobilenetv1_025", "lenet5"))
    image = torch.rand(2, 1, 40, 36)
    torch.testing.assert_close(plain.eval()(image), plain.forward_features(image).mean((-2, -1)))
    assert not list(plain.head.parameters())
    units = hidden.head[0](hidden.forward_features(image)).tanh()
    torch.testing.assert_close(hidden(image), units.mean((-2, -1)))
    assert hidden.head_hidden_size == 84


def test_intermediates_are_the_maps_of_the_stages():
    net = timm.create_model("lenet5").eval()
    image = torch.rand(2, 1, 36, 36)
    last, maps = net.forward_intermediates(image)
    assert [tuple(m.shape[1:]) for m in maps] == [(6, 32, 32), (16, 12, 12), (120, 2, 2)]
    assert last is maps[-1]
    (middle,) = net.forward_intermediates(image, indices=[1], stop_early=True, intermediates_only=True)
    assert torch.equal(middle, net.stages[:2](image))


def test_timms_features_only_gives_the_same_maps():
    net = timm.create_model("lenet5", features_only=True, out_indices=[0, 1]).eval()
    assert net.feature_info.channels() == [6, 16]
    assert [tuple(m.shape[1:]) for m in net(torch.rand(2, 1, 32, 32))] == [(6, 28, 28), (16, 10, 10)]
    assert not any("stages.2" in name or "head" in name for name, _ in net.named_parameters())


def test_classes_can_be_replaced_and_removed():
    net = timm.create_model("lenet5")
    net.reset_classifier(3)
    assert net(torch.rand(2, 1, 32, 32)).shape == (2, 3)
    assert sum(p.numel() for p in net.head.parameters()) == 121 * 84 + 85 * 3
    net.reset_classifier(0)
    assert net(torch.rand(2, 1, 32, 32)).shape == (2, 84)
    net.reset_classifier(5)
    assert net(torch.rand(2, 1, 32, 32)).shape == (2, 5)


def test_checkpointing_changes_no_gradient():
    net = timm.create_model("lenet5")
    image, gradients = torch.rand(2, 1, 32, 32), []
    for enable in (False, True):
        net.set_grad_checkpointing(enable)
        net.zero_grad()
        net(image).sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    torch.testing.assert_close(*gradients)


def test_layer_decay_sees_every_stage():
    backbone = by_name("lenet5")
    scales = {id(p): g["lr_scale"] for g in parameter_groups(backbone, backbone.net, 0.5) for p in g["params"]}
    assert [scales[id(stage[i].weight)] for stage, i in zip(backbone.net.stages, (0, 1, 1), strict=True)] == [
        0.0625,
        0.125,
        0.25,
    ]
    assert scales[id(backbone.net.head[0].weight)] == 0.5  # the hidden layer behind the last map


def test_our_backbone_takes_it_by_name():
    backbone = by_name("lenet5")
    assert isinstance(backbone, Timm)
    assert backbone.features == ([6, 16, 120], [1, 2, 4])
    assert [tuple(m.shape) for m in backbone(torch.rand(2, 3, 64, 48))] == [
        (2, 6, 60, 44),
        (2, 16, 26, 18),
        (2, 120, 9, 5),
    ]
    assert all(p.requires_grad for p in backbone.parameters())


def test_it_goes_through_a_file_into_ours_and_into_plain_timm(tmp_path):
    path, backbone = tmp_path / "backbone.safetensors", Timm("lenet5", in_channels=1).eval()
    export_backbone(backbone, path)
    other, image = Timm("lenet5", in_channels=1).eval(), torch.rand(2, 1, 32, 32)
    assert_named(load_backbone(other, str(path)), "8/8", path)
    plain = timm.create_model("lenet5", num_classes=0, checkpoint_path=path)
    assert torch.equal(other(image)[-1], backbone(image)[-1])
    assert torch.equal(plain.forward_features(image), backbone(image)[-1])


def test_weights_for_other_channels_are_adapted(tmp_path):
    path, gray = tmp_path / "backbone.safetensors", Timm("lenet5", in_channels=1)
    export_backbone(gray, path)
    color = Timm("lenet5")
    load_backbone(color, str(path))
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(color(image.expand(-1, 3, -1, -1))[-1], gray(image)[-1])


# Refused -------------------------------------------------------------------------------------------------------------


def test_a_misspelt_name_is_answered_with_the_nearest():
    with refuses(ConfigError, "lenet_5", "lenet5"):
        by_name("lenet_5")


def test_pretrained_weights_are_not_to_be_had():
    with refuses(ConfigError, "lenet5", "--model.weights"):
        timm.create_model("lenet5", pretrained=True)
    with refuses(DataError, "lenet5", "--model.weights"):
        load_backbone(by_name("lenet5"), "pretrained")


@pytest.mark.parametrize(
    ("options", "name"),
    [({"drop_path": 0.1}, "drop_path_rate"), ({"output_stride": 16, "small_images": True}, "small_images")],
)
def test_options_that_it_does_not_have_are_named(options, name):
    with refuses(ConfigError, "lenet5", name):
        by_name("lenet5", **options)


def test_images_too_small_are_answered_with_the_smallest():
    with refuses(ConfigError, "lenet5", 32, "28 x 40", "--data.image_size"):
        by_name("lenet5")(torch.rand(2, 3, 28, 40))
