"""Self-supervised methods of lightly's modules in a plain loop, the peer of `benchmarks.pretraining`.

Transform, data set, heads, losses, memory banks, prototypes and momentum utilities are lightly's, put together as its
examples do. Backbone, batch size, epochs, optimizer with its rate, temperatures, momenta and widths of heads are those
of `tasks/METHOD.yaml`, which are chosen for so few steps; views are as strong as ours: crop, flip, color jitter at
strength 0.5, gray. Its examples compute in float32 and in torch's memory format: here it gets ours.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightly.data import LightlyDataset
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss, VICRegLoss
from lightly.models.modules import (
    BarlowTwinsProjectionHead,
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
    SwaVProjectionHead,
    SwaVPrototypes,
)
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from lightly.models.utils import batch_shuffle, batch_unshuffle, deactivate_requires_grad, update_momentum
from lightly.transforms import SimCLRTransform, SwaVTransform
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from benchmarks.overhead import Stopwatch
from benchmarks.precision import autocast, automatic
from modules.backbones import Timm

HIDDEN = 512
Settings = dict[str, Any]  # `init_args` of a YAML's model or data


class Method(nn.Module):
    """A backbone with lightly's parts of one method; called with the views of a batch it returns the loss.

    Args:
        backbone: timm's network up to its pooled features.
        head: projection head of lightly.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.student = nn.Sequential(backbone, head)

    def embed(self, network: nn.Module, view: Tensor) -> Tensor:
        """Embeddings (B, D) in float32."""
        with autocast(automatic()):
            return network(view.to(memory_format=torch.channels_last)).float()

    def begin_step(self, step: int, steps: int) -> None:
        """Prepare a step."""


class SimCLR(Method):
    """NT-Xent within the batch."""

    def __init__(self, backbone: nn.Module, width: int, model: Settings, epoch: int):
        super().__init__(backbone, SimCLRProjectionHead(width, HIDDEN, 128))
        self.loss = NTXentLoss(model["temperature"])

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        return self.loss(*self.embed(self.student, torch.cat([*views])).chunk(2))


class BarlowTwins(Method):
    """Cross-correlation of two views."""

    def __init__(self, backbone: nn.Module, width: int, model: Settings, epoch: int):
        super().__init__(backbone, BarlowTwinsProjectionHead(width, HIDDEN, model["embed_dim"]))
        self.loss: nn.Module = BarlowTwinsLoss(model["redundancy_weight"])

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        return self.loss(*(self.embed(self.student, view) for view in views))


class VICReg(BarlowTwins):
    """Variance, invariance and covariance."""

    def __init__(self, backbone: nn.Module, width: int, model: Settings, epoch: int):
        Method.__init__(self, backbone, VICRegProjectionHead(width, HIDDEN, model["embed_dim"], num_layers=2))
        self.loss = VICRegLoss()


class Momentum(Method):
    """Base of methods with a momentum encoder."""

    def __init__(self, backbone: nn.Module, head: nn.Module, model: Settings):
        super().__init__(backbone, head)
        self.momentum = model["momentum"], model.get("final_momentum", 1.0)
        self.teacher = deepcopy(self.student)
        deactivate_requires_grad(self.teacher)

    def begin_step(self, step: int, steps: int) -> None:
        update_momentum(self.student, self.teacher, m=cosine_schedule(step, steps, *self.momentum))


class BYOL(Momentum):
    """Predictions of the teacher's embeddings."""

    def __init__(self, backbone: nn.Module, width: int, model: Settings, epoch: int):
        super().__init__(backbone, BYOLProjectionHead(width, HIDDEN, 256), model)
        self.predictor = BYOLPredictionHead(256, 1024, 256)
        self.loss = NegativeCosineSimilarity()

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        predictions = [self.embed(nn.Sequential(self.student, self.predictor), view) for view in views]
        with torch.no_grad():
            targets = [self.embed(self.teacher, view) for view in views]
        return 0.5 * (self.loss(predictions[0], targets[1]) + self.loss(predictions[1], targets[0]))


class MoCo(Momentum):
    """MoCo v2 with a symmetric loss, as in lightly's benchmark on CIFAR-10."""

    def __init__(self, backbone: nn.Module, width: int, model: Settings, epoch: int):
        super().__init__(backbone, MoCoProjectionHead(width, HIDDEN, 128, batch_norm=True), model)
        self.loss = NTXentLoss(model["temperature"], memory_bank_size=(model["queue_size"], 128))

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        first, second = views
        return 0.5 * (self._loss(first, second) + self._loss(second, first))

    def _loss(self, query: Tensor, key: Tensor) -> Tensor:
        with torch.no_grad():
            key, shuffle = batch_shuffle(key)
            keys = batch_unshuffle(self.embed(self.teacher, key), shuffle)
        return self.loss(self.embed(self.student, query), keys)


class SwAV(Method):
    """Swapped codes of two global views, predicted from local ones too, with a queue for each global view."""

    def __init__(self, backbone: nn.Module, width: int, model: Settings, epoch: int):
        super().__init__(backbone, SwaVProjectionHead(width, HIDDEN, 128))
        self.prototypes = SwaVPrototypes(128, model["prototypes"], n_steps_frozen_prototypes=epoch)
        self.queues = nn.ModuleList(MemoryBankModule((model["queue_size"], 128)) for _ in range(2))
        self.loss, self.step = SwaVLoss(sinkhorn_epsilon=model["code_temperature"]), 0

    def begin_step(self, step: int, steps: int) -> None:
        self.prototypes.normalize()
        self.step = step

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        embeddings = [nn.functional.normalize(self.embed(self.student, view), dim=1) for view in views]
        outputs = [self.prototypes(each, self.step) for each in embeddings]
        with torch.no_grad():
            banks = [q(each, update=True)[1].T for q, each in zip(self.queues, embeddings[:2], strict=True)]
            queued = [self.prototypes(bank, self.step) for bank in banks]
        return self.loss(outputs[:2], outputs[2:], queued)


PEERS: dict[str, type[Any]] = {
    "simclr": SimCLR,
    "vicreg": VICReg,
    "barlow_twins": BarlowTwins,
    "byol": BYOL,
    "moco": MoCo,
    "swav": SwAV,
}


def train(name: str, config: Settings, root: Path, size: int, epochs: int, workers: int) -> tuple[Timm, Stopwatch]:
    """Train a method of `PEERS` on an image folder; returns backbone and the times of its steps."""
    model, data = (config[part]["init_args"] for part in ("model", "data"))
    backbone = Timm(model["backbone"], small_images=True)
    loader = DataLoader(
        LightlyDataset(str(root), transform(backbone, data, size)),
        data["batch_size"],
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    network = PEERS[name](backbone.net, backbone.features.pooled, model, len(loader))
    network = network.to(memory_format=torch.channels_last).train()
    steps = epochs * len(loader)
    optimizer, schedule = optimization(network, model["optim"], steps)
    watch = Stopwatch()
    for _ in range(epochs):
        for views, *_ in loader:
            network.begin_step(len(watch.ends), steps)
            loss = network(views)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            watch.note(loss)
    return backbone, watch


def transform(backbone: Timm, data: Settings, size: int) -> Any:
    """lightly's transform with the YAML's crops, local ones half as large; its normalization is the backbone's."""
    same: Settings = {"cj_strength": 0.5, "gaussian_blur": 0.5 * (size > 64)}
    same["normalize"] = {"mean": backbone.mean.tolist(), "std": backbone.std.tolist()}
    if "local_views" not in data:
        return SimCLRTransform(input_size=size, min_scale=data["crop"][0], **same)
    crops = data["crop"], data["local_crop"]
    return SwaVTransform(
        crop_sizes=(size, size // 2),
        crop_counts=(data["views"], data["local_views"]),
        crop_min_scales=tuple(low for low, _ in crops),
        crop_max_scales=tuple(high for _, high in crops),
        **same,
    )


def optimization(network: nn.Module, optim: Settings, steps: int) -> tuple[torch.optim.Optimizer, OneCycleLR]:
    """AdamW or SGD with the YAML's rate, weight decay and warm-up, and a cosine."""
    settings: Settings = {"lr": optim["lr"], "weight_decay": optim["weight_decay"]}
    trained = [each for each in network.parameters() if each.requires_grad]
    if "optimizer" in optim:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(trained, momentum=0.9, **settings)
    else:
        optimizer = torch.optim.AdamW(trained, **settings)
    return optimizer, OneCycleLR(optimizer, optim["lr"], steps, pct_start=optim["warmup"], cycle_momentum=False)
