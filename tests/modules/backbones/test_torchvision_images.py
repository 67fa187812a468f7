"""Torchvision's networks for images: their maps, names of tensors and classifiers are torchvision's."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from modules.backbones import Timm, Torchvision, TorchvisionVideo, by_name
from modules.contracts import ConfigError
from modules.training.parameter_groups import parameter_groups
from modules.training.transfer import export_backbone, load_backbone
from tests.helpers.errors import refuses

SIDE = 64
ONE_OF_EACH = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11",
    "vit_b_32",
]
CHANNELS_AND_STRIDES = {
    "googlenet": ([64, 192, 480, 832, 1024], [2, 4, 8, 16, 32]),
    "resnet18": ([64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
    "vgg11": ([64, 128, 256, 512, 512, 512], [1, 2, 4, 8, 16, 32]),
    "swin_t": ([96, 192, 384, 768], [4, 8, 16, 32]),
    "densenet121": ([64, 256, 512, 1024, 1024], [2, 4, 8, 16, 32]),
}


def make_image(side: int = SIDE) -> Tensor:
    return torch.rand(2, 3, side, side)


def classify(net: nn.Module, name: str, last: Tensor) -> Tensor:
    """torchvision's logits from its last map."""
    if name in ("densenet121", "mnasnet0_5", "mobilenet_v2"):
        return net.classifier(last.mean((-2, -1)))
    if name.startswith(("convnext", "efficientnet", "mobilenet_v3", "vgg", "alexnet")):
        pooled = net.avgpool(last)
        return net.classifier(pooled if name.startswith("convnext") else pooled.flatten(1))
    if name == "squeezenet1_1":
        return net.classifier(last).flatten(1)
    return (net.head if name == "swin_t" else net.fc)(last.mean((-2, -1)))


@pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if name not in ("vit_b_32", "vgg11")])
def test_torchvisions_classifier_on_the_last_map_gives_torchvisions_logits(name):
    backbone, theirs = Torchvision(name).eval(), get_model(name, **_fewest(name)).eval()
    missing, extra = theirs.load_state_dict(backbone.net.state_dict(), strict=False)
    assert not extra and all(key.startswith(("classifier", "fc", "head")) for key in missing)
    with torch.no_grad():
        image = make_image()
        logits = theirs(image)
        torch.testing.assert_close(classify(theirs, name, backbone(image)[-1]), logits)
    assert logits.std() > 0


def _fewest(name: str) -> dict:
    return {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}


def test_a_vit_gives_torchvisions_normalized_cells():
    backbone, theirs, seen = Torchvision("vit_b_32").eval(), get_model("vit_b_32", image_size=96).eval(), []
    with torch.no_grad():
        backbone.net.encoder.pos_embedding.zero_()  # which is of another size
    state = {k: v for k, v in backbone.net.state_dict().items() if k != "encoder.pos_embedding"}
    theirs.load_state_dict(state, strict=False)
    nn.init.zeros_(theirs.encoder.pos_embedding)
    theirs.encoder.ln.register_forward_hook(lambda *parts: seen.append(parts[2]))
    image = make_image(96)
    with torch.no_grad():
        theirs(image)
        (cells,) = backbone(image)
    torch.testing.assert_close(cells.flatten(2).mT, seen[0][:, 1:])


def test_a_vit_rescales_its_positions_and_fills_up_what_is_no_whole_cell():
    backbone = Torchvision("vit_b_32").eval()
    with torch.no_grad():
        assert backbone(make_image(224))[0].shape[2:] == (7, 7)
        assert backbone(make_image(70))[0].shape[2:] == (3, 3)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_maps_have_the_announced_channels_and_strides(name):
    with torch.device("meta"):
        backbone = Torchvision(name).eval() if name != "regnet_y_400mf" else None
        image = torch.empty(2, 3, 128, 192)
    backbone = backbone or Torchvision(name).to("meta").eval()
    if name in CHANNELS_AND_STRIDES:
        assert tuple(backbone.features) == CHANNELS_AND_STRIDES[name]
    lost = 2 if name in ("alexnet", "squeezenet1_1") else 0  # cells, because they do not pad
    for cells, channels, stride in zip(backbone(image), *backbone.features, strict=True):
        assert cells.shape[:2] == (2, channels)
        for side, cell in zip((128, 192), cells.shape[2:], strict=True):
            assert side // stride - lost <= cell <= side // stride


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5", "swin_t", "vit_b_32", "densenet121"])
def test_every_parameter_moves_the_maps(name):
    backbone = by_name(f"torchvision/{name}")
    sum(m.square().sum() for m in backbone(make_image())).backward()
    assert not [key for key, p in backbone.named_parameters() if p.grad is None]


def test_a_plain_name_is_timms_if_timm_has_it():
    assert isinstance(by_name("resnet18"), Timm)
    assert isinstance(by_name("squeezenet1_1"), Torchvision)
    ours = by_name("torchvision/resnet18")
    assert isinstance(ours, Torchvision) and ours.name == "torchvision/resnet18"
    assert by_name("squeezenet1_1").name == "torchvision/squeezenet1_1"
    assert isinstance(by_name("torchvision/r3d_18"), TorchvisionVideo)


def test_weights_travel_through_a_file_under_torchvisions_names(tmp_path):
    source, fresh = by_name("torchvision/resnet18"), by_name("torchvision/resnet18")
    export_backbone(source, tmp_path / "backbone.safetensors")
    load_backbone(fresh, str(tmp_path / "backbone.safetensors"))
    theirs = torchvision.models.resnet18()
    missing, extra = theirs.load_state_dict(fresh.net.state_dict(), strict=False)
    assert missing == ["fc.weight", "fc.bias"] and not extra
    assert torch.equal(theirs.layer4[1].conv2.weight, source.net.layer4[1].conv2.weight)


@pytest.mark.parametrize(("name", "mean"), [("resnet18", 0.485), ("googlenet", 0.5)])
def test_pretrained_takes_torchvisions_weights_without_classifiers(name, mean, monkeypatch):
    theirs, backbone = get_model(name, **({"init_weights": True} if name == "googlenet" else {})), Torchvision(name)
    weights = get_model_weights(name).DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda self, **k: theirs.state_dict())
    assert f"torchvision {name}.IMAGENET1K_V1" in load_backbone(backbone, "pretrained")
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in backbone.net.state_dict().items())
    assert backbone.mean[0].item() == pytest.approx(mean)


def test_googlenets_own_rescaling_is_in_its_statistics():
    """torchvision turns ImageNet's statistics into -1..1 inside the network; here the statistics say -1..1."""
    theirs = get_model("googlenet", init_weights=True, transform_input=True)
    pixels = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    imagenet = by_name("torchvision/resnet18").normalize(pixels)
    torch.testing.assert_close(theirs._transform_input(imagenet), Torchvision("googlenet").normalize(pixels))


def test_options_reach_the_network():
    dropped = by_name("torchvision/convnext_tiny", drop_path=0.2)
    assert max(m.p for m in dropped.modules() if isinstance(m, torchvision.ops.StochasticDepth)) == pytest.approx(0.2)
    dilated = by_name("torchvision/resnet50", output_stride=8).eval()
    assert dilated.features.strides == [2, 4, 8] and dilated(make_image())[-1].shape[1:] == (2048, 8, 8)
    small = by_name("torchvision/resnet18", small_images=True).eval()
    assert small.features.strides == [1, 2, 4, 8] and small(make_image(32))[0].shape[2:] == (32, 32)


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: by_name("torchvision/resnet18", drop_path=0.1), ("torchvision/resnet18", "drop_path 0.1")),
        (lambda: by_name("torchvision/resnet18", output_stride=8), ("torchvision/resnet18", "output_stride 8")),
        (lambda: by_name("alexnet", small_images=True), ("small_images", "alexnet")),
        (lambda: by_name("torchvision/resnet181"), ("torchvision/resnet181", "torchvision/resnet18")),
        (lambda: by_name("squeezenet1_2"), ("squeezenet1_2", "squeezenet1_1")),
        (lambda: Torchvision("resnet19"), ("resnet19", "resnet18")),
        (lambda: by_name("alexnet").eval()(make_image(32)), ("alexnet", 63, "32 x 32", "--data.image_size")),
        (lambda: by_name("maxvit_t").eval()(make_image(96)), ("maxvit_t", "96 x 96", "--data.image_size 224")),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(build, names):
    with refuses(ConfigError, *names):
        build()


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("resnet18", "conv1", "layer4"),
        ("squeezenet1_1", "features.0", "features.12"),
        ("vit_b_32", "conv_proj", "encoder.ln"),
    ],
)
def test_layer_decay_slows_lower_layers_down(name, first, last):
    net = by_name(f"torchvision/{name}").net
    names = {id(p): key for key, p in net.named_parameters()}
    scale = {names[id(p)]: g["lr_scale"] for g in parameter_groups(net, net, 0.5) for p in g["params"]}
    low, high = (next(v for key, v in scale.items() if key.startswith(part)) for part in (first, last))
    assert low < high <= 1
