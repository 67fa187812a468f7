"""Linear probe that is trained beside the task on its features, without influence on them."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from callbacks.collectors.embedding import embed
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
        self.probe: nn.Sequential | None = None
        self.protocols: dict[str, str] = {}  # log name -> protocol
        self._state: dict[str, Any] | None = None  # of a checkpoint

    def protocol_lines(self, trainer: Trainer) -> dict[str, str]:
        """Training and number of images of each accuracy."""
        return self.protocols

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            check_data(trainer, self, "plain_dataloader", "classes")
            if trainer.datamodule.classes is None:
                rank_zero_info("The online probe is off: the images have no labels.")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.datamodule.classes is None or "label" not in batch or batch["label"].ndim > 1:
            return
        image = batch["views"][0] if "views" in batch else batch["image"]
        context = trainer.precision_plugin.forward_context()
        with evaluation_mode(pl_module), torch.no_grad(), context:
            features = pl_module.features(image).float()
        label = batch["label"]
        if trainer.world_size > 1:
            features, label = (pl_module.all_gather(one).flatten(0, 1) for one in (features, label))
        pl_module.log("train/probe_loss", self._learn(features, label, len(trainer.datamodule.classes)), batch_size=1)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fitting, epoch = trainer.state.fn == "fit", trainer.current_epoch + 1
        if not trainer.sanity_checking and (not fitting or epoch % self.every == 0 or epoch == trainer.max_epochs):
            self._evaluate(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluate(trainer, pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        if self.probe is None:
            return {}
        return {"probe": self.probe.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state = state_dict or None
        if self.probe is not None:
            self._restore()

    def _build(self, features: Tensor, classes: int) -> None:
        """A probe that starts at zero, so that no random number is drawn."""
        linear = nn.utils.skip_init(nn.Linear, features.shape[1], classes)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        self.probe = nn.Sequential(nn.BatchNorm1d(features.shape[1], affine=False), linear).to(features.device)
        self.optimizer = torch.optim.AdamW(linear.parameters(), lr=self.lr)
        self._restore()

    def _restore(self) -> None:
        if self._state and self.probe is not None:
            self.probe.load_state_dict(self._state["probe"])
            self.optimizer.load_state_dict(self._state["optimizer"])
            self._state = None

    def _learn(self, features: Tensor, label: Tensor, classes: int) -> Tensor:
        if self.probe is None:
            self._build(features, classes)
        self.probe.train(len(features) > 1)
        with torch.enable_grad():
            loss = cross_entropy(self.probe(features), label)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _evaluate(self, trainer: Trainer, task: LightningModule, split: str) -> None:
        loader = trainer.datamodule.plain_dataloader(split)
        if loader is None or trainer.datamodule.classes is None or (self.probe is None and self._state is None):
            return
        features, labels = embed(loader, trainer, task)
        if labels is None:
            return
        if self.probe is None:
            self._build(features, len(trainer.datamodule.classes))
        with torch.no_grad():
            right = self.probe.eval()(features).argmax(1) == labels
        words = f"linear probe, trained beside the task (AdamW, lr {self.lr:g}), {len(right):,} {split} images"
        self.protocols[f"{split}/probe"] = words
        task.log(f"{split}/probe", right.double().mean().float(), batch_size=1, sync_dist=True)
