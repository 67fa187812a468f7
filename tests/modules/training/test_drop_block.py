"""DropBlock: share and shape of what is dropped, the layers that it acts behind, its schedule."""

import pytest
import torch
from torch import nn

from modules.backbones import by_name
from modules.contracts import ConfigError
from modules.heads import Projection
from modules.training.drop_block import DropBlock
from modules.training.optim import Optim
from modules.training.teacher import Teacher
from tasks import Classification, SimCLR
from tests.helpers.errors import refuses
from tests.helpers.training import train


def dropped(block: DropBlock, shape: tuple[int, ...], channels_last: bool = False) -> torch.Tensor:
    """Ones of that shape after DropBlock at its highest rate."""
    torch.manual_seed(0)
    block.set_progress(1)
    drop = block._drop_last if channels_last else block._drop
    return drop(nn.Identity().train(), (), torch.ones(shape))


@pytest.mark.parametrize("channels_last", [False, True])
def test_blocks_are_whole_and_what_is_left_keeps_the_mean(channels_last):
    block = DropBlock(by_name("test_resnet"), 0.1, 3, 1)
    shape = (16, 20, 20, 64) if channels_last else (16, 64, 20, 20)
    found = dropped(block, shape, channels_last)
    found = found.movedim(-1, 1) if channels_last else found
    gone = (found == 0).flatten(0, 1).float()
    # blocks overlap: a cell is left if no center of the blocks around it is drawn
    gamma = 0.1 / 9 * 20**2 / 18**2
    assert gone[:, 2:18, 2:18].mean().item() == pytest.approx(1 - (1 - gamma) ** 9, abs=0.006)
    whole = nn.functional.pad(-nn.functional.max_pool2d(-gone, 3, 1), [1] * 4)
    assert torch.equal(nn.functional.max_pool2d(whole, 3, 1, 1), gone)  # every cell that is gone lies in a block
    assert found.mean().item() == pytest.approx(1, rel=1e-3)
    assert (found[:, 0] != found[:, 1]).any() and (found[0] != found[1]).any()


def test_frames_of_a_clip_share_blocks_and_blocks_are_clipped_to_the_map():
    found = dropped(DropBlock(by_name("test_resnet"), 0.5, 7, 1), (8, 64, 4, 4, 6))
    assert torch.equal(found, found[:, :, :1].expand_as(found))
    gone = (found[:, :, 0] == 0).sum((2, 3))
    assert 9 in gone and gone[gone > 0].min() == 9  # 3 x 3, the largest odd block in 4 x 6


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("test_resnet", ["layer3.0", "layer4.0"]),
        ("resnet18", ["layer3.0", "layer3.1", "layer4.0", "layer4.1"]),
        (
            "test_convnext",
            [f"stages.{path}" for path in "2.blocks.0 2.blocks.1 2.blocks.2 2.blocks.3 3.blocks.0 3.blocks.1".split()],
        ),
    ],
)
def test_it_acts_behind_the_blocks_of_the_last_stages_in_training_alone(name, places):
    backbone = by_name(name)
    block = DropBlock(backbone, 0.3, 3, 2)
    hooked = [path for path, layer in backbone.net.named_modules() if block._drop in layer._forward_hooks.values()]
    assert hooked == places
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        backbone.eval()
        plain = backbone(image)
        block.set_progress(1)
        assert torch.equal(backbone(image)[-1], plain[-1])
        backbone.train()
        random = torch.get_rng_state()
        first, other = backbone(image)[-1], backbone(image)[-1]
        assert not torch.equal(first, other)
        torch.set_rng_state(random)
        assert torch.equal(backbone(image)[-1] == 0, first == 0)


def test_the_rate_rises_linearly_with_the_steps_and_a_teacher_never_drops():
    task = Classification(classes=["a", "b"], backbone="test_resnet", drop_block=0.2, optim=Optim(lr=0.0))
    rates = []
    task.head.register_forward_pre_hook(lambda *_: rates.append(task.drop_block.rate))
    train(task, {"image": torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "label": torch.arange(4) % 2}, 4)
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15])
    backbone = by_name("test_resnet")
    block = DropBlock(backbone, 0.5, 3, 2)
    teacher, image = Teacher(backbone, Projection(backbone.features, norm=False)).train(), torch.rand(4, 3, 64, 64)
    block.set_progress(1)
    assert torch.equal(teacher(image), teacher(image))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"drop_block": 1.5}, ("model.drop_block", 1.5)),
        ({"drop_block": 0.1, "drop_block_size": 4}, ("model.drop_block_size", 4)),
        ({"drop_block": 0.1, "drop_block_stages": 0}, ("model.drop_block_stages", 0)),
        ({"drop_block": 0.1, "drop_block_stages": 99}, ("model.drop_block_stages", 99)),
        ({"drop_block": 0.1, "compile": True}, ("model.drop_block", "model.compile")),
        ({"drop_block": 0.1, "frozen": True}, ("model.drop_block", "model.frozen")),
        ({"drop_block": 0.1, "backbone": "test_vit"}, ("model.drop_block", "test_vit", "model.drop_path")),
    ],
)
def test_what_it_cannot_do_is_refused(settings, names):
    with refuses(ConfigError, *names):
        SimCLR(**{"backbone": "test_resnet"} | settings)
