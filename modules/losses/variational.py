"""Losses of a variational auto-encoder (VAE), as pure functions."""

from torch import Tensor


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normal distributions from the standard one, in nats.

    Kingma and Welling 2014, appendix B.

    Args:
        mean: (B, D).
        log_variance: (B, D).

    Returns:
        (B,), sums over D.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def likelihood_loss(error: Tensor) -> Tensor:
    """Negative log-likelihood of a pixel, up to a constant, from the mean squared error.

    Pixels are normal with the variance that suits the error best: the error itself (Rybkin et al. 2021, sigma-VAE). So
    likelihood and divergence are balanced whatever the scale of the pixels.
    """
    return 0.5 * error.clamp(min=1e-8).log()
