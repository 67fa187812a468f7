"""Jensen-Shannon consistency of several views (AugMix) in classification."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon

from modules.contracts import ConfigError
from modules.losses.classification import jensen_shannon
from modules.training.optim import Optim
from tasks import Classification
from tests.helpers.errors import refuses
from tests.helpers.training import train


def task(**changes) -> Classification:
    settings = {"classes": list("abc"), "backbone": "test_resnet", "jsd_weight": 12.0}
    return Classification(**settings | {"optim": Optim(torch.optim.SGD, lr=0.0, warmup=0)} | changes)


def test_the_divergence_is_that_of_scipy_and_at_most_the_logarithm_of_the_views():
    p = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for k in range(5):
        found = jensen_shannon([p[0, k : k + 1], p[1, k : k + 1]]).item()
        assert found == pytest.approx(jensenshannon(p[0, k].numpy(), p[1, k].numpy()) ** 2, abs=1e-5)
    assert jensen_shannon([p[0]] * 3).item() == pytest.approx(0, abs=1e-6)
    assert jensen_shannon(list(torch.eye(3).split(1))).item() == pytest.approx(math.log(3))


def test_the_loss_is_that_of_the_first_view_and_the_weighted_divergence():
    torch.manual_seed(0)
    model = task(backbone="test_vit")  # without batch norm
    views = list(torch.randint(0, 256, (3, 4, 3, 32, 32), dtype=torch.uint8))
    batch, kept = {"views": views, "label": torch.arange(4) % 3}, []
    step = model.training_step
    model.training_step = lambda batch, batch_idx: kept.append(step(batch, batch_idx)) or kept[-1]
    train(model, batch, 1)
    with torch.no_grad():
        logits = [model(model.normalized(view)) for view in views]
        loss = model.head.loss(logits[0], batch["label"]) + 12 * jensen_shannon([one.softmax(1) for one in logits])
    assert kept[0].item() == pytest.approx(loss.item(), abs=1e-4)


def test_what_it_does_not_go_with_is_named():
    for settings in ({"mixup": 0.2}, {"adversarial": "fgsm"}):
        with refuses(ConfigError, "model.jsd_weight", *settings):
            task(**settings)
    with refuses(ConfigError, "model.jsd_weight", -1):
        task(jsd_weight=-1)
