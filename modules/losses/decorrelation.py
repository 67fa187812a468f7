"""Losses of views without negatives: statistics of the embeddings over the batch keep them from collapsing."""

import torch
from torch import Tensor
from torch.nn import functional


def vicreg(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Terms of VICReg before weighting (Bardes et al. 2022, equations 1 to 5), in float32.

    Args:
        first: (N, D) embeddings of one view of each image, N >= 2.
        second: (N, D) embeddings of the other view, in the same order.

    Returns:
        Scalars: `invariance`, the mean squared distance of the views; `variance`, the mean of what the standard
        deviations of the dimensions lack to 1; `covariance`, the sum of the squared covariances between dimensions over
        D, of both views together.
    """
    with torch.autocast(first.device.type, enabled=False):
        views = [first.float(), second.float()]
        covariances = [view.T.cov() for view in views]
        spreads = torch.stack([(matrix.diagonal() + 1e-4).sqrt() for matrix in covariances])
        others = torch.stack([matrix - matrix.diagonal().diag() for matrix in covariances])
        return {
            "invariance": functional.mse_loss(first.float(), second.float()),
            "variance": functional.relu(1 - spreads).mean(),
            "covariance": others.square().sum() / first.shape[1],
        }


def barlow_twins(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Terms of Barlow Twins before weighting (Zbontar et al. 2021, equation 1), in float32.

    Args:
        first: (N, D) embeddings of one view of each image, N >= 2.
        second: (N, D) embeddings of the other view, in the same order.

    Returns:
        Scalars of the cross-correlation matrix of the views: `invariance`, the squared distances of its diagonal to 1,
        and `redundancy`, the squares off the diagonal, both summed.
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = (functional.batch_norm(view.float(), None, None, training=True) for view in (first, second))
        correlation = first.T @ second / len(first)
        diagonal = correlation.diagonal()
        others = correlation - diagonal.diag()
        return {"invariance": (diagonal - 1).square().sum(), "redundancy": others.square().sum()}


def sigreg(embeddings: Tensor, directions: Tensor, knots: int = 17, end: float = 3.0) -> Tensor:
    """Sketched isotropic Gaussian regularization (Balestriero and LeCun 2025, LeJEPA, section 4), in float32.

    The Epps-Pulley statistic of the embeddings along each direction: N times the squared distance of their empirical
    characteristic function to that of the standard normal distribution, weighted by the latter, as an integral over
    -end..end by the trapezoidal rule. Standard normal embeddings have 1.05 on average, whatever N; that of any
    other distribution grows linearly with N.

    Args:
        embeddings: (V, N, D) of V views.
        directions: (D, S), of any length above 0.
        knots: points of the integral in 0..end, >= 2.
        end: of the integral.

    Returns:
        The mean over views and directions.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        points = torch.linspace(0, end, knots, device=embeddings.device)
        normal = (-points.square() / 2).exp()
        along = embeddings.float() @ functional.normalize(directions.float(), dim=0)
        angles = along[..., None] * points
        error = (angles.cos().mean(1) - normal).square() + angles.sin().mean(1).square()
        return 2 * torch.trapezoid(error * normal, points).mean() * embeddings.shape[1]
