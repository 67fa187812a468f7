"""Learning rates and gradient norms of each optimizer, as they are in the step that is logged."""

import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from callbacks.optimizer_monitor import OptimizerMonitor, learning_rates
from tests.helpers.small_task import Data, MemoryLogger, Task


class Scheduled(Task):
    """Two groups of parameters, the head's with a tenth of the rate; the rate halves after every step."""

    def configure_optimizers(self):
        groups = [{"params": self.backbone.parameters()}, {"params": self.head.parameters(), "lr": 0.1 * self.lr}]
        optimizer = torch.optim.SGD(groups, lr=self.lr)
        schedule = LambdaLR(optimizer, lambda step: 0.5**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer):
        squares = [p.grad.double().square().sum() for p in self.parameters()]
        self.norms = [*getattr(self, "norms", []), math.sqrt(sum(squares))]


class Alternating(Task):
    """Manual optimization of backbone and head; the head's optimizer steps every other batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        self.manual_backward(super().training_step(batch, batch_idx))
        for optimizer in optimizers if batch_idx % 2 else optimizers[:1]:
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=rate) for part, rate in ((self.backbone, 0.1), (self.head, 0.2))]


def fit(task, *more, **settings):
    torch.manual_seed(0)
    logger = MemoryLogger()
    settings = {"max_epochs": 1, "log_every_n_steps": 2, "accelerator": "cpu", "devices": 1} | settings
    settings |= {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    Trainer(**settings, limit_val_batches=0, logger=logger, callbacks=list(more)).fit(task, datamodule=Data())
    return logger


@pytest.mark.parametrize("settings", [{}, {"gradient_clip_val": 0.01}, {"accumulate_grad_batches": 2}])
def test_rates_and_norm_are_those_of_the_logged_step(settings):
    task = Scheduled()
    logger = fit(task, OptimizerMonitor(), **settings)
    rates = logger.values("train/lr")
    assert rates == pytest.approx([task.lr * 0.5 ** (2 * i + 1) for i in range(len(rates))]) and rates
    assert logger.values("train/lr_x0.1") == pytest.approx([0.1 * rate for rate in rates])
    assert logger.values("train/grad_norm") == pytest.approx(task.norms[1::2], rel=1e-5)


def test_nothing_changes_what_is_learned():
    torch.manual_seed(1)
    tasks = [Scheduled(), Scheduled()]
    tasks[1].load_state_dict(tasks[0].state_dict())
    fit(tasks[0])
    fit(tasks[1], OptimizerMonitor())
    states = [task.state_dict() for task in tasks]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_of_several_optimizers_the_networks_are_named():
    logger = fit(Alternating(), OptimizerMonitor(), log_every_n_steps=1)
    (_, first), (_, second), *_ = logger.rows
    assert first["train/backbone_lr"] == pytest.approx(0.1) and first["train/head_lr"] == pytest.approx(0.2)
    assert "train/backbone_grad_norm" in first and "train/head_grad_norm" not in first  # it has made no step yet
    assert "train/head_grad_norm" in second


def test_newest_values_are_in_the_checkpoint():
    monitor, again = OptimizerMonitor(), OptimizerMonitor()
    monitor.values = {"train/generator_grad_norm": torch.tensor(1.5), "train/generator_lr": 0.1}
    again.load_state_dict(monitor.state_dict())
    assert again.values == {"train/generator_grad_norm": 1.5, "train/generator_lr": 0.1}


def test_groups_are_named_by_their_factor_and_late_ones_by_their_place():
    parts = [nn.Linear(1, 1) for _ in range(4)]
    groups = [{"params": part.parameters(), "lr": lr} for part, lr in zip(parts, (0.1, 0.075, 0.1), strict=False)]
    optimizer = torch.optim.SGD(groups)
    LambdaLR(optimizer, lambda step: 0.5)
    optimizer.add_param_group({"params": parts[3].parameters(), "lr": 0.01})
    assert learning_rates(optimizer) == pytest.approx({"lr": 0.05, "lr_x0.75": 0.0375, "lr_group3": 0.01})


@pytest.mark.gpu
def test_the_norm_in_float16_is_unscaled_also_for_a_fused_optimizer():
    class Fused(Task):
        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=0.0, fused=True)

    torch.manual_seed(2)
    tasks = [Fused(), Fused()]
    tasks[1].load_state_dict(tasks[0].state_dict())
    norms = [
        fit(task, OptimizerMonitor(), accelerator="gpu", precision=precision).values("train/grad_norm")
        for task, precision in zip(tasks, ("32", "16-mixed"), strict=True)
    ]
    assert norms[1] == pytest.approx(norms[0], rel=0.05) and norms[0]


def test_the_norm_of_a_fused_optimizer_is_unscaled():
    parameter = nn.Parameter(torch.ones(4))
    optimizer, scaler = torch.optim.AdamW([parameter], fused=True), torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(parameter.square().sum()).backward()
    trainer = SimpleNamespace(
        _logger_connector=SimpleNamespace(should_update_logs=True),
        precision_plugin=SimpleNamespace(scaler=scaler),
        optimizers=[optimizer],
    )
    monitor = OptimizerMonitor()
    monitor.on_before_optimizer_step(trainer, nn.Module(), optimizer)
    assert monitor.values["train/grad_norm"] == pytest.approx(4.0)  # of four gradients of 2
