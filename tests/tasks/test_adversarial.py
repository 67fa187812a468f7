"""Adversarial training of classification: its images, modes, precision, devices."""

import json
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from modules.contracts import ConfigError
from modules.training.modes import evaluation_mode
from modules.training.optim import Optim
from tasks import Classification
from tests.helpers.errors import refuses
from tests.helpers.training import quiet, train

EPS = 8 / 255


def task(**changes) -> Classification:
    settings = {"classes": list("abc"), "backbone": "test_resnet", "adversarial": "pgd", "adversarial_steps": 2}
    return Classification(**settings | {"optim": Optim(torch.optim.SGD, lr=0.02, warmup=0)} | changes)


def batch(count: int = 8) -> dict:
    image = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    return {"image": image, "label": torch.arange(count) % 3, "id": [f"{i}.png" for i in range(count)]}


def seen(model: Classification) -> list[Tensor]:
    """Images that the network gets in training mode, one for each step."""
    kept: list[Tensor] = []
    model.backbone.register_forward_pre_hook(
        lambda net, inputs: kept.append(inputs[0].detach()) if net.training else None
    )
    return kept


@pytest.mark.parametrize("settings", [{}, {"adversarial": "fgsm"}, {"mixup": 0.5}, {"head": None}], ids=str)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_sees_images_of_a_higher_loss_within_eps(settings, precision):
    torch.manual_seed(0)
    from modules.heads import Linear

    if "head" in settings:
        settings = {"head": lambda features, outputs: Linear(features, outputs, loss="binary")}
    model, given = task(optim=Optim(torch.optim.SGD, lr=0.0, warmup=0), **settings), batch()
    kept = seen(model)
    train(model, given, 1, precision=precision)
    (changed,) = kept
    assert changed.dtype == torch.float32
    pixels = model.backbone.restore(changed)
    assert pixels.min() > -1e-5 and pixels.max() < 1 + 1e-5
    if "mixup" in settings:
        return
    clean = given["image"] / 255
    assert 0.9 * EPS < (pixels - clean).abs().max() < EPS + 1e-4
    model.eval()
    losses = [model.head.loss(model(model.backbone.standardize(x)), given["label"]) for x in (clean, pixels)]
    assert losses[1] > losses[0]


def test_the_attack_leaves_statistics_modes_and_gradients_as_they_are():
    model, given = task(drop_path=0.1), batch()
    model.backbone.net.layer1.eval()
    modes = [module.training for module in model.modules()]
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    image = model.backbone.normalize(given["image"])

    def loss(logits: Tensor, label: Tensor) -> Tensor:
        assert not any(module.training for module in model.modules())
        return len(label) * model.head.loss(logits, label)

    with torch.inference_mode(False):
        found = model.robust.attack(model, model.backbone, model, image, given["label"], loss, given["id"])
    assert not torch.equal(found, image)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_evaluation_mode_ends_with_an_error():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3).eval())
    with pytest.raises(ZeroDivisionError), evaluation_mode(network):
        assert not network[0].training
        raise ZeroDivisionError
    assert network[0].training and not network[1].training


def test_float16_is_attacked_in_float32():
    model, given = task(), batch()
    image, kinds = model.backbone.normalize(given["image"]), []

    def loss(logits: Tensor, label: Tensor) -> Tensor:
        kinds.append(logits.dtype)
        return logits.float().sum()

    with torch.autocast("cpu", torch.float16):
        model.robust.attack(model, model.backbone, model, image, given["label"], loss, given["id"])
    assert kinds == [torch.float32] * 2


def test_frozen_features_accumulated_gradients_and_ema_go_along():
    for settings in ({"frozen": True}, {"ema_decay": 0.9}):
        model, given = task(**settings), batch()
        weight = model.head.fc.weight.detach().clone()
        train(model, given, 2, accumulate_grad_batches=2)
        assert not torch.equal(model.head.fc.weight, weight)


class Share(L.LightningDataModule):
    """This process's samples of each batch: every n-th one, as the sampler gives them."""

    def train_dataloader(self) -> DataLoader:
        world, rank = self.trainer.world_size, self.trainer.global_rank
        torch.manual_seed(0)
        batches = [batch() for _ in range(4)]
        return DataLoader(
            [{key: part[rank::world] for key, part in one.items()} for one in batches], batch_size=None, collate_fn=dict
        )


class Losses(L.Callback):
    """The mean loss of all processes, step by step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: dict, *_: object) -> None:
        self.values.append(trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean").item())


def assert_two_processes_have_the_losses_of_one(alone_and_by_twos: Callable, make: Callable[[], Classification]):
    """Train a model without batch norm, whose statistics belong to a device, in one process and in two."""

    def work(processes: int, path: Path) -> None:
        torch.manual_seed(0)
        model, watch = make(), Losses()
        strategy = "ddp" if processes > 1 else "auto"
        options = {"devices": processes, "strategy": strategy, "use_distributed_sampler": False}
        quiet(max_epochs=2, callbacks=[watch], **options).fit(model, datamodule=Share())
        path.write_text(json.dumps(watch.values))

    one, two = (json.loads(path.read_text()) for path in alone_and_by_twos(work))
    assert len(one) == 8 and one[0] != one[4]
    assert two == pytest.approx(one, abs=1e-4)


def test_two_processes_have_the_losses_of_one(alone_and_by_twos):
    assert_two_processes_have_the_losses_of_one(alone_and_by_twos, lambda: task(backbone="test_vit"))


def test_bad_settings_are_named():
    for settings, names in (
        ({"adversarial_eps": "8"}, ["model.adversarial_eps", "8/255"]),
        ({"adversarial_eps": "much"}, ["model.adversarial_eps", "much"]),
        ({"adversarial_steps": 0}, ["model.adversarial_steps", "0"]),
    ):
        with refuses(ConfigError, *names):
            task(**settings)
