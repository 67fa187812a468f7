"""Pretraining on clips: VideoMAE and SimCLR on two clips of a video."""

import pytest
import torch
from torch import Tensor

from commands.linking import check_views
from datamodules import ShapesVideo
from modules.backbones import Timm, VideoViT, by_name
from modules.backbones.tokens import encode, take
from modules.contracts import ConfigError
from modules.losses.contrastive import nt_xent
from modules.pretext.masks import random_patches, tubes
from modules.pretext.patches import tubelets
from modules.training.transfer import described_backbone, export_backbone, load_backbone, read_weights
from tasks import VideoMAE, VideoSimCLR
from tests.helpers.errors import refuses

SMALL = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "frames": 4}


def vit(size: int = 32, **more: int) -> VideoViT:
    return VideoViT("test_vit", size, options={"patch_size": 8}, **more)


def clips(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def data(**more) -> ShapesVideo:
    made = ShapesVideo(train=6, val=6, test=2, frames=4, image_size=32, batch_size=3, workers=0, **more)
    made.prepare_data()
    made.setup("fit")
    return made


def test_tubelets_are_cut_as_a_loop_cuts_them():
    video = clips(2, 3, 4, 16, 24)
    cut = tubelets(video, (2, 8, 8))
    expected = [
        video[:, :, t : t + 2, y : y + 8, x : x + 8].movedim(1, -1).flatten(1)
        for t in (0, 2)
        for y in (0, 8)
        for x in (0, 8, 16)
    ]
    assert torch.equal(cut, torch.stack(expected, 1))


def test_a_tube_hides_the_same_patches_at_all_times():
    visible, hidden = random_patches(3, 16, 0.75, torch.Generator().manual_seed(0))
    everywhere = tubes(hidden, 4, 16).view(3, 4, -1)
    assert torch.equal(everywhere % 16, hidden[:, None].expand(-1, 4, -1))
    assert (everywhere // 16 == torch.arange(4)[:, None]).all()
    both = torch.cat([tubes(visible, 4, 16), tubes(hidden, 4, 16)], 1)
    assert torch.equal(both.sort(1)[0], torch.arange(64).expand(3, -1))


def test_targets_are_normalized_in_each_channel_of_a_tubelet():
    task, video = VideoMAE(backbone=vit(), **SMALL), clips(2, 3, 4, 32, 32)
    target = task.target(video).view(2, 2, 4, 4, 128, 3)
    one = video[1, 2, 2:4, 8:16, 24:32].flatten()
    torch.testing.assert_close(target[1, 1, 1, 3, :, 2], (one - one.mean()) / (one.std() + 1e-6))


def test_the_loss_is_about_hidden_tubelets_alone():
    task, video = VideoMAE(backbone=vit(), mask_ratio=0.5, **SMALL).eval(), clips(2, 3, 4, 32, 32)
    task.decoder.leave.weight.data.zero_()
    task.decoder.leave.bias.data.zero_()
    found = task.compute_loss({"video": video}, torch.Generator().manual_seed(0))
    _, hidden = task.mask(2, (2, 4, 4), torch.Generator().manual_seed(0))
    wanted = torch.stack([rows[places] for rows, places in zip(task.target(video), hidden, strict=True)])
    assert hidden.shape == (2, 2 * 8)
    torch.testing.assert_close(found["loss"], wanted.square().mean())


def test_the_loss_is_that_of_transformers():
    peer = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {f"decoder_{name}": value for name, value in sizes.items()}
    settings = peer.VideoMAEConfig(image_size=32, patch_size=8, num_frames=4, tubelet_size=2, **sizes)
    task, video = VideoMAE(backbone=vit(), **SMALL), clips(3, 3, 4, 32, 32)
    hidden = task.mask(3, (2, 4, 4), None)[1].sort(1)[0]
    places = torch.zeros(3, 32, dtype=torch.bool).scatter_(1, hidden, True)
    theirs = peer.VideoMAEForPreTraining(settings).eval()(video.transpose(1, 2), places)
    ours = (theirs.logits - take(task.target(video), hidden)).square().mean()
    torch.testing.assert_close(ours, theirs.loss, rtol=0, atol=1e-5)


def test_the_encoder_sees_visible_tubelets_only():
    net, video = vit().eval().net, clips(1, 3, 4, 32, 32)
    visible = tubes(torch.tensor([[0, 5]]), 2, 16)
    tokens = encode(net, video, visible)
    shown = torch.zeros(16, dtype=torch.bool)
    shown[[0, 5]] = True
    shown = shown.view(4, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal(tokens, encode(net, video.where(shown, torch.nan), visible))
    torch.testing.assert_close(encode(net, video), net(video))


def test_weights_of_an_image_network_are_inflated(tmp_path):
    plain = Timm(
        "test_vit",
        image_size=32,
        options={"patch_size": 8, "class_token": False, "global_pool": "avg", "fc_norm": False},
    )
    export_backbone(plain, tmp_path / "image.safetensors")
    backbone, image = vit(), clips(2, 3, 32, 32)
    load_backbone(backbone, str(tmp_path / "image.safetensors"))
    still = backbone.net.patch_embed(image.unsqueeze(2).expand(-1, -1, 4, -1, -1))
    expected = plain.net.patch_embed.proj(image).movedim(1, -1)
    torch.testing.assert_close(still, expected[:, None].expand(-1, 2, -1, -1, -1), rtol=0, atol=1e-5)
    blocks = {name: value for name, value in plain.net.state_dict().items() if name.startswith("blocks")}
    assert all(torch.equal(backbone.net.state_dict()[name], value) for name, value in blocks.items())


def test_a_file_says_which_network_it_is_of(tmp_path):
    backbone, video = vit(tubelet=3).eval(), clips(1, 3, 6, 32, 32)
    export_backbone(backbone, tmp_path / "clip.safetensors")
    again = described_backbone(read_weights(str(tmp_path / "clip.safetensors")).about).eval()
    load_backbone(again, str(tmp_path / "clip.safetensors"))
    assert torch.equal(again(video)[-1], backbone(video)[-1])
    assert again.pool(again(video)).shape == (1, 64)


def test_clips_may_be_longer_and_larger_than_positions_were_made_for():
    (found,) = vit().eval()(clips(1, 3, 6, 48, 40))
    assert found.shape == (1, 64, 3, 6, 5)


@pytest.mark.parametrize(
    ("shape", "names"),
    [((1, 3, 5, 32, 32), ("--data.frames", "6")), ((1, 3, 4, 36, 36), ("--data.image_size", "40"))],
)
def test_clips_of_no_whole_tubelets_are_refused_with_what_to_set(shape, names):
    with refuses(ConfigError, *names):
        vit()(clips(*shape))
    task = VideoMAE(backbone=vit(), **SMALL | {"frames": shape[2]})
    with refuses(ConfigError, *names):
        task.check_sides({"data.image_size": shape[-1]})


def test_ratios_that_hide_all_tubes_are_refused_before_the_first_batch():
    with refuses(ConfigError, "model.mask_ratio", 0.98, 16, "0.0625", "0.9375"):
        VideoMAE(backbone=vit(), mask_ratio=0.98, **SMALL).check_sides({"data.image_size": 32})


def test_networks_without_tubelets_are_refused():
    with refuses(ConfigError, "VideoMAE", "r3d_18", "VideoViT"):
        VideoMAE(backbone=by_name("r3d_18"), **SMALL)
    with refuses(ConfigError, "VideoViT", "resnet18", "--model.backbone.name"):
        VideoViT("resnet18")
    with refuses(ConfigError, "model.backbone.image_size", "60", "64"):
        vit(60)


def test_two_clips_of_a_video_differ_and_the_first_is_that_of_one():
    one, two = (data(crop=(0.3, 1), augment="simclr", views=views) for views in (1, 2))
    single, pairs = (made.dataset("train", "train")[(3, 1)]["video"] for made in (one, two))
    assert len(pairs) == 2
    assert (pairs[0] == single[0]).all()
    assert (pairs[1] != pairs[0]).any()
    assert len(two.dataset("val", "evaluate")[(0, 1)]["video"]) == 2
    assert len(two.dataset("val", "plain")[(0, 1)]["video"]) == 1


def test_the_loss_of_two_clips_is_nt_xent_of_their_embeddings():
    torch.manual_seed(0)
    task = VideoSimCLR(backbone="test_resnet", frames=4, fusion="mean", temperature=0.3).eval()
    video = clips(6, 3, 4, 32, 32)  # three videos, their two clips one after the other
    loss = task.compute_loss({"video": video, "id": list("abc")}, None)["loss"]
    embeddings = task(video)
    torch.testing.assert_close(loss, nt_xent(embeddings[::2], embeddings[1::2], 0.3))


def test_data_of_another_number_of_clips_is_refused():
    with refuses(ConfigError, "VideoSimCLR", "--data.views 2"):
        check_views(VideoSimCLR(backbone="test_resnet", frames=4), data())
    with refuses(ConfigError, "VideoMAE", "--data.views 1") as said:
        check_views(VideoMAE(backbone=vit(), **SMALL), data(views=2))
    assert "local_views" not in str(said.value)
