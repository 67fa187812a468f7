"""Colors of a stylized image: those of the style, or of the content (Gatys et al. 2016, "Preserving color")."""

from typing import Literal

import torch
from torch import Tensor

Color = Literal["style", "luminance", "histogram"]

YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""RGB in 0..1 to luminance and two chrominances, of NTSC."""


def keep_color(image: Tensor, content: Tensor) -> Tensor:
    """Luminance of an image with the chrominances of the content, (B, 3, H, W) in 0..1 each."""
    table = torch.tensor(YIQ).to(image)
    made, wanted = (torch.einsum("ij,bjhw->bihw", table, one) for one in (image, content))
    joined = torch.cat([made[:, :1], wanted[:, 1:]], 1)
    return torch.einsum("ij,bjhw->bihw", table.inverse(), joined).clamp(0, 1)


def match_colors(style: Tensor, content: Tensor) -> Tensor:
    """The style with mean and covariance of the content's colors, (1, 3, H, W) in 0..1 each.

    A linear map of colors between principal axes (section 5.1 of that paper): the style's pixels keep their places.
    """
    pixels, wanted = (one.double().flatten(2)[0] for one in (style, content))
    root, target = _root(pixels), _root(wanted)
    moved = target @ root.inverse() @ (pixels - pixels.mean(1, keepdim=True)) + wanted.mean(1, keepdim=True)
    return moved.view(style.shape).clamp(0, 1).to(style)


def match_luminance(style: Tensor, content: Tensor) -> Tensor:
    """Gray style (1, 3, H, W) with mean and spread of the content's luminance, in 0..1."""
    weights = torch.tensor(YIQ[0]).to(style)[None, :, None, None]
    own, wanted = ((weights * one).sum(1, keepdim=True) for one in (style, content))
    moved = (own - own.mean()) * wanted.std() / own.std().clamp(min=1e-6) + wanted.mean()
    return moved.clamp(0, 1).expand_as(style)


def _root(pixels: Tensor) -> Tensor:
    """Square root (3, 3) of the covariance of pixels (3, N), of full rank."""
    covariance = pixels.cov() + 1e-5 * torch.eye(3).to(pixels)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ values.sqrt().diag() @ vectors.T
