"""Accuracy of frozen features: kNN vote, linear probe, k-means clustering."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.collectors.chosen import evenly
from callbacks.figures.confusion import confusion
from callbacks.figures.log import log_figure
from commands.evaluate.extraction import ExtractedFeatures, Result
from commands.evaluate.probes import STEPS, STRENGTHS, Probe, choose_c, clusters, fit_linear, fit_sgd, scale
from commands.evaluate.voting import Voting
from datamodules.division import divide

Classifier = Callable[[Tensor], Tensor]
"""Features (N, D) to classes int64 (N,)."""

SUBSETS = 3  # subsets of the labels: accuracy depends on the images drawn
MAX_CLUSTERED = 10_000  # samples for k-means


def vote(extracted: ExtractedFeatures, ks: Sequence[int], voting: Voting) -> tuple[list[Result], dict[str, Classifier]]:
    """kNN accuracy for every k up to the size of the bank; the classifier of the middle k, by name."""
    bank, labels, classes = extracted.bank, torch.as_tensor(extracted.bank.labels), len(extracted.classes)
    kept, large = [k for k in ks if k <= len(bank.ids)], [k for k in ks if k > len(bank.ids)]
    if large:
        rank_zero_info(f"kNN is off for k {', '.join(map(str, large))}: the bank has {len(bank.ids)} {extracted.noun}")

    def predict(features: Tensor, ks: Sequence[int]) -> list[Tensor]:
        return voting.predict(bank.features, labels, features, ks, classes)

    results = []
    for k, predicted in zip(kept, predict(extracted.evaluated.features, kept), strict=True):
        right = extracted.right(predicted)
        results.append(extracted.share(f"knn_{k}", right, f"kNN, k {k}, {voting.words}, {extracted.counts}"))
    middle = kept[len(kept) // 2 : len(kept) // 2 + 1]
    return results, {f"knn_{k}": lambda features: predict(features, middle)[0] for k in middle}


def probe(extracted: ExtractedFeatures, share: float) -> tuple[Result, dict[str, Classifier]]:
    """Linear probe fitted to convergence with a share of the labels; the classifier of its first draw, by name."""
    standardize = scale(extracted.bank.features)
    draws = [draw(extracted, share, number) for number in range(SUBSETS if _part(extracted, share) else 1)]
    fits = [_converged(extracted, rows) for rows in draws]
    right = torch.stack([extracted.right(fit(standardize(extracted.evaluated.features))) for fit, _ in fits]).double()
    (first, words), *_ = fits
    how = f"linear probe, {_solved(first)}, {words}, {_counts(extracted, len(draws[0]))}"
    if len(draws) > 1:
        how += f"; mean of {len(draws)} draws, seed {extracted.seed}: {percent(right.mean(1).tolist())}"
    name = f"probe_{share:g}" if len(draws) > 1 else "probe"
    return extracted.share(name, right.mean(0), how), {name: lambda features: first(standardize(features))}


def recipe(extracted: ExtractedFeatures, share: float, epochs: int, lr: float) -> Result:
    """Linear probe by a fixed recipe of SGD, with a share of the labels."""
    standardize, rows = scale(extracted.bank.features), draw(extracted, share, 0)
    unit = extracted.bank.features.shape[1] ** -0.5  # of length 1 on average, so that one rate suits any width
    features, labels = unit * standardize(extracted.bank.features)[rows], extracted.bank.labels[rows]
    fit = fit_sgd(features, labels, len(extracted.classes), epochs, lr, extracted.seed)
    right = extracted.right(fit(unit * standardize(extracted.evaluated.features)))
    how = f"linear probe, SGD, lr {lr:g} with cosine, momentum 0.9, batch 256, {epochs} epochs, seed {extracted.seed}"
    return extracted.share("probe_sgd", right, f"{how}, {_counts(extracted, len(rows))}")


def groups(extracted: ExtractedFeatures) -> list[Result]:
    """k-means against the classes: NMI and accuracy; draws the confusion matrix of clusters and classes."""
    classes, evaluated = len(extracted.classes), extracted.evaluated
    rows = torch.from_numpy(evenly(len(evaluated.ids), MAX_CLUSTERED))
    features, labels = evaluated.features[rows], evaluated.labels[rows]
    starts = 10 if classes <= 100 else 1
    assigned, information = clusters(features, labels, classes, extracted.seed, starts)
    truth = labels.cpu().numpy()
    right = float((assigned == truth).mean())
    how = f"k-means, {classes} clusters, best of {starts} starts, seed {extracted.seed}"
    how += f", {len(rows):,} {extracted.split} {extracted.noun}"
    if classes <= 50:
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (truth, assigned), 1)
        title = f"{extracted.split}: clusters under the class they match best, {100 * right:.1f} % agree"
        log_figure(extracted.trainer, "clusters", confusion(matrix, extracted.classes, title, columns="cluster"))
    return [
        extracted.result("cluster_nmi", information, f"normalized mutual information; {how}"),
        extracted.result("cluster_accuracy", right, f"clusters matched to classes one to one; {how}"),
    ]


def draw(extracted: ExtractedFeatures, share: float, number: int) -> Tensor:
    """Stratified subset of the bank: the same share of every class; int64 (n,), rows that keep their label."""
    labels = extracted.bank.labels.cpu().numpy()
    fraction = share if share <= 1 else share / len(labels)
    rows, _ = divide(labels, np.arange(len(labels)), fraction, np.random.default_rng((extracted.seed, number)))
    return torch.from_numpy(rows)


def percent(values: Sequence[float]) -> str:
    """Shares 0..1 in words."""
    return f"{', '.join(f'{100 * value:.1f}' for value in values)} %"


def _converged(extracted: ExtractedFeatures, rows: Tensor) -> tuple[Probe, str]:
    """Probe on rows of the bank, C chosen on the val split, else on a fifth of the rows; and that choice in words."""
    features, labels = scale(extracted.bank.features)(extracted.bank.features), extracted.bank.labels
    classes, held = len(extracted.classes), extracted.held
    if held:
        fit, other = rows, (scale(extracted.bank.features)(held.features), held.labels)
        where = f"{len(held.ids):,} val {extracted.noun}"
    else:
        fit, rest = divide(labels.cpu().numpy(), rows.numpy(), 0.8, np.random.default_rng(extracted.seed))
        other, where = (features[rest], labels[rest]), f"{len(rest):,} of the train labels held out"
    if len(other[1]):
        c = choose_c((features[fit], labels[fit]), other, classes)
        words = f"C {c:g} (of {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}, best on {where})"
    else:
        c, words = 1.0, "C 1 (too few labels to choose it)"
    return fit_linear(features[rows], labels[rows], classes, c), words


def _solved(probe: Probe) -> str:
    steps = f"L-BFGS, {probe.steps} steps"
    return steps if probe.steps < STEPS else f"{steps}, NOT converged"


def _part(extracted: ExtractedFeatures, share: float) -> bool:
    return share not in (1, len(extracted.bank.ids))


def _counts(extracted: ExtractedFeatures, labels: int) -> str:
    of = "" if labels == len(extracted.bank.ids) else f" of {len(extracted.bank.ids):,}"
    return f"{labels:,}{of} train labels, {len(extracted.evaluated.ids):,} {extracted.split} {extracted.noun}"
