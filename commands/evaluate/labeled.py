"""Metrics of features that need labels: kNN, linear probes, clusters and robustness."""

from callbacks.figures.log import log_figure
from commands.evaluate.accuracies import groups, probe, recipe, vote
from commands.evaluate.drawing import bars
from commands.evaluate.extraction import ExtractedFeatures, Result
from commands.evaluate.robustness import robustness
from commands.evaluate.voting import Voting


def labeled(
    extracted: ExtractedFeatures,
    ks: tuple[int, ...],
    voting: Voting,
    label_fractions: tuple[float, ...],
    epochs: int,
    lr: float,
) -> list[Result]:
    """kNN, linear probes, clusters and robustness, which need labels; draws the accuracies."""
    shares = sorted(label_fractions, key=lambda share: share if share > 1 else share * len(extracted.bank.ids))
    votes, neighbor = vote(extracted, ks, voting)
    probes = [probe(extracted, share) for share in shares]
    results = [*votes, *(result for result, _ in probes), recipe(extracted, shares[-1], epochs, lr), *groups(extracted)]
    shown = [result for result in results if not result.metric.endswith("_nmi")]
    names, chance = [result.metric.partition("/")[2] for result in shown], 1 / len(extracted.classes)
    title = f"How well classes can be read off the features, {extracted.counts}"
    log_figure(extracted.trainer, "accuracies", bars(names, [result.value for result in shown], chance, title))
    return results + robustness(extracted, probes[-1][1] | neighbor)
