import pytest
import torch

from commands.evaluate.corruptions import STRENGTHS, corrupt, settings
from datamodules.synthetic.render import render
from datamodules.synthetic.world import scene


@pytest.fixture
def images() -> torch.Tensor:
    return torch.stack([torch.from_numpy(render(scene(0, i), 48)[0]).permute(2, 0, 1) for i in range(6)])


def damage(images: torch.Tensor, kind: str, strength: float) -> torch.Tensor:
    return corrupt(images, kind, strength, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", STRENGTHS)
def test_each_strength_takes_images_further_from_what_they_were(images, kind):
    away = []
    for strength in STRENGTHS[kind]:
        damaged = damage(images, kind, strength)
        assert damaged.dtype == torch.uint8 and damaged.shape == images.shape
        away.append((damaged.float() - images.float()).square().mean((1, 2, 3)))
    assert (away[0] > 0).all() and (away[1] > away[0]).all() and (away[2] > away[1]).all()


@pytest.mark.parametrize("kind", STRENGTHS)
def test_damage_is_the_same_every_time_and_leaves_the_original_alone(images, kind):
    before = images.clone()
    assert torch.equal(damage(images, kind, STRENGTHS[kind][1]), damage(images, kind, STRENGTHS[kind][1]))
    assert torch.equal(images, before)


def test_noise_and_contrast_are_what_they_say():
    gray = torch.full((4, 3, 32, 32), 128, dtype=torch.uint8)
    assert damage(gray, "noise", 0.08).float().std().item() / 255 == pytest.approx(0.08, rel=0.03)
    ramp = torch.arange(64, dtype=torch.uint8).expand(1, 3, 64, 64) * 4
    assert damage(ramp, "contrast", 0.4).float().std().item() == pytest.approx(
        0.4 * ramp.float().std().item(), rel=0.02
    )


def test_jpeg_keeps_the_colors_in_their_places():
    red = torch.tensor([200, 30, 60], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert (damage(red, "jpeg", 25).float().mean((0, 2, 3)) - torch.tensor([200.0, 30, 60])).abs().max() < 8


def test_strengths_in_words():
    assert settings("blur", 100) == ["1 px", "2 px", "4 px"]
    assert [said.split()[-1] for said in settings("jpeg", 100)] == ["25", "15", "7"]
