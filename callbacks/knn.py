"""Weighted k-nearest-neighbor probe of the backbone's features during pretraining."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from callbacks.collectors.embedding import check_features, embed
from callbacks.figures.curve import curve
from callbacks.figures.log import log_figure
from callbacks.results.metrics import check_data, classifies
from modules.contracts import ConfigError, check_range, check_sizes
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.records import means


def knn_predict(bank: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float, classes: int) -> Tensor:
    """Weighted kNN classification (Wu et al. 2018, arXiv 1805.01978, section 3.4).

    A neighbor of cosine similarity s votes for its class with weight exp(s / temperature).

    Args:
        bank: features (M, D), M >= k.
        labels: classes of the bank, int64 (M,), 0..classes-1.
        queries: features (N, D).
        k: number of neighbors.
        temperature: small values let the nearest decide, large ones make all k votes equal.
        classes: number of classes.

    Returns:
        int64 (N,).
    """
    bank = normalize(bank.float(), dim=1)
    chunk = max(1, 2**24 // max(len(bank), k * classes))  # at most 64 MB for the similarities and for the votes
    predicted = []
    for part in queries.split(chunk):
        similarity, index = (normalize(part.float(), dim=1) @ bank.T).topk(k, dim=1)
        # Relative to the nearest, which changes no winner and cannot overflow at small temperatures.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()
        # A product instead of scatter_add, whose order of summation differs from run to run on a GPU.
        votes = (weight[:, None] @ one_hot(labels[index], classes).float()).squeeze(1)
        predicted.append(votes.argmax(dim=1))
    return torch.cat(predicted)


class KNN(Callback):
    """Evaluate the backbone's features by a weighted kNN classifier on the training split, without training a head.

    Log keys: `val/knn` and `test/knn`, the accuracy 0..1. Images are not augmented. `fit` runs it before the first
    step, every `every` epochs and at the end. Labels are needed, even if the task itself needs none.

    Args:
        k: number of neighbors.
        temperature: of the vote.
        every: epochs between two probes.
    """

    key = "knn"
    """Log name without the split."""

    def __init__(self, k: int = 20, temperature: float = 0.1, every: int = 5) -> None:
        name = type(self).__name__
        check_sizes(name, k=k, every=every)
        check_range(f"{name}.temperature", temperature, low=1e-6)
        self.k = k
        self.temperature = temperature
        self.every = every
        self.history: list[tuple[int, float]] = []  # (finished epochs, accuracy 0..1) of the val split
        self.protocols: dict[str, str] = {}  # log name -> protocol
        self.chance = 0.0
        self._step = -1  # of the last probe
        self._off: set[str] = set()  # splits without a probe
        self.right = np.zeros(0, bool)  # answers of the last probe, in the order of the data

    def protocol_lines(self, trainer: Trainer) -> dict[str, str]:
        """Protocols of the final report; that of val names the accuracy before training too."""
        lines, val = dict(self.protocols), f"val/{self.key}"
        if val in lines and self.history and self.history[0][0] == 0:
            lines[val] += f"; {self.history[0][1]:.4f} before training"
        return lines

    def item_statistics(self, trainer: Trainer) -> list[Statistic]:
        """Right and wrong answers of the last probe, for the interval of a test."""
        return means({"knn": self.right})

    def startup_lines(self, trainer: Trainer) -> list[str]:
        """Majority baseline and class imbalance, which a task that is not about the classes does not tell."""
        return [] if classifies(trainer.lightning_module) else trainer.datamodule.describe_classes(remedy=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict":
            return
        check_features(pl_module, self)
        check_data(trainer, self, "plain_dataloader", "classes")
        bank = trainer.datamodule.plain_dataloader("train") if stage == "fit" else None
        if bank is not None and trainer.datamodule.classes is not None:
            self._check(len(bank.dataset))

    def data(self, trainer: Trainer) -> Any:
        """Data module whose images are classified."""
        return trainer.datamodule

    def draw(self, trainer: Trainer) -> None:
        """Draw the accuracy over epochs."""
        log_figure(trainer, "knn", curve(self.history, self.chance, self.protocols["val/knn"]))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0 and not self.history:
            self._probe_outside_validation(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        fitting = trainer.state.fn == "fit"
        epochs = trainer.current_epoch + trainer.is_last_batch if fitting else 0
        if fitting and not self._due(trainer, epochs):
            return
        if (accuracy := self._accuracy(trainer, pl_module, "val")) is not None:
            pl_module.log(f"val/{self.key}", accuracy, batch_size=1, sync_dist=True)
            if fitting:
                self._record(trainer, epochs, accuracy)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # max_steps in the middle of an epoch, or early stopping: the end was not known in the last validation.
        if self._step != trainer.global_step:
            self._probe_outside_validation(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.right = np.zeros(0, bool)
        if (accuracy := self._accuracy(trainer, pl_module, "test")) is not None:
            pl_module.log(f"test/{self.key}", accuracy, batch_size=1, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        history, protocols = list(self.history), dict(self.protocols)
        return {"history": history, "protocols": protocols, "chance": self.chance, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if len(state_dict["history"]) < len(self.history):
            return  # the best checkpoint, tested after training, is older than what this object has seen
        self.history = [(epochs, accuracy) for epochs, accuracy in state_dict["history"]]
        self.protocols = dict(state_dict["protocols"])
        self.chance = state_dict["chance"]
        self._step = state_dict["step"]

    def _due(self, trainer: Trainer, epochs: int) -> bool:
        last = trainer.global_step == trainer.max_steps or epochs == trainer.max_epochs
        return last or not self.history or epochs - self.history[-1][0] >= self.every

    def _probe_outside_validation(self, trainer: Trainer, task: LightningModule) -> None:
        """`LightningModule.log` works in an epoch only; before and after, the loggers are told directly."""
        if (accuracy := self._accuracy(trainer, task, "val")) is not None:
            trainer.callback_metrics[f"val/{self.key}"] = torch.tensor(accuracy)
            for logger in trainer.loggers:
                logger.log_metrics({f"val/{self.key}": accuracy}, step=trainer.global_step)
            self._record(trainer, trainer.current_epoch, accuracy)

    def _record(self, trainer: Trainer, epochs: int, accuracy: float) -> None:
        self._step = trainer.global_step
        self.history.append((epochs, accuracy))
        if trainer.is_global_zero:
            self.draw(trainer)

    def _accuracy(self, trainer: Trainer, task: LightningModule, split: str) -> float | None:
        """Accuracy 0..1 on `split`, the same in every process (each computes all of it); None without labels."""
        if split in self._off:
            return None
        data = self.data(trainer)
        loaders = {name: data.plain_dataloader(name) for name in ("train", split)}
        missing = next((name for name, loader in loaders.items() if loader is None), None)
        if missing or data.classes is None:
            lacking = f"there is no {missing} split" if missing else "the images have no labels, one class each"
            return self._turn_off(split, lacking)
        embedded = {name: embed(loader, trainer, task) for name, loader in loaders.items()}
        unlabeled = next((name for name, (_, labels) in embedded.items() if labels is None), None)
        if unlabeled:
            return self._turn_off(split, f"the {unlabeled} split has no labels, one class each")
        (bank, bank_labels), (queries, labels) = embedded["train"], embedded[split]
        self._check(len(bank))
        classes = len(data.classes)
        self.chance = 1 / classes
        predicted = knn_predict(bank, bank_labels, queries, self.k, self.temperature, classes)
        self.right = np.equal(*(torch.as_tensor(one).cpu().numpy() for one in (predicted, labels)))
        noun = getattr(data, "noun", "images")
        samples = f"bank {len(bank):,} train {noun}, {len(queries):,} {split} {noun}"
        self.protocols[f"{split}/{self.key}"] = f"kNN, k {self.k}, T {self.temperature:g}, {samples}"
        return (predicted == labels).double().mean().item()

    def _check(self, images: int) -> None:
        if self.k > images:
            raise ConfigError(
                f"{type(self).__name__} asks for k = {self.k} neighbors, but the train split has {images} images; set "
                f"k to {images} or less: --trainer.callbacks {type(self).__name__} --trainer.callbacks.k {images}"
            )

    def _turn_off(self, split: str, reason: str) -> None:
        self._off.add(split)
        rank_zero_info(f"The kNN probe of the {split} split is off: {reason}.")
