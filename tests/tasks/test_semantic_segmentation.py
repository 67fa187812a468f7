"""Semantic segmentation: losses, class weights, scores at the original resolution."""

import math

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modules.backbones import Timm
from modules.contracts import IGNORE, ConfigError
from modules.contracts.data_info import DataInfo
from modules.decoding.dense import infer
from modules.decoding.tta import TiledTTA
from modules.heads import FCN, LRASPP, DeepLabV3, DeepLabV3Plus, PSPNet, SemanticFPN, UNet
from modules.losses.segmentation import SegmentationLoss
from modules.necks import FPN
from modules.training.optim import Optim
from tasks import SemanticSegmentation
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

CLASSES = ["ground", "dark", "light"]


def task(**settings) -> SemanticSegmentation:
    return SemanticSegmentation(**{"backbone": "test_resnet", "classes": CLASSES} | settings)


def make_images(count: int = 4, height: int = 32, width: int = 32) -> dict[str, Tensor]:
    """Gray levels, each of which is a class: easy, so that a network can learn them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 3, (count, 1, -(-height // 8), -(-width // 8)), generator=generator)
    mask = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, 0, :height, :width]
    image = (mask[:, None] * 100).expand(-1, 3, -1, -1).to(torch.uint8)
    sides = torch.tensor([[height, width]] * count)
    return {"image": image, "mask": mask, "inside": sides, "size": sides, "id": [f"{i}.png" for i in range(count)]}


class Images(L.LightningDataModule):
    """Data that repeats one batch."""

    def __init__(self, batch: dict, steps: int = 1):
        super().__init__()
        self.batch, self.steps = batch, steps

    def train_dataloader(self) -> DataLoader:
        return DataLoader([self.batch] * self.steps, batch_size=None, collate_fn=dict)

    val_dataloader = predict_dataloader = train_dataloader

    def data_info(self) -> DataInfo:
        return DataInfo(class_pixels=lambda: (np.array([800, 100, 100]), np.array([1000, 500, 250])))


def first_loss(model: SemanticSegmentation, batch: dict) -> Tensor:
    quiet().validate(model, datamodule=Images(batch), verbose=False)
    return model.trainer.callback_metrics["val/loss"]


def test_before_training_every_class_is_nearly_as_likely():
    model = task()
    assert model.chance_loss() == pytest.approx(math.log(3))
    assert first_loss(model, make_images()).item() == pytest.approx(math.log(3), abs=0.35)


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_a_handful_of_images_is_memorized(precision):
    model = task(optim=Optim(lr=0.01, warmup=0, schedule="constant"))
    once = quiet(max_epochs=40, precision=precision, gradient_clip_val=1.0, check_val_every_n_epoch=40)
    once.fit(model, datamodule=Images(make_images()))
    assert once.callback_metrics["val/miou"] > 0.9


@pytest.mark.parametrize("head", [FCN, UNet, DeepLabV3, DeepLabV3Plus, PSPNet, SemanticFPN, LRASPP])
@pytest.mark.parametrize("neck", [None, FPN])
@pytest.mark.parametrize("size", [(32, 32), (37, 53)])
def test_any_head_on_any_neck_answers_at_the_size_of_the_image(head, neck, size):
    model = task(head=head, neck=neck)
    assert model.eval()(torch.randn(1, 3, *size)).shape == (1, 3, *size)


def test_a_vision_transformer_segments_too():
    assert task(backbone="test_vit").eval()(torch.randn(1, 3, 37, 53)).shape == (1, 3, 37, 53)


def test_the_auxiliary_head_adds_its_loss_in_training_only():
    plain, helped = task(), task(aux_loss_weight=0.4, output_stride=8)
    assert plain.auxiliary is None
    assert helped.auxiliary.training
    batch = helped.on_after_batch_transfer(make_images(), 0)
    helped.log_step = lambda values: logged.update(values)
    logged: dict[str, Tensor] = {}
    loss = helped.training_step(batch, 0)
    expected = logged["loss_cross_entropy"] + 0.4 * logged["loss_auxiliary"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    with refuses(ConfigError, "model.aux_loss_weight", "test_vit"):
        task(backbone="test_vit", aux_loss_weight=0.4)


def test_class_weights_come_from_the_training_masks_and_stay_in_the_checkpoint():
    model = task(loss=SegmentationLoss(class_weights="median_frequency"))
    quiet(max_epochs=1).fit(model, datamodule=Images(make_images()))
    # shares 0.8, 0.2 and 0.4 of the images that show the class
    assert model.state_dict()["class_weights"].tolist() == pytest.approx([0.5, 2.0, 1.0])


def test_a_crop_of_nothing_but_void_does_no_harm():
    model, batch = task(), make_images()
    batch["mask"] = torch.full_like(batch["mask"], IGNORE)
    quiet(max_epochs=1).fit(model, datamodule=Images(batch))
    assert all(p.isfinite().all() for p in model.parameters())


def test_one_image_is_a_batch():
    model = task(head=PSPNet)
    quiet(max_epochs=1).fit(model, datamodule=Images(make_images(1, 64, 64)))
    assert all(p.isfinite().all() for p in model.parameters())
    with refuses(ConfigError, "test_resnet", "32 x 32", "--data.batch_size", "--data.image_size"):
        quiet(max_epochs=1).fit(model, datamodule=Images(make_images(1)))


def test_predictions_are_in_pixels_of_the_original():
    batch = make_images(2) | {"inside": torch.tensor([[32, 20], [16, 32]]), "size": torch.tensor([[80, 50], [16, 32]])}
    model = task(probabilities=True).eval()
    answer = model.predict_step(model.on_after_batch_transfer(batch, 0), 0)
    assert [tuple(m.shape) for m in answer["mask"]] == [(80, 50), (16, 32)]
    assert all(m.dtype == torch.uint8 for m in answer["mask"])
    for mask, scores in zip(answer["mask"], answer["probabilities"], strict=True):
        assert torch.equal(scores.argmax(0), mask)
        assert torch.allclose(scores.sum(0), torch.ones(mask.shape))


def test_a_window_as_large_as_the_image_is_one_forward_pass():
    model, image = task(tile_size=64).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(infer(model._logits, image, 32, TiledTTA(tile_size=64)), model(image).softmax(1))


def test_validation_scores_are_those_of_the_answers():
    model, batch = task(), make_images()
    batch["mask"][:, :8] = IGNORE
    quiet().validate(model, datamodule=Images(batch), verbose=False)
    with torch.no_grad():
        answer = model.eval()(model.backbone.normalize(batch["image"])).argmax(1)
    known = batch["mask"] != IGNORE
    accuracy = (answer == batch["mask"])[known].float().mean()
    assert model.trainer.callback_metrics["val/pixel_accuracy"].item() == pytest.approx(accuracy.item())


def test_scores_are_at_the_original_resolution_and_of_resized_masks_under_another_name():
    model, batch = task(resized_scores=True), make_images(2)
    original = [torch.randint(0, 3, (80, 50), dtype=torch.uint8), torch.randint(0, 3, (32, 64), dtype=torch.uint8)]
    batch |= {"inside": torch.tensor([[32, 20], [16, 32]]), "size": torch.tensor([[80, 50], [32, 64]])}
    batch |= {"original_mask": original}
    quiet().validate(model, datamodule=Images(batch), verbose=False)
    logged = model.trainer.callback_metrics
    with torch.no_grad():
        seen = model.on_after_batch_transfer(dict(batch), 0)
        said = model.eval().predict_step(seen, 0)["mask"]
        small = model(seen["image"]).argmax(1)
    right = sum((one == true).sum() for one, true in zip(said, original, strict=True)) / (80 * 50 + 32 * 64)
    assert logged["val/pixel_accuracy"].item() == pytest.approx(right.item())
    assert logged["val/pixel_accuracy_resized"].item() == pytest.approx((small == batch["mask"]).float().mean().item())
    for name in logged:
        resized = "image_size" in model.protocols[name.removeprefix("val/")]
        assert resized == name.endswith(("_resized", "/loss")), name


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch():
    model, batch = task(head=PSPNet).eval(), make_images(2, 64, 64)  # pools the whole map
    size = torch.tensor([[64, 64], [32, 40]])
    batch = model.on_after_batch_transfer(batch | {"inside": size, "size": size}, 0)
    alone = {"image": batch["image"][1:, :, :32, :40], "inside": size[1:], "size": size[1:]}
    with torch.no_grad():
        together, single = model.predict_step(batch, 0)["mask"][1], model.predict_step(alone, 0)["mask"][0]
    assert torch.equal(together, single)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"backbone": Timm("test_resnet"), "output_stride": 8}, ("output_stride", "init_args", "class_path")),
        ({"classes": ["only"]}, ("--model.classes",)),
    ],
    ids=["a backbone of our own", "one class"],
)
def test_settings_that_would_be_ignored_or_leave_nothing_to_tell_apart_are_refused(settings, names):
    with refuses(ConfigError, *names):
        task(**settings)
