"""Detection and instance segmentation: losses, boxes, classes, masks."""

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.decoding.tta import TTA, TiledTTA
from modules.heads.detection import DETR, FCOS, RCNN, SSD, FasterRCNN, FastRCNN, MaskRCNN, RetinaNet, SingleObject
from modules.necks import FPN, NoNeck
from modules.training.optim import Optim
from tasks import Detection, InstanceSegmentation
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

CLASSES = ["dark", "light"]


def neck(features):
    return FPN(features, channels=32, levels=3)


def head(features, outputs):
    return FasterRCNN(features, outputs, anchor_sizes=[16, 24, 32], hidden=64, samples=64)


def masked(features, outputs):
    return MaskRCNN(features, outputs, anchor_sizes=[16, 24, 32], hidden=64, samples=64, mask_channels=16)


def task(kind=Detection, **settings):
    heads = {Detection: head, InstanceSegmentation: masked}
    return kind(**{"backbone": "test_resnet", "classes": CLASSES, "neck": neck, "head": heads[kind]} | settings)


def make_images(count: int = 4, empty: bool = False) -> dict:
    """Squares of 20 pixels on gray, dark and light ones, in images that were twice as large."""
    generator = torch.Generator().manual_seed(0)
    image, boxes, labels, masks = torch.full((count, 3, 64, 64), 128, dtype=torch.uint8), [], [], []
    for i in range(count):
        label, (left, top) = i % 2, torch.randint(2, 40, (2,), generator=generator).tolist()
        mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
        mask[0, top : top + 20, left : left + 20] = 1
        image[i, :, mask[0] > 0] = 255 * label
        boxes.append(torch.tensor([[left, top, left + 20.0, top + 20.0]]))
        labels.append(torch.tensor([label]))
        masks.append(mask)
    if empty:
        boxes, labels, masks = ([part[:0] for part in parts] for parts in (boxes, labels, masks))
    truth = [
        {
            "boxes": 2 * b,
            "labels": n,
            "crowd": torch.zeros(len(n), dtype=torch.bool),
            "area": torch.full((len(n),), 1600.0),
        }
        for b, n in zip(boxes, labels, strict=True)
    ]
    sides = torch.tensor([[64, 64]] * count)
    batch = {"image": image, "boxes": boxes, "labels": labels, "masks": masks, "truth": truth}
    return batch | {"inside": sides, "size": 2 * sides, "id": [f"{i}.png" for i in range(count)]}


class Images(L.LightningDataModule):
    def __init__(self, batch: dict, proposals: bool = False):
        super().__init__()
        self.batch, self.proposals = batch, proposals

    def train_dataloader(self) -> DataLoader:
        return DataLoader([self.batch], batch_size=None, collate_fn=dict)

    val_dataloader = train_dataloader

    def data_info(self) -> DataInfo:
        sizes = torch.cat(self.batch["boxes"])[:, 2:].numpy() * 0 + 20.0
        return DataInfo(box_sizes=lambda: sizes, proposals=self.proposals)


def test_a_handful_of_images_is_memorized_in_pixels_of_the_original():
    model = task(optim=Optim(lr=0.005, warmup=0, schedule="constant"))
    fit = quiet(max_epochs=60, check_val_every_n_epoch=60, precision="bf16-mixed", gradient_clip_val=1.0)
    fit.fit(model, datamodule=Images(make_images()))
    assert fit.callback_metrics["val/map50"] > 0.9


@pytest.mark.parametrize("kind", [Detection, InstanceSegmentation])
def test_images_without_objects_train_everything_without_harm(kind):
    model = task(kind)
    quiet(max_epochs=1, limit_val_batches=0).fit(model, datamodule=Images(make_images(empty=True)))
    assert all(p.isfinite().all() for p in model.parameters())


def test_four_losses_are_logged_by_name():
    logged: dict[str, Tensor] = {}
    model = task()
    model.log_step = logged.update
    loss = model.training_step(model.on_after_batch_transfer(make_images(), 0), 0)
    assert set(logged) == {"loss", "loss_rpn_objectness", "loss_rpn_box", "loss_classifier", "loss_box"}
    assert loss.item() == pytest.approx(sum(v.item() for k, v in logged.items() if k != "loss"))


OTHERS = {
    "RetinaNet": (0.005, {"head": lambda f, c: RetinaNet(f, c, anchor_sizes=[16, 24, 32], group_norm=True)}),
    "FCOS": (0.001, {"head": FCOS}),
    "DETR": (0.002, {"head": lambda f, c: DETR(f, c, width=32, layers=2, queries=20), "neck": NoNeck}),
    "SSD": (0.002, {"head": lambda f, c: SSD(f, c, anchor_sizes=[16, 24, 32]), "neck": NoNeck}),
    "SingleObject": (0.001, {"head": lambda f, c: SingleObject(f, c, hidden=256), "neck": NoNeck}),
    "FastRCNN": (0.005, {"head": lambda f, c: FastRCNN(f, c, hidden=64)}),
    "RCNN": (0.005, {"head": lambda f, c: RCNN(f, c, size=32), "neck": NoNeck}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_head_memorizes_a_handful(name):
    (rate, settings), batch = OTHERS[name], make_images()
    if "RCNN" in name:
        batch["proposals"] = [around(boxes) for boxes in batch["boxes"]]
    model = task(optim=Optim(lr=rate, warmup=0), **settings)
    steps = 100 if name == "SingleObject" else 50
    fit = quiet(max_epochs=steps, check_val_every_n_epoch=steps, gradient_clip_val=1.0)
    fit.fit(model, datamodule=Images(batch))
    assert fit.callback_metrics["val/map50"] > 0.9


def around(boxes: Tensor) -> Tensor:
    """Proposals: boxes a few pixels off in all directions, and unrelated ones."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 40, (8, 2), generator=generator).float()
    return torch.cat([boxes + 4 * torch.randn(8, 4, generator=generator), torch.cat([corner, corner + 20], 1)])


def test_proposals_that_a_head_makes_itself_or_misses_are_refused():
    data = Images(make_images(), proposals=True)
    with refuses(ConfigError, "FasterRCNN", "--data.proposals", "FastRCNN"):
        quiet(max_epochs=1).fit(task(), datamodule=data)
    with refuses(ConfigError, "FastRCNN", "head.source", "windows", "--data.proposals"):
        quiet(max_epochs=1).fit(task(head=lambda f, c: FastRCNN(f, c, source="windows")), datamodule=data)
    with refuses(ConfigError, "FastRCNN", "head.source", "batch", "--data.proposals"):
        quiet(max_epochs=1).fit(
            task(head=lambda f, c: FastRCNN(f, c, source="batch")), datamodule=Images(make_images())
        )


def test_tiles_scales_and_mirrored_images_find_what_one_pass_finds():
    model = task(optim=Optim(lr=0.005, warmup=0))
    fit = quiet(max_epochs=60, check_val_every_n_epoch=60, gradient_clip_val=1.0)
    fit.fit(model, datamodule=Images(make_images()))
    plain = fit.callback_metrics["val/map50"]
    assert plain > 0.9
    # tiles so large that they cut hardly any of the four objects: a network of 60 steps knows no halves
    for model.tiled in (TiledTTA(TTA(flip=True), 60, 0.8), TiledTTA(TTA(True, (1.0, 1.1)))):
        validated = quiet()
        validated.validate(model, datamodule=Images(make_images()), verbose=False)
        assert validated.callback_metrics["val/map50"] > 0.6


def test_the_scores_of_other_challenges_are_logged_if_asked():
    fit = quiet(max_epochs=1)
    fit.fit(task(extra_metrics=["voc", "dsb2018"]), datamodule=Images(make_images()))
    assert {"val/voc_ap50", "val/voc07_ap50", "val/dsb2018"} <= fit.callback_metrics.keys()
    assert task().scores["val"].voc is False


def test_masks_are_run_lengths_of_the_original_size():
    model = task(InstanceSegmentation, head=lambda f, c: MaskRCNN(f, c, hidden=32, score_threshold=0.0)).eval()
    answer = model.predict_step(model.on_after_batch_transfer(make_images(), 0), 0)
    assert all(len(rles) == len(boxes) > 0 for rles, boxes in zip(answer["rle"], answer["boxes"], strict=True))
    assert {tuple(rle["size"]) for rles in answer["rle"] for rle in rles} == {(128, 128)}


def test_flip_finds_the_same_in_a_mirrored_image():
    batch, model = (
        make_images(),
        task(tta=TTA(flip=True), head=lambda f, c: FasterRCNN(f, c, hidden=32, score_threshold=0.0)).eval(),
    )
    image, inside = model.backbone.normalize(batch["image"]), torch.tensor([[64, 50]] * 4)
    image[..., 50:] = 0
    turned = torch.cat([image[..., :50].flip(-1), image[..., 50:]], -1)
    with torch.no_grad():
        here, there = model(image, inside), model(turned, inside)
    for one, other in zip(here, there, strict=True):
        back = other["boxes"][:, [2, 1, 0, 3]]
        back[:, [0, 2]] = 50 - back[:, [0, 2]]
        assert torch.allclose(one["scores"], other["scores"], atol=1e-5)
        assert torch.allclose(one["boxes"].sum(0), back.sum(0), rtol=1e-4)


def test_anchors_are_fitted_to_the_boxes_and_stay_in_the_checkpoint():
    model = task(fit_anchors=True)
    quiet(max_epochs=1, limit_val_batches=0).fit(model, datamodule=Images(make_images()))
    shapes = next(v for k, v in model.state_dict().items() if k.endswith("shapes"))
    sides = (shapes[:, 2:] - shapes[:, :2]).prod(1).sqrt()
    assert sides.min().item() == pytest.approx(20, abs=0.5)  # 16 before


def test_frozen_norms_keep_their_statistics_while_the_rest_learns():
    model = task(freeze_norm=True)
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    quiet(max_epochs=2, limit_val_batches=0).fit(model, datamodule=Images(make_images()))
    after = model.backbone.state_dict()
    same = {k for k in before if torch.equal(before[k], after[k])}
    assert {k for k in before if "running" in k} <= same
    assert {k for k in before if "conv" in k and k.endswith("weight")} - same


def test_thresholds_of_classes_are_chosen_on_val_and_kept(tmp_path):
    model = task(calibrate=True, optim=Optim(lr=0.005, warmup=0, schedule="constant"))
    fit = quiet(max_epochs=20, check_val_every_n_epoch=20, precision="bf16-mixed", gradient_clip_val=1.0)
    fit.fit(model, datamodule=Images(make_images()))
    chosen = model.drawing_threshold
    assert isinstance(chosen, list) and len(chosen) == len(CLASSES) and all(0 < one < 1 for one in chosen)
    fit.save_checkpoint(tmp_path / "a.ckpt")
    again = task(calibrate=True)
    again.on_load_checkpoint(torch.load(tmp_path / "a.ckpt", weights_only=True))
    assert again.drawing_threshold == chosen


def test_without_classes_there_is_nothing_to_detect():
    with refuses(ConfigError, "--model.classes"):
        task(classes=None)
