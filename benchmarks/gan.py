"""Batches per second of GANs under our trainer against a plain PyTorch loop of the same networks and losses.

Ours is `cli.py fit` with the task's own YAML, without generation metrics: the callbacks that every run has, its
progress bar (drawn into memory), metrics.csv. The plain loop has the same networks, losses, penalty, augmentation,
optimizers, precision, memory format, moving average and batches (in memory, uint8), makes each image once for both
networks as ours does, and does nothing but train; both start from the same weights and noise, so their first losses
are the same.

Each task has two rows: by the wall (the mark), and by the processor. On a machine that others use too, threads wait for
each other and both say little; `OMP_NUM_THREADS=1` and the second row say more.
"""

from copy import deepcopy
from math import isclose
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from benchmarks.batches import Batches
from benchmarks.overhead import MARK, TASKS, WARM_UP, Run, Stopwatch, ours
from benchmarks.precision import autocast, automatic
from benchmarks.report import Comparison, compare, in_pairs, parser
from modules import gan
from modules.augmentation.diff_augment import PARAMETERS, diff_augment
from modules.gan import ImageSpec
from modules.losses.adversarial import GAN_LOSSES, gradient_penalty
from modules.training.ema import ema_update, warmed_up
from modules.training.optim import Optim
from tasks import turns, wgan

LATENT = 128  # the tasks' default
OPTIM = {"gan": turns.ADAM, "wgan": wgan.ADAM}
PENALTY = {"gan": 0.0, "wgan": 10.0}


def plain(task: str, data: dict[str, int], accelerator: str) -> Run:
    """The steps after the warm-up, in a plain loop."""
    settings = yaml.safe_load((TASKS / f"{task}.yaml").read_text())["model"]["init_args"]
    device, precision = torch.device("cuda" if accelerator == "gpu" else "cpu"), automatic(accelerator)
    torch.manual_seed(0)  # as the YAML's run
    batches, condition = Batches(**data), settings.get("condition")
    spec = ImageSpec(3, data["image_size"], len(batches.classes) if condition else 0, condition)
    generator = _built(settings["generator"], spec, LATENT).to(device, memory_format=torch.channels_last)
    discriminator = _built(settings["discriminator"], spec).to(device, memory_format=torch.channels_last)
    averaged, n_critic = deepcopy(generator).requires_grad_(False), settings.get("n_critic", 1)
    gan_loss, every = GAN_LOSSES[settings.get("loss", "wasserstein")], data["steps"] // n_critic
    ours, schedule = _optimizer(task, settings["optim"], generator, every)
    theirs, their_schedule = _optimizer(task, settings["discriminator_optim"], discriminator, every * n_critic)

    def changed(image: Tensor) -> Tensor:
        parameters = torch.rand(len(image), PARAMETERS, device=device)
        return diff_augment(image.float(), parameters, settings.get("augment", []))

    stopwatch, steps = Stopwatch(), 0
    for index, batch in enumerate(batches.train_dataloader(), 1):
        stopwatch.begin(index - 1)
        real, turn = batch["image"].to(device, non_blocking=True).float().div_(127.5).sub_(1), index % n_critic == 0
        label = batch["label"].to(device, non_blocking=True) if condition else None
        with autocast(precision, device):
            with torch.set_grad_enabled(turn):
                fake = generator(torch.randn(len(real), LATENT, device=device), label)
            loss = _discriminator_loss(
                discriminator, gan_loss, changed(real), changed(fake.detach()), label, PENALTY[task]
            )
        loss.backward()
        theirs.step()
        theirs.zero_grad()
        their_schedule.step()
        if turn:
            discriminator.requires_grad_(False)
            with autocast(precision, device):
                cost = gan_loss.generator(discriminator(changed(fake), label).score)
            cost.backward()
            discriminator.requires_grad_(True)
            ours.step()
            ours.zero_grad()
            schedule.step()
            steps += 1
            ema_update(averaged, generator, warmed_up(settings["ema_decay"], steps))
        stopwatch.note(loss)
    return stopwatch.run()


def _discriminator_loss(
    discriminator: nn.Module, gan_loss: Any, real: Tensor, fake: Tensor, label: Tensor | None, weight: float
) -> Tensor:
    twice = None if label is None else torch.cat([label, label])
    pairs = [(real, label), (fake, label)] if discriminator.mixes else [(torch.cat([real, fake]), twice)]
    loss = gan_loss.discriminator(*torch.cat([discriminator(*pair).score for pair in pairs]).chunk(2))
    if weight:
        mix = torch.rand(len(real), 1, 1, 1, device=real.device)
        loss = loss + weight * gradient_penalty(lambda image: discriminator(image, label).score, real, fake, mix)
    return loss


def _built(part: dict[str, Any], *arguments: Any) -> nn.Module:
    return vars(gan)[part["class_path"]](*arguments, **part.get("init_args", {})).train()


def _optimizer(task: str, settings: dict[str, Any], network: nn.Module, steps: int) -> tuple[Any, Any]:
    return Optim(**vars(OPTIM[task]) | settings).build(network, None, steps)


def measure(task: str, steps: int, repeats: int, accelerator: str) -> list[Comparison]:
    """Batches per second of a task, in pairs, by the wall and by the process."""
    config = yaml.safe_load((TASKS / f"{task}.yaml").read_text())["data"]["init_args"]
    data = {key: config[key] for key in ("image_size", "batch_size")} | {"steps": WARM_UP + steps}
    alone = {"--trainer.callbacks": "benchmarks.overhead.Stopwatch"}  # instead of the YAML's generation metrics
    runs = in_pairs(lambda: ours(task, data, accelerator, alone), lambda: plain(task, data, accelerator), repeats)
    losses = [run.loss for side in runs for run in side]
    if not isclose(min(losses), max(losses), rel_tol=1e-3):
        raise RuntimeError(f"{task}: the two sides do not train the same thing, their first losses are {losses}")
    wall, process = ([[steps / run[i] for run in side] for side in runs] for i in range(2))
    name = f"{task}, batch {data['batch_size']}"
    return [Comparison(name, "steps/s", *wall, MARK), Comparison(name, "steps/CPU s", *process)]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    both = ["gan", "wgan"]
    options.add_argument("--tasks", nargs="+", choices=both, default=both)
    options.add_argument("--steps", type=int, default=100, help="discriminator steps that count")
    options.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    options.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    args = options.parse_args(argv)
    rows = [row for task in args.tasks for row in measure(task, args.steps, args.repeats, args.accelerator)]
    precision = automatic(args.accelerator)
    where = f"{torch.get_num_threads()} threads, {precision} on {args.accelerator}"
    title = f"GANs, {args.steps} steps after {WARM_UP}, {args.repeats} pairs, {where}"
    facts = {"steps": args.steps, "accelerator": args.accelerator, "precision": precision}
    return compare("gan", title, rows, "plain loop", args.json, **facts)


if __name__ == "__main__":
    main()
