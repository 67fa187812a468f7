"""Fast style transfer: learns a handful, paints images of any size, mixes styles, and keeps what it knows of them."""

import pytest
import torch
from torch.nn.functional import interpolate

from modules.backbones import UNetEncoder
from modules.contracts import ConfigError
from modules.losses.style import gram
from modules.style import TransformerNet
from modules.style.builtin import read_style
from modules.style.features import weighted
from modules.training.optim import Optim
from tasks import FastStyle
from tests.helpers.errors import refuses
from tests.helpers.training import train


def fast_style(**changes) -> FastStyle:
    torch.manual_seed(0)
    small = {"backbone": UNetEncoder(channels=(8, 12, 16), norm=False), "width": 4, "blocks": 1, "image_size": 32}
    styles = {"styles": ["strokes", "mosaic"], "optim": Optim(lr=0.01, warmup=0, weight_decay=0)}
    return FastStyle(**(small | styles | changes))


def batch(count: int = 8) -> dict:
    image = interpolate(255 * torch.rand(count, 3, 4, 4), (32, 32), mode="bilinear").to(torch.uint8)
    return {"image": image, "id": [str(i) for i in range(count)]}


def test_it_learns_the_styles_of_files_and_paints_in_them():
    task, given = fast_style(), batch()
    measure = {k: v.clone() for k, v in task.backbone.state_dict().items()}
    train(task, {**given, "image": given["image"].clone()}, steps=60)
    assert all(torch.equal(v, measure[k]) for k, v in task.backbone.state_dict().items())  # it only measures
    style = torch.from_numpy(read_style("mosaic", 32)).permute(2, 0, 1)[None]
    cells = task.backbone(task.backbone.normalize(style))[1]
    torch.testing.assert_close(task.gram_1[1], gram(cells)[0])
    task.eval()
    with torch.no_grad():
        image, chosen = task.backbone.normalize(given["image"]), torch.arange(8) % 2
        made = task(image, task._one(chosen)), task.backbone.restore(image)
        after, before = (weighted(task._losses(image, one, chosen), task.loss_weights).mean() for one in made)
        assert after < 0.75 * before


def test_predictions_have_the_size_of_their_image_and_a_mixture_is_one_style():
    task = fast_style().eval()
    given = batch(2) | {"image": torch.randint(0, 256, (2, 3, 40, 32), dtype=torch.uint8)}
    given["inside"] = torch.tensor([[40, 24], [20, 32]])
    given["image"] = task.backbone.normalize(given["image"])
    with torch.no_grad():
        found = task.predict_step(given, 0)
        assert [tuple(one["mosaic"].shape) for one in found["styles"]] == [(40, 24, 3), (20, 32, 3)]
        alone = task(given["image"][1:, :, :20], torch.tensor([[1.0, 0.0]]))  # padding has no part in the norms
        assert torch.equal(found["generated"][1], (255 * alone[0]).round().byte().permute(1, 2, 0))
        mixed = fast_style(mix=[1, 3]).eval()
        assert torch.equal(mixed.mixtures()["mix"], torch.tensor([0.25, 0.75]))
        assert list(mixed.predict_step(given, 0)["styles"][0]) == ["mix"]


def test_the_skip_sees_the_contrast_that_instance_norm_takes_away():
    image, mix = torch.rand(2, 3, 16, 16), torch.ones(2, 1)
    torch.manual_seed(0)
    plain, skip = (TransformerNet(1, 4, 1, skip=skip).double() for skip in (False, True))
    with torch.no_grad():
        (dull, vivid), (seen, other) = (
            [net(one.double(), mix) for one in (image / 2 + 0.25, image)] for net in (plain, skip)
        )
    torch.testing.assert_close(dull, vivid, atol=1e-4, rtol=0)
    assert (seen - other).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"styles": []}, "styles"),
        ({"mix": [1.0]}, "mix"),
        ({"mix": [0.0, 0.0]}, "mix"),
        ({"style_weight": -1.0}, "style_weight"),
        ({"style_weight": 0.0, "content_weight": 0.0}, "style_weight"),
        ({"content_level": 9}, "level 9"),
        ({"frozen": False}, "frozen"),
        ({"width": 0}, "width"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, name):
    with refuses(ConfigError, name):
        fast_style(**changes)
