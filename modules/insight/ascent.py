"""Gradient ascent on an image: pixels or a Fourier spectrum as parameters, jitter, blur and total variation."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode
from torchvision.transforms.v2.functional import gaussian_blur

Basis = Literal["pixels", "fourier"]

COLORS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Root of the covariance of the colors of natural images, by which independent numbers become their usual colors."""


class OptimizedImage(nn.Module):
    """Images float32 (B, C, H, W) in 0..1 as a function of parameters, for gradient ascent.

    Args:
        shape: B, C, H, W.
        basis: `pixels`, or `fourier`: frequencies with the spectrum of natural images, so that coarse structure is as
            easy to change as fine structure (Olah et al. 2017).
        decorrelate: parameters are independent color components in place of red, green and blue; for three channels.
        start: images (B, C, H, W) in 0..1 to begin with; null is gray with a little noise.
        seed: of that noise.
    """

    def __init__(
        self,
        shape: Sequence[int],
        basis: Basis = "fourier",
        decorrelate: bool = True,
        start: Tensor | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.size, self.basis = (shape[-2], shape[-1]), basis
        colors = torch.tensor(COLORS) if decorrelate and shape[1] == 3 else torch.eye(shape[1])
        self.register_buffer("colors", colors / colors.norm(dim=0).max())
        rows, columns = torch.fft.fftfreq(self.size[0]), torch.fft.rfftfreq(self.size[1])
        frequency = (rows[:, None] ** 2 + columns**2).sqrt().clamp(min=1 / max(self.size))
        self.register_buffer("scale", (self.size[0] * self.size[1]) ** 0.5 / (4 * frequency * max(self.size)))
        if start is None:
            values = 0.01 * torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
        else:
            logits = start.detach().float().cpu().clamp(0.005, 0.995).logit()
            values = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(self.colors), logits)
        if basis == "fourier":
            spectrum = torch.fft.rfft2(values, norm="ortho") / self.scale
            values = torch.view_as_real(spectrum).clone()
        self.values = nn.Parameter(values)

    def forward(self) -> Tensor:
        values = self.values
        if self.basis == "fourier":
            values = torch.fft.irfft2(torch.view_as_complex(values) * self.scale, s=self.size, norm="ortho")
        return torch.einsum("cd,bdhw->bchw", self.colors, values).sigmoid()


class OptimizedNoise(nn.Module):
    """Images float32 (B, C, H, W) in 0..1 that a generator makes of optimized noise (Nguyen et al. 2016).

    Args:
        generate: noise (B, latent) to images in -1..1, differentiable.
        noise: (B, latent) to begin with.
        within: length of the noise relative to that of random noise, which it keeps, so that images stay likely; null
            leaves it free.
    """

    def __init__(self, generate: Callable[[Tensor], Tensor], noise: Tensor, within: float | None = 1.0):
        super().__init__()
        self.generate, self.within = generate, within
        self.values = nn.Parameter(noise.detach().clone())

    @property
    def noise(self) -> Tensor:
        """Noise (B, latent) of the images."""
        if self.within is None:
            return self.values
        length = self.within * self.values.shape[1] ** 0.5
        return length * nn.functional.normalize(self.values, dim=1)

    def forward(self) -> Tensor:
        return (self.generate(self.noise).float() + 1) / 2


def ascend(
    image: nn.Module,
    score: Callable[[Tensor], Tensor],
    steps: int,
    lr: float = 0.05,
    jitter: int = 0,
    blur: float = 0.0,
    variation: float = 0.0,
    seed: int = 0,
) -> list[float]:
    """Change the parameters of an image so that a score rises, by Adam.

    Args:
        image: gives images (B, C, H, W) in 0..1, as `OptimizedImage` and `OptimizedNoise` do.
        score: images to a score each, (B,), differentiable.
        steps: number of steps.
        lr: learning rate.
        jitter: the network sees the image shifted by up to so many pixels, another shift in each step.
        blur: standard deviation in pixels of the blur through which the network sees it, so that fine noise is no help.
        variation: weight of the total variation, see `total_variation`.
        seed: of the shifts.

    Returns:
        The mean score of each step.
    """
    optimizer, generator, scores = torch.optim.Adam(image.parameters(), lr), torch.Generator().manual_seed(seed), []
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(steps):
            made = image()
            seen = shifted(made, jitter, generator)
            if blur:
                seen = gaussian_blur(seen, [2 * round(3 * blur) + 1] * 2, [blur] * 2)
            found = score(seen)
            optimizer.zero_grad()
            (variation * total_variation(made).sum() - found.sum()).backward()
            optimizer.step()
            scores.append(found.mean().item())
    return scores


def descend(image: nn.Module, cost: Callable[[Tensor], Tensor], steps: int) -> None:
    """Change the parameters of an image so that a cost of each image, (B,), falls, by L-BFGS.

    Args:
        image: gives images (B, C, H, W) in 0..1.
        cost: without randomness, smooth.
        steps: number of evaluations, at most.
    """
    optimizer = torch.optim.LBFGS(
        image.parameters(), max_iter=steps, max_eval=steps, history_size=20, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        total = cost(image()).sum()
        total.backward()
        return total

    with torch.inference_mode(False), torch.enable_grad():
        optimizer.step(evaluate)


class _OpenReLU(torch.autograd.Function):
    """ReLU, or one with an upper bound, whose gradient passes where it is closed too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, most: float) -> Tensor:
        return value.clamp(0, most)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Any:
        return gradient[0], None


class OpenReLUs(TorchFunctionMode):
    """Context manager in which gradients pass through closed ReLUs: a channel that is zero everywhere has a gradient.

    For the first steps of an ascent, which would never begin on it (Olah et al. 2017 redirect gradients likewise).
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = getattr(func, "__name__", "").rstrip("_")
        if name in ("relu", "relu6"):
            return _OpenReLU.apply(args[0], 6.0 if name == "relu6" else torch.inf)
        return func(*args, **(kwargs or {}))


def shifted(image: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    """Images (B, C, H, W) shifted by up to `most` pixels in both directions, all alike; edges are repeated."""
    if not most:
        return image
    down, right = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    height, width = image.shape[-2:]
    return pad(image, [most] * 4, mode="replicate")[..., down : down + height, right : right + width]


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbors, the sum of both directions, of images (B, C, H, W): (B,)."""
    down, right = image.diff(dim=-2).abs().flatten(1).mean(1), image.diff(dim=-1).abs().flatten(1).mean(1)
    return down + right
