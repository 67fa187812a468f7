"""Two gloo processes have the same losses as one with the same global batch: ten steps of each method."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from modules.backbones import VideoViT
from modules.backbones.lora import LoRA
from modules.heads import Projection, Prototypes
from modules.training.optim import Optim
from tasks import (
    BYOL,
    DINO,
    IJEPA,
    MAE,
    NNCLR,
    BarlowTwins,
    LeJEPA,
    MoCo,
    MoCoV3,
    SimCLR,
    SimSiam,
    SupCon,
    SwAV,
    VICReg,
    VideoMAE,
    VideoSimCLR,
)
from tests.helpers.training import quiet

STEPS, BATCH = 10, 8
SETTINGS = {
    "SimCLR": (SimCLR, {}),
    "SimCLR, LoRA": (SimCLR, {"lora": LoRA(4)}),
    "MoCo": (MoCo, {"queue_size": 32, "shuffle_bn_groups": 1}),
    "MoCo, symmetric": (MoCo, {"queue_size": 32, "shuffle_bn_groups": 1, "symmetric": True}),
    "MoCoV3": (MoCoV3, {}),
    "BYOL": (BYOL, {"momentum": 0.9}),
    "SimSiam": (SimSiam, {}),
    "DINO": (DINO, {"prototypes": 32, "momentum": 0.9}),
    "VICReg": (VICReg, {"embed_dim": 32}),
    "BarlowTwins": (BarlowTwins, {"embed_dim": 8, "optim": Optim(torch.optim.SGD, lr=1e-4, warmup=0)}),
    "SupCon": (SupCon, {}),
    "NNCLR": (NNCLR, {"queue_size": 32}),
    "SwAV": (SwAV, {"prototypes": 8}),
    "SwAV, queue": (SwAV, {"prototypes": 32, "queue_size": 32, "freeze_last": 0}),
    "LeJEPA": (LeJEPA, {"embed_dim": 16, "directions": 32}),
    "DINO, sinkhorn": (DINO, {"prototypes": 32, "momentum": 0.9, "centering": "sinkhorn"}),
    "DINO, masked": (DINO, {"prototypes": 32, "momentum": 0.9, "masked_loss_weight": 1.0}),
    "DINO, masked, sinkhorn": (
        DINO,
        {"prototypes": 32, "momentum": 0.9, "centering": "sinkhorn", "masked_loss_weight": 1.0},
    ),
    "MAE": (MAE, {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}),
    "VideoMAE": (
        VideoMAE,
        {
            "backbone": partial(VideoViT, "test_vit", 32, options={"patch_size": 8}),
            "frames": 2,
            "decoder_width": 16,
            "decoder_depth": 1,
            "decoder_heads": 2,
        },
    ),
    "VideoSimCLR": (VideoSimCLR, {"frames": 2}),
    "IJEPA": (IJEPA, {"predictor_width": 16, "predictor_depth": 1, "predictor_heads": 2, "momentum": 0.9}),
}


class Share(L.LightningDataModule):
    """This process's slice of each batch of four views."""

    def __init__(self, views: int):
        super().__init__()
        self.views, self.batch_size = views, BATCH

    def train_dataloader(self) -> DataLoader:
        each = BATCH // self.trainer.world_size
        mine = slice(self.trainer.global_rank * each, (self.trainer.global_rank + 1) * each)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (STEPS, self.views, BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
        label, names = torch.arange(BATCH)[mine] % 3, ["x"] * each
        batches = [
            {
                "views": [v[mine] for v in step],
                "image": step[0][mine],
                "video": step.transpose(0, 1)[mine, :2].flatten(0, 1).unsqueeze(2).expand(-1, -1, 2, -1, -1),  # still
                "label": label,
                "id": names,
            }
            for step in images
        ]
        return DataLoader(batches, batch_size=None, collate_fn=dict)


class Losses(L.Callback):
    """The mean loss of all processes, step by step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: dict, *_: object) -> None:
        self.values.append(trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean").item())


def losses(method: type, settings: dict[str, Any], processes: int) -> list[float]:
    torch.manual_seed(0)
    head = Prototypes if method is DINO else lambda features, outputs: Projection(features, outputs, layers=1)
    heads = {} if method in (MAE, IJEPA, VideoMAE) else {"head": head}
    settings = {name: value() if isinstance(value, partial) else value for name, value in settings.items()}
    optim = Optim(torch.optim.SGD, lr=0.02, warmup=0)
    task = method(**{"backbone": "test_vit", "optim": optim} | heads | settings)
    for module in task.modules():  # batch norm's statistics belong to a device
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm1d):
                setattr(module, name, nn.Identity())
    watch = Losses()
    strategy = "ddp" if processes > 1 else "auto"
    trainer = quiet(
        max_epochs=1, devices=processes, strategy=strategy, use_distributed_sampler=False, callbacks=[watch]
    )
    trainer.fit(task, datamodule=Share(2))
    return watch.values


def test_two_processes_have_the_losses_of_one(alone_and_by_twos, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")  # as `seed_everything`: several devices begin with it, one goes on

    def work(processes: int, path: Path) -> None:
        found = {name: losses(*setting, processes) for name, setting in SETTINGS.items()}
        path.write_text(json.dumps(found))

    one, two = (json.loads(path.read_text()) for path in alone_and_by_twos(work))
    assert set(one) == set(SETTINGS)
    for method, expected in one.items():
        assert len(expected) == STEPS
        assert expected[-1] != expected[0]
        assert two[method] == pytest.approx(expected, rel=1e-5, abs=1e-5), method
