"""W&B's logger, whose run begins with the first thing that is logged."""

from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment


class Wandb(WandbLogger):
    """Lightning asks for the run before data and weights have proved good; it gets a dummy, so that a mistake leaves
    no run behind."""

    begun = False

    @property
    def experiment(self) -> Any:
        return super().experiment if self.begun else DummyExperiment()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.begun = True
        super().log_hyperparams(*args, **kwargs)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:  # pictures and tables come here too
        self.begun = True
        super().log_metrics(*args, **kwargs)

    def finalize(self, status: str) -> None:
        super().finalize(status)
        if status == "failed" and self.begun:
            self.experiment.finish(exit_code=1)
