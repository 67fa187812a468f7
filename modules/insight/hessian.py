"""Curvature of a loss: eigenvalues of its Hessian by Lanczos iterations on Hessian-vector products."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torchvision.ops.roi_align import _roi_align

ROUNDING = 1e-4  # share of the largest eigenvalue below which float32 gives no sign


class Curvature(NamedTuple):
    """Eigenvalues of a Hessian as Lanczos iterations find them, ascending; the outer ones are found first.

    Args:
        eigenvalues: (k,), of the projection of the Hessian on k directions.
        errors: (k,), an eigenvalue of the Hessian is at most so far away.
        weights: (k,), summing to 1: share of the start vector along each, so that the eigenvalues with these weights
            estimate the spectral density (stochastic Lanczos quadrature, Ghorbani et al. 2019).
        size: number of parameters.
        gradient: norm of the gradient.
    """

    eigenvalues: Tensor
    errors: Tensor
    weights: Tensor
    size: int
    gradient: float

    @property
    def largest(self) -> float:
        """The largest eigenvalue, the sharpness."""
        return float(self.eigenvalues[-1])

    @property
    def smallest(self) -> float:
        """The smallest eigenvalue."""
        return float(self.eigenvalues[0])

    @property
    def negative(self) -> int:
        """Number of negative eigenvalues that were found; there are at least so many (Cauchy's interlacing)."""
        return int((self.eigenvalues < -ROUNDING * self.eigenvalues.abs().max()).sum())

    @property
    def trace(self) -> float:
        """Sum of all eigenvalues, estimated from one random vector."""
        return self.size * float(self.eigenvalues @ self.weights)

    @property
    def verdict(self) -> str:
        """Saddle or minimum, as a sentence."""
        low, high = self.smallest, self.largest
        if self.negative and high > 0:
            found = f"a saddle, as the loss curves down in {self.negative} or more directions"
        elif self.negative:
            found = "a maximum, as far as found: the loss curves down in every direction"
        else:
            found = "as in a minimum, no direction was found in which the loss curves down"
        bound = f"; plain gradient descent is stable up to a rate of {2 / high:.3g}" if high > 0 else ""
        return f"{found}; eigenvalues from {low:.3g} to {high:.3g}, the sharpness{bound}"


def curvature(loss: Tensor, parameters: Sequence[Tensor], steps: int, seed: int = 0) -> Curvature:
    """Eigenvalues of the Hessian of a loss that was computed in `twice_differentiable`.

    Args:
        loss: scalar, with its graph, which is kept.
        parameters: those that the loss does not depend on are left out.
        steps: iterations, each one backward pass through the gradient; vectors of all parameters that are kept.
        seed: of the start vector.

    Raises:
        RuntimeError: an operation has no second derivative.
    """
    parts = torch.autograd.grad(loss, list(parameters), create_graph=True, allow_unused=True)
    pairs = [(parameter, g) for parameter, g in zip(parameters, parts, strict=True) if g is not None]
    used, flat = [p for p, _ in pairs], torch.cat([g.flatten() for _, g in pairs])

    def product(vector: Tensor) -> Tensor:
        if not flat.requires_grad:  # a loss that is linear in all parameters
            return torch.zeros_like(vector)
        options: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        return torch.cat([g.flatten() for g in torch.autograd.grad(flat @ vector, used, **options)])

    start = torch.randn(len(flat), generator=torch.Generator().manual_seed(seed), dtype=flat.dtype).to(flat.device)
    return Curvature(*lanczos(product, start, steps), len(flat), float(flat.detach().norm()))


def lanczos(product: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lanczos iterations with full reorthogonalization on a symmetric matrix (n, n) that is known by its products.

    Args:
        product: vector (n,) to vector.
        start: (n,), random.
        steps: iterations, at most n.

    Returns:
        Ritz values (k,) float64, ascending, their residuals and their weights in `start`; k is smaller than `steps`
        where the vectors that can be reached from `start` are used up.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        vector = product(basis[-1]).detach()
        diagonal.append(float(vector @ basis[-1]))
        for _ in range(2):  # once leaves what rounding has brought back
            for other in basis:
                vector -= (vector @ other) * other
        beside.append(float(vector.norm()))
        scale = max(map(abs, diagonal)) or 1.0
        if len(diagonal) == min(steps, len(start)) or beside[-1] < 1e3 * torch.finfo(start.dtype).eps * scale:
            break
        basis.append(vector / beside[-1])
    off = torch.tensor(beside[:-1], dtype=torch.float64)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return values, beside[-1] * vectors[-1].abs(), vectors[0].square()


class _ByIndexing(TorchFunctionMode):
    """RoIAlign and sums of a table's rows by plain indexing, which has a second derivative."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name == "roi_align" and args[0].requires_grad:
            return _roi_align.__wrapped__(*args, **kwargs)
        if name == "embedding_bag" and kwargs.get("per_sample_weights") is not None:
            rows, weights = args[0].long(), kwargs["per_sample_weights"]
            places = torch.stack([torch.arange(len(rows)).repeat_interleave(rows.shape[1]), rows.flatten()])
            return (
                torch.sparse_coo_tensor(places, weights.flatten(), (len(rows), len(args[1])), check_invariants=False)
                @ args[1]
            )
        return func(*args, **kwargs)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Context manager in which attention, RoIAlign and recurrent layers have second derivatives."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False), _ByIndexing():
        yield
