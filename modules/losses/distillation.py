"""Self-distillation losses, without negatives: student against teacher on views of the same image."""

import torch
from torch import Tensor
from torch.nn import functional


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean of minus the cosine between (B, D) predictions and targets, -1..1, in float32 (Chen and He 2021, SimSiam).

    BYOL's squared distance of normalized vectors (Grill et al. 2020, equation 2) is 2 + 2 times this. No gradient
    reaches the targets.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        return -functional.cosine_similarity(predictions.float(), targets.detach().float(), dim=1).mean()


def similarity_to_queue(student: Tensor, teacher: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross-entropy (B,) of a student's similarities to a queue against its teacher's, in float32.

    Each is a softmax over cosines; no gradient reaches the teacher (Fang et al. 2021, SEED).

    Args:
        student: (B, D) features.
        teacher: (B, D) features of the same images.
        queue: (K, D) normalized features of other images by the teacher.
        temperature: divides the cosines, > 0.
    """
    with torch.autocast(student.device.type, enabled=False):
        found, wanted = (functional.normalize(x.float()) @ queue.T.float() / temperature for x in (student, teacher))
        return -(wanted.detach().softmax(1) * found.log_softmax(1)).sum(1)


def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence of softened probabilities, times the squared temperature (Hinton et al. 2015), in float32.

    The square keeps the size of the gradients. No gradient reaches the teacher.

    Args:
        student: (B, C) logits.
        teacher: (B, C) logits.
        temperature: divides both, > 0; higher is softer.
    """
    with torch.autocast(student.device.type, enabled=False):
        logs, wanted = ((logits.float() / temperature).log_softmax(1) for logits in (student, teacher.detach()))
        return temperature**2 * functional.kl_div(logs, wanted, reduction="batchmean", log_target=True)


def teacher_probabilities(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Centered and sharpened (..., K) softmax of a teacher (Caron et al. 2021, DINO, equation 1), in float32."""
    return ((logits.detach().float() - center) / temperature).softmax(-1)


def sinkhorn(logits: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """Sharpened probabilities (B, K) of a teacher that gives each prototype the same share of the batch, in float32.

    Sinkhorn and Knopp's scaling of rows and columns (Caron et al. 2020, SwAV, section 3.1), for a running center
    (Oquab et al. 2023, DINOv2).

    Args:
        logits: (B, K) of all images and views of a batch.
        temperature: > 0; lower is sharper.
        rounds: iterations that normalize prototypes, then images, to sum 1; with more, shares are more equal.
    """
    logs = logits.detach().float() / temperature
    for _ in range(rounds):
        logs = logs.log_softmax(0).log_softmax(1)
    return logs.exp()


def dino(students: list[Tensor], teachers: list[Tensor], temperature: float) -> Tensor:
    """Mean cross-entropy between all pairs of different views (Caron et al. 2021, DINO, equation 3), in float32.

    Args:
        students: (B, K) logits of each view, global ones first.
        teachers: (B, K) probabilities of each global view, as `teacher_probabilities` gives them.
        temperature: of the students, > 0.

    Returns:
        A scalar; ln K when students and teachers know nothing.
    """
    with torch.autocast(students[0].device.type, enabled=False):
        logs = [(logits.float() / temperature).log_softmax(1) for logits in students]
        pairs = [-(p * log).sum(1).mean() for i, p in enumerate(teachers) for j, log in enumerate(logs) if i != j]
        return torch.stack(pairs).mean()


def masked_tokens(students: Tensor, teachers: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy over masked patches (Zhou et al. 2022, iBOT, equation 2), in float32.

    Views without masks do not count: with masks in half of the views, iBOT's own mean over all of them is half of it.

    Args:
        students: (N, K) logits of the masked patches of all images, as many of each.
        teachers: (N, K) probabilities, of the same patches of whole images.
        temperature: of the students, > 0.
    """
    with torch.autocast(students.device.type, enabled=False):
        return -(teachers * (students.float() / temperature).log_softmax(1)).sum(1).mean()


def entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of (..., K) distributions in nats: ln K when they say nothing, 0 when they are certain."""
    return torch.special.entr(probabilities.float()).sum(-1).mean()
