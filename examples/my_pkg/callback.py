"""A callback: the gradient's norm."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from modules.contracts import ConfigError


class MyCallback(Callback):
    """Log the norm of all gradients as `train/gradient_norm`.

    Args:
        every: steps from one to the next.
    """

    def __init__(self, every: int = 10):
        if every < 1:
            raise ConfigError(f"every is {every}, but it counts steps: at least 1")
        self.every = every

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if trainer.global_step % self.every == 0:
            norm = get_total_norm([p.grad for p in pl_module.parameters() if p.grad is not None])
            pl_module.log("train/gradient_norm", norm)
