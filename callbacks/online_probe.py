"""Linear probe that is trained beside the task on its features, without influence on them."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from callbacks.collectors.embedding import check_features, due, embed, of_samples, shown
from callbacks.results.metrics import check_data
from modules.contracts import Batch, check_range, check_sizes
from modules.training.modes import evaluation_mode


class OnlineProbe(Callback):
    """Train a linear classifier beside the task on the detached features of each batch, and log its accuracy.

    Log keys: `train/probe_loss`; `val/probe` and `test/probe`, the accuracy 0..1 on images that are not augmented. The
    probe standardizes features by their running mean and deviation, sees the first view of each image, and takes one
    more pass of the backbone per training batch. Its weights are in the checkpoint. Labels are needed, even if the task
    itself needs none; the network never sees them.

    Args:
        lr: learning rate of the probe's AdamW.
        every: epochs between two evaluations; the last epoch is always evaluated.
    """

    def __init__(self, lr: float = 0.003, every: int = 1) -> None:
        check_range("OnlineProbe.lr", lr, low=1e-9)
        check_sizes("OnlineProbe", every=every)
        self.lr, self.every = lr, every
        self.probe: Probe | None = None
        self.off = False
        self.protocols: dict[str, str] = {}  # log name -> protocol
        self._saved: dict[str, Any] | None = None  # of a checkpoint

    def protocol_lines(self, trainer: Trainer) -> dict[str, str]:
        """Training and number of images of each accuracy."""
        return self.protocols

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            check_data(trainer, self, "plain_dataloader", "classes")
            check_features(pl_module, self)
            if trainer.datamodule.classes is None:
                self._turn_off()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if self.off or "label" not in batch or batch["label"].ndim > 1:
            self._turn_off()
            return
        image = batch["views"][0] if "views" in batch else shown(batch, pl_module)
        context = trainer.precision_plugin.forward_context()
        with evaluation_mode(pl_module), torch.no_grad(), context:
            features = of_samples(pl_module.features(image), batch)
        label = batch["label"]
        if trainer.world_size > 1:
            features, label = (pl_module.all_gather(one).flatten(0, 1) for one in (features, label))
        loss = self._ready(features, len(trainer.datamodule.classes)).learn(features, label)
        pl_module.log("train/probe_loss", loss, batch_size=1)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if due(trainer, self.every):
            self._evaluate(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluate(trainer, pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        return self.probe.state_dict() if self.probe else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict or None
        if self.probe and state_dict:
            self.probe.load_state_dict(state_dict)

    def _ready(self, features: Tensor, classes: int) -> "Probe":
        """The probe, made for these features and with the state of a checkpoint at its first use."""
        if self.probe is None:
            with torch.inference_mode(False):  # which an evaluation may be in, but a later step must not
                self.probe = Probe(features.shape[1], classes, self.lr, features.device)
                if self._saved:
                    self.probe.load_state_dict(self._saved)
        return self.probe

    def _turn_off(self) -> None:
        if not self.off:
            rank_zero_info("The online probe is off: the samples have no labels, one class each.")
        self.off = True

    def _evaluate(self, trainer: Any, task: LightningModule, split: str) -> None:
        loader, classes = trainer.datamodule.plain_dataloader(split), trainer.datamodule.classes
        if loader is None or classes is None or not (self.probe or self._saved):
            return
        features, labels = embed(loader, trainer, task)
        if labels is None:
            return
        right = self._ready(features, len(classes))(features).argmax(1) == labels
        noun = getattr(trainer.datamodule, "noun", "images")
        words = f"linear probe, trained beside the task (AdamW, lr {self.lr:g}), {len(right):,} {split} {noun}"
        self.protocols[f"{split}/probe"] = words
        task.log(f"{split}/probe", right.double().mean().float(), batch_size=1, sync_dist=True)


class Probe:
    """Linear classifier of features (N, D), standardized by their running statistics, with its optimizer.

    It starts at zero, so that no random number is drawn.
    """

    def __init__(self, features: int, classes: int, lr: float, device: torch.device) -> None:
        self.norm = nn.BatchNorm1d(features, affine=False, device=device)
        self.weight = torch.zeros(classes, features + 1, device=device, requires_grad=True)  # the last is the bias
        self.optimizer = torch.optim.AdamW([self.weight], lr=lr)

    def __call__(self, features: Tensor) -> Tensor:
        """Features (N, D) to logits (N, C), in evaluation."""
        with torch.no_grad():
            return self._logits(self.norm.eval()(features))

    def learn(self, features: Tensor, label: Tensor) -> Tensor:
        """A step on a batch; returns its loss."""
        with torch.enable_grad():
            loss = cross_entropy(self._logits(self.norm.train(len(features) > 1)(features)), label)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Weights, statistics and the optimizer's state."""
        states = {"norm": self.norm.state_dict(), "optimizer": self.optimizer.state_dict()}
        return states | {"weight": self.weight.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.norm.load_state_dict(state["norm"])
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            self.weight.copy_(state["weight"])

    def _logits(self, features: Tensor) -> Tensor:
        return linear(features, self.weight[:, :-1], self.weight[:, -1])
