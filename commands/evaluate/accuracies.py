"""Accuracy of frozen features: kNN vote, linear probe, k-means clustering."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.figures.confusion import confusion
from callbacks.figures.log import log_figure
from callbacks.knn import knn_predict
from commands.evaluate.features import evenly
from commands.evaluate.probes import STEPS, STRENGTHS, Probe, accuracy, choose_c, clusters, fit_linear, fit_sgd, scale
from commands.evaluate.subject import Result, Subject
from datamodules.split_data import divide

Classifier = Callable[[Tensor], Tensor]
"""Features (N, D) to classes int64 (N,)."""

DRAWS = 3  # subsets of the labels: accuracy depends on the images drawn
MOST = 10_000  # samples for k-means


def vote(subject: Subject, ks: Sequence[int], temperature: float) -> tuple[list[Result], dict[str, Classifier]]:
    """kNN accuracy for every k up to the size of the bank; the classifier of the middle k, by name."""
    bank, judged, classes = subject.bank, subject.judged, len(subject.classes)
    kept, large = [k for k in ks if k <= len(bank.ids)], [k for k in ks if k > len(bank.ids)]
    if large:
        rank_zero_info(f"kNN is off for k {', '.join(map(str, large))}: the bank has {len(bank.ids)} {subject.noun}")

    def classifier(k: int) -> Classifier:
        return lambda features: knn_predict(bank.features, bank.labels, features, k, temperature, classes)

    results = []
    for k in kept:
        value = accuracy(classifier(k)(judged.features), judged.labels)
        results.append(subject.result(f"knn_{k}", value, f"kNN, k {k}, T {temperature:g}, {subject.counts}"))
    middle = kept[len(kept) // 2 : len(kept) // 2 + 1]
    return results, {f"knn_{k}": classifier(k) for k in middle}


def probe(subject: Subject, share: float) -> tuple[Result, dict[str, Classifier]]:
    """Linear probe fitted to convergence with a share of the labels; the classifier of its first draw, by name."""
    standardize, labels = scale(subject.bank.features), subject.judged.labels
    draws = [draw(subject, share, number) for number in range(DRAWS if _part(subject, share) else 1)]
    fits = [_converged(subject, rows) for rows in draws]
    found = [accuracy(fit(standardize(subject.judged.features)), labels) for fit, _ in fits]
    (first, words), *_ = fits
    how = f"linear probe, {_solved(first)}, {words}, {_counts(subject, len(draws[0]))}"
    if len(draws) > 1:
        how += f"; mean of {len(draws)} draws, seed {subject.seed}: {percent(found)}"
    name = f"probe_{share:g}" if len(draws) > 1 else "probe"
    return subject.result(name, float(np.mean(found)), how), {name: lambda features: first(standardize(features))}


def recipe(subject: Subject, share: float, epochs: int, lr: float) -> Result:
    """Linear probe by a fixed recipe of SGD, with a share of the labels."""
    standardize, rows = scale(subject.bank.features), draw(subject, share, 0)
    unit = subject.bank.features.shape[1] ** -0.5  # of length 1 on average, so that one rate suits any width
    features, labels = unit * standardize(subject.bank.features)[rows], subject.bank.labels[rows]
    fit = fit_sgd(features, labels, len(subject.classes), epochs, lr, subject.seed)
    value = accuracy(fit(unit * standardize(subject.judged.features)), subject.judged.labels)
    how = f"linear probe, SGD, lr {lr:g} with cosine, momentum 0.9, batch 256, {epochs} epochs, seed {subject.seed}"
    return subject.result("probe_sgd", value, f"{how}, {_counts(subject, len(rows))}")


def groups(subject: Subject) -> list[Result]:
    """k-means against the classes: NMI and accuracy; draws the confusion matrix of clusters and classes."""
    classes, judged = len(subject.classes), subject.judged
    rows = torch.from_numpy(evenly(len(judged.ids), MOST))
    features, labels = judged.features[rows], judged.labels[rows]
    starts = 10 if classes <= 100 else 1
    assigned, information = clusters(features, labels, classes, subject.seed, starts)
    truth = labels.cpu().numpy()
    right = float((assigned == truth).mean())
    how = f"k-means, {classes} clusters, best of {starts} starts, seed {subject.seed}"
    how += f", {len(rows):,} {subject.split} {subject.noun}"
    if classes <= 50:
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (truth, assigned), 1)
        title = f"{subject.split}: clusters under the class they match best, {100 * right:.1f} % agree"
        log_figure(subject.trainer, "clusters", confusion(matrix, subject.classes, title, columns="cluster"))
    return [
        subject.result("cluster_nmi", information, f"normalized mutual information; {how}"),
        subject.result("cluster_accuracy", right, f"clusters matched to classes one to one; {how}"),
    ]


def draw(subject: Subject, share: float, number: int) -> Tensor:
    """Stratified subset of the bank: the same share of every class; int64 (n,), rows that keep their label."""
    labels = subject.bank.labels.cpu().numpy()
    fraction = share if share <= 1 else share / len(labels)
    rows, _ = divide(labels, np.arange(len(labels)), fraction, np.random.default_rng((subject.seed, number)))
    return torch.from_numpy(rows)


def percent(values: Sequence[float]) -> str:
    """Shares 0..1 in words."""
    return f"{', '.join(f'{100 * value:.1f}' for value in values)} %"


def _converged(subject: Subject, rows: Tensor) -> tuple[Probe, str]:
    """Probe on rows of the bank, C chosen on the val split, else on a fifth of the rows; and that choice in words."""
    features, labels = scale(subject.bank.features)(subject.bank.features), subject.bank.labels
    classes, held = len(subject.classes), subject.held
    if held:
        fit, other = rows, (scale(subject.bank.features)(held.features), held.labels)
        where = f"{len(held.ids):,} val {subject.noun}"
    else:
        fit, rest = divide(labels.cpu().numpy(), rows.numpy(), 0.8, np.random.default_rng(subject.seed))
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


def _part(subject: Subject, share: float) -> bool:
    return share not in (1, len(subject.bank.ids))


def _counts(subject: Subject, labels: int) -> str:
    of = "" if labels == len(subject.bank.ids) else f" of {len(subject.bank.ids):,}"
    return f"{labels:,}{of} train labels, {len(subject.judged.ids):,} {subject.split} {subject.noun}"
