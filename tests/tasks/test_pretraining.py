"""Pretraining methods: initial loss, memorization of a handful, momentum encoder, queue, refusals."""

import math
from itertools import pairwise
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.heads import Projection
from modules.pretext.chroma import chroma
from modules.pretext.patches import cut, hide, histograms, standardized
from modules.training.optim import Optim
from modules.training.teacher import momentum_at
from tasks import (
    BYOL,
    DINO,
    IJEPA,
    MAE,
    NNCLR,
    BarlowTwins,
    Colorization,
    Jigsaw,
    LeJEPA,
    MaskedPatches,
    MoCo,
    MoCoV3,
    Rotation,
    SimCLR,
    SimSiam,
    SupCon,
    SwAV,
    VICReg,
)
from tasks.jigsaw import distant_orders
from tasks.pretraining import Pretraining
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

SMALL = {"backbone": "test_resnet", "optim": Optim(lr=0.003, warmup=0)}
VIEWS = {
    SimCLR: {},
    MoCo: {"queue_size": 64},
    MoCoV3: {},
    BYOL: {"momentum": 0.9},
    SimSiam: {},
    DINO: {"prototypes": 64, "freeze_last": 0, "momentum": 0.9},
    VICReg: {"embed_dim": 64},
    BarlowTwins: {"embed_dim": 64},
    SupCon: {},
    NNCLR: {"queue_size": 64},
    SwAV: {"prototypes": 8, "freeze_last": 0},
    LeJEPA: {"embed_dim": 16, "directions": 32},
}
TOKENS = {"backbone": "test_vit"}
IMAGES = {
    Rotation: {},
    Jigsaw: {"grid": 2, "tile_size": 32},
    MaskedPatches: {},
    Colorization: {},
    MAE: {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2} | TOKENS,
    IJEPA: {"predictor_width": 32, "predictor_depth": 1, "predictor_heads": 2, "momentum": 0.9} | TOKENS,
}


class Handful(L.LightningDataModule):
    """Data that repeats one batch."""

    def __init__(self, batch: dict[str, Any], steps: int):
        super().__init__()
        first = batch["views"][0] if "views" in batch else batch["image"]
        self.batch, self.steps, self.size = batch | {"id": ["x"] * len(first)}, steps, len(first)

    def data_info(self) -> DataInfo:
        return DataInfo(batch_size=self.size, classes=["a", "b"] if "label" in self.batch else None)

    def train_dataloader(self) -> DataLoader:
        return DataLoader([self.batch] * self.steps, batch_size=None, collate_fn=dict)

    val_dataloader = train_dataloader


def train(task: Pretraining, batch: dict[str, Any], steps: int = 30, **options: Any) -> list[dict[str, Tensor]]:
    """Train; returns the results of each step."""
    kept, compute_loss = [], task.compute_loss

    def recorded(batch: dict[str, Any], generator: torch.Generator | None) -> dict[str, Tensor]:
        results = compute_loss(batch, generator)
        kept.append({name: value.detach().clone() for name, value in results.items() if isinstance(value, Tensor)})
        return results

    task.compute_loss = recorded
    options = {"max_epochs": 1, "limit_val_batches": 0} | options
    torch.manual_seed(0)
    quiet(**options).fit(task, datamodule=Handful(batch, steps))
    return kept


def views(images: int = 16, size: int = 32, count: int = 2, local: int = 0) -> dict[str, list[Tensor]]:
    """Nearly equal views of different images."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (images, 3, 4, 4), generator=generator).float()
    sizes = [size] * count + [size // 2] * local
    noisy = [torch.nn.functional.interpolate(coarse, s) + 20 * torch.randn(images, 3, s, s) for s in sizes]
    label = torch.arange(images) % 2  # which SupCon alone looks at
    return {"views": [view.clamp(0, 255).to(torch.uint8) for view in noisy], "label": label}


def image(images: int = 16, size: int = 64) -> dict[str, Tensor]:
    return {"image": views(images, size)["views"][0]}


@pytest.mark.parametrize("method", [*VIEWS, *IMAGES], ids=lambda m: m.__name__)
def test_learns_a_handful(method):
    task = method(**SMALL | (VIEWS | IMAGES)[method])
    if method is MoCo:
        task.queue.push = lambda keys: None  # of a handful, the negatives would soon be the positives
    seen = train(task, views(8) if method in VIEWS else image(8), steps=30 if method is Jigsaw else 20)
    first, last = (sum(float(r["loss"]) for r in part) / 3 for part in (seen[:3], seen[-3:]))
    assert last < first - 0.05 * abs(first)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("method", [*VIEWS, *IMAGES], ids=lambda m: m.__name__)
def test_trains_in_half_the_precision_with_accumulated_gradients(method, precision):
    task, batch = method(**SMALL | (VIEWS | IMAGES)[method]), views() if method in VIEWS else image()
    seen = train(task, batch, steps=4, precision=precision, accumulate_grad_batches=2, limit_val_batches=1)
    assert all(results["loss"].isfinite() for results in seen)


@pytest.mark.parametrize(
    ("task", "batch", "expected"),
    [
        (lambda: MoCo(head=Projection, queue_size=256, temperature=1.0, **SMALL), views(), math.log(257)),
        (lambda: MoCoV3(temperature=1.0, **SMALL), views(), 2 * 2 * math.log(16)),
        (lambda: Rotation(**SMALL), image(), math.log(4)),
        (lambda: Jigsaw(num_permutations=24, **SMALL), image(), math.log(24)),
        (lambda: BYOL(**SMALL), views(), 0),
        (lambda: SimSiam(**SMALL), views(), 0),
        (lambda: DINO(**SMALL), views(), math.log(4096)),
        (lambda: DINO(masked_loss_weight=0.5, **SMALL | TOKENS), views(), 1.5 * math.log(4096)),
        (lambda: SupCon(temperature=1.0, **SMALL), views(), math.log(31)),
        (lambda: NNCLR(temperature=1.0, **SMALL), views(), math.log(31)),
        (lambda: SwAV(prototypes=512, queue_size=512, embed_dim=1024, **SMALL), views(), math.log(512)),
    ],
    ids=["MoCo", "MoCoV3", "Rotation", "Jigsaw", "BYOL", "SimSiam", "DINO", "DINO, masked", "SupCon", "NNCLR", "SwAV"],
)
def test_starts_at_chance(task, batch, expected):
    model = task()
    assert train(model, batch, 1)[0]["loss"].item() == pytest.approx(expected, rel=0.12, abs=0.12)
    model.data = DataInfo(batch_size=16)
    assert model.chance_loss() == pytest.approx(expected)


def test_the_teacher_follows_once_per_optimizer_step_on_its_schedule():
    task = BYOL(momentum=0.8, **SMALL)
    student, teacher, history = task.backbone.net.conv1[0].weight, task.teacher.net[0].net.conv1[0].weight, []
    update = task.teacher.update

    def watched(momentum: float) -> None:
        before = teacher.clone()
        update(momentum)
        history.append(momentum)
        torch.testing.assert_close(teacher, momentum * before + (1 - momentum) * student.detach())

    task.teacher.update = watched
    train(task, views(), steps=8, accumulate_grad_batches=2)
    assert history == pytest.approx([momentum_at(step, 4, 0.8, 1.0) for step in range(4)])


def test_weights_that_are_loaded_reach_the_teacher(tmp_path):
    from modules.training.transfer import export_backbone

    export_backbone(BYOL(**SMALL).backbone, tmp_path / "backbone.safetensors")
    task = BYOL(weights=str(tmp_path / "backbone.safetensors"), momentum=1.0, **SMALL)
    start = {k: v.clone() for k, v in task.teacher.net[0].state_dict().items()}
    train(task, views(), steps=1)
    after = task.teacher.net[0].state_dict()
    assert not torch.equal(after["net.conv1.0.weight"], start["net.conv1.0.weight"])


def test_the_queue_takes_the_keys_of_training_only():
    task = MoCo(queue_size=32, shuffle_bn_groups=1, **SMALL)
    start = task.queue.keys.clone()
    train(task, views(), steps=1, limit_val_batches=1)
    assert task.queue.oldest.item() == 16
    torch.testing.assert_close(task.queue.keys[16:], start[16:])
    torch.testing.assert_close(task.queue.keys[:16].norm(dim=1), torch.ones(16))


def test_shuffled_groups_give_each_query_its_own_key():
    plain = {**SMALL, "backbone": "test_vit"}  # no batch norm, so groups change nothing
    task = MoCo(head=lambda features, outputs: Projection(features, outputs, layers=1), shuffle_bn_groups=4, **plain)
    image = torch.randn(16, 3, 160, 160)
    task.train()
    shuffled = task._keys(image)
    task.eval()
    torch.testing.assert_close(shuffled, task._keys(image), atol=1e-5, rtol=1e-4)


def test_groups_have_batch_norm_statistics_of_their_own():
    task, image = MoCo(shuffle_bn_groups=4, **SMALL).train(), torch.randn(16, 3, 64, 64)
    torch.manual_seed(0)
    first = task._keys(image)
    assert not torch.allclose(first, task._keys(image), atol=1e-3)  # other groups, other statistics


def test_the_symmetric_loss_is_the_mean_of_both_ways():
    task = MoCo(queue_size=64, shuffle_bn_groups=1, symmetric=True, **SMALL).eval()
    first, second = (task.backbone.normalize(view) for view in views()["views"])
    both = task.compute_loss({"views": [first, second]}, None)["loss"]
    task.symmetric = False
    ways = [task.compute_loss({"views": pair}, None)["loss"] for pair in ([first, second], [second, first])]
    torch.testing.assert_close(both, torch.stack(ways).mean())


def test_dinos_last_layer_waits_for_the_second_epoch():
    task = DINO(prototypes=64, freeze_last=1, **SMALL)
    seen = [task.head.last.weight.detach().clone()]
    task.on_train_epoch_end = lambda: seen.append(task.head.last.weight.detach().clone())
    train(task, views(), steps=2, max_epochs=2)
    assert [torch.equal(a, b) for a, b in pairwise(seen)] == [True, False]


def test_dinos_teacher_sees_large_views_only_and_entropy_and_kl_add_up_to_the_loss():
    task = DINO(prototypes=64, **SMALL)
    sizes, forward = [], task.teacher.forward
    task.teacher.forward = lambda image: sizes.append(tuple(image.shape)) or forward(image)
    batch = views(8, 64, local=3)
    results = train(task, batch, steps=1)[0]
    assert sizes == [(16, 3, 64, 64)]
    torch.testing.assert_close(results["teacher_entropy"] + results["kl"], results["loss"])
    assert 0 <= results["teacher_entropy"] <= math.log(64)
    assert task.center.abs().sum() > 0


def test_dinos_teacher_temperature_rises_over_its_share_of_the_steps():
    task = DINO(prototypes=16, teacher_temperature=0.07, teacher_warmup=0.5, **SMALL)
    seen = []
    task.on_train_batch_start = lambda *_: seen.append(task._teacher_temperature())
    train(task, views(), steps=8)
    assert seen == pytest.approx([0.04, 0.0475, 0.055, 0.0625, 0.07, 0.07, 0.07, 0.07])


def test_dinos_sinkhorn_balances_the_teachers_answers_over_both_views():
    """All images are one and the same to this teacher, so a balanced answer knows nothing at any temperature."""
    task = DINO(prototypes=64, centering="sinkhorn", **SMALL)
    task.teacher.forward = lambda image: torch.linspace(-1, 1, 64).expand(len(image), 64)
    results = train(task, views(8, 64, local=1), steps=1)[0]
    assert results["teacher_entropy"].item() == pytest.approx(math.log(64), abs=1e-4)
    assert task.center.abs().sum() == 0


def test_the_support_set_takes_the_first_views_of_training_only():
    task = NNCLR(queue_size=64, **SMALL)
    start = task.queue.keys.clone()
    _, trained, _ = train(task, views(), steps=1, limit_val_batches=1)  # between two validations
    pushed = normalize(trained["embeddings"][:16], dim=1)
    torch.testing.assert_close(task.queue.keys, torch.cat([pushed, start[16:]]))


def test_swavs_prototypes_stay_unit_vectors_and_wait_for_the_second_epoch():
    task = SwAV(prototypes=8, freeze_last=1, **SMALL)
    seen = [task.prototypes.weight.detach().clone()]
    task.on_train_epoch_end = lambda: seen.append(task.prototypes.weight.detach().clone())
    train(task, views(), steps=2, max_epochs=2)
    assert [torch.equal(a, b) for a, b in pairwise(seen)] == [True, False]
    torch.testing.assert_close(seen[-1].norm(dim=1), torch.ones(8))


def test_swav_predicts_the_codes_of_global_views_which_the_full_queue_balances_in_training_only():
    task, used = SwAV(prototypes=8, queue_size=32, **SMALL), []
    balanced = task.balanced
    task.balanced = lambda *inputs: used.append((len(inputs[0]), inputs[2] is not None)) or balanced(*inputs)
    train(task, views(8, 64, count=2, local=2), steps=3, limit_val_batches=1)
    validated, filling, full = 2 * [(8, False)], 4 * [(8, False)], 2 * [(8, True)]  # in two steps, two views each
    assert used == validated + filling + full + validated
    torch.testing.assert_close(task.queue.keys.norm(dim=1), torch.ones(32))


def test_lejepa_draws_other_directions_in_each_step_by_the_seed():
    task, drawn = LeJEPA(embed_dim=8, directions=4, **SMALL), []
    make = task._directions
    task._directions = lambda generator: drawn.append(make(generator)) or drawn[-1]
    train(task, views(), steps=4, accumulate_grad_batches=2)
    train(task, views(), steps=2, accumulate_grad_batches=2)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[4])  # of one step, and of another run
    assert not torch.equal(drawn[0], drawn[2])


def test_hidden_patches_are_the_same_share_of_every_image():
    hidden = hide(torch.zeros(5, 3, 32, 32), 8, 0.25, None)
    assert hidden.shape == (5, 1, 32, 32)
    assert hidden.flatten(1).sum(1).tolist() == [4 * 64] * 5
    patches = hidden.view(5, 4, 8, 4, 8).float().mean((2, 4))
    assert set(patches.unique().tolist()) == {0.0, 1.0}


def test_visible_pixels_cost_nothing():
    task = MaskedPatches(patch=8, ratio=0.6, target="pixels", **SMALL).eval()
    image = torch.randn(4, 3, 64, 64)
    hidden = hide(image, 8, 0.6, torch.Generator().manual_seed(3))
    task.forward = lambda shown: torch.where(hidden, image, 99.0)  # right where hidden, absurd elsewhere
    assert task.compute_loss({"image": image}, torch.Generator().manual_seed(3))["loss"].item() == 0


def test_targets_are_standardized_patch_by_patch():
    image = torch.cat([torch.full((1, 3, 8, 4), 7.0), torch.randn(1, 3, 8, 4) * 5 + 3], dim=3)
    target = standardized(image, 4)
    assert not target[..., :4].any()
    right = target[0, :, 4:, 4:]
    torch.testing.assert_close(right.mean((-2, -1)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(right.std((-2, -1)), torch.ones(3), atol=0.02, rtol=0)
    order = image[0, 0, 4:, 4:].flatten().argsort()
    assert torch.equal(right[0].flatten().argsort(), order)  # where they were


def test_histograms_tell_which_way_edges_run():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    ramps = torch.stack([x, y, x + y, y - x, 0 * x])[:, None]  # directions 0, 90, 45, 135 degrees and none
    inside = histograms(ramps, 4, 8)[..., 1:3, 1:3]
    assert inside.argmax(1)[:4].flatten(1).tolist() == [[0] * 4, [4] * 4, [2] * 4, [6] * 4]
    assert not inside[4].any()


def test_histograms_are_numpys_of_its_gradients():
    image = torch.randn(24, 24, generator=torch.Generator().manual_seed(0))
    down, right = (gradient[8:16, 8:16] for gradient in np.gradient(image.numpy()))
    direction = np.mod(np.arctan2(down, right) + np.pi / 18, np.pi)
    expected, _ = np.histogram(direction, 9, (0, np.pi), weights=np.hypot(down, right))
    found = histograms(image[None, None], 8, 9)
    ratio = found[0, :, 1, 1] / torch.tensor(expected).float()
    torch.testing.assert_close(ratio, ratio[:1].expand(9))
    assert found.square().sum(1).mean().item() == pytest.approx(1, abs=1e-4)


def test_histograms_do_not_see_color_contrast_or_sign():
    gray = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    red = torch.cat([gray, 0.1 * gray, torch.zeros_like(gray)], dim=1)
    expected = histograms(gray, 8, 9)
    for other in (red, 5 - 3 * gray):
        torch.testing.assert_close(histograms(other, 8, 9), expected, atol=1e-4, rtol=0)


def test_visible_edges_cost_nothing_and_hidden_ones_their_squared_distance():
    task = MaskedPatches(patch=16, ratio=0.5, target="edges", **SMALL).eval()
    image = torch.randn(4, 3, 64, 64)
    hidden = hide(image, 16, 0.5, torch.Generator().manual_seed(3))[..., ::8, ::8]
    edges = histograms(image, 8, 9)
    task.forward = lambda shown: torch.where(hidden, 0.5 * edges, 99.0)
    loss = task.compute_loss({"image": image}, torch.Generator().manual_seed(3))["loss"].item()
    expected = (0.5 * edges * hidden).square().sum() / hidden.sum()
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_colors_are_guessed_from_gray_and_the_backbone_stays_blind_to_them():
    task, shown = Colorization(**SMALL), image()["image"]
    train(task, image(), steps=5)
    task.eval()
    colored = task.normalized(shown)
    gray = colored.mean(1, keepdim=True).expand_as(colored)
    torch.testing.assert_close(task.features(colored), task.features(gray), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(colored, gray, atol=0.1)


def test_colors_that_all_seem_as_likely_cost_the_logarithm_of_their_number():
    task = Colorization(rebalance=0.0, **SMALL).eval()
    torch.nn.init.zeros_(task.head.weight)
    torch.nn.init.zeros_(task.head.bias)
    loss = task.compute_loss({"image": torch.randn(4, 3, 64, 64)}, None)["loss"]
    assert loss.item() == pytest.approx(math.log(225), rel=1e-4)
    assert task.chance_loss() == pytest.approx(math.log(225))


def test_rare_colors_count_more_and_pixels_one_on_average():
    shares = torch.zeros(225)
    shares[0], shares[1] = 0.9, 0.1
    for rebalance, ratio in ((0.0, 1.0), (0.5, (0.5 / 225 + 0.45) / (0.5 / 225 + 0.05))):
        task = Colorization(rebalance=rebalance, **SMALL)
        task.shares.copy_(shares)
        weights = task._weights().flatten()
        assert weights[1] / weights[0] == pytest.approx(ratio, rel=1e-5)
        assert (weights * shares).sum().item() == pytest.approx(1, rel=1e-5)


def test_shares_of_colors_are_those_of_the_images():
    task = Colorization(**SMALL)
    train(
        task, {"image": torch.tensor([250, 10, 10], dtype=torch.uint8).view(1, 3, 1, 1).repeat(8, 1, 64, 64)}, steps=3
    )
    red = chroma(torch.tensor([250, 10, 10]).view(1, 3, 1, 1) / 255).item()
    assert task.shares[red].item() == pytest.approx(1)


def test_tiles_are_parts_of_their_cells_and_standardized():
    image = torch.arange(64.0).view(1, 1, 8, 8).repeat(1, 3, 1, 1)
    tiles = cut(image, 2, 4, None)
    assert tiles.shape == (1, 4, 3, 4, 4)
    expected = image[:, :, 4:, :4]
    expected = (expected - expected.mean((-2, -1), keepdim=True)) / expected.std((-2, -1), keepdim=True)
    torch.testing.assert_close(tiles[:, 2], expected, atol=1e-3, rtol=1e-3)


def test_orders_differ_as_much_as_they_can():
    orders = distant_orders(9, 20)
    different = (orders[:, None] != orders[None]).sum(-1) + 9 * torch.eye(20, dtype=torch.long)
    assert all(sorted(order.tolist()) == list(range(9)) for order in orders)
    assert different.min() >= 7
    assert len({tuple(order.tolist()) for order in distant_orders(4, 24)}) == 24


def test_rotations_are_told_apart_only_by_looking():
    task = Rotation(**SMALL).eval()
    same = torch.ones(4, 3, 64, 64)  # looks the same from all sides
    assert task.compute_loss({"image": same}, None)["accuracy"].item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("task", "batch", "names"),
    [
        (lambda: SimCLR(**SMALL), views(images=1), ("SimCLR", "--data.batch_size", 2)),
        (lambda: Jigsaw(tile_size=64, **SMALL), image(), ("model.tile_size", 64, 32, "--data.image_size")),
        (lambda: Jigsaw(num_permutations=25, **SMALL), image(), ("model.num_permutations", 25, 24)),
        (lambda: Jigsaw(grid=4, **SMALL), image(), ("model.grid", 4)),
        (lambda: MaskedPatches(patch=7, **SMALL), image(), ("model.patch", 7, "64 x 64")),
        (lambda: MaskedPatches(patch=4, target="edges", **SMALL), image(), ("model.patch", 4, 8)),
        (lambda: Colorization(rebalance=1.0, **SMALL), image(), ("model.rebalance", 1.0)),
        (lambda: MaskedPatches(ratio=1.0, **SMALL), image(), ("model.ratio", 1.0)),
        (lambda: MoCo(queue_size=40, **SMALL), views(), ("model.queue_size", 40, 16, 32)),
        (
            lambda: MoCo(queue_size=32, shuffle_bn_groups=3, **SMALL),
            views(),
            ("data.batch_size", 16, "model.shuffle_bn_groups", 3),
        ),
        (
            lambda: MoCo(queue_size=32, shuffle_bn_groups=16, **SMALL),
            views(),
            ("data.batch_size", "model.shuffle_bn_groups", 16),
        ),
        (lambda: MoCo(queue_size=32, shuffle_bn_groups=0, **SMALL), views(), ("model.shuffle_bn_groups", 0)),
        (lambda: MoCo(queue_size=-16, **SMALL), views(), ("model.queue_size", -16)),
        (lambda: SimCLR(temperature=0, **SMALL), views(), ("model.temperature", 0)),
        (lambda: DINO(teacher_temperature=0, **SMALL), views(), ("model.teacher_temperature", 0)),
        (lambda: DINO(center_momentum=2, **SMALL), views(), ("model.center_momentum", 2)),
        (lambda: BYOL(momentum=1.5, **SMALL), views(), ("model.momentum", 1.5)),
        (lambda: VICReg(variance_weight=-1, **SMALL), views(), ("model.variance_weight", -1)),
        (lambda: VICReg(embed_dim=0, **SMALL), views(), ("model.embed_dim", 0)),
        (lambda: BarlowTwins(**SMALL), views(images=1), ("BarlowTwins", "--data.batch_size", 2)),
        (lambda: SupCon(temperature=0, **SMALL), views(), ("model.temperature", 0)),
        (lambda: SupCon(**SMALL), {"views": views()["views"]}, ("SupCon", "labels", "tasks/simclr.yaml")),
        (lambda: NNCLR(queue_size=8, **SMALL), views(), ("model.queue_size", 8, 16)),
        (lambda: NNCLR(ema_decay=0.9, **SMALL), views(), ("NNCLR", "queue", "--model.ema_decay")),
        (lambda: SwAV(prototypes=17, **SMALL), views(), ("model.prototypes", 17, 16, "--model.queue_size to 32")),
        (lambda: SwAV(prototypes=1, **SMALL), views(), ("model.prototypes", 1, 2)),
        (lambda: DINO(prototypes=1, **SMALL), views(), ("model.prototypes", 1, 2)),
        (lambda: SwAV(prototypes=8, queue_size=8, **SMALL), views(), ("model.queue_size", 8, 16)),
        (lambda: SwAV(code_temperature=0, **SMALL), views(), ("model.code_temperature", 0)),
        (lambda: LeJEPA(directions=0, **SMALL), views(), ("model.directions", 0)),
        (lambda: LeJEPA(sigreg_weight=1.5, **SMALL), views(), ("model.sigreg_weight", 1.5)),
        (
            lambda: SimSiam(**SMALL),
            views(size=16),
            (16, 32, "test_resnet", "--data.image_size", "--model.small_images"),
        ),
        (
            lambda: DINO(**{**SMALL, "backbone": "mixer_s32_224"}),
            views(2, 224, local=1),
            ("mixer_s32_224", "112 x 112", "--data.image_size 224", "--model.backbone.image_size"),
        ),
    ],
)
def test_what_cannot_work_is_one_sentence(task, batch, names):
    with refuses(ConfigError, *names):
        train(task(), batch, steps=1)


def test_supcon_needs_two_classes():
    with refuses(ConfigError, "SupCon", "Cats", 1, "--data"):
        SupCon(**SMALL).on_data(DataInfo("Cats", ["cat"]), "fit")


@pytest.mark.parametrize("method", [Rotation, Colorization])
def test_methods_that_compare_no_images_take_one_at_a_time(method):
    train(method(**SMALL), image(images=1), steps=1)


def test_a_checkpoint_with_another_queue_or_without_the_teacher_is_refused():
    task, other = MoCo(queue_size=64, **SMALL), MoCo(queue_size=32, **SMALL)
    with refuses(ConfigError, "MoCo", "queue.keys", [32, 128], [64, 128], "--ckpt_path", "--model.weights"):
        task.on_load_checkpoint({"state_dict": other.state_dict()})
    without = {k: v for k, v in task.state_dict().items() if not k.startswith("teacher.")}
    with refuses(ConfigError, "MoCo", "teacher", "--ckpt_path", "--model.weights"):
        task.on_load_checkpoint({"state_dict": without})
