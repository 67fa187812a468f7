"""Robustness to corruptions: accuracy on images under blur, noise, low contrast and JPEG compression."""

import csv
from pathlib import Path

import torch

from callbacks.collectors.embedding import embed
from callbacks.figures.grids import grid
from callbacks.figures.log import log_figure
from commands.evaluate.accuracies import Classifier, percent
from commands.evaluate.corruptions import STRENGTHS, Kind, corrupt, settings
from commands.evaluate.drawing import lines
from commands.evaluate.extraction import ExtractedFeatures, Result
from commands.evaluate.features import CHUNK, arrays, as_batch, shown
from commands.evaluate.probes import accuracy
from modules.contracts import writing

Found = dict[Kind, dict[str, list[float]]]
"""Accuracies by corruption, classifier and strength."""


def robustness(extracted: ExtractedFeatures, classifiers: dict[str, Classifier]) -> list[Result]:
    """Accuracy of classifiers of features, by name, on the sample of images under each kind of corruption.

    Draws the curves and an example of each, and writes `robustness.csv` with every number.
    """
    labels = extracted.evaluated.labels[extracted.rows]
    clean = {name: accuracy(c(extracted.evaluated.features[extracted.rows]), labels) for name, c in classifiers.items()}
    found: Found = {kind: {name: [] for name in classifiers} for kind in STRENGTHS}
    cases = [(kind, strength) for kind, strengths in STRENGTHS.items() for strength in strengths]
    for kind, strength in shown(cases, "damaged images", extracted.trainer):
        features = damaged(extracted, kind, strength)
        for name, classifier in classifiers.items():
            found[kind][name].append(accuracy(classifier(features), labels))
    size = min(extracted.images.shape[-2:])
    steps = {kind: settings(kind, size) for kind in STRENGTHS}
    _write(extracted, clean, found, steps)
    _draw(extracted, clean, found, steps)
    return [
        extracted.result(
            f"{name}_{kind}",
            sum(values) / len(values),
            f"under {kind}: mean of {percent(values)} at {', '.join(steps[kind])}; "
            f"{100 * clean[name]:.1f} % undamaged, {extracted.sampled}",
        )
        for kind, by_name in found.items()
        for name, values in by_name.items()
    ]


def damaged(extracted: ExtractedFeatures, kind: Kind, strength: float) -> torch.Tensor:
    """Features (n, D) of the corrupted sample of images."""
    random = torch.Generator().manual_seed(extracted.seed)
    # a list, because within `embed` a trainer of bf16 would blur in bf16, badly and very slowly
    batches = [as_batch(corrupt(part, kind, strength, random)) for part in extracted.images.split(CHUNK)]
    return embed(batches, extracted.trainer, extracted.task)[0]


def _draw(extracted: ExtractedFeatures, clean: dict[str, float], found: Found, steps: dict[Kind, list[str]]) -> None:
    panels = {kind: {name: [clean[name], *values] for name, values in each.items()} for kind, each in found.items()}
    ticks = {kind: ["none", *words] for kind, words in steps.items()}
    title = f"Accuracy under damage, {extracted.sampled}"
    log_figure(extracted.trainer, "robustness", lines(panels, ticks, 1 / len(extracted.classes), title))
    image, random = extracted.stills[:1], torch.Generator().manual_seed(extracted.seed)
    images, captions = [], []
    for kind, strengths in STRENGTHS.items():
        images += arrays(torch.cat([image, *(corrupt(image, kind, strength, random) for strength in strengths)]))
        captions += [f"{kind} {words}" if words != "none" else "undamaged" for words in ticks[kind]]
    log_figure(extracted.trainer, "corruptions", grid(images, captions, "What the damage looks like", columns=4))


def _write(extracted: ExtractedFeatures, clean: dict[str, float], found: Found, steps: dict[Kind, list[str]]) -> None:
    path = Path(extracted.trainer.default_root_dir) / "robustness.csv"
    with writing(path), path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["damage", "setting", *clean])
        rows.writerow(["none", "", *clean.values()])
        for kind, each in found.items():
            rows.writerows([kind, words, *values] for words, *values in zip(steps[kind], *each.values(), strict=True))
