"""Mixing in training of classification: labels, losses, devices."""

import pytest
import torch

from modules.contracts import ConfigError
from modules.training.mixing import Mixing
from modules.training.optim import Optim
from tasks import Classification
from tests.helpers.errors import refuses
from tests.helpers.training import train
from tests.tasks.test_adversarial import assert_two_processes_have_the_losses_of_one, batch


def task(mixing: Mixing, **changes) -> Classification:
    settings = {"classes": list("abc"), "backbone": "test_resnet", "mixing": mixing}
    return Classification(**settings | {"optim": Optim(torch.optim.SGD, lr=0.02, warmup=0)} | changes)


@pytest.mark.parametrize(
    "mixing",
    [
        Mixing(manifold_mixup=1, layers=["layer3"]),
        Mixing(patchup_hard=0.5, patchup_block=1, layers=["layer1"]),
        Mixing(patchup_soft=0.75, patchup_block=1, layers=["layer1"]),
        Mixing(puzzlemix=1),
        Mixing(puzzlemix=1, puzzlemix_solver="independent"),
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_loss_is_that_of_mixed_features_and_labels(mixing, precision):
    torch.manual_seed(0)
    model, given = task(mixing, optim=Optim(torch.optim.SGD, lr=0.0, warmup=0)), batch()
    kept, loss = [], model.head.loss
    model.head.loss = lambda logits, label: kept.append((logits.detach(), label)) or loss(logits, label)
    train(model, given, 2, precision=precision)
    logits, label = kept[-1]
    assert label.shape == (8, 3) and torch.allclose(label.sum(1), torch.ones(8), atol=1e-6)
    assert label.max(1).values.min() < 1
    if mixing.manifold_mixup:
        image = model.backbone.normalize(given["image"])
        clean = torch.equal(model.train()(image), logits)
        assert not clean


def test_two_processes_have_the_losses_of_one(alone_and_by_twos):
    mixing = Mixing(manifold_mixup=1, puzzlemix=1, layers=["input", "blocks.0", "blocks.2"])
    assert_two_processes_have_the_losses_of_one(
        alone_and_by_twos, lambda: task(mixing, mixup=1, cutmix=1, backbone="test_vit")
    )


def test_compiled_networks_and_small_maps_are_refused():
    with refuses(ConfigError, "model.mixing", "model.compile"):
        task(Mixing(manifold_mixup=1), compile=True)
    with refuses(ConfigError, "model.mixing.patchup_block", 7):
        task(Mixing(patchup_hard=0.5)).check_sides({"data.image_size": 32})
