"""Temporal fusion: closed forms, still clips, the order of frames."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones import Timm, TorchvisionVideo
from modules.contracts import ConfigError, Fusion
from modules.temporal import FUSIONS, Attention, Concat, Early, Inflate, Max, Mean, Recurrent, Single, Slow
from modules.temporal.frames import pooled_frames
from modules.temporal.inflate import InflatedConv
from modules.training.transfer import export_backbone, load_backbone
from tests.helpers.errors import refuses

FRAMES = 4
BLIND = ("single", "mean", "max")


def clips(frames: int = FRAMES, side: int = 64, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, frames, side, side)


def still(frames: int = FRAMES, side: int = 64) -> tuple[Tensor, Tensor]:
    image = torch.randn(2, 3, side, side)
    return image, image[:, :, None].expand(-1, -1, frames, -1, -1)


def made(kind: str, name: str = "test_resnet") -> tuple[Timm, Fusion]:
    torch.manual_seed(1)
    backbone = Timm(name)
    return backbone.eval(), FUSIONS[kind](backbone, FRAMES).eval()


def pooled(maps: list[Tensor]) -> Tensor:
    return maps[-1].mean((-2, -1))


@pytest.mark.parametrize("kind", FUSIONS)
def test_features_are_as_announced_and_gradients_reach_what_is_seen(kind):
    backbone, fusion = made(kind)
    video = clips().requires_grad_()
    maps = fusion(backbone, video)
    assert maps[-1].shape[:2] == (2, fusion.features.channels[-1])
    pooled(maps).square().sum().backward()
    seen = (video.grad.abs().amax((0, 1, 3, 4)) > 0).tolist()
    assert seen == [kind != "single" or i == FRAMES // 2 for i in range(FRAMES)]
    trained = [*backbone.named_parameters(), *fusion.named_parameters()]
    assert not [key for key, p in trained if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("kind", FUSIONS)
def test_only_single_mean_and_max_are_blind_to_the_order_of_frames(kind):
    backbone, fusion = made(kind)
    video, order = clips(), torch.tensor([1, 3, 2, 0])  # the middle frame stays
    with torch.no_grad():
        one, other = (pooled(fusion(backbone, v)) for v in (video, video[:, :, order]))
    assert torch.allclose(one, other, atol=1e-5) == (kind in BLIND)


@pytest.mark.parametrize("kind", ["mean", "max", "lstm", "gru", "attention"])
def test_backbones_for_clips_may_be_followed_by_what_comes_late(kind):
    backbone = TorchvisionVideo("mc3_18").eval()  # which keeps the length of clips
    fusion = FUSIONS[kind](backbone, FRAMES).eval()
    with torch.no_grad():
        assert pooled(fusion(backbone, clips(side=32))).shape == (2, fusion.features.channels[-1])


@pytest.mark.parametrize("kind", ["single", "concat", "early", "slow", "inflate"])
def test_backbones_for_clips_refuse_what_comes_before(kind):
    with refuses(ConfigError, "mc3_18", kind, "--model.fusion"):
        FUSIONS[kind](TorchvisionVideo("mc3_18"), FRAMES)


# Closed forms --------------------------------------------------------------------------------------------------------


def frame_features(backbone: Timm, video: Tensor) -> Tensor:
    return torch.stack([backbone(video[:, :, t])[-1].mean((-2, -1)) for t in range(video.shape[2])], 1)


@torch.no_grad()
def test_late_fusions_are_those_of_features_of_each_frame():
    backbone, video = Timm("test_resnet").eval(), clips()
    each = frame_features(backbone, video)
    torch.testing.assert_close(pooled_frames(backbone, video), each)
    torch.testing.assert_close(pooled(Mean(backbone, FRAMES)(backbone, video)), each.mean(1))
    torch.testing.assert_close(pooled(Max(backbone, FRAMES)(backbone, video)), each.amax(1))
    torch.testing.assert_close(pooled(Single(backbone, FRAMES)(backbone, video)), each[:, 2])
    concat = Concat(backbone, FRAMES, hidden=5)
    weight, bias = concat.layers[0].weight, concat.layers[0].bias
    expected = sum(each[:, t] @ weight[:, 96 * t : 96 * (t + 1)].T for t in range(FRAMES)) + bias
    torch.testing.assert_close(pooled(concat(backbone, video)), expected.relu())


@torch.no_grad()
@pytest.mark.parametrize("cells", [2, 1])
def test_late_fusion_of_whole_maps_reads_every_place_of_every_frame(cells):
    backbone, video = Timm("test_resnet").eval(), clips()
    maps = torch.stack([backbone(video[:, :, t])[-1] for t in range(FRAMES)], 1)  # (B, T, D, 2, 2)
    if cells == 1:
        maps = maps.mean((-2, -1))
    concat = Concat(backbone, FRAMES, hidden=5, cells=cells)
    expected = nn.functional.linear(maps.flatten(1), concat.layers[0].weight, concat.layers[0].bias)
    torch.testing.assert_close(pooled(concat(backbone, video)), expected.relu())


@torch.no_grad()
@pytest.mark.parametrize(("cell", "single"), [("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
def test_recurrent_ends_in_the_state_after_the_last_frame(cell, single):
    backbone, video = Timm("test_resnet").eval(), clips()
    fusion, step, state = Recurrent(backbone, FRAMES, cell, hidden=6), single(96, 6), None
    step.load_state_dict({k.removesuffix("_l0"): v for k, v in fusion.cells.state_dict().items()})
    for features in fusion.norm(frame_features(backbone, video)).unbind(1):
        state = step(features, state)
    torch.testing.assert_close(pooled(fusion(backbone, video)), state[0] if cell == "lstm" else state)


@torch.no_grad()
def test_attention_knows_the_order_by_its_positions_only():
    backbone, video = Timm("test_resnet").eval(), clips()
    fusion = Attention(backbone, FRAMES).eval()
    fusion.position.zero_()
    torch.testing.assert_close(pooled(fusion(backbone, video)), pooled(fusion(backbone, video.flip(2))))
    with refuses(ConfigError, "attention", 6, f"--data.frames {FRAMES}"):
        fusion(backbone, clips(6))


@torch.no_grad()
@pytest.mark.parametrize("groups", [1, 4])
def test_an_inflated_convolution_is_a_3d_one_with_the_outer_frames_repeated(groups):
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups)
    ours = InflatedConv(conv, frames=5, extent=3)
    ours.weight.normal_()
    video = torch.randn(2, 4, 5, 9, 9)
    theirs = nn.Conv3d(4, 8, 3, stride=(1, 2, 2), padding=(0, 1, 1), groups=groups)
    theirs.load_state_dict(ours.state_dict())
    expected = theirs(functional.pad(video, (0, 0, 0, 0, 1, 1), mode="replicate"))
    found = ours(video.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 5)).transpose(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


# Still clips and weights of images ---------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("kind", ["inflate", "slow"])
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_a_still_clip_gives_the_features_of_its_image(kind, name):
    torch.manual_seed(1)
    plain = Timm(name).eval()
    backbone, fusion = made(kind, name)
    image, video = still()
    torch.testing.assert_close(pooled(fusion(backbone, video)), pooled(plain(image)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["inflate", "early"])
def test_weights_of_images_become_those_of_clips_and_back(tmp_path, kind):
    path, plain, again = tmp_path / "backbone.safetensors", Timm("test_resnet").eval(), Timm("test_resnet").eval()
    export_backbone(plain, path)
    backbone, fusion = made(kind)
    load_backbone(backbone, str(path))
    image, video = still()
    expected = pooled(plain(image))
    torch.testing.assert_close(pooled(fusion(backbone, video)), expected, atol=1e-5, rtol=1e-5)
    export_backbone(backbone, path)
    load_backbone(again, str(path))
    torch.testing.assert_close(pooled(again(image)), expected, atol=1e-5, rtol=1e-5)


def test_slow_fusion_halves_the_frames_stage_by_stage():
    backbone = Timm("test_resnet")
    fusion, seen = Slow(backbone, 12), []
    for name in ("act1", "layer1", "layer2", "layer4"):
        stage = backbone.net.get_submodule(name)
        stage.register_forward_hook(lambda module, inputs, maps: seen.append(len(maps)))
    assert fusion(backbone, clips(12, batch=1))[-1].shape[:2] == (1, 96)
    assert seen == [6, 3, 3, 3]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Slow(Timm("test_resnet"), 7), ("slow", "--data.frames", 7)),
        (lambda: Slow(Timm("test_vit"), 4), ("slow", "test_vit", 1)),
        (lambda: Inflate(Timm("test_resnet"), 4, extent=2), ("fusion.extent", 2, 3)),
        (lambda: Inflate(Timm("tf_efficientnetv2_b0"), 4), ("inflate", "tf_efficientnetv2_b0", "Conv2dSame")),
        (lambda: Attention(Timm("test_resnet"), 4, heads=7), ("fusion.heads", 7, 96, "test_resnet")),
        (lambda: Early(Timm("crossvit_9_240"), 4), ("early", "crossvit_9_240")),
    ],
)
def test_what_does_not_fit_is_refused(make, names):
    with refuses(ConfigError, *names):
        make()


def test_a_frozen_backbone_stays_frozen_when_it_is_changed():
    for kind in (Early, Inflate):
        backbone = Timm("test_resnet").requires_grad_(False)
        kind(backbone, FRAMES)
        assert not any(p.requires_grad for p in backbone.parameters())
