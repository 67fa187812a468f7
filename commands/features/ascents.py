"""Images that a network answers most strongly: gradient ascent on classes, channels and directions, and inversion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from commands.features.subject import Subject
from modules.contracts import ConfigError, DataError, check_range
from modules.contracts.pixels import to_uint8
from modules.insight.ascent import Basis, OpenReLUs, OptimizedImage, OptimizedNoise, ascend, descend, total_variation
from tasks import Task

Score = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) in 0..1 to scores (B,), one for each of them."""

OPEN = 4  # a fourth of the steps begin with open ReLUs


@dataclass(frozen=True)
class Ascent:
    """Settings of gradient ascent, see `modules.insight.ascent`.

    Args:
        steps: number of steps.
        lr: learning rate.
        basis: pixels or fourier.
        decorrelate: colors are decorrelated.
        jitter: largest shift in pixels.
        blur: standard deviation in pixels.
        variation: weight of the total variation.
        seed: of start images and shifts.
    """

    steps: int = 256
    lr: float = 0.05
    basis: Basis = "fourier"
    decorrelate: bool = True
    jitter: int = 4
    blur: float = 0.0
    variation: float = 0.0
    seed: int = 0

    def check(self) -> None:
        """Check the settings, named as options.

        Raises:
            ConfigError: one is out of its range.
        """
        check_range("--steps", self.steps, 1)
        check_range("--lr", self.lr, 1e-6)
        for name in ("jitter", "blur", "variation"):
            check_range(f"--{name}", getattr(self, name))

    def check_size(self, height: int, width: int) -> None:
        """Check the settings against the size of the images.

        Raises:
            ConfigError: a shift or a blur is larger than they are.
        """
        side = min(height, width)
        check_range("--jitter", self.jitter, 0, side - 1)
        check_range("--blur", self.blur, 0, (side - 1) / 3)

    def climb(self, image: nn.Module, score: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[float]]:
        """Images (B, C, H, W) in 0..1 at the end, and the mean score of each step."""
        how = (self.lr, self.jitter, self.blur, self.variation, self.seed)
        with OpenReLUs():
            scores = ascend(image, score, self.steps // OPEN, *how)
        scores += ascend(image, score, self.steps - self.steps // OPEN, *how)
        with torch.no_grad():
            made = image().detach()
        check_finite(made, f"--lr {self.lr:g} or --variation {self.variation:g} is too high")
        return made, scores


def check_finite(images: Tensor, why: str) -> None:
    """Check optimized images.

    Raises:
        DataError: they have pixels that are no numbers; `why` is part of the sentence.
    """
    if not images.isfinite().all():
        raise DataError(f"the images have become nan: {why}, or the weights of the checkpoint hold nan")


class Climbed(NamedTuple):
    """Optimized images uint8 (B, H, W, 3), a name and a caption of each, and the mean score of each step."""

    images: list[np.ndarray]
    names: list[str]
    captions: list[str]
    scores: list[float]


def start(
    subject: Subject, score: Score, count: int, settings: Ascent, generator: Task | None
) -> tuple[nn.Module, list[str]]:
    """Images to be optimized, as large as those of the data: by their own parameters or by a generator's noise.

    Of a conditional generator each image has the class whose score is highest at the start.

    Returns:
        The images, and for each the end of its caption: the class that it is made as.
    """
    shape = (count, *subject.images.shape[1:])
    if generator is None:
        image = OptimizedImage(shape, settings.basis, settings.decorrelate, seed=settings.seed)
        return image.to(subject.task.device), [""] * count
    made: Any = generator
    network = (made.averaged or made.generator).eval()

    def generate(noise: Tensor, label: Tensor | None) -> Tensor:
        return interpolate(network(noise, label).float(), shape[-2:], mode="bilinear", antialias=True)

    noise = torch.randn(count, made.latent, generator=torch.Generator().manual_seed(settings.seed))
    if not made.condition:
        return OptimizedNoise(partial(generate, label=None), noise), [""] * count
    images = [OptimizedNoise(partial(generate, label=torch.full((count,), i)), noise) for i in range(len(made.classes))]
    with torch.no_grad():
        label = torch.stack([score(image()).cpu() for image in images]).argmax(0)
    return OptimizedNoise(partial(generate, label=label), noise), [f" (as {made.classes[i]})" for i in label.tolist()]


def to_arrays(images: Tensor) -> list[np.ndarray]:
    """Images (B, C, H, W) in 0..1 as uint8 (H, W, 3)."""
    pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
    return [np.repeat(one, 3, 2) if one.shape[2] == 1 else one for one in pixels]


def by_class(subject: Subject, classes: list[int], settings: Ascent, generator: Task | None) -> Climbed:
    """Gradient ascent on the score of classes, by their indices, an image each."""

    def score(x: Tensor) -> Tensor:
        return subject.class_score(subject.enter(x), classes)

    image, ends = start(subject, score, len(classes), settings, generator)
    before = subject.reached(subject.enter(image().detach()), classes)
    images, scores = settings.climb(image, score)
    after = subject.reached(subject.enter(images), classes)
    words = [
        f"{new} (before: {old.rpartition(' ')[2]}){end}" for new, old, end in zip(after, before, ends, strict=True)
    ]
    return Climbed(to_arrays(images), [subject.classes[label] for label in classes], words, scores)


def by_direction(
    subject: Subject,
    run: Callable[[Tensor], Tensor],
    directions: Tensor,
    names: Sequence[str],
    settings: Ascent,
    generator: Task | None,
) -> Climbed:
    """Gradient ascent on directions in the space of a layer's channels, an image each.

    Args:
        subject: the network.
        run: to the maps of the layer.
        directions: (K, D); a channel is a unit vector.
        names: K of them.
        settings: of the ascent.
        generator: its noise is optimized in place of pixels; null without.
    """

    def score(x: Tensor) -> Tensor:
        return (run(subject.enter(x)).mean((2, 3)) * directions).sum(1)

    image, ends = start(subject, score, len(directions), settings, generator)
    with torch.no_grad():
        before = score(image())
    images, scores = settings.climb(image, score)
    with torch.no_grad():
        after = score(images)
    pairs = zip(after.tolist(), before.tolist(), ends, strict=True)
    words = [f"{new:.3g} (before: {old:.3g}){end}" for new, old, end in pairs]
    return Climbed(to_arrays(images), list(names), words, scores)


def read_direction(path: str, width: int) -> Tensor:
    """A direction (1, width) of length 1 from a .npy file.

    Raises:
        DataError: it cannot be read.
        ConfigError: another number of values.
    """
    try:
        values = np.load(path, allow_pickle=False)
        direction = torch.from_numpy(np.asarray(values, np.float32)).flatten()
    except (OSError, EOFError, ValueError, TypeError, BadZipFile) as error:
        raise DataError(f"--direction {path} cannot be read as a .npy file of numbers: {error}") from error
    if len(direction) != width or not direction.isfinite().all() or not direction.norm() > 0:
        raise ConfigError(
            f"--direction {path} has {len(direction)} numbers, but the layer has {width} channels, a finite number for "
            f"each, not all of them 0"
        )
    return nn.functional.normalize(direction[None], dim=1)


class Inverted(NamedTuple):
    """Images that a level cannot tell from the originals: uint8 (H, W, 3) each, their error in pixels, 0..1 (RMS).

    `missed` is the squared distance of their features, relative to the squared norm of those of the originals.
    """

    images: list[np.ndarray]
    error: float
    missed: float


def invert(subject: Subject, images: Tensor, settings: Ascent) -> list[Inverted]:
    """Images of each level alone: optimized until their features are those of the originals (Mahendran 2015)."""
    target = images.float().to(subject.task.device) / 255
    with torch.no_grad():
        wanted = subject.levels(subject.enter(target))
    found = []
    for level, features in enumerate(wanted):
        size = features.flatten(1).square().sum(1).clamp(min=1e-12)

        def missed(x: Tensor, level: int = level, features: Tensor = features, size: Tensor = size) -> Tensor:
            return (subject.levels(subject.enter(x))[level] - features).flatten(1).square().sum(1) / size

        image = OptimizedImage(images.shape, settings.basis, settings.decorrelate).to(target.device)
        descend(image, lambda x: missed(x) + settings.variation * total_variation(x), settings.steps)
        with torch.no_grad():
            made = image()
            errors = [(made - target).square().mean().sqrt().item(), missed(made).mean().item()]
        found.append(Inverted(to_arrays(made), *errors))
    return found
