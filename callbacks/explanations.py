"""Attribution maps of a few validation samples while training goes on."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng

from callbacks.collectors.chosen import arrays, chosen, picked, seen
from callbacks.figures.base import shorten_start
from callbacks.figures.explained import compared, panels, said, summary
from callbacks.figures.log import log_figure
from callbacks.figures.placing import Place
from callbacks.results.metrics import check_data
from modules.contracts import ConfigError, check_range, check_sizes
from modules.insight.layers import refuse_compiled
from modules.insight.methods import METHODS, Options, check_methods, usual_methods
from modules.insight.subject import Subject
from modules.training.modes import evaluation_mode


class Explanations(Callback):
    """Draw what the predictions of a few validation samples depend on: attribution maps, as of the command `explain`.

    The samples are the same every time, evenly spread over the split, as the network sees them, in float32. The figure
    `explanations` is drawn before the first step, every `every` epochs and after the last one.

    Args:
        samples: number of samples, 2..16.
        every: epochs between two figures.
        method: names, such as [gradcam, occlusion]; null chooses a few that fit the network, of boxes layercam in place
            of gradcam, whose weights of whole channels also fire on the neighbors.

    Raises:
        ConfigError: no such method, or one that does not fit the network.
    """

    def __init__(self, samples: int = 4, every: int = 5, method: list[str] | None = None) -> None:
        check_range("Explanations.samples", samples, 2, 16)
        check_sizes("Explanations", every=every)
        check_methods(method or (), option="Explanations.method")
        self.samples, self.every, self.method = samples, every, method
        self.step: int | None = None  # of the last figure

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        check_data(trainer, self, "dataset", "letterbox")
        if "source" in pl_module.required_keys:
            raise ConfigError(
                f"Explanations shows images and clips, but {type(pl_module).__name__} reads sentences: leave the "
                "callback out, and use the command explain after the training"
            )
        refuse_compiled(pl_module, "Explanations")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:  # a method that does not fit the network shows here
            self._draw(trainer, pl_module, "before training")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_last_batch:
            return
        if (trainer.current_epoch + 1) % self.every == 0:
            self._draw(trainer, pl_module, _after(trainer.current_epoch + 1, trainer.global_step))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.step != trainer.global_step:  # early stopping and limits decide late which epoch was the last
            epochs: Any = trainer.fit_loop.epoch_progress.current
            cut = not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch  # by max_steps, and yet counted
            self._draw(trainer, pl_module, _after(epochs.processed - cut, trainer.global_step))

    def _draw(self, trainer: Any, task: Any, when: str) -> None:
        data, self.step = trainer.datamodule, trainer.global_step
        if data.dataset("val", "plain") is None:
            return
        # Gradients work outside of inference mode alone; noise and search must not change the training.
        with torch.inference_mode(False), torch.no_grad(), isolate_rng(), evaluation_mode(task):
            _, raw = chosen(data, "val", self.samples)
            batch = seen(raw, data, task)
            targets = task.targets(batch)
            rows = [i for i, target in enumerate(targets) if target is not None]
            if not rows:
                rank_zero_info(f"Explanations {when}: the network finds nothing in {len(targets)} val samples yet")
                return
            raw, batch, targets = picked(raw, rows), picked(batch, rows), [targets[i] for i in rows]
            subject = Subject.of(task.target_score, batch, targets, task.explained, task.attended)
            names = self.method or usual_methods(subject)
            maps = [METHODS[name](subject, Options(seed=data.seed)).detach().cpu() for name in names]
            scores = subject.scores(subject.inputs, subject.rows).tolist()
        shown = arrays(raw["video"] if "video" in raw else raw["image"])
        places = [Place(image.shape[-3:-1], image.shape[-3:-1]) for image in shown]
        ids = list(raw["id"]) if "id" in raw else list(map(str, rows))
        captions = [
            f"{shorten_start(name, 30)}\n{shorten_start(said(target, task.classes, task), 44)} {score:.2f}"
            for name, target, score in zip(ids, targets, scores, strict=True)
        ]
        drawn, others = panels(shown, maps, tuple(subject.space), places, targets), compared(targets, ids, shown)
        title = f"Explanations of val samples {when}"
        log_figure(trainer, "explanations", summary(drawn, names, captions, title, len(subject.space) == 3, others))


def _after(epochs: int, steps: int) -> str:
    return f"after {epochs} epoch{'s' * (epochs != 1)}, {steps} step{'s' * (steps != 1)}"
