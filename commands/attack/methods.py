"""Run of an attack over samples: answers before and after at each size of the change."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from callbacks.summary import CONSOLE
from commands.attack.victim import Victim, share, victims
from commands.evaluate import Trainer
from commands.evaluate.features import CHUNK
from datamodules.base import Split
from modules.contracts import IGNORE
from modules.insight.attacks import Network, deepfool, fgsm, fooling_image, gradient, lengths, pgd, random_start
from modules.training.adversarial_training import sample_keys
from tasks import Task

METHODS = ("fgsm", "pgd", "pgd_l2", "deepfool", "fooling_image")
CURVES = {
    "fgsm": ["1/255", "2/255", "4/255", "8/255"],
    "pgd": ["1/255", "2/255", "4/255", "8/255"],
    "pgd_l2": ["0.125", "0.25", "0.5", "1"],
    "deepfool": ["0.125", "0.25", "0.5", "1"],
    "fooling_image": ["0.5", "1", "2", "4"],
}
"""Default sizes of the change by method."""
STEPS = {"fgsm": 1, "pgd": 10, "pgd_l2": 10, "deepfool": 50, "fooling_image": 100}
SHOWN = 6  # samples in the figure


class Attack(NamedTuple):
    """An attack as it was asked for.

    Args:
        method: one of `METHODS`.
        eps: sizes of the change in rising order, and how they were typed.
        steps: gradient steps; null for the method's own.
        step_size: null for the method's own.
        target: class to be answered, or `random`; null for any other answer.
        seed: of random starts and targets.
    """

    method: str
    eps: dict[float, str]
    steps: int | None = None
    step_size: float | None = None
    target: int | str | None = None
    seed: int = 0

    @property
    def bounded(self) -> bool:
        """True if the change is within a ball of each size; else it is one change, which is measured."""
        return self.method not in ("deepfool", "fooling_image")

    @property
    def norm(self) -> str:
        """Norm of the sizes, in words."""
        return "Linf" if self.method in ("fgsm", "pgd") else "L2"

    @property
    def protocol(self) -> str:
        """Method with its numbers, in words."""
        steps = self.steps or STEPS[self.method]
        size = f"{self.step_size:g}" if self.step_size else "2.5 eps / steps"
        iterated = f"{steps} steps of {size}, random start of seed {self.seed}"
        words = {
            "fgsm": "FGSM, one step",
            "pgd": f"PGD, {iterated}",
            "pgd_l2": f"PGD, {iterated}",
            "deepfool": f"DeepFool, at most {steps} steps, overshoot 0.02",
            "fooling_image": f"Gradient ascent on the target's logit until it is the answer, at most {steps} steps of "
            f"{self.step_size or 0.2:g}",
        }
        return f"{words[self.method]}, {self.norm} norm, in pixels of 0..1"


class Shown(NamedTuple):
    """A sample of the figure: pixels before and after, logits (C, ...) before and after, label."""

    name: str
    before: Tensor
    after: Tensor
    logits: Tensor
    logits_after: Tensor
    label: Tensor


class Found(NamedTuple):
    """Outcome of an attack on N samples at E sizes.

    Args:
        plan: the attack.
        split: of the samples.
        labeled: false where the network's own answers stand in for labels.
        ids: of the samples.
        columns: arrays by name: `clean` (N,), shares of right answers before, and after as `right` (N, E); of targeted
            ones also `hit` (N, E), shares of answers that are the target, and `counted` (N,), whether the sample is
            neither of the target's class nor answered with it before; `rounded` (N, 1), right after the largest change
            in 8 bits; `size` (N,) and `largest` (N,), L2 norm and largest pixel of the change; `dead` (N,), gradients
            that are 0 throughout; `relative` (N,), the norm of the change over that of the image; `true`, `before` and
            `after` (N, E), classes, of single labels only.
        shown: samples of the figure.
    """

    plan: Attack
    split: Split
    labeled: bool
    ids: list[str]
    columns: dict[str, np.ndarray]
    shown: list[Shown]


def run_attack(trainer: Trainer, task: Task, split: Split, count: int, plan: Attack) -> Found:
    """Attack up to `count` samples of a split."""
    data: Any = trainer.datamodule
    samples = min(count, len(data.dataset(split, "evaluate")))
    batches, every = victims(trainer, task, split, count), max(1, samples // SHOWN)
    words, hidden = f"attack by {plan.method}", not CONSOLE.is_terminal
    ids: list[str] = []
    shown: list[Shown] = []
    parts, labeled = [], True
    for victim in track(batches, words, -(-samples // CHUNK), console=CONSOLE, transient=True, disable=hidden):
        labeled = victim.label is not None
        places = [i for i in range(len(victim.ids)) if (len(ids) + i) % every == 0]
        columns, examples = _attack_batch(victim, plan, places[: SHOWN - len(shown)])
        ids += victim.ids
        shown += examples
        parts.append({name: column.cpu().numpy() for name, column in columns.items()})
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Found(plan, split, labeled, ids, columns, shown)


def _attack_batch(victim: Victim, plan: Attack, places: list[int]) -> tuple[dict[str, Tensor], list[Shown]]:
    """Columns (B, ...) of a batch as of `Found`, and the samples at `places` for the figure."""
    every = torch.arange(len(victim.ids), device=victim.pixels.device)
    network = victim.network(every)
    before = _predict(network, victim.pixels)
    first = before.argmax(1)
    label = first if victim.label is None else victim.label
    target = None if plan.target is None else _targets(plan, victim.ids, label, before.shape[1])
    goal, others = _goal(label, target)
    columns = {
        "clean": share(first, label),
        "dead": gradient(network, victim.pixels, goal).flatten(1).abs().amax(1) == 0,
    }
    attempt, after, said = _attempts(victim, plan, goal), victim.pixels.clone(), first.clone()
    right, hit, rights, hits, answers = columns["clean"], share(first, goal, others), [], [], []
    for eps in plan.eps:
        open_ones = (right > 0 if target is None else hit < 1).nonzero()[:, 0]
        if len(open_ones):
            after[open_ones] = attempt(open_ones, eps)
            said[open_ones] = _predict(victim.network(open_ones), after[open_ones]).argmax(1)
        right, hit = torch.minimum(right, share(said, label)), torch.maximum(hit, share(said, goal, others))
        rights.append(right)
        hits.append(hit)
        answers.append(said.clone())
    change, rounded = after - victim.pixels, _predict(network, (255 * after).round() / 255).argmax(1)
    columns |= {"right": torch.stack(rights, 1), "rounded": share(rounded, label), "size": lengths(change).flatten()}
    columns |= {"largest": change.flatten(1).abs().amax(1)}
    columns["relative"] = columns["size"] / lengths(victim.pixels).flatten().clamp_min(1e-12)
    if target is not None:
        counted = (label != target) & (first != target) if others is None else others.flatten(1).any(1)
        columns |= {"hit": torch.stack(hits, 1), "counted": counted}
    if label.ndim == 1:
        columns |= {"true": label, "before": first, "after": torch.stack(answers, 1)}
    ends = _predict(network, after)
    worth = columns["clean"] > 0 if target is None else columns["counted"]
    places = [next((i for i in range(place, len(worth)) if worth[i]), place) for place in places]
    shown = [Shown(victim.ids[i], victim.pixels[i], after[i], before[i], ends[i], label[i]) for i in places]
    return columns, shown


def _predict(network: Network, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return network(pixels).float()


def _targets(plan: Attack, ids: list[str], label: Tensor, classes: int) -> Tensor:
    """Class (B,) that each sample is to be answered with; a random one is not its own, if it has one."""
    if plan.target != "random":
        return torch.full((len(ids),), int(plan.target or 0), device=label.device)
    draws = torch.tensor(sample_keys([(plan.seed, "target", name) for name in ids]), device=label.device)
    return (label + 1 + draws % (classes - 1)) % classes if label.ndim == 1 else draws % classes


def _goal(label: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Labels whose loss is raised, or of targeted attacks lowered; and of maps the pixels of other classes."""
    if target is None or label.ndim == 1:
        return (label if target is None else target), None
    wide = target[:, None, None]
    return torch.where(label == IGNORE, label, wide), (label != IGNORE) & (label != wide)


def _attempts(victim: Victim, plan: Attack, goal: Tensor) -> Callable[[Tensor, float], Tensor]:
    """Function of rows (R,) and a size to the changed pixels (R, ...)."""
    steps, targeted, pixels = plan.steps or STEPS[plan.method], plan.target is not None, victim.pixels
    if plan.bounded:
        norm, keys = "l2" if plan.method == "pgd_l2" else "linf", sample_keys([(plan.seed, i) for i in victim.ids])

        def within(rows: Tensor, eps: float) -> Tensor:
            network, image = victim.network(rows), pixels[rows]
            if plan.method == "fgsm":
                return fgsm(network, image, goal[rows], eps, targeted)
            start = random_start(image, eps, norm, [keys[row] for row in rows.tolist()])
            return pgd(network, image, goal[rows], eps, steps, plan.step_size, norm, start, targeted)

        return within
    network = victim.network(torch.arange(len(pixels), device=pixels.device))
    if plan.method == "deepfool":
        after = deepfool(network, pixels, goal, steps)
    else:
        after, _ = fooling_image(network, pixels, goal, steps, plan.step_size or 0.2)
    small = lengths(after - pixels)
    return lambda rows, eps: torch.where(small[rows] <= eps, after[rows], pixels[rows])
