"""Statistics of features that need no labels: spread, ranks, alignment and uniformity. Pure functions."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

RIDGE, SMALL = 1e-4, 1e-7  # of the published RankMe and LiDAR: on the diagonal within images, and of each share


def embedding_std(embeddings: Tensor) -> float:
    """Spread of the embeddings on the unit sphere: 1 when uniformly distributed, 0 when all are parallel.

    Mean over the dimensions of the standard deviation of the L2-normalized embeddings (N, D), times sqrt(D)
    (Chen and He, 2021, arXiv 2011.10566, section 4.1).
    """
    return (normalize(embeddings.float(), dim=1).std(dim=0, correction=0).mean() * embeddings.shape[1] ** 0.5).item()


def spectrum(embeddings: Tensor) -> Tensor:
    """Singular values of the L2-normalized embeddings (N, D) as shares of their sum, largest first, (min(N, D),).

    All 0 where all embeddings are 0.
    """
    values = torch.linalg.svdvals(normalize(embeddings.float(), dim=1))
    return values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)


def effective_rank(embeddings: Tensor) -> float:
    """Effective rank of the L2-normalized embeddings (N, D), 1..min(N, D): the number of dimensions in use.

    Exponential of the entropy of the spectrum (Roy and Vetterli, 2007); 1 where all embeddings are 0.
    """
    return _exp_entropy(spectrum(embeddings))


def rankme(features: Tensor) -> float:
    """RankMe (Garrido et al. 2023, arXiv 2210.02885): effective rank of the features (N, D) as they are, 1..min(N, D).

    Unlike `effective_rank` it does not normalize the features, so that those of large norm count more.
    """
    values = torch.linalg.svdvals(features.double())
    return _exp_entropy(values / values.sum().clamp_min(torch.finfo(values.dtype).tiny) + SMALL)


def lidar(views: Tensor) -> float:
    """LiDAR (Thilak et al. 2024, arXiv 2312.04000): effective rank of linear discriminant analysis, 1..min(N, D).

    Each image is a class, and its views are the samples: directions count that tell images apart, but not their views.

    Args:
        views: features (N, Q, D) of Q >= 2 views of N >= 2 images.
    """
    views = views.double()
    centers = views.mean(1)
    apart, inside = centers - centers.mean(0), (views - centers[:, None]).flatten(0, 1)
    within = inside.T @ inside / len(inside) + RIDGE * torch.eye(
        views.shape[-1], dtype=views.dtype, device=views.device
    )
    values, vectors = torch.linalg.eigh(within)
    white = apart @ (vectors / values.sqrt())
    shares = torch.linalg.svdvals(white).square()
    return _exp_entropy(shares / shares.sum().clamp_min(torch.finfo(shares.dtype).tiny) + SMALL)


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance on the unit sphere of two views (N, D) of the same images.

    0 is best, 4 the most (Wang and Isola 2020, arXiv 2005.10242, with alpha 2).
    """
    return (normalize(first, dim=1) - normalize(second, dim=1)).square().sum(1).mean().item()


def uniformity(features: Tensor) -> float:
    """Log of the mean of exp(-2 d^2) over all pairs of features (N, D), at distance d on the unit sphere.

    0 when all are one point, the lower the more evenly spread (Wang and Isola 2020, arXiv 2005.10242, with t 2).
    """
    squared = torch.pdist(normalize(features, dim=1).cpu()).square()
    return (torch.logsumexp(-2 * squared, 0) - np.log(len(squared))).item()


def _exp_entropy(shares: Tensor) -> float:
    return torch.special.entr(shares).sum().exp().item()
