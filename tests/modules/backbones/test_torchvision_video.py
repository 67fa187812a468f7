"""Networks for clips: the maps are torchvision's, with the announced channels and strides; C3D has the paper's size."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from modules.backbones import C3D, TorchvisionVideo, by_name
from modules.contracts import ConfigError
from modules.heads import FullyConnected, Linear
from modules.temporal import Mean
from modules.training.parameter_groups import parameter_groups
from modules.training.transfer import export_backbone, load_backbone
from tests.helpers.errors import assert_named, refuses

LIGHT = ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d_t", "c3d"]
PARITY = {
    "r3d_18": ("fc", (8, 48, 48)),
    "mc3_18": ("fc", (8, 48, 48)),
    "r2plus1d_18": ("fc", (8, 48, 48)),
    "s3d": ("classifier", (16, 224, 224)),  # whose pooling only there covers the whole map
    "swin3d_t": ("head", (4, 64, 64)),
}


def clips(frames: int = 8, side: int = 64, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, frames, side, side)


@pytest.mark.parametrize("name", LIGHT)
def test_maps_have_the_announced_channels_and_strides(name):
    backbone, video = by_name(name).eval(), clips(batch=2)[..., :32]
    with torch.no_grad():
        maps = backbone(video)
    pool = 1 if name == "c3d" else 0  # its last pooling is padded, so that 7 cells become 4
    sizes = [(2, c, 64 // s, 32 // s) for c, s in zip(*backbone.features, strict=True)]
    sizes[-1] = (*sizes[-1][:2], *(side + pool for side in sizes[-1][2:]))
    assert [(*m.shape[:2], *m.shape[3:]) for m in maps] == sizes


@pytest.mark.parametrize("name", PARITY)
def test_logits_with_copied_classifier_are_torchvisions(name):
    classifier, size = PARITY[name]
    theirs = torchvision.models.get_model(name, num_classes=7).eval()
    backbone = TorchvisionVideo(name).eval()
    missing, unexpected = backbone.net.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing and all(key.startswith(classifier) for key in unexpected)
    head, last = Linear(backbone.features, 7).eval(), getattr(theirs, classifier)
    last = last[1] if name == "s3d" else last
    head.fc.load_state_dict({"weight": last.weight.view(7, -1), "bias": last.bias})
    video = torch.rand(1, 3, *size)
    with torch.no_grad():
        ours = head(Mean(backbone, size[0])(backbone, video).end)
        torch.testing.assert_close(ours, theirs(video), atol=1e-5, rtol=1e-5)


def test_mvit_gives_its_cells_without_the_class_token():
    theirs = torchvision.models.get_model("mvit_v2_s").eval()
    backbone, seen = TorchvisionVideo("mvit_v2_s").eval(), []
    theirs.norm.register_forward_hook(lambda *parts: seen.append(parts[2]))
    backbone.net.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("head")})
    video = clips(16, 224)
    with torch.no_grad():
        theirs(video)
        (cells,) = backbone(video)
    assert cells.shape == (1, 768, 8, 7, 7)
    torch.testing.assert_close(cells.flatten(2).transpose(1, 2), seen[0][:, 1:])


def test_c3d_with_its_head_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        backbone = C3D(norm=False)
        head = FullyConnected(backbone.features, 101)
        cells = backbone(torch.rand(1, 3, 16, 112, 112))[-1]
        assert cells.shape == (1, 512, 1, 4, 4)
        assert head([cells.mean(2)]).shape == (1, 101)
    count = sum(p.numel() for module in (backbone, head) for p in module.parameters())
    assert count / 1e6 == pytest.approx(78.4, abs=0.05)


@pytest.mark.parametrize("name", LIGHT)
def test_gradients_reach_every_parameter_and_every_frame(name):
    backbone, video = by_name(name), clips(batch=2).requires_grad_()
    backbone(video)[-1].square().sum().backward()
    assert not [key for key, p in backbone.named_parameters() if p.grad is None]
    assert (video.grad.abs().amax((0, 1, 3, 4)) > 0).all()


@pytest.mark.parametrize(("name", "first", "last"), [("r3d_18", "stem.0", "layer4"), ("c3d", "0.0.0", "4.1.0")])
def test_layer_decay_slows_lower_layers_down(name, first, last):
    net = by_name(name).net
    names = {id(p): key for key, p in net.named_parameters()}
    scale = {names[id(p)]: g["lr_scale"] for g in parameter_groups(net, net, 0.5) for p in g["params"]}
    low, high = (next(v for key, v in scale.items() if key.startswith(part)) for part in (first, last))
    assert low < high <= 1


def test_weights_travel_through_a_file(tmp_path):
    source, fresh = by_name("r3d_18"), by_name("r3d_18")
    export_backbone(source, tmp_path / "backbone.safetensors")
    assert_named(load_backbone(fresh, str(tmp_path / "backbone.safetensors")), "120/120")
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in source.state_dict().items())


def test_pretrained_takes_torchvisions_weights_without_their_classifier(monkeypatch):
    theirs, backbone = torchvision.models.get_model("r3d_18"), by_name("r3d_18")
    asked = torchvision.models.get_model_weights("r3d_18").DEFAULT
    monkeypatch.setattr(type(asked), "get_state_dict", lambda self, **k: theirs.state_dict())
    assert "torchvision r3d_18.KINETICS400_V1" in load_backbone(backbone, "pretrained")
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in backbone.net.state_dict().items())
    assert backbone.mean.tolist() == pytest.approx([0.43216, 0.394666, 0.37645])  # of Kinetics


@pytest.mark.parametrize(
    ("name", "video", "names"),
    [
        ("r3d_18", torch.rand(1, 3, 32, 32), ("--model.backbone", "resnet18")),
        ("c3d", torch.rand(1, 3, 32, 32), ("--model.backbone", "resnet18")),
        ("s3d", clips(4), (5, 4, "--data.frames")),
        ("mvit_v2_s", clips(), (8, "64 x 64", "--data.frames 16", "--data.image_size 224")),
    ],
)
def test_what_a_network_cannot_take_is_said(name, video, names):
    with refuses(ConfigError, name, *names):
        by_name(name)(video)


def test_options_of_timm_are_refused_where_they_would_be_ignored():
    for options in ({"small_images": True}, {"drop_path": 0.1}, {"output_stride": 8}):
        with refuses(ConfigError, "r3d_18", *options):
            by_name("r3d_18", **options)


def test_fully_connected_takes_maps_of_any_size():
    head = FullyConnected(by_name("c3d").features, 5, hidden=(16,), cells=2)
    assert head([torch.rand(3, 512, 4, 6)]).shape == (3, 5)
    assert [m.out_features for m in head.modules() if isinstance(m, nn.Linear)] == [5, 16]
