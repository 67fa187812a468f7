"""`--model.fold_batchnorm`: the same outputs from the inference form of the network."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tasks import Classification
from tests.helpers.training import quiet


def norms(module: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())


def loader(count: int = 16) -> DataLoader:
    image = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    batch = {"image": image, "label": torch.arange(count) % 3, "id": [f"{i}.png" for i in range(count)]}
    return DataLoader([batch], batch_size=None, collate_fn=dict)


@pytest.mark.parametrize("run", ["test", "validate", "predict"])
def test_answers_stay_and_batch_norms_go(run):
    model = Classification(backbone="test_resnet", classes=["a", "b", "c"], fold_batchnorm=True)
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
    image = model.backbone.normalize(next(iter(loader()))["image"])
    with torch.no_grad():
        wanted = model.eval()(image)
    getattr(quiet(max_epochs=1), run)(model, loader(), **({} if run == "predict" else {"verbose": False}))
    assert norms(model.backbone) == 0
    with torch.no_grad():
        torch.testing.assert_close(model(image), wanted, atol=1e-4, rtol=1e-4)


def test_training_goes_on_with_batch_norms():
    model = Classification(backbone="test_resnet", classes=["a", "b", "c"], fold_batchnorm=True)
    before = norms(model.backbone)
    quiet(max_epochs=1).fit(model, loader(), loader())
    assert norms(model.backbone) == before > 0
