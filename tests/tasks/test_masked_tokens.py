"""Pretraining with masked tokens (MAE, I-JEPA, iBOT): masks, encoder, targets and losses against published ones."""

import time

import pytest
import timm
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modules.backbones import Timm
from modules.backbones.positions import grid_positions
from modules.backbones.tokens import encode, token_network
from modules.contracts import Batch, ConfigError
from modules.losses.distillation import masked_tokens, teacher_probabilities
from modules.pretext.masks import block_mask, context_and_targets, random_patches, view_masks
from modules.pretext.patches import patches
from modules.pretext.token_decoder import TokenDecoder
from modules.training.transfer import export_backbone, read_weights
from tasks import DINO, IJEPA, MAE
from tests.helpers.errors import refuses
from tests.helpers.training import quiet, train

SMALL = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
PREDICTOR = {"predictor_width": 16, "predictor_depth": 1, "predictor_heads": 2}
NETWORKS = ["test_vit", "test_vit2", "test_vit3", "test_vit4", "deit_tiny_distilled_patch16_224"]


def vit(name: str = "test_vit", size: int = 32, **options: int) -> Timm:
    return Timm(name, image_size=size, options={"patch_size": 8} | options)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("name", NETWORKS)
def test_without_masks_the_encoder_is_the_plain_network(name):
    backbone, image = Timm(name).eval(), noise(2, 3, 96, 64)
    net, everything = token_network(backbone, "MAE"), torch.arange(24).expand(2, -1)
    expected = net.forward_features(image)
    torch.testing.assert_close(encode(net, image), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(encode(net, image, everything), expected, rtol=0, atol=1e-6)
    unmasked = torch.zeros(2, 24, dtype=torch.bool)
    torch.testing.assert_close(encode(net, image, None, unmasked, noise(net.embed_dim)), expected, rtol=0, atol=1e-6)


def test_the_encoder_sees_visible_patches_only():
    backbone, image = vit().eval(), noise(2, 3, 32, 32)
    visible = torch.tensor([[0, 5, 15], [3, 2, 9]])
    tokens = encode(backbone.net, image, visible)
    assert tokens.shape == (2, 1 + 3, 64)
    shown = torch.zeros(2, 16, dtype=torch.bool).scatter_(1, visible, True).view(2, 1, 4, 4)
    shown = shown.repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.equal(tokens, encode(backbone.net, image.where(shown, torch.nan), visible))


def test_fewer_tokens_take_less_time():
    backbone, image = vit("vit_tiny_patch16_224", size=128, depth=4).eval(), noise(8, 3, 128, 128)
    visible = random_patches(8, 256, 0.75, seeded())[0]

    def seconds(places: Tensor | None) -> float:
        start = time.process_time()
        with torch.no_grad():
            encode(backbone.net, image, places)
        return time.process_time() - start

    assert min(seconds(visible) for _ in range(3)) < 0.7 * min(seconds(None) for _ in range(3))


def test_random_patches_are_as_many_of_every_image_and_all_of_them():
    visible, hidden = random_patches(5, 16, 0.75, seeded())
    assert (visible.shape, hidden.shape) == ((5, 4), (5, 12))
    assert torch.cat([visible, hidden], 1).sort(1).values.tolist() == [list(range(16))] * 5
    assert [len(part[0]) for part in random_patches(1, 4, 0.25, None)] == [3, 1]


@pytest.mark.parametrize(("ratio", "count"), [(0.1, 0), (0.9, 4)])
def test_ratios_that_hide_none_or_all_of_few_patches_are_refused_before_the_first_batch(ratio, count):
    with refuses(ConfigError, "model.mask_ratio", ratio, count, 0.25, 0.75):
        MAE(backbone=vit(), mask_ratio=ratio, **SMALL).check_sides({"data.image_size": 16})


@pytest.mark.parametrize("method", [MAE, IJEPA])
def test_images_of_no_whole_patches_are_refused_before_the_first_batch(method):
    with refuses(ConfigError, "36 x 36", 8, "--data.image_size 40"):
        method(backbone=vit(), **(SMALL if method is MAE else PREDICTOR)).check_sides({"data.image_size": 36})


@pytest.mark.parametrize(("rows", "width"), [(4, 16), (7, 32)])
def test_positions_and_patches_are_lightlys(rows, width):
    utils = pytest.importorskip("lightly.models.utils")
    theirs = torch.tensor(utils.get_2d_sine_cosine_positional_embedding(width, rows, cls_token=False)).float()
    torch.testing.assert_close(grid_positions((rows, rows), width), theirs, rtol=0, atol=1e-6)
    image = noise(2, 3, 8 * rows, 8 * rows)
    assert torch.equal(patches(image, (8, 8)), utils.patchify(image, 8))


def test_positions_of_a_grid_that_is_no_square_differ_by_row_and_column():
    table = grid_positions((2, 3), 8).view(2, 3, 8)
    assert torch.equal(table[0, :, :4], table[1, :, :4]) and torch.equal(table[:, 0, 4:], table[:, 2, 4:])
    assert len(table.flatten(0, 1).unique(dim=0)) == 6


@pytest.mark.parametrize("normalize", [True, False])
def test_the_loss_of_mae_is_lightlys_on_hidden_patches(normalize):
    utils = pytest.importorskip("lightly.models.utils")
    task, image = MAE(backbone=vit(), normalize_pixels=normalize, **SMALL).eval(), noise(3, 3, 32, 32)
    hidden, said = random_patches(3, 16, 0.75, seeded())[1], []
    forward = task.forward
    task.forward = lambda *inputs: said.append(forward(*inputs)) or said[-1]
    results = task.compute_loss({"image": image}, seeded())
    target = utils.get_at_index(utils.patchify(image, 8), hidden)
    target = utils.normalize_mean_var(target, dim=-1) if normalize else target
    torch.testing.assert_close(results["loss"], torch.nn.functional.mse_loss(said[0], target), rtol=0, atol=1e-5)
    torch.testing.assert_close(results["each"]["loss"].mean(), results["loss"])


def test_the_decoder_knows_where_tokens_are_and_not_their_order():
    decoder, tokens = TokenDecoder(8, 5, 16, 2, 2).eval(), noise(2, 1 + 3, 8)
    visible, wanted = torch.tensor([[0, 4, 2], [5, 1, 3]]), torch.tensor([[1, 3], [0, 2]])
    expected = decoder(tokens, visible, wanted, (2, 3))
    mixed = decoder(tokens[:, [0, 3, 1, 2]], visible[:, [2, 0, 1]], wanted.flip(1), (2, 3))
    torch.testing.assert_close(mixed.flip(1), expected)
    elsewhere = decoder(tokens, visible[:, [1, 0, 2]], wanted, (2, 3))
    assert expected.shape == (2, 2, 5) and not torch.allclose(elsewhere, expected, atol=1e-3)


def test_weights_of_mae_load_into_plain_timm(tmp_path):
    task = MAE(backbone=vit(), **SMALL)
    export_backbone(task.exported, tmp_path / "backbone.safetensors")
    options = {"num_classes": 0, "img_size": 32, "patch_size": 8}
    plain = timm.create_model("test_vit", checkpoint_path=str(tmp_path / "backbone.safetensors"), **options)
    image = noise(2, 3, 32, 32)
    with torch.no_grad():
        cells = plain.eval().forward_features(image)[:, 1:].mean(1)
        torch.testing.assert_close(task.eval().features(image), cells)


# Blocks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "hidden"), [((14, 14), 58), ((4, 4), 5), ((3, 5), 15), ((1, 4), 1)])
def test_block_masks_hide_as_many_cells_of_every_image(grid, hidden):
    masks = block_mask(6, grid, hidden, seeded())
    assert masks.sum(1).tolist() == [hidden] * 6
    assert torch.equal(masks, block_mask(6, grid, hidden, seeded()))


def test_block_masks_are_blocks():
    """More neighbors of hidden cells are hidden than 30 %, their share, as it would be at random."""
    masks = block_mask(32, (14, 14), 59, seeded()).view(32, 14, 14)
    neighbors = (masks[:, 1:] & masks[:, :-1]).sum() / masks[:, 1:].sum()
    assert neighbors > 0.6


@pytest.mark.parametrize("views", [1, 2, 5])
def test_half_of_the_views_of_each_image_are_masked(views):
    masks = view_masks(8, views, (4, 4), 5, seeded())
    assert masks.shape == (8, views, 16)
    assert masks.any(2).sum(1).tolist() == [max(1, views // 2)] * 8
    assert views == 1 or len(masks.any(2).unique(dim=0)) > 1  # others of other images


def test_targets_are_blocks_of_one_size_and_the_context_is_without_them():
    context, targets = context_and_targets(16, (14, 14), 4, (0.15, 0.2), (0.85, 1.0), seeded())
    rows, columns = targets // 14, targets % 14
    height, width = (places.amax(2) - places.amin(2) + 1 for places in (rows, columns))
    assert len(height.unique()) == len(width.unique()) == 1
    assert height[0, 0] * width[0, 0] == targets.shape[2]
    assert 0.12 < targets.shape[2] / 196 < 0.23 and 0.6 < height[0, 0] / width[0, 0] < 1.8
    assert not (context[:, :, None] == targets.flatten(1)[:, None]).any()
    assert all(len(set(one)) == len(one) for one in context.tolist())
    assert len(targets[:, 0, 0].unique()) > 1
    smaller = context_and_targets(16, (14, 14), 1, (0.15, 0.15), (0.25, 0.25), seeded())[0]
    assert (smaller // 14).amax() - (smaller // 14)[0].amin() <= 13 and smaller.shape[1] <= 49


@pytest.mark.parametrize("grid", [(2, 2), (1, 3), (4, 4)])
def test_small_grids_have_a_context_too(grid):
    for seed in range(20):
        context, targets = context_and_targets(4, grid, 4, (0.15, 0.2), (0.85, 1), torch.Generator().manual_seed(seed))
        assert context.shape[1] >= 1 and int(targets.max()) < grid[0] * grid[1] > int(context.max())


# I-JEPA --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
def test_the_loss_of_ijepa_is_the_distance_of_each_block_from_the_teachers_normalized_features(loss):
    task, image = IJEPA(backbone=vit(), loss=loss, **PREDICTOR).eval(), noise(3, 3, 32, 32)
    with torch.no_grad():
        task.teacher.backbone.net.blocks[0].mlp.fc1.weight.mul_(1.5)  # no longer the student
    results = task.compute_loss({"image": image}, seeded())
    context, targets = context_and_targets(3, (4, 4), 4, (0.15, 0.2), (0.85, 1.0), seeded())
    features = task.teacher.backbone.net.forward_features(image)[:, 1:]
    features = (features - features.mean(2, keepdim=True)) / (features.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    losses = []
    for i in range(3):
        tokens = encode(task.backbone.net, image[i : i + 1], context[i : i + 1])
        for block in targets[i]:
            apart = (task.predictor(tokens, context[i : i + 1], block[None], (4, 4)) - features[i, block]).abs()
            losses.append(apart.square() if loss == "l2" else torch.where(apart < 1, apart.square() / 2, apart - 0.5))
    torch.testing.assert_close(results["loss"], torch.stack(losses).mean(), rtol=0, atol=1e-5)
    torch.testing.assert_close(results["each"]["loss"].mean(), results["loss"])


def test_the_teacher_of_ijepa_learns_by_its_momentum_alone_and_is_exported(tmp_path):
    task = IJEPA(backbone=vit(), momentum=0.5, **PREDICTOR)
    trainer = train(task, {"image": torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), "id": ["x"] * 4}, 2)
    assert not any(parameter.requires_grad for parameter in task.teacher.parameters())
    trainer.save_checkpoint(tmp_path / "run.ckpt", weights_only=False)
    tensors, theirs = read_weights(str(tmp_path / "run.ckpt")).tensors, task.teacher.backbone.net.state_dict()
    assert tensors.keys() == theirs.keys() and all(torch.equal(tensors[key], value) for key, value in theirs.items())
    assert not torch.equal(theirs["pos_embed"], task.backbone.net.pos_embed)


# iBOT ----------------------------------------------------------------------------------------------------------------


def test_the_loss_of_masked_tokens_is_lightlys():
    loss = pytest.importorskip("lightly.loss.ibot_loss").IBOTPatchLoss(32, teacher_temp=0.04, student_temp=0.1)
    teachers, students = noise(3 * 5, 32), noise(4, 15, 32)[3]
    masks = block_mask(3, (4, 4), 5, seeded()).view(3, 4, 4)
    ours = masked_tokens(students, teacher_probabilities(teachers, torch.zeros(32), 0.04), 0.1)
    torch.testing.assert_close(ours, loss(teachers, students, masks), rtol=0, atol=1e-5)


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_masked_tokens_of_the_student_are_compared_with_the_teachers_of_whole_images(centering):
    task = DINO(backbone=vit(), prototypes=16, masked_loss_weight=0.5, centering=centering).eval()
    plain, seen = DINO(backbone=vit(), prototypes=16, centering=centering).eval(), []
    plain.load_state_dict({k: v for k, v in task.state_dict().items() if k not in ("mask_token", "patch_center")})
    targets = task._targets
    task._targets = lambda logits, center: seen.append(logits) or targets(logits, center)
    image = noise(4, 3, 32, 32)
    hidden = view_masks(2, 2, (4, 4), 5, seeded()).transpose(0, 1).flatten(0, 1)
    batch = {"views": list(image.chunk(2))}
    quiet().validate(task, DataLoader([]), verbose=False)  # attaches a trainer
    quiet().validate(plain, DataLoader([]), verbose=False)
    with torch.no_grad():
        results, without = task.compute_loss(batch, seeded()), plain.compute_loss(batch, None)
        cells = task.teacher.backbone.net.forward_features(image)[:, 1:][hidden]
        torch.testing.assert_close(seen[0], task.teacher.head(cells))
        tokens = encode(task.backbone.net, image, hidden=hidden, mask_token=task.mask_token)
        students = task.head(tokens[:, 1:][hidden])
        expected = masked_tokens(students, targets(seen[0], task.patch_center), 0.1)
    torch.testing.assert_close(results["masked_loss"], expected)
    torch.testing.assert_close(results["teacher_entropy"], without["teacher_entropy"])
    torch.testing.assert_close(results["loss"], results["kl"] + results["teacher_entropy"] + 0.5 * expected)


@pytest.mark.parametrize(
    ("make", "batch", "names"),
    [
        (lambda: MAE(backbone="test_resnet"), {}, ("MAE", "test_resnet", "--model.backbone", "vit_tiny_patch16_224")),
        (lambda: IJEPA(backbone="torchvision/vit_b_32"), {}, ("IJEPA", "vit_b_32", "--model.backbone")),
        (lambda: IJEPA(backbone="test_vit", target_scale=(0.3, 0.2)), {}, ("model.target_scale", 0.3, 0.2)),
        (lambda: IJEPA(backbone="test_vit", predictor_width=10), {}, ("model.predictor_width", 10)),
        (
            lambda: DINO(backbone="test_resnet", prototypes=8, masked_loss_weight=1),
            {},
            ("model.masked_loss_weight", "test_resnet", "--model.backbone"),
        ),
        (lambda: DINO(backbone="test_vit", prototypes=8, mask_ratio=0), {}, ("model.mask_ratio", 0)),
        (lambda: MAE(backbone="vit_small_r26_s32_224"), {}, ("MAE", "vit_small_r26_s32_224")),
        (lambda: MAE(backbone="test_vit", mask_ratio=1), {}, ("model.mask_ratio", 1)),
        (lambda: MAE(backbone="test_vit", decoder_width=10), {}, ("model.decoder_width", 10, "decoder_heads", 16)),
        (lambda: MAE(backbone="test_vit", decoder_depth=0), {}, ("model.decoder_depth", 0)),
        (
            lambda: MAE(backbone="test_vit", **SMALL),
            {"image": torch.zeros(2, 3, 40, 40)},
            ("40 x 40", 16, "--data.image_size 48"),
        ),
        (
            lambda: MAE(backbone="test_vit", **SMALL),
            {"image": torch.zeros(2, 3, 16, 16)},
            ("16 x 16", "--data.image_size 32"),
        ),
    ],
)
def test_what_cannot_mask_tokens_is_one_sentence(make, batch: Batch, names):
    with refuses(ConfigError, *names):
        make().eval().compute_loss(batch, None)
