"""Mixing of batches: shares of labels, mixed features, PatchUp's blocks, PuzzleMix's energy and transport."""

from itertools import product

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from modules.backbones import by_name
from modules.contracts import ConfigError
from modules.training.mixing import Mixer, Mixing
from modules.training.mixing.energy import LEVELS, minimize, pair_weights, unary_costs
from modules.training.mixing.mixer import Mix
from modules.training.mixing.operations import (
    cutmix,
    cutmix_box,
    mixed_labels,
    mixup,
    partners,
    patchup,
    patchup_mask,
    patchup_rate,
)
from modules.training.mixing.puzzle import permuted, puzzle_mix, transport
from tests.helpers.errors import refuses


def uniform(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image[:, 0])


def test_mixup_and_cutmix_are_those_of_torchvision_with_the_partner_half_a_batch_away():
    torch.manual_seed(0)
    x, label = torch.rand(2, 3, 10, 12), torch.tensor([0, 2])  # of two, torchvision's partner is the same
    image = v2.MixUp(alpha=1.0, num_classes=3).transform(x, {"lam": 0.3, "labels": None, "batch_size": 2})
    assert torch.allclose(mixup(x, 0.3), image)
    target = mixed_labels(label, 0.3, 3)
    assert torch.allclose(target, torch.tensor([[0.3, 0, 0.7], [0.7, 0, 0.3]]))
    box = cutmix_box(10, 12, 0.75, 0.5, 0.9)
    found, share = cutmix(x, box)
    y0, x0, y1, x1 = box
    given = {"labels": None, "batch_size": 2, "box": (x0, y0, x1, y1), "lam_adjusted": share}
    assert torch.equal(found, v2.CutMix(alpha=1.0, num_classes=3).transform(x, given))
    assert share == pytest.approx((found == x).all(1).float().mean().item())
    assert (y1 - y0, x1) == (4, 12)  # half of the height, less rounding, and cut at the edge


def test_pairs_are_the_same_on_any_number_of_processes():
    whole = torch.arange(16)
    for processes in (2, 4):
        parts = [partners(whole[rank::processes]) for rank in range(processes)]
        assert torch.equal(torch.stack(parts, 1).flatten(), partners(whole))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_patchup_changes_whole_blocks_and_labels_follow_the_area(share):
    torch.manual_seed(0)
    x, centers = torch.rand(4, 2, 9, 9), torch.zeros(2, 9, 9, dtype=torch.bool)
    centers[0, 4, 4] = centers[1, 0, 0] = True
    mask = patchup_mask(centers, 3)
    assert mask[0].sum() == 9 and mask[1].sum() == 4 and mask[0, 3:6, 3:6].all()
    mixed, own = patchup(x, mask, share)
    assert torch.equal(mixed[:, ~mask], x[:, ~mask])
    assert torch.allclose(mixed[:, mask], share * x[:, mask] + (1 - share) * partners(x)[:, mask])
    assert own.item() == pytest.approx(1 - (1 - share) * 13 / 162)


def test_patchup_blocks_cover_about_the_probability_as_those_of_dropblock():
    # Faramarzi et al. 2020 and Ghiasi et al. 2018, equation 1: gamma of 7 x 7 blocks in 32 x 32 cells
    assert patchup_rate(0.1, 7, 32, 32) == pytest.approx(0.1 / 49 * 32**2 / 26**2)
    random = torch.rand(64, 32, 32, generator=torch.Generator().manual_seed(0))
    assert patchup_mask(random < patchup_rate(0.1, 7, 32, 32), 7).float().mean().item() == pytest.approx(0.12, abs=0.02)


def test_features_are_mixed_at_the_layer_and_in_no_pass_afterwards():
    torch.manual_seed(0)
    backbone, image = by_name("test_resnet").eval(), torch.rand(4, 3, 32, 32)
    mix = Mix("layer2", lambda x: (mixup(x, 0.25), 0.25))
    plain = backbone(image)
    with mix.inside(backbone.net):
        maps = backbone(image)
    assert torch.equal(maps[1], plain[1])  # layer1
    assert torch.allclose(maps[2], 0.25 * plain[2] + 0.75 * plain[2].roll(2, 0))
    assert torch.allclose(maps[3], backbone.net.layer3(maps[2]), atol=1e-6)
    assert torch.equal(backbone(image)[2], plain[2])
    assert torch.allclose(mix.labels(torch.arange(4), 4), 0.25 * torch.eye(4) + 0.75 * torch.eye(4).roll(2, 0))
    assert torch.equal(mix.labels(torch.arange(4), 4), torch.arange(4))  # nothing was mixed since


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("test_resnet", ["act1", "layer1", "layer2", "layer3"]),
        ("test_vit", [f"blocks.{i}" for i in range(5)]),
        ("lenet5", ["stages.0", "stages.1"]),
        ("torchvision/resnet18", ["relu", "layer1", "layer2", "layer3"]),
    ],
)
def test_the_layers_of_maps_are_found_in_any_backbone(name, layers):
    backbone = by_name(name)
    mixer = Mixer(0, 0, Mixing(manifold_mixup=1.0), backbone)
    assert mixer.layers == ["input", *layers]
    height, width = backbone.config["input_size"][1:]
    image = torch.rand(4, backbone.in_channels, height, width)
    with torch.no_grad():
        for layer in layers[:2]:
            mix = Mix(layer, lambda x: (mixup(x, 0.5), 0.5))
            with mix.inside(backbone.net):
                backbone(image)
            assert mix.share == 0.5


def test_every_kind_and_layer_is_drawn_by_the_key_alone():
    settings = Mixing(manifold_mixup=1.0, patchup_hard=0.5, patchup_soft=0.5, puzzlemix=1.0, patchup_block=1)
    mixer, x = Mixer(1.0, 1.0, settings, by_name("test_resnet")), torch.rand(4, 3, 16, 16)
    assert len(mixer.kinds) == 6
    mixes = [mixer.draw((0, 0, i), uniform) for i in range(100)]
    assert {mix.layer for mix in mixes} == {"input", "act1", "layer1", "layer2", "layer3"}
    torch.manual_seed(1)  # the state of torch changes nothing
    for i in (0, 3, 4, 7):
        again, mix = mixer.draw((0, 0, i), uniform), mixes[i]
        (mixed, share), (same, own) = mix.operation(x), again.operation(x)
        assert torch.equal(mixed, same) and torch.equal(torch.as_tensor(share), torch.as_tensor(own))
    alone = Mixer(2.0, 0, Mixing(), by_name("test_resnet"))
    shares = np.array([alone.draw((0, 0, i), uniform).operation(x)[1] for i in range(300)])
    assert shares.mean() == pytest.approx(0.5, abs=0.04) and shares.var() == pytest.approx(1 / 20, abs=0.01)


def energy(level: np.ndarray, unary: np.ndarray, across: np.ndarray, down: np.ndarray) -> float:
    z = level / LEVELS
    single = np.take_along_axis(unary, level[..., None], -1).sum()
    return single + (across * np.diff(z, axis=1) ** 2).sum() + (down * np.diff(z, axis=0) ** 2).sum()


def test_the_cut_finds_the_least_energy_of_all_masks():
    random = np.random.default_rng(0)
    for _ in range(5):
        unary, across, down = random.random((2, 2, LEVELS + 1)), random.random((2, 1)), random.random((1, 2))
        found = minimize(*(torch.from_numpy(part)[None] for part in (unary, across, down)))[0].numpy()
        every = (np.array(each).reshape(2, 2) for each in product(range(LEVELS + 1), repeat=4))
        least = min(energy(level, unary, across, down) for level in every)
        assert energy(found, unary, across, down) == pytest.approx(least, abs=1e-5)


def test_the_energy_of_pairs_is_bilinear_in_the_mask():
    torch.manual_seed(0)
    own, other = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    costs, across, down = pair_weights(own, other, 2)
    level = np.array([[0, 1], [2, 1]])
    found = energy(level, *(part[0].numpy() for part in (costs, across, down)))
    base, z, images, expected = 1.2 / 2 / 16, level / 2, (other[0], own[0]), 0.0
    for (i, j), axis in [(((0, 0), (0, 1)), 2), (((1, 0), (1, 1)), 2), (((0, 0), (1, 0)), 1), (((0, 1), (1, 1)), 1)]:
        for a, b in product((0, 1), repeat=2):
            last = images[a].select(axis, 3).unflatten(1, (2, 4))[:, i[0] if axis == 2 else i[1]]
            first = images[b].select(axis, 4).unflatten(1, (2, 4))[:, j[0] if axis == 2 else j[1]]
            weight = (z[i] if a else 1 - z[i]) * (z[j] if b else 1 - z[j])
            constant = 0.0 if a or b else 1.0
            expected += base * 0.5 * (weight - constant) * (last - first).abs().mean().item()
        expected += base * (z[i] - z[j]) ** 2
    assert found == pytest.approx(expected, abs=1e-6)


def test_saliency_decides_and_the_independent_solver_is_the_energy_without_pairs():
    image = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    saliency = torch.full((2, 8, 8), 1e-3)
    saliency[0, :4, :4] = saliency[1, 4:, 4:] = 1.0
    mixed, share = puzzle_mix(image, saliency, 2, 0.5, "independent")
    assert (mixed[0, :, :4, :4] == 0).all() and (mixed[0, :, 4:, 4:] == 1).all()
    assert torch.allclose(
        share, (mixed == image).float().mean((1, 2, 3)) + ((mixed == 0.5).float() / 2).mean((1, 2, 3))
    )
    unary = unary_costs(torch.rand(2, 4, 4), torch.rand(2, 4, 4), 0.4)
    none = torch.zeros(2, 4, 3)
    assert torch.equal(minimize(unary, none, none.mT), unary.argmin(-1))
    mixed, share = puzzle_mix(torch.rand(6, 3, 16, 16), torch.rand(6, 16, 16), 4, 0.5, "exact")
    assert mixed.shape == (6, 3, 16, 16) and ((share >= 0) & (share <= 1)).all()


def test_transport_moves_salient_cells_to_where_they_are_seen_and_loses_none():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    seen = torch.tensor([[[False, True], [False, False]]])
    saliency = torch.tensor([[[1.0, 0], [0, 0]]])
    moved = transport(image, 10 * saliency, seen)
    assert torch.equal(moved[0, 0, :2, 2:], image[0, 0, :2, :2])
    assert torch.equal(moved.flatten().sort().values, image.flatten())
    assert torch.equal(transport(image, 0.1 * saliency, seen), image)  # moving costs more than it shows
    assert torch.equal(permuted(image, torch.tensor([[3, 1, 2, 0]]), 2)[0, 0, :2, :2], image[0, 0, 2:, 2:])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"manifold_mixup": -1}, ["model.mixing.manifold_mixup", -1]),
        ({"puzzlemix": float("nan")}, ["model.mixing.puzzlemix"]),
        ({"patchup_hard": 1.5}, ["model.mixing.patchup_hard", 1.5]),
        ({"patchup_soft": 0.5, "patchup_alpha": 0}, ["model.mixing.patchup_alpha", 0]),
        ({"patchup_soft": 0.5, "patchup_block": 4}, ["model.mixing.patchup_block", 4]),
        ({"layers": ["input"]}, ["model.mixing.layers", "manifold_mixup"]),
        ({"manifold_mixup": 1, "layers": []}, ["model.mixing.layers"]),
        ({"manifold_mixup": 1, "layers": ["layer9"]}, ["model.mixing.layers", "layer9"]),
        ({"manifold_mixup": 1, "layers": ["layer1.0.act1"]}, ["model.mixing.layers", "layer1.0.act1"]),
        ({"patchup_hard": 0.5, "layers": ["layer4"]}, ["model.mixing.patchup_block", "layer4"]),
    ],
)
def test_what_cannot_be_mixed_is_named(settings, names):
    backbone = by_name("test_resnet")
    if "layer1.0.act1" in names:
        backbone.net.layer2[0].act1 = backbone.net.layer1[0].act1  # runs twice
    with refuses(ConfigError, *names):
        Mixer(0, 0, Mixing(**settings), backbone).check(backbone, 64, 64)


def test_patchup_of_tokens_is_refused():
    backbone = by_name("test_vit")
    with refuses(ConfigError, "model.mixing.layers", "blocks.0"):
        Mixer(0, 0, Mixing(patchup_hard=0.5), backbone).check(backbone, 160, 160)
