"""EMA of the weights: values, validation, checkpoints."""

from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modules.backbones import Timm
from modules.contracts import ConfigError
from modules.training.optim import Optim
from modules.training.transfer import export_backbone, load_backbone
from tasks import BYOL, Classification, SimCLR
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

DECAY, STEPS = 0.5, 9


class Noise(L.LightningDataModule):
    """Data with different images in each step."""

    batch_size = 8

    def train_dataloader(self) -> DataLoader:
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (STEPS, 8, 3, 32, 32), dtype=torch.uint8, generator=draw)
        batches = [{"image": i, "label": torch.arange(8) % 2, "id": ["x"] * 8} for i in images]
        return DataLoader(batches, batch_size=None, collate_fn=dict)

    val_dataloader = train_dataloader


class Watched(Classification):
    """Record tensors before the first step, after each batch and in validation; save checkpoints."""

    def __init__(self, path: Path, **settings):
        optim = Optim(lr=0.05, warmup=0, schedule="constant")
        super().__init__(**{"backbone": "test_resnet", "classes": ["a", "b"], "optim": optim} | settings)
        self.path, self.trained, self.validated = path, [], []

    def on_train_start(self) -> None:
        self.trained.append(state(self))

    def on_train_batch_end(self, *_) -> None:
        self.trained.append(state(self))

    def validation_step(self, batch, index):
        self.validated.append(state(self))
        return super().validation_step(batch, index)

    def on_train_epoch_end(self) -> None:
        self.trainer.save_checkpoint(self.path)


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def averaged(states: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    """Expected EMA in float64 of the states at the start and after each optimizer step; integers are the last ones."""
    average = {name: value.double() for name, value in states[0].items()}
    for step, now in enumerate(states[1:], 1):
        kept = min(decay, (1 + step) / (10 + step))
        average = {name: kept * value + (1 - kept) * now[name].double() for name, value in average.items()}
    return average | {name: value for name, value in states[-1].items() if not value.is_floating_point()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.to(found[name]), atol=1e-6, rtol=1e-4)


def fit(model: L.LightningModule, **settings) -> L.Trainer:
    trainer = quiet(**{"max_epochs": 1, "num_sanity_val_steps": 0} | settings)
    torch.manual_seed(1)
    trainer.fit(model, datamodule=Noise())
    return trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("accumulated", [1, 3])
def test_validation_and_checkpoints_have_the_averages_and_training_goes_on_without(tmp_path, precision, accumulated):
    model = Watched(tmp_path / "a.ckpt", ema_decay=DECAY)
    fit(model, precision=precision, accumulate_grad_batches=accumulated)
    expected = averaged(model.trained[::accumulated], DECAY)
    assert (expected["backbone.net.bn1.running_mean"] - model.trained[-1]["backbone.net.bn1.running_mean"]).any()
    saved = torch.load(model.path, weights_only=True)
    for found in (model.validated[0], saved["state_dict"], state(model)):  # the last one: when training is over
        assert_same(found, expected)
    assert_same(saved["current_model_state"], model.trained[-1])


def test_the_average_begins_with_the_weights_that_were_loaded(tmp_path):
    export_backbone(Timm("test_resnet"), tmp_path / "backbone.safetensors")
    model = Watched(tmp_path / "a.ckpt", ema_decay=DECAY, weights=str(tmp_path / "backbone.safetensors"))
    fit(model, limit_train_batches=1)
    assert_same(state(model), averaged(model.trained, DECAY))


def test_weights_of_such_a_checkpoint_are_the_averages(tmp_path):
    model, backbone = Watched(tmp_path / "a.ckpt", ema_decay=DECAY), Timm("test_resnet")
    fit(model)
    load_backbone(backbone, str(model.path))
    assert_same(
        state(backbone), {k.removeprefix("backbone."): v for k, v in model.validated[0].items() if "backbone" in k}
    )


@pytest.mark.filterwarnings("error:You're using the WeightAveraging callback")
def test_a_saved_average_is_judged_as_it_was(tmp_path):
    model = Watched(tmp_path / "a.ckpt", ema_decay=DECAY)
    loss = fit(model).callback_metrics["val/loss"]
    again = Watched(tmp_path / "b.ckpt", ema_decay=DECAY)
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(accelerator="cpu", **quiet)
    trainer.validate(again, datamodule=Noise(), ckpt_path=model.path, weights_only=True, verbose=False)
    assert trainer.callback_metrics["val/loss"] == loss


def test_without_it_nothing_is_averaged(tmp_path):
    model = Watched(tmp_path / "a.ckpt")
    fit(model)
    assert "current_model_state" not in torch.load(model.path, weights_only=True)
    assert_same(state(model), model.trained[-1])


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_decays_that_never_move_or_explode_are_refused(decay):
    with refuses(ConfigError, "model.ema_decay", f"{decay:g}", 0.999):
        Classification(backbone="test_resnet", classes=["a", "b"], ema_decay=decay)


def test_methods_with_a_momentum_encoder_have_an_average_already():
    with refuses(ConfigError, "BYOL", "--model.momentum", "--model.ema_decay", "--model.average_last_epochs"):
        BYOL(backbone="test_resnet", ema_decay=0.9)
    assert SimCLR(backbone="test_resnet", ema_decay=0.9).ema_decay == 0.9
