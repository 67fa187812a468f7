"""Learning rate of every parameter group and gradient norm of every optimizer, for all loggers."""

from typing import Any

from lightning.fabric.plugins.precision.amp import _optimizer_handles_unscaling
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from modules.contracts import Batch


class OptimizerMonitor(Callback):
    """Log learning rates and gradient norms every `log_every_n_steps` steps.

    `train/lr` is the learning rate of the step, the highest where groups of parameters differ; groups of a lower one
    are `train/lr_x0.1`, by their factor, and those added during training `train/lr_group2`, by their index.
    `train/grad_norm` is the L2 norm of all gradients of the step, accumulated and unscaled, before clipping. With
    several optimizers, the network stands in front: `train/generator_lr`, `train/discriminator_grad_norm`.

    Norms are computed in steps that are logged only, and stay on the device until then.
    """

    def __init__(self) -> None:
        self.values: dict[str, Tensor | float] = {}  # newest of each: an optimizer may rest in the step that is logged

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        # Read here, because at the end of the batch the schedule has already moved on.
        if trainer._logger_connector.should_update_logs:
            for optimizer in trainer.optimizers:
                prefix = _prefix(trainer, pl_module, optimizer)
                self.values |= {f"train/{prefix}{name}": rate for name, rate in learning_rates(optimizer).items()}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not trainer._logger_connector.should_update_logs:
            return
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not grads:
            return
        norm = get_total_norm(grads).float()
        if (scaler := getattr(trainer.precision_plugin, "scaler", None)) and _optimizer_handles_unscaling(optimizer):
            norm = norm / scaler._get_scale_async()  # a fused optimizer unscales later
        self.values[f"train/{_prefix(trainer, pl_module, optimizer)}grad_norm"] = norm

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer._logger_connector.should_update_logs:
            pl_module.log_dict(self.values, batch_size=1)

    def state_dict(self) -> dict[str, Any]:
        return {"values": {name: float(value) for name, value in self.values.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.values = dict(state_dict["values"])


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Learning rates by name; groups of one highest rate share a name."""
    groups = optimizer.param_groups
    highest = max((group["initial_lr"] for group in groups if "initial_lr" in group), default=0.0)
    rates = {}
    for index, group in enumerate(groups):
        if not highest or "initial_lr" not in group:  # without a schedule, or added during training
            name = f"lr_group{index}" if index else "lr"
        elif group["initial_lr"] == highest:
            name = "lr"
        else:
            name = f"lr_x{group['initial_lr'] / highest:.3g}"
        rates[name] = float(group["lr"])
    return rates


def _prefix(trainer: Trainer, task: LightningModule, optimizer: Optimizer) -> str:
    """Name of the optimizer's network, with an underscore; empty for the only optimizer."""
    if len(trainer.optimizers) == 1:
        return ""
    first = optimizer.param_groups[0]["params"][0]
    owners = (name for name, part in task.named_children() if any(p is first for p in part.parameters()))
    return f"{next(owners, f'optimizer{trainer.optimizers.index(optimizer)}')}_"
