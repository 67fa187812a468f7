"""Recipes: published settings as YAML files, which train as they are."""

import numpy as np
import pytest
import yaml

from tests.helpers.commands import ROOT
from tests.helpers.images import save

RECIPES = sorted((ROOT / "tasks" / "recipes").glob("*.yaml"))
TINY = '{step: 7, depths: [1, 1, 1, 1], width: 8, switches: {"gelu": true}}'


@pytest.mark.parametrize(
    ("name", "batch", "lr", "epochs", "warmup"),
    [("convnext", 4096, 4e-3, 300, 20), ("convnext_finetune", 512, 5e-5, 30, 0)],
)
def test_a_recipe_has_the_published_learning_rate_and_length(name, batch, lr, epochs, warmup):
    settings = yaml.safe_load((ROOT / "tasks" / "recipes" / f"{name}.yaml").read_text())
    optim = settings["model"]["init_args"]["optim"]
    assert optim["scale_lr"] and optim["lr"] * batch / 256 == pytest.approx(lr)
    assert settings["trainer"]["max_epochs"] == epochs
    assert optim["warmup"] * epochs == pytest.approx(warmup, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(graft, tmp_path, path):
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        folder = tmp_path / "images" / ("train", "val", "test")[number % 3] / "ab"[number // 3 % 2]
        save(image, folder / f"{number}.png")
    small = "--data.image_size 32 --data.batch_size 2 --data.workers 0 --trainer.max_epochs 1".split()
    argv = ["fit", "--config", f"tasks/recipes/{path.name}", "--data.root", "images", *small]
    code, said = graft(*argv, "--model.backbone.options", TINY)
    assert code == 0, said
