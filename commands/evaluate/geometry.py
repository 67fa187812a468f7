"""Label-free statistics of the features: alignment of views, uniformity, effective rank."""

import torch
from torch import Tensor

from callbacks.collectors.chosen import arrays, shots
from callbacks.collectors.embedding import embed
from callbacks.figures.log import log_figure
from commands.evaluate.drawing import decay
from commands.evaluate.extraction import ExtractedFeatures, Result
from commands.evaluate.features import CHUNK, as_batch, samples
from datamodules import DataModule
from datamodules.augment import Augment
from modules.contracts import Batch
from modules.metrics.representation import alignment, effective_rank, spectrum, uniformity

CROP = (0.5, 1.0)  # share of the area, where training does not augment


def geometry(extracted: ExtractedFeatures) -> list[Result]:
    """Alignment, uniformity and effective rank of the sample of images; draws the spectrum."""
    features = extracted.evaluated.features[extracted.rows]
    first, second, words = two_views(extracted)
    apart = alignment(*(_features(extracted, view) for view in (first, second)))
    rank, most = effective_rank(features), min(features.shape)
    title = f"{extracted.split}: {rank:.1f} of {most} dimensions in use, {extracted.sampled}"
    log_figure(extracted.trainer, "spectrum", decay(spectrum(features).cpu().numpy(), rank, title))
    where = f"L2-normalized backbone features, {extracted.sampled}"
    return [
        extracted.result("alignment", apart, f"mean squared distance of two views, 0 is best: {words}; {where}"),
        extracted.result("uniformity", uniformity(features), f"log mean exp(-2 d^2) of pairs, low is best; {where}"),
        extracted.result("effective_rank", rank, f"exp of the entropy of the singular values, at most {most}; {where}"),
    ]


def two_views(extracted: ExtractedFeatures) -> tuple[Tensor, Tensor, str]:
    """Two augmented views of the sample, shaped as `ExtractedFeatures.images`, and the augmentation in words.

    That of two epochs of training, or flip and crop where training does not augment.
    """
    data, split, places = extracted.trainer.datamodule, extracted.split, extracted.places
    first, second = (
        torch.cat([_view(data, batch) for batch in samples(data, split, "train", places, epoch)]) for epoch in (0, 1)
    )
    if not torch.equal(first, second):
        return first, second, f"augmented as in training ({augmentation(data)})"
    augment, images, seed = Augment(extracted.images.shape[-1], CROP, "flip"), arrays(extracted.images), extracted.seed
    first, second = (
        torch.stack([torch.from_numpy(augment(p, seed, epoch, i)).movedim(-1, 0) for i, p in enumerate(images)])
        for epoch in (0, 1)
    )
    return first, second, f"flip and crop of {CROP[0]:g} to {CROP[1]:g} of the area, as training does not augment"


def augmentation(data: DataModule) -> str:
    """Augmentation of the training images, in words."""
    known = {name: data.hparams[name] for name in ("crop", "augment") if name in data.hparams}
    return ", ".join(f"{name} {v if isinstance(v, str) else list(v)}" for name, v in known.items() if v)


def _view(data: DataModule, batch: Batch) -> Tensor:
    batch = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)  # some data modules make their views here
    return batch["views"][0] if "views" in batch else shots(batch)


def _features(extracted: ExtractedFeatures, images: Tensor) -> Tensor:
    return embed((as_batch(part) for part in images.split(CHUNK)), extracted.trainer, extracted.task)[0]
