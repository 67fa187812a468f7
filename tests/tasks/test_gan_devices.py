"""Two gloo processes train a GAN as one does with the same global batch, without any option of the strategy."""

from pathlib import Path

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from modules.gan import DCGANDiscriminator, DCGANGenerator
from modules.training.optim import Optim
from tasks import GAN, WGAN
from tests.helpers.training import quiet

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
    strategy = "ddp" if processes > 1 else "auto"
    trainer = quiet(max_epochs=1, devices=processes, strategy=strategy, use_distributed_sampler=False)
    L.seed_everything(1)  # the processes of two set it again, in which torch.manual_seed would be lost
    trainer.fit(task, datamodule=Share())
    return task.state_dict() | {"steps": torch.tensor(trainer.global_step)}


def test_two_processes_have_the_weights_of_one(alone_and_by_twos):
    def work(processes: int, path: Path) -> None:
        torch.save({name: trained(name, *setting, processes) for name, setting in SETTINGS.items()}, path)

    one, two = (torch.load(path, weights_only=True) for path in alone_and_by_twos(work))
    steps = {"gan": 6, "wgan": 2, "r1": 3, "batch norm": 6}
    assert {name: int(state["steps"]) for name, state in one.items()} == steps
    # statistics of half a batch differ, but their mean over the processes moves as those of the whole batch
    normed = two.pop("batch norm"), one.pop("batch norm")
    means = [torch.cat([v for k, v in state.items() if k.endswith("running_mean")]) for state in normed]
    assert means[1].norm() > 0.01 and (means[0] - means[1]).norm() < 0.2 * means[1].norm()
    assert any(name.startswith("averaged") for name in one["gan"])
    for method, state in one.items():
        for name, value in state.items():
            message = f"{method}: {name}"
            torch.testing.assert_close(
                two[method][name], value, atol=1e-4, rtol=1e-3, msg=lambda text, m=message: f"{m} {text}"
            )
