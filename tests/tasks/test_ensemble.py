"""Ensembles: the mean of the probabilities of several runs."""

import pytest
import torch

from modules.contracts import ConfigError, DataError
from tasks import Classification, SimCLR
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

CLASSES = ["cat", "dog", "cow"]


def saved(task, path) -> str:
    trainer = quiet(max_epochs=1)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return str(path)


def classification(seed: int = 0, classes: list[str] = CLASSES, **options) -> Classification:
    torch.manual_seed(seed)
    return Classification(classes=classes, **({"backbone": "test_resnet"} | options)).eval()


def predict(task: Classification, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return task.predict_step({"image": task.normalized(image)}, 0)["scores"]


def test_probabilities_of_runs_with_their_own_normalization_are_averaged(tmp_path):
    others = [classification(1, backbone="test_vit"), classification(2)]
    others[0].backbone.mean.fill_(0.2)
    others[0].backbone.std.fill_(0.7)
    image = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    runs = [saved(task, tmp_path / f"{i}.ckpt") for i, task in enumerate(others)]
    first = classification(ensemble=",".join(runs))
    alone = [predict(task, image) for task in (classification(), *others)]
    assert len({tuple(map(tuple, each.tolist())) for each in alone}) == 3
    torch.testing.assert_close(predict(first, image), torch.stack(alone).mean(0), atol=1e-6, rtol=1e-5)
    assert "3 networks" in first.protocols["accuracy"]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: classification(1, ["cat", "dog", "hen"]), ["model.ensemble", "other classes", "cow"]),
        (lambda: classification(1, ["dog", "cat", "cow"]), ["model.ensemble", "other classes", "order"]),
        (lambda: SimCLR(backbone="test_resnet"), ["model.ensemble", "SimCLR", "Classification"]),
    ],
    ids=["other names", "other order", "other task"],
)
def test_runs_of_other_classes_or_tasks_are_refused(tmp_path, make, names):
    run = saved(make(), tmp_path / "other.ckpt")
    with refuses(ConfigError, run, *names):
        predict(classification(ensemble=[run]), torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_missing_runs_and_ensembles_in_training_are_refused(tmp_path):
    missing = str(tmp_path / "nothing")
    with refuses(DataError, missing):
        predict(classification(ensemble=[missing]), torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    with refuses(ConfigError, "model.ensemble", "fit"):
        classification(ensemble=[missing]).check_fit()
    with refuses(ConfigError, "model.ensemble"):
        classification(ensemble="a,,b")
