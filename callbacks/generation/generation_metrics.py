"""Evaluation of generated images: FID, KID, IS, precision and recall, mode coverage, memorization."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from callbacks.collectors.base import arrays, exchanged, rgb
from callbacks.figures.generated import histogram, neighbors, progress
from callbacks.figures.log import log_figure
from callbacks.generation.reference_statistics import CHUNK, ReferenceStatistics, images, reference_statistics
from callbacks.results.metrics import check_generative
from modules.contracts import ConfigError
from modules.gan import to_bytes
from modules.metrics.generative import MIN_IMAGES, GenerativeScores, modes, nearest

SHOWN, NEIGHBORS = 12, 5  # generated images whose nearest training images are drawn, and how many of those
COLLAPSED = 0.5  # entropy of the classes below which few of them are left


class Seen(NamedTuple):
    """One evaluation: metrics by name, images per class (C,) or null, and a few images with their features."""

    scores: dict[str, Tensor]
    counts: Tensor | None
    image: Tensor
    features: Tensor


class GenerationMetrics(Callback):
    """Evaluate generated images against the training images: FID, KID, IS, precision, recall, modes, novelty.

    Log keys: `val/FID-<extractor>`, `KID-`, `IS-`, `precision`, `recall`, `density`, `coverage`; with labels `modes`,
    `mode_entropy`, `largest_mode`, and for a conditional generator `right_class`; and `novelty`, the distance to the
    nearest training image relative to that of held-out real images: near 1 for new images, near 0 for copies. Names
    without extractor (`val/FID`) are of the published Inception network. Figures: FID over epochs, classes, nearest
    training images.

    Statistics of the real images, and the trained classifier, are cached in `~/.cache/graft`, so that all runs on the
    same data are evaluated with the same features.

    Args:
        extractor: feature extractor: `inception`; `classifier`, a small one, trained once on the labeled training
            images; a checkpoint or run directory of the task Classification; `auto` is inception where torch-fidelity
            and its weights are there, else classifier.
        samples: number of generated images, on all devices together.
        every: epochs between two evaluations; the last epoch is evaluated too.

    Raises:
        ConfigError: a setting that cannot work, or an extractor that is not there.
        DataError: too few real images.
    """

    def __init__(self, extractor: str = "auto", samples: int = 1000, every: int = 5) -> None:
        if samples < MIN_IMAGES or every < 1:
            raise ConfigError(
                f"GenerationMetrics: samples is {samples} and every {every}, but it takes at least {MIN_IMAGES} images "
                "and 1"
            )
        self.extractor, self.samples, self.every = extractor, samples, every
        self.history: list[tuple[int, float]] = []  # finished epochs, FID
        self.protocols: dict[str, str] = {}  # log name -> protocol
        self._reference: ReferenceStatistics | str = ""  # or the reason why there are none
        self._step = -1  # of the last evaluation
        self._warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_generative(pl_module, self)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._prepare(trainer, pl_module)  # what is wrong is found before the first step

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        fitting = trainer.state.fn == "fit"
        epochs = trainer.current_epoch + trainer.is_last_batch
        if not fitting or self._due(trainer, epochs):
            for name, value in self._scores(trainer, pl_module, "val", epochs if fitting else None).items():
                pl_module.log(name, value, batch_size=1, sync_dist=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # No validation, max_steps in the middle of an epoch, or early stopping: the end was not known before.
        if self._step != trainer.global_step:
            scores = self._scores(trainer, pl_module, "val", trainer.current_epoch)
            trainer.callback_metrics.update({name: torch.tensor(value) for name, value in scores.items()})
            for logger in trainer.loggers:
                logger.log_metrics(scores, step=trainer.global_step)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, value in self._scores(trainer, pl_module, "test", None).items():
            pl_module.log(name, value, batch_size=1, sync_dist=True)

    def protocol_lines(self, trainer: Trainer) -> dict[str, str]:
        """Protocols of the final report, by log name."""
        return self.protocols

    def state_dict(self) -> dict[str, Any]:
        return {"history": list(self.history), "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if len(state_dict["history"]) >= len(self.history):  # else it is the best checkpoint, tested after training
            self.history = [(epochs, value) for epochs, value in state_dict["history"]]
            self._step = state_dict["step"]

    def _due(self, trainer: Trainer, epochs: int) -> bool:
        last = trainer.global_step == trainer.max_steps or epochs == trainer.max_epochs
        return last or epochs - (self.history[-1][0] if self.history else 0) >= self.every

    def _prepare(self, trainer: Trainer, task: LightningModule) -> None:
        if self._reference:
            return
        self._reference = reference = reference_statistics(trainer, task.device, self.extractor, self.samples)
        if isinstance(reference, str):
            rank_zero_info(f"GenerationMetrics is off: {reference}.")
            return
        rank_zero_info(f"  FID{reference.extractor.suffix} of {reference.words}; {reference.extractor.about}")
        width, fewest = len(reference.real.mean), min(self.samples, int(reference.real.count))
        if fewest <= width:
            rank_zero_warn(
                f"FID{reference.extractor.suffix} of {fewest:,} images is far too high: how {width:,} features vary "
                f"together takes more than {width:,} images, real and generated ones, to know."
            )

    def _scores(self, trainer: Trainer, task: LightningModule, stage: str, epochs: int | None) -> dict[str, float]:
        """Log names and values, the same in every process; draws the figures."""
        self._prepare(trainer, task)
        reference = self._reference
        if isinstance(reference, str):
            return {}
        seen = self._evaluate(trainer, task, reference)
        values = {f"{stage}/{name}": float(value) for name, value in seen.scores.items()}
        self.protocols |= {name: self._protocol(reference, name.partition("/")[2]) for name in values}
        if epochs is not None:
            self.history.append((epochs, values[f"{stage}/FID{reference.extractor.suffix}"]))
            self._step = trainer.global_step
        if seen.counts is not None:
            self._warn(seen.scores)
        if trainer.is_global_zero:
            self._draw(trainer, reference, stage, seen)
        return values

    @torch.no_grad()
    def _evaluate(self, trainer: Trainer, task: LightningModule, reference: ReferenceStatistics) -> Seen:
        """Evaluate the images that all processes generate together, the same as one process would alone."""
        metric, counts = GenerativeScores(reference.real, sync_on_compute=False).to(task.device), None
        answers, labels, kept = [], [], None
        with isolate_rng():
            for noise, label in self._noise(task):
                count, (rank, world) = len(noise), (trainer.global_rank, trainer.world_size)
                mine = slice(rank, None, world) if count >= world else slice(None)
                image = to_bytes(task.images(noise[mine], None if label is None else label[mine]))
                found = [*reference.extractor(image)]  # features and probabilities
                if reference.classifier and reference.classifier is not reference.extractor:
                    found.append(reference.classifier(image)[1])
                found = [_together(part, count) for part in found]
                metric.update(*found[:2])
                if reference.classifier:
                    answers.append(found[-1].argmax(1))
                    labels.append(label)
                kept = kept or (_together(image, count)[:SHOWN], found[0][:SHOWN])
            distance = nearest(torch.cat(metric.features), reference.real.features, 1)[0].median()
            scores = {n + reference.extractor.suffix * n.isupper(): value for n, value in metric.compute().items()}
        if reference.held:
            scores["novelty"] = distance / reference.distance
        if answers:
            answer = torch.cat(answers)
            counts = answer.bincount(minlength=len(reference.classifier.classes))
            scores |= modes(counts)
            if labels[0] is not None and task.classes == reference.classifier.classes:
                scores["right_class"] = (answer == torch.cat(labels)).double().mean()
        return Seen(scores, counts, *kept)

    def _noise(self, task: LightningModule) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Noise (B, latent), the same every time, and balanced classes int64 (B,)."""
        generator = torch.Generator().manual_seed(0)
        for first in range(0, self.samples, CHUNK):
            count = min(CHUNK, self.samples - first)
            asked = torch.arange(count, device=task.device) % len(task.classes) if task.condition else None
            yield torch.randn(count, task.latent, generator=generator).to(task.device), asked

    def _protocol(self, reference: ReferenceStatistics, name: str) -> str:
        made, suffix = f"{self.samples:,} generated", reference.extractor.suffix
        if name.startswith("FID"):
            how = f"{made}, {int(reference.real.count):,} train images; {reference.extractor.about}"
            return f"{how}; {reference.words}"
        if name in ("modes", "mode_entropy", "largest_mode", "right_class"):
            known = "that of FID" if reference.classifier is reference.extractor else reference.classifier.about
            return f"{made}; classes by a classifier: {known}"
        if name == "novelty":
            held = f"{reference.count:,} {reference.held} images"
            return f"{made}; median distance to the nearest train image / that of {held}; features of FID{suffix}"
        against = "10 parts" if name.startswith("IS") else f"{len(reference.real.features):,} train images"
        return f"{made}, {against}; features of FID{suffix}"

    def _warn(self, scores: dict[str, Tensor]) -> None:
        if scores["mode_entropy"] >= COLLAPSED or self._warned:
            return
        self._warned = True
        rank_zero_warn(
            f"Mode collapse: {int(scores['modes'])} classes occur among the generated images, and "
            f"{100 * float(scores['largest_mode']):.0f} % are of one. Try another loss (hinge, or WGAN with gradient "
            f"penalty), a lower learning rate, or labels as condition."
        )

    def _draw(self, trainer: Trainer, reference: ReferenceStatistics, stage: str, seen: Seen) -> None:
        if self.history and stage == "val":
            marks = {"Gaussian pixels": reference.noise, f"real {reference.held} images": reference.floor}
            title = f"FID{reference.extractor.suffix}: {self.samples:,} generated against the train images"
            log_figure(trainer, "generated_fid", progress(self.history, marks, title))
        if seen.counts is not None:
            title = f"{stage}: classes of {int(seen.counts.sum()):,} generated images"
            drawn = histogram(seen.counts.tolist(), reference.classifier.classes, title)
            log_figure(trainer, f"{stage}_generated_classes", drawn)
        near = nearest(seen.features, reference.real.features, min(NEIGHBORS, len(reference.real.features)))[1]
        rows = reference.real.rows[near].tolist()
        found = _picked(trainer, {row for part in rows for row in part})
        panels = [[made, *(found[i] for i in part)] for made, part in zip(arrays(rgb(seen.image)), rows, strict=True)]
        title = f"{stage}: images that were made, and the training images nearest to each"
        log_figure(trainer, f"{stage}_generated_neighbors", neighbors(panels, title))


def _picked(trainer: Trainer, rows: set[int]) -> dict[int, np.ndarray]:
    """Training images by their position in `images`."""
    found, seen = {}, 0
    with isolate_rng():
        for batch in images(trainer, "train"):
            image = arrays(rgb(batch["image"]))
            found |= {row: image[row - seen] for row in rows if seen <= row < seen + len(image)}
            seen += len(image)
            if len(found) == len(rows):
                break
    return found


def _together(part: Tensor, count: int) -> Tensor:
    """All `count` rows from the processes' shares, dealt round-robin; unchanged where each process has them all."""
    parts = exchanged(part.cpu())
    if len(parts) == 1 or len(part) == count:
        return part
    gathered = torch.empty(count, *part.shape[1:], dtype=part.dtype)
    for rank, rows in enumerate(parts):
        gathered[rank :: len(parts)] = rows
    return gathered.to(part.device)
