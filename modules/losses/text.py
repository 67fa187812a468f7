"""Losses of decoders of text; padding never counts."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import cross_entropy

from modules.text.tokens import PAD

AT_ONCE = {"cpu": 2**20}  # logits that stay in a core's cache
AT_ONCE_ELSEWHERE = 2**26


def label_smoothed_cross_entropy(
    states: Tensor, weight: Tensor, target: Tensor, smoothing: float = 0.1, mean: bool = True
) -> Tensor:
    """Cross-entropy with label smoothing of the logits `states @ weight.T` (Szegedy et al. 2016).

    Equal to torch's cross_entropy on these logits with `ignore_index=PAD` and `label_smoothing`; but logits are made
    and turned into gradients a few rows at a time, so that all of them never exist: less memory, and faster on a CPU.

    Args:
        states: (..., D), as `Decoder.states` gives them.
        weight: (V, D), of `Decoder.output`.
        target: int64 (...), the token after each state; PAD where there is none.
        smoothing: share of the probability that is spread evenly over the vocabulary, 0..1.
        mean: over the tokens that count (0 when there are none); otherwise their sum.

    Returns:
        A scalar, float32 or wider; without smoothing, the logarithm of the perplexity per token.
    """
    counts = target != PAD
    total = _Projected.apply(states[counts], weight, target[counts], smoothing)
    return total / counts.sum().clamp_min(1) if mean else total


def doubly_stochastic(weights: Tensor, target: Tensor) -> Tensor:
    """Doubly stochastic attention penalty.

    The mean over places of (1 - sum over words)^2 (Xu et al. 2015, "Show, attend and tell", section 4.2.1, which sums
    over the places).

    Args:
        weights: (B, T, S), attention of each word, as `Decoder.attend` gives it.
        target: int64 (B, T), the words; PAD is masked out.

    Returns:
        A scalar, 0 when the attention of every place sums to 1.
    """
    return (1 - weights.mul(target.ne(PAD)[..., None]).sum(1)).square().mean()


def reinforce(logits: Tensor, target: Tensor, advantage: Tensor) -> Tensor:
    """REINFORCE loss of texts sampled from a decoder: self-critical training (Rennie et al. 2017, equation 8).

    Args:
        logits: (B, T, V) of the tokens of the sampled texts.
        target: int64 (B, T), these tokens, PAD after their ends.
        advantage: (B,), reward of each text minus that of its baseline.

    Returns:
        A scalar: the mean over all tokens of -advantage * log p; its gradient raises the probability of texts above
        the baseline.
    """
    surprise = cross_entropy(logits.float().transpose(1, 2), target, ignore_index=PAD, reduction="none")
    return (advantage[:, None] * surprise).sum() / target.ne(PAD).sum()


class _Projected(torch.autograd.Function):
    """The sum over rows of the loss, with the gradients already made on the way forward."""

    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor, weight: Tensor, target: Tensor, smoothing: float) -> Tensor:
        device, classes = states.device.type, len(weight)
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        learns = any(ctx.needs_input_grad[:2])
        d_states, d_weight = torch.empty_like(states), torch.zeros_like(weight)
        total = torch.zeros((), dtype=torch.promote_types(states.dtype, torch.float32), device=states.device)
        rows = max(1, AT_ONCE.get(device, AT_ONCE_ELSEWHERE) // classes)
        with torch.autocast(device, enabled=False):
            table = weight.to(low)
            parts = zip(states.split(rows), target[:, None].split(rows), d_states.split(rows), strict=True)
            for some, label, d_some in parts:
                some = some.to(low)
                logits = (some @ table.T).to(total.dtype)
                right, even, top = logits.gather(1, label), logits.mean(1, keepdim=True), logits.amax(1, keepdim=True)
                odds = logits.sub_(top).exp_()
                norm = odds.sum(1, keepdim=True)
                total += (norm.log() + top - (1 - smoothing) * right - smoothing * even).sum()
                if learns:
                    slope = odds.div_(norm).sub_(smoothing / classes)
                    slope = slope.scatter_add_(1, label, torch.full_like(norm, smoothing - 1)).to(low)
                    d_some.copy_(slope @ table)
                    d_weight += slope.T @ some
        ctx.save_for_backward(*([d_states, d_weight] if learns else []))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_states, d_weight = ctx.saved_tensors
        return d_states * slope, d_weight * slope, None, None
