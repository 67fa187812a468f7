"""Metrics of generated images: FID, KID, inception score, precision and recall, density and coverage, mode counts."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image.kid import poly_mmd
from torchmetrics.utilities import dim_zero_cat

NEIGHBORS = 3, 5  # of precision and recall, of density and coverage, as their papers have them
MIN_IMAGES = max(NEIGHBORS) + 1  # images, of which each has that many neighbors
MAX_NEIGHBOR_BANK = 10_000  # real images that neighbors are looked for among
CELLS = 2**24  # of the table of distances held at a time: 64 MB


class Gaussian(NamedTuple):
    """A normal distribution: mean (D,) and unbiased covariance (D, D), float64."""

    mean: Tensor
    covariance: Tensor


class Reference(NamedTuple):
    """Reference statistics of real images, to compare generated ones with.

    Args:
        count: number of images, int64 scalar.
        mean: of their features, float64 (D,).
        covariance: unbiased, float64 (D, D).
        features: of up to MAX_NEIGHBOR_BANK of them, evenly spread, float32 (M, D).
        radii: distances of those to their nearest others among them, ascending, float32 (M, 5).
        rows: indices of those among all, int64 (M,).
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor
    features: Tensor
    radii: Tensor
    rows: Tensor


def gaussian(features: Tensor) -> Gaussian:
    """Normal distribution fitted to features (N, D); N >= 2."""
    features = features.double()
    return Gaussian(features.mean(0), features.T.cov())


def reference(batches: Iterable[Tensor], count: int) -> Reference:
    """Accumulate the reference statistics of real images, without keeping all features.

    Args:
        batches: features (B, D).
        count: about how many there are together.
    """
    step, seen, kept, rows = max(1, -(-count // MAX_NEIGHBOR_BANK)), 0, [], []
    for batch in batches:
        double = batch.double()
        if not seen:
            origin = double.mean(0)  # near the mean, so that the sum of squares loses no digits
            total, outer = torch.zeros_like(origin), origin.new_zeros(len(origin), len(origin))
        double = double - origin
        total, outer = total + double.sum(0), outer + double.T @ double
        first = -seen % step
        kept.append(batch[first::step].float())
        rows.append(torch.arange(seen + first, seen + len(batch), step))
        seen += len(batch)
    covariance = (outer - total.outer(total) / seen) / (seen - 1)
    features = torch.cat(kept)
    radii = nearest(features, features, min(MIN_IMAGES, len(features)))[0][:, 1:]  # the nearest of all is it itself
    return Reference(torch.tensor(seen), origin + total / seen, covariance, features, radii, torch.cat(rows))


def frechet_distance(one: Gaussian, other: Gaussian) -> Tensor:
    """Squared Fréchet distance of two normal distributions: FID with Inception features (Heusel et al. 2017).

    Float64 scalar, >= 0.

    The trace of the root of C1 C2 is that of the symmetric root(C1) C2 root(C1), whose eigenvalues are real also where
    covariances are singular, as those of fewer images than features are.
    """
    values, vectors = torch.linalg.eigh(one.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other.covariance @ root).clamp(min=0).sqrt().sum()
    distance = (one.mean - other.mean).square().sum() + one.covariance.trace() + other.covariance.trace() - 2 * cross
    return distance.clamp(min=0)


def kernel_distance(real: Tensor, generated: Tensor, subsets: int = 100, size: int = 1000) -> Tensor:
    """Squared maximum mean discrepancy with a cubic kernel, unbiased.

    KID with Inception features (Bińkowski et al. 2018).

    Args:
        real: features (N, D).
        generated: features (M, D).
        subsets: random subsets that it is averaged over, the same ones in every call.
        size: images in each, of either kind; at most N and M.
    """
    size, generator = min(size, len(real), len(generated)), torch.Generator().manual_seed(0)
    values = []
    for _ in range(subsets):
        chosen = [torch.randperm(len(part), generator=generator)[:size].to(part.device) for part in (real, generated)]
        values.append(poly_mmd(real[chosen[0]].double(), generated[chosen[1]].double()))
    return torch.stack(values).mean()


def inception_score(probabilities: Tensor, splits: int = 10) -> Tensor:
    """Inception score: exp(KL(p(y | x) || p(y))), averaged over splits (Salimans et al. 2016).

    From 1, when all predictions are equal, to the number of classes, when each is certain and classes are balanced.

    Args:
        probabilities: (N, C), each row sums to 1.
        splits: parts, scored separately.
    """
    scores = []
    for part in probabilities.double().chunk(splits):
        certain, marginal = -torch.special.entr(part).sum(1).mean(), -torch.special.entr(part.mean(0)).sum()
        scores.append((certain - marginal).exp())
    return torch.stack(scores).mean()


def neighborhood(real: Tensor, radii: Tensor, generated: Tensor) -> dict[str, Tensor]:
    """Precision and recall, density and coverage of generated images, by nearest neighbors.

    `precision` and `recall`, the shares of one kind within the balls around the other that reach to the third nearest
    (Kynkäänniemi et al. 2019); `density`, how many balls of real images a generated one lies in against what is
    expected, and `coverage`, the share of real ones with a generated one in their ball, for the fifth nearest (Naeem et
    al. 2020). All 0..1, but for density, which has no upper bound.

    Args:
        real: features (N, D), N >= 6.
        radii: distances to the nearest others, ascending, (N, 5), as `Reference` has them.
        generated: features (M, D), M >= 4.
    """
    few, many = NEIGHBORS
    own = nearest(generated, generated, few + 1)[0][:, few]
    inside, recalled, balls, covered = [], [], real.new_zeros(()), []
    for part, radius in zip(_chunks(real, len(generated)), _chunks(radii, len(generated)), strict=True):
        distance = torch.cdist(part, generated)
        inside.append((distance <= radius[:, few - 1, None]).any(0))
        recalled.append((distance <= own).any(1))
        ball = distance <= radius[:, many - 1, None]
        balls = balls + ball.sum()
        covered.append(ball.any(1))
    return {
        "precision": torch.stack(inside).any(0).double().mean(),
        "recall": torch.cat(recalled).double().mean(),
        "density": balls.double() / (many * len(generated)),
        "coverage": torch.cat(covered).double().mean(),
    }


def nearest(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Euclidean distances of (N, D) to their k nearest in (M, D), ascending, and which those are, int64; (N, k) each.

    Exact to about 1e-3 of the features' own length.
    """
    found = [torch.cdist(part, bank).topk(k, largest=False) for part in _chunks(queries, len(bank))]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def modes(counts: Tensor) -> dict[str, Tensor]:
    """Mode counts of generated images over the classes.

    `modes`, the number of classes that occur, `mode_entropy`, from 0 for a single class to 1 for a uniform
    distribution, and `largest_mode`, the share of the most frequent.

    Args:
        counts: images of each class, int64 (C,), C >= 2.
    """
    shares = counts.double() / counts.sum()
    return {
        "modes": (counts > 0).sum(),
        "mode_entropy": torch.special.entr(shares).sum() / math.log(len(counts)),
        "largest_mode": shares.max(),
    }


class GenerativeScores(Metric):
    """All scores of generated images against real ones, from one pass of features; several processes share it.

    `compute` gives `FID`, `KID` and `IS` as the functions above have them, under these names whatever the features,
    and what `neighborhood` gives.

    Args:
        real: reference statistics of the real images.
        settings: of every torchmetrics Metric.
    """

    full_state_update = False
    is_differentiable = False
    features: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self, real: Reference, **settings: Any):
        super().__init__(**settings)
        self.real = real
        self.add_state("features", [], dist_reduce_fx="cat")
        self.add_state("probabilities", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, probabilities: Tensor) -> None:
        """Takes in features float32 (B, D) and class probabilities (B, C) of generated images."""
        self.features.append(features)
        self.probabilities.append(probabilities)

    def compute(self) -> dict[str, Tensor]:
        """The scores, scalars.

        Raises:
            ValueError: fewer than MIN_IMAGES images.
        """
        features, probabilities, real = dim_zero_cat(self.features), dim_zero_cat(self.probabilities), self.real
        if len(features) < MIN_IMAGES:
            raise ValueError(f"{len(features)} generated images are too few to judge: {MIN_IMAGES} or more are needed")
        return {
            "FID": frechet_distance(Gaussian(real.mean, real.covariance), gaussian(features)),
            "KID": kernel_distance(real.features, features),
            "IS": inception_score(probabilities),
            **neighborhood(real.features, real.radii, features),
        }


def gaussian_pixels(image: Tensor, count: int, correlated: bool, generator: torch.Generator) -> Tensor:
    """Baseline of a generator: images sampled from a normal distribution fitted to the pixels of others.

    Args:
        image: uint8 (N, C, H, W).
        count: of the result.
        correlated: full covariance of the pixels; otherwise independent pixels.
        generator: random generator.

    Returns:
        uint8 (count, C, H, W).
    """
    flat = image.flatten(1).float()
    mean = flat.mean(0)
    if correlated:  # a mixture of the centered images has their covariance, without the matrix
        weights = torch.randn(count, len(flat), generator=generator) / max(1, len(flat) - 1) ** 0.5
        noise = weights @ (flat - mean)
    else:
        noise = torch.randn(count, flat.shape[1], generator=generator) * flat.std(0)
    return (mean + noise).round_().clamp_(0, 255).to(torch.uint8).view(count, *image.shape[1:])


def _chunks(rows: Tensor, columns: int) -> tuple[Tensor, ...]:
    return rows.split(max(1, CELLS // max(1, columns)))
