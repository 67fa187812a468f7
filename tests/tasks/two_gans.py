"""A few steps of GANs on this process's share of the same batches; run by test_gan_devices.py, alone and by twos."""

import os
import sys
from pathlib import Path

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from modules.gan import DCGANDiscriminator, DCGANGenerator
from modules.training.optim import Optim
from tasks import GAN, WGAN

STEPS, BATCH = 6, 8
SETTINGS = {
    "gan": (
        GAN,
        {"condition": "projection", "classes": ["a", "b"], "augment": ["color", "translation"], "ema_decay": 0.9},
    ),
    "wgan": (WGAN, {"n_critic": 3, "gradient_clip": 5.0}),
    "r1": (GAN, {"loss": "hinge", "penalty": "r1", "accumulate": 2}),
    "batch norm": (GAN, {}),
}


class Share(L.LightningDataModule):
    """Share of each batch: every second sample with two processes, all with one."""

    def train_dataloader(self) -> DataLoader:
        mine = slice(self.trainer.global_rank, None, self.trainer.world_size)
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (STEPS, BATCH, 3, 16, 16), dtype=torch.uint8, generator=draw)
        label = (torch.arange(BATCH) // 3) % 2
        batches = [{"image": step[mine], "label": label[mine], "id": ["x"] * len(step[mine])} for step in images]
        return DataLoader(batches, batch_size=None, collate_fn=dict, generator=torch.Generator())


def trained(name: str, method: type, settings: dict, processes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    optim = Optim(torch.optim.SGD, lr=0.005, warmup=0)
    task = method(
        generator=lambda *spec: DCGANGenerator(*spec, width=4),
        discriminator=lambda spec: DCGANDiscriminator(spec, width=4, norm="layer"),
        image_size=16,
        latent=8,
        optim=optim,
        discriminator_optim=optim,
        **settings,
    )
    for network in (
        (task.generator, task.averaged) if name != "batch norm" else ()
    ):  # batch norm's statistics belong to a device
        for module in network.modules() if network else ():
            for key, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, key, nn.GroupNorm(1, child.num_features))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = "ddp" if processes > 1 else "auto"
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", devices=processes, strategy=strategy, use_distributed_sampler=False, **quiet
    )
    L.seed_everything(1)  # the processes of two set it again, in which torch.manual_seed would be lost
    trainer.fit(task, datamodule=Share())
    return task.state_dict() | {"steps": torch.tensor(trainer.global_step)}


if __name__ == "__main__":
    processes, path = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    found = {name: trained(name, *setting, processes) for name, setting in SETTINGS.items()}
    if os.environ.get("RANK", "0") == "0":
        torch.save(found, path)
