"""Pooled features and published classifiers: with a library's weights, the library's own features and logits."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from modules.backbones import Timm, TorchvisionVideo, UNetEncoder, by_name
from modules.backbones.reach import survey, train_only
from modules.contracts import Backbone, ConfigError, Features
from modules.training.transfer import load_backbone
from tasks.classification import Classification
from tests.helpers.errors import assert_named, refuses

# one small network of each family of architectures.csv that has a classifier, and what lies behind its last map
TIMM = [
    "mobilenetv1_100",  # mean
    "mobilenetv2_035",  # 1x1 convolution
    "mobilenetv3_small_050",  # 1x1 convolution behind the mean
    "efficientnet_b0",
    "ghostnet_050",  # the 1x1 convolution that ends the blocks, and another
    "repghostnet_050",
    "rexnetr_100",
    "convnext_atto",  # norm behind the mean
    "vit_tiny_patch16_224",  # class token
    "swin_tiny_patch4_window7_224",
    "resnet18",
    "resnetv2_18",  # classifier is a convolution
    "legacy_seresnet18",
    "seresnet18",
    "ecaresnet26t",
    "skresnet18",
    "resnest14d",
    "resnext26ts",
    "densenet121",
    "repvgg_a0",
    "deit_tiny_distilled_patch16_224",  # two tokens, two classifiers
    "levit_128s",  # two classifiers with norms
    "crossvit_tiny_240",  # two branches
    "efficientvit_m0",  # a norm in the classifier
    "fasternet_t0",
    "dla34",
]
LARGE = [
    "vgg11",  # two hidden layers of 4,096
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "legacy_xception",
    "wide_resnet50_2",
    "vit_base_patch32_clip_224",
    "resnet50_clip",  # attention pooling
    "deit3_small_patch16_224",
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "xcit_nano_12_p8_224",
    "nfnet_f0",
    "mobilenetv4_conv_small",
    "hgnetv2_b0",
    "mambaout_femto",
    "test_vit4",
]
TORCHVISION = [
    "alexnet",
    "squeezenet1_1",
    "googlenet",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "convnext_tiny",
    "densenet121",
    "regnet_y_400mf",
    "resnet18",
    "swin_t",
    "vit_b_32",
    "efficientnet_b0",
    "mnasnet0_5",
]
TORCHVISION_LARGE = ["vgg11", "maxvit_t", "inception_v3", "vgg11_bn", "wide_resnet50_2", "resnext50_32x4d"]
CLIPS = ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "swin3d_t"]
BUILT_FOR = {"vit_b_32": 224, "maxvit_t": 224, "crossvit_tiny_240": 240, "levit_128s": 224, "efficientvit_m0": 224}
SIDES = BUILT_FOR | {
    "alexnet": 96,
    **dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 128),
    **dict.fromkeys(("beit_base_patch16_224", "cait_xxs24_224", "xcit_nano_12_p8_224"), 224),
}


def numbered(whole: nn.Module) -> nn.Module:
    """Weights and statistics that tell every layer from doing nothing."""
    torch.manual_seed(1)
    for module in whole.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    for parameter in whole.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return whole.eval()


def file_of(whole: nn.Module, folder) -> str:
    """The library's own file of weights."""
    state = {key: value for key, value in whole.state_dict().items() if not key.startswith(("aux", "AuxLogits"))}
    torch.save(state, folder / "weights.pth")
    return str(folder / "weights.pth")


def assert_published(name: str, whole: nn.Module, image: Tensor, folder) -> None:
    """The task with the library's file gives the library's logits, and all its features lie in `pool`."""
    classes = getattr(whole, "num_classes", 1000)
    task = Classification(backbone=name, head="pretrained", classes=[str(i) for i in range(classes)]).eval()
    said = load_backbone(task.backbone, file_of(numbered(whole), folder), task.classifier)
    assert not [key for key in task.backbone.net.state_dict() if key in said], "some layers are not in the file"
    task, whole, image = (
        task.double(),
        whole.double(),
        image.double(),
    )  # deep networks of random weights amplify rounding
    with torch.no_grad():
        expected = whole(image)
        logits = task(image)
        features = task.features(image)
    assert expected.std() > 0
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert features.shape == (len(image), task.backbone.features.pooled)


def make_image(name: str, whole: nn.Module | None = None) -> Tensor:
    return torch.randn(2, 3, *[SIDES.get(name, 64)] * 2)


@pytest.mark.parametrize("name", [*TIMM, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_head_pretrained_is_timms_classifier(name, tmp_path):
    size = {} if name in SIDES else _any_size(name)
    whole = timm.create_model(name, **size)
    image = make_image(name)
    assert_published(name, whole, image, tmp_path)


def _any_size(name: str) -> dict[str, bool]:
    from modules.backbones.timm import ANY_SIZE

    return ANY_SIZE.get(timm.models.model_entrypoint(name).__module__.rpartition(".")[2], {})


@pytest.mark.parametrize(
    "name", [*TORCHVISION, *(pytest.param(name, marks=pytest.mark.slow) for name in TORCHVISION_LARGE)]
)
def test_head_pretrained_is_torchvisions_classifier(name, tmp_path):
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    assert_published(f"torchvision/{name}", get_model(name, **options), make_image(name), tmp_path)


@pytest.mark.parametrize(
    "name", ["s3d", *(pytest.param(name, marks=pytest.mark.slow) for name in CLIPS if name != "s3d")]
)
def test_clips_have_torchvisions_logits(name, tmp_path):
    whole = numbered(get_model(name))
    backbone = TorchvisionVideo(name).eval()
    classifier = backbone.classifier().eval()
    load_backbone(backbone, file_of(whole, tmp_path), classifier)
    video = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        expected = whole(video)
        torch.testing.assert_close(classifier(backbone.pool(backbone(video))), expected, atol=1e-4, rtol=1e-4)
    assert len(backbone.class_names()) == 400


def test_pooled_features_are_timms_pre_logits_whatever_the_size_of_the_image():
    for name in ("convnext_atto", "test_vit", "mobilenetv3_small_050"):
        backbone, image = Timm(name).eval(), torch.randn(2, 3, 96, 64)
        with torch.no_grad():
            features = backbone.pool(backbone(image))
            expected = backbone.net.forward_head(backbone.net.forward_features(image), pre_logits=True)
        torch.testing.assert_close(features, expected)


def test_own_networks_pool_through_their_hidden_layers():
    whole = numbered(timm.create_model("lenet5"))
    backbone, image = Timm("lenet5", in_channels=1).eval(), torch.randn(2, 1, 36, 32)
    backbone.net.load_state_dict({k: v for k, v in whole.state_dict().items() if k in backbone.net.state_dict()})
    features = backbone.pool(backbone(image))
    assert features.shape == (2, 84) == (2, backbone.features.pooled)
    classifier = whole.get_classifier()
    torch.testing.assert_close(classifier(features[..., None, None]).flatten(1), whole(image))


# Trained -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["efficientnet_b0", "ghostnet_050", "convnext_atto", "torchvision/mobilenet_v3_small"])
def test_reach_tells_what_maps_and_pooled_features_follow_from(name):
    backbone, image = by_name(name).eval(), torch.randn(2, 3, 64, 64)
    reach = survey(backbone)
    names = [key for key, _ in backbone.net.named_parameters()]
    for wanted, output in ((reach.maps[1], backbone(image)[1]), (reach.pooled, backbone.pool(backbone(image)))):
        grads = torch.autograd.grad(output.sum(), list(backbone.net.parameters()), allow_unused=True)
        assert {key for key, grad in zip(names, grads, strict=True) if grad is not None} == wanted
    assert reach.pooled.difference(*reach.maps)


def test_only_what_is_named_is_trained_and_what_was_frozen_stays_so():
    backbone = Timm("test_efficientnet")
    backbone.net.conv_stem.requires_grad_(False)
    train_only(backbone, set.union(*survey(backbone).maps))
    fixed = {key for key, p in backbone.net.named_parameters() if not p.requires_grad}
    assert fixed == {"conv_stem.weight", "conv_head.weight", "bn2.weight", "bn2.bias"}


def test_ghostnets_last_map_comes_behind_all_its_blocks():
    """timm's own ends four blocks earlier."""
    backbone = Timm("ghostnet_050").eval()
    reach = survey(backbone)
    behind = reach.pooled.difference(*reach.maps)
    assert {key.partition(".")[0] for key in behind} == {"blocks", "conv_head"}
    assert all(key.startswith(("blocks.9.", "conv_head.")) for key in behind)


# The contract --------------------------------------------------------------------------------------------------------


class Own(Backbone):
    """All that a backbone must do, and no more."""

    def __init__(self, width: int = 8, stride: int = 4, **features):
        super().__init__()
        self.net = nn.Conv2d(3, 8, 4, stride=4)
        self.features = Features([width], [stride], **features)
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("std", torch.full((3,), 0.25))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.net(image)]


class Gray(Own):
    """Takes one channel, which its statistics do not say."""

    in_channels = 1


class WithoutNet(Own):
    def __init__(self):
        super().__init__()
        self.layers = self.net
        del self.net


class Fails(Own):
    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.net(image.flatten(1))]


class Vector(Own):
    def pool(self, maps: list[Tensor]) -> Tensor:
        return maps[-1].flatten(1)


def test_a_backbone_that_keeps_the_contract_trains_exports_and_loads(tmp_path):
    from modules.training.transfer import export_backbone

    task = Classification(backbone=Own(), classes=["a", "b"])
    assert task(torch.randn(2, 3, 32, 32)).shape == (2, 2)
    assert task.backbone.name == "Own" and not task.backbone.small_images
    export_backbone(task.backbone, tmp_path / "backbone.safetensors")
    other = Own()
    assert_named(load_backbone(other, str(tmp_path / "backbone.safetensors")), "2/2")
    assert torch.equal(other.net.weight, task.backbone.net.weight)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (WithoutNet, ("WithoutNet", "self.net")),
        (lambda: Own(width=16), ("Own", "map 0", "channels", 16)),
        (lambda: Own(stride=16), ("Own", "map 0", "stride", 16)),
        (lambda: Own(stride=1), ("Own", "map 0", "stride", 1)),
        (lambda: Own(pooled=3), ("Own", "features.pooled", 3)),
        (Gray, ("Gray", "self.mean")),
        (Fails, ("Fails", "224 x 224")),
        (Vector, ("Vector", "features.pooled", 8)),
    ],
)
def test_a_broken_contract_is_found_when_the_task_is_built(make, names):
    with refuses(ConfigError, *names):
        Classification(backbone=make(), classes=["a", "b"])


def test_every_backbone_of_ours_keeps_it():
    for backbone in (UNetEncoder(channels=(4, 8)), by_name("c3d"), by_name("s3d")):
        survey(backbone)


# Refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "classes", "names"),
    [
        ("resnet18", ["cat", "dog"], ("resnet18", 1000, 2, "--model.head")),
        ("vit_tiny_patch16_dinov3_qkvb", None, ("vit_tiny_patch16_dinov3_qkvb", "--model.head")),
        ("volo_d1_224", None, ("--model.head",)),
    ],
)
def test_a_head_that_cannot_be_the_librarys_is_refused_in_a_sentence(name, classes, names):
    with refuses(ConfigError, "model.head", "pretrained", *names):
        Classification(backbone=name, head="pretrained", classes=classes or [str(i) for i in range(1000)])


def test_weights_without_a_classifier_are_refused(tmp_path):
    task = Classification(backbone="test_resnet", head="pretrained", classes=[str(i) for i in range(1000)])
    torch.save(task.backbone.net.state_dict(), tmp_path / "weights.pth")
    with refuses(ConfigError, "model.head", tmp_path / "weights.pth", "fc.weight", "--model.weights pretrained"):
        load_backbone(task.backbone, str(tmp_path / "weights.pth"), task.classifier)


def test_class_names_come_with_the_classifier():
    task = Classification(backbone="test_resnet", head="pretrained")
    assert len(task.classes) == 1000 and task.classes[1].startswith("goldfish")
