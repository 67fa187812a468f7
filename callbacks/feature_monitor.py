"""Label-free quality of the backbone's features during pretraining: RankMe, LiDAR, alignment, uniformity."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from callbacks.collectors.base import Highest, spread
from callbacks.collectors.embedding import check_features, due, of_samples, shown
from callbacks.results.metrics import check_data
from modules.contracts import SURPLUS, Batch, check_range, check_sizes
from modules.metrics.representation import alignment, lidar, rankme, uniformity

MEANINGS = {
    "rankme": "exp of the entropy of the features' singular values, high is good",
    "lidar": "exp of the entropy of discriminant analysis: directions that tell images apart, not views; high is good",
    "alignment": "mean squared distance of two views on the unit sphere, 0 is best",
    "uniformity": "log mean exp(-2 d^2) of pairs on the unit sphere, low is best",
}


class FeatureMonitor(Callback):
    """Judge the backbone's features without labels, by RankMe, LiDAR, alignment and uniformity in each validation.

    Log keys: `val/rankme` (Garrido et al. 2023), `val/lidar` (Thilak et al. 2024), `val/alignment` and `val/uniformity`
    (Wang and Isola 2020). LiDAR and alignment need `views`, as of contrastive methods. Ranks are at most the number of
    images and of features: compare runs of the same network and the same `samples`.

    Args:
        every: epochs between two measurements; the last epoch is always measured.
        samples: images of the val split, spread over it, at most.
    """

    def __init__(self, every: int = 1, samples: int = 1000) -> None:
        check_sizes("FeatureMonitor", every=every)
        check_range("FeatureMonitor.samples", samples, 2)
        self.every, self.samples = every, samples
        self.kept = Highest(samples)
        self.protocols: dict[str, str] = {}  # log name -> protocol

    def protocol_lines(self, trainer: Trainer) -> dict[str, str]:
        """Meaning, number of images and of views of each statistic."""
        return self.protocols

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage in ("fit", "validate"):
            check_data(trainer, self, "batch_size")
            check_features(pl_module, self)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.kept = Highest(self.samples)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not due(trainer, self.every) or SURPLUS in batch:
            return
        views = batch.get("views") or [shown(batch, pl_module)]
        views = [view for view in views if view.shape == views[0].shape]  # without local crops
        first = (batch_idx * trainer.world_size + trainer.global_rank) * trainer.datamodule.batch_size
        priority = spread(first, len(batch.get("id", views[0])), views[0].device)
        if self.kept.takes(priority).any():
            with trainer.precision_plugin.forward_context():
                features = torch.stack([of_samples(pl_module.features(view), batch) for view in views], 1)
            self.kept.update(priority, {"features": features})

    def on_validation_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        if not due(trainer, self.every):
            return
        self.kept.gather()
        views: Tensor = self.kept.kept()["features"]
        if len(views) < 2:
            rank_zero_info("FeatureMonitor is off: the val split has a single sample.")
            return
        found = {"rankme": rankme(views[:, 0]), "uniformity": uniformity(views[:, 0])}
        if views.shape[1] > 1:
            found |= {"lidar": lidar(views), "alignment": alignment(views[:, 0], views[:, 1])}
        noun = getattr(trainer.datamodule, "noun", "images")
        words = f"{len(views):,} val {noun}, {views.shape[1]} views, {views.shape[2]} features"
        self.protocols = {f"val/{name}": f"{MEANINGS[name]}; {words}" for name in found}
        named = {f"val/{name}": value for name, value in found.items()}
        pl_module.log_dict(named, batch_size=1, sync_dist=True)
