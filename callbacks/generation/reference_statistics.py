"""Reference statistics for FID and its relatives: feature extractor, statistics of the real images, baselines."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from modules.contracts import DataError
from modules.metrics.extractors import Classifier, Extractor, Inception, from_checkpoint, train, untrained
from modules.metrics.generative import (
    MIN_IMAGES,
    Gaussian,
    Reference,
    frechet_distance,
    gaussian,
    gaussian_pixels,
    nearest,
    reference,
)

CHUNK = 250  # images per batch
TRAINING_IMAGES = 40_000  # images to train a classifier on, which sees about as many
FITTED = 4_000  # images that Gaussian pixels are fitted to


@dataclass(frozen=True)
class ReferenceStatistics:
    """Feature extractor, statistics of the training images, and baselines to compare a generator with.

    Args:
        extractor: network whose features and class probabilities are compared.
        classifier: of the data's classes; may be the extractor itself; null without labels.
        real: statistics of the training images.
        held: name of the held-out split; null without one.
        count: images in that split.
        floor: their Fréchet distance to the training images; nan without.
        distance: their median distance to the nearest training image; nan without.
        noise: Fréchet distance of Gaussian pixels fitted to the training images.
        correlated: the same where pixels vary together as they do there.
    """

    extractor: Extractor
    classifier: Classifier | None
    real: Reference
    held: str | None
    count: int
    floor: float
    distance: float
    noise: float
    correlated: float

    @property
    def words(self) -> str:
        """FID of the baselines (Gaussian pixels, real held-out images) as text."""
        held = f", {self.count:,} real {self.held} images {self.floor:.2f}" if self.held else ""
        return f"Gaussian pixels fitted to the data {self.noise:.1f}, correlated ones {self.correlated:.1f}{held}"


def reference_statistics(
    trainer: Trainer, device: torch.device, choice: str, samples: int
) -> ReferenceStatistics | str:
    """Reference statistics of the trainer's data, or a sentence with the reason why there are none.

    The data module caches everything slow. The first process computes; the others read its cache.

    Args:
        trainer: has the data module.
        device: of the extractor and the statistics.
        choice: `auto`, `inception`, `classifier`, or a checkpoint.
        samples: number of generated images in each evaluation.

    Raises:
        DataError: too few training images.
        ConfigError: an extractor that is not there.
    """
    data = trainer.datamodule
    count = len(data.dataset("train", "plain")) if data.has("train") else 0
    if count < MIN_IMAGES:
        raise DataError(
            f"evaluating generated images needs at least {MIN_IMAGES} training images, and there are {count}: "
            f"leave out the callback GenerationMetrics, or point --data.root to more"
        )
    found: ReferenceStatistics | str = ""
    # Not in inference mode, in which `test` runs: nothing that is made there can be trained.
    with isolate_rng(), torch.inference_mode(False), torch.no_grad():
        for rank in range(trainer.world_size):
            if rank == trainer.global_rank:
                found = _compute(trainer, device, choice, samples, count)
            trainer.strategy.barrier()
    return found


def images(trainer: Trainer, split: str) -> Iterator[dict[str, Any]]:
    """Batches of the plain images of a split, in order, without those that cannot be read."""
    data = trainer.datamodule
    for batch in data.plain_dataloader(split):
        yield data.on_before_batch_transfer(batch, 0)


def _compute(
    trainer: Trainer, device: torch.device, choice: str, samples: int, count: int
) -> ReferenceStatistics | str:
    data = trainer.datamodule
    held = next((split for split in ("val", "test") if data.has(split)), None)
    splits = ["train", held] if held else ["train"]
    classifier = _classifier(trainer, device, splits, count) if len(data.classes or ()) > 1 else None
    if choice == "auto":
        choice = "classifier" if Inception.missing() else "inception"
    if choice == "classifier" and classifier is None:
        return f"the images have no classes to train a classifier on, and for Inception {Inception.missing()}"
    if choice == "classifier":
        extractor = classifier
    else:
        extractor = Inception() if choice == "inception" else from_checkpoint(_checkpoint(choice))
        extractor = extractor.to(device).eval()
        if extractor.classes == data.classes:
            classifier = extractor
    weights = sum(tensor.double().abs().sum().item() for tensor in extractor.state_dict().values())
    about = [extractor.about, weights, samples]
    cached = data.cached("real", splits, about, lambda: _measure(trainer, extractor, device, samples, *splits))
    real = Reference(**{name: cached[name].to(device) for name in Reference._fields})
    noise, correlated, floor, seen, distance = cached["others"].tolist()
    return ReferenceStatistics(extractor, classifier, real, held, int(seen), floor, distance, noise, correlated)


def _classifier(trainer: Trainer, device: torch.device, splits: list[str], count: int) -> Classifier | None:
    """A classifier of the data's own classes; null when its images have no labels."""
    data = trainer.datamodule
    first = next(images(trainer, "train"))
    if not {"image", "label"} <= first.keys():  # whether the task can do without is said by the task
        return None
    side = first["image"].shape[-1]

    def fit() -> dict[str, Tensor]:
        torch.manual_seed(0)
        model, step = untrained(data.classes, side).to(device), -(-count // TRAINING_IMAGES)
        batches = [(batch["image"][::step], batch["label"][::step]) for batch in images(trainer, "train")]
        image, label = (torch.cat(part) for part in zip(*batches, strict=True))
        rank_zero_info(f"  training a classifier on {len(image):,} images, to evaluate generated ones with, this once")
        return dict(train(model, image, label)) | {"right": _right(trainer, model, splits[1:])}

    model = untrained(data.classes, side).to(device)
    tensors = data.cached("classifier", splits, [model.about], fit)
    right = float(tensors.pop("right"))
    model.load_state_dict(tensors)
    share = f" and right on {100 * right:.1f} % of the {splits[1]} images" if splits[1:] else ""
    model.add_note(f"trained here{share}")
    return model.eval()


def _right(trainer: Trainer, model: Classifier, splits: list[str]) -> Tensor:
    """Accuracy of a classifier on some splits, 0..1."""
    device, right = model.fc.weight.device, [torch.zeros(0)]
    for batch in (batch for split in splits for batch in images(trainer, split)):
        right.append((model(batch["image"].to(device))[1].argmax(1).cpu() == batch["label"]).float())
    return torch.cat(right).mean()


def _measure(
    trainer: Trainer, extractor: Extractor, device: torch.device, samples: int, split: str, held: str | None = None
) -> dict[str, Tensor]:
    """Statistics of the real images, and `others` (5,).

    Fréchet distances of Gaussian pixels, correlated Gaussian pixels and images of the split `held`, their number, and
    their median distance to the nearest training image.
    """
    total = len(trainer.datamodule.dataset(split, "plain"))
    step = -(-total // FITTED)
    shown: list[Tensor] = []

    def features() -> Iterator[Tensor]:
        for batch in images(trainer, split):
            shown.append(batch["image"][::step])
            yield extractor(batch["image"].to(device))[0]

    real = reference(features(), total)
    fitted, generator, others = Gaussian(real.mean, real.covariance), torch.Generator().manual_seed(0), []
    for correlated in (False, True):
        noise = gaussian_pixels(torch.cat(shown), samples, correlated, generator)
        seen = torch.cat([extractor(part.to(device))[0] for part in noise.split(CHUNK)])
        others.append(frechet_distance(fitted, gaussian(seen)).item())
    unseen = [extractor(batch["image"].to(device))[0] for batch in images(trainer, held)] if held else []
    count = sum(map(len, unseen))
    floor = frechet_distance(fitted, gaussian(torch.cat(unseen))).item() if count > 1 else torch.nan
    distance = nearest(torch.cat(unseen), real.features, 1)[0].median().item() if count else torch.nan
    return real._asdict() | {"others": torch.tensor([*others, floor, count, distance], dtype=torch.float64)}


def _checkpoint(typed: str) -> Path:
    path = Path(typed)
    return path / "checkpoints" / "best.ckpt" if path.is_dir() else path
