"""Image corruptions for robustness: four kinds at three strengths each, the same for every run."""

from typing import Literal

import cv2
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from modules.contracts import with_channels

Kind = Literal["blur", "noise", "contrast", "jpeg"]
# Kinds and ranges after Hendrycks and Dietterich 2019 (arXiv 1903.12261); blur grows with the image.
STRENGTHS: dict[Kind, tuple[float, ...]] = {
    "blur": (0.01, 0.02, 0.04),  # sigma as a share of the shorter side
    "noise": (0.08, 0.18, 0.38),  # standard deviation as a share of the full range
    "contrast": (0.4, 0.2, 0.1),  # remaining factor
    "jpeg": (25, 15, 7),  # quality
}


def corrupt(image: Tensor, kind: Kind, strength: float, random: torch.Generator) -> Tensor:
    """Corrupt images uint8 (B, C, H, W), C 3 or 1, or every frame of clips (B, 3, T, H, W), shape and dtype kept.

    Args:
        image: images or clips.
        kind: of corruption.
        strength: as in STRENGTHS.
        random: on the CPU, of the noise.
    """
    if image.ndim == 5:
        frames = corrupt(image.transpose(1, 2).flatten(0, 1), kind, strength, random)
        return frames.unflatten(0, (len(image), -1)).transpose(1, 2)
    if kind == "blur":
        sigma = strength * min(image.shape[-2:])
        width = 2 * max(1, round(3 * sigma)) + 1
        return F.gaussian_blur(image, [width, width], [sigma, sigma])
    if kind == "noise":
        noise = torch.randn(image.shape, generator=random).to(image.device)
        return (image + 255 * strength * noise).round_().clamp_(0, 255).to(torch.uint8)
    if kind == "contrast":
        return F.adjust_contrast(image, strength)
    return torch.stack([_jpeg(one, int(strength)) for one in image.cpu()]).to(image.device)


def settings(kind: Kind, size: int) -> list[str]:
    """Strengths of a corruption in words, for images of `size` pixels: such as "0.32 px" or "quality 25"."""
    words = {
        "blur": lambda s: f"{s * size:.2g} px",
        "noise": lambda s: f"{100 * s:.0f} %",
        "contrast": lambda s: f"{100 * s:.0f} %",
        "jpeg": lambda s: f"quality {s:.0f}",
    }
    return [words[kind](strength) for strength in STRENGTHS[kind]]


def _jpeg(image: Tensor, quality: int) -> Tensor:
    """uint8 (3, H, W) or (1, H, W) through a JPEG file and back."""
    pixels = cv2.cvtColor(image.expand(3, -1, -1).permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)
    _, file = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return with_channels(torch.from_numpy(decoded).permute(2, 0, 1)[None], len(image))[0].to(torch.uint8)
