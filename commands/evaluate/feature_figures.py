"""Figures of the features: t-SNE or PCA projection of thumbnails, nearest neighbors, attention maps."""

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info

from callbacks.collectors.chosen import arrays, evenly
from callbacks.figures.base import PLAIN, RIGHT, WRONG, shorten
from callbacks.figures.grids import grid, side_by_side
from callbacks.figures.heat import heat_overlay
from callbacks.figures.log import log_figure
from commands.evaluate.drawing import projection
from commands.evaluate.extraction import ExtractedFeatures
from commands.evaluate.features import image
from commands.evaluate.maps import activation
from commands.evaluate.projection import Method, lay_out
from modules.insight.attention import attention
from modules.metrics.neighbors import Distance, nearest
from modules.training.modes import evaluation_mode

QUERIES, NEIGHBORS = 8, 6
LOOKS = 12


def draw(extracted: ExtractedFeatures, method: Method, distance: Distance) -> None:
    """Draw the projection, the nearest neighbors by that distance, and the maps."""
    draw_projection(extracted, method)
    draw_neighbors(extracted, distance)
    draw_maps(extracted)


def draw_projection(extracted: ExtractedFeatures, method: Method) -> None:
    """Draw the sample of images in two dimensions, by t-SNE or PCA."""
    points, how = lay_out(extracted.evaluated.features[extracted.rows], method, extracted.seed)
    groups = None if extracted.off else extracted.evaluated.labels[extracted.rows].cpu().numpy()
    title = f"Backbone features of {extracted.sampled}: {how}"
    drawn = projection(points, arrays(extracted.stills), groups, extracted.classes, title)
    log_figure(extracted.trainer, "projection", drawn)


def draw_neighbors(extracted: ExtractedFeatures, distance: Distance) -> None:
    """Draw a few images, each followed by its nearest neighbors of the train split, by the distance of the vote."""
    bank, evaluated = extracted.bank.features, extracted.evaluated.features
    images, captions, colors = [], [], []
    count = min(NEIGHBORS, len(bank))
    for place in _various(extracted, QUERIES):
        query = int(extracted.rows[place])
        (far,), (found,) = nearest(bank, evaluated[query : query + 1], count, distance)
        images += [arrays(extracted.stills[place : place + 1])[0]]
        captions += [f"{shorten(extracted.name(query), 18)}\n{extracted.split}".strip()]
        colors += [PLAIN]
        for row, value in zip(found.tolist(), far.tolist(), strict=True):
            images.append(image(extracted.trainer.datamodule, "train", extracted.bank, row))
            name = "" if extracted.off else extracted.classes[int(extracted.bank.labels[row])]
            words = f"cosine {1 - value:.2f}" if distance == "cosine" else f"{distance.upper()} {_plain(value)}"
            captions.append(f"{shorten(name, 18)}\n{words}".strip())
            same = PLAIN if extracted.off else RIGHT if name == extracted.name(query) else WRONG
            colors.append(same)
    title = f"First of each row: {extracted.split}; then its {count} nearest of {len(bank):,} train {extracted.noun}"
    title += "" if extracted.off else "; green: same class"
    log_figure(extracted.trainer, "neighbors", grid(images, captions, title, colors, columns=count + 1))


def draw_maps(extracted: ExtractedFeatures) -> None:
    """Draw a few images, each beside its attention map."""
    places, task, plugin = _various(extracted, LOOKS), extracted.task, extracted.trainer.precision_plugin
    with evaluation_mode(task), torch.no_grad(), plugin.forward_context():
        image = plugin.convert_input(task.backbone.normalize(extracted.images[places].to(task.device)))
        heat = None if "video" in task.required_keys else attention(task.exported, image)
        title = "Attention of the class token, last block, mean over heads"
        if heat is None:
            heat, _ = activation(task.maps(image))
            title = f"First principal component of the feature maps of {heat.shape[-2]} x {heat.shape[-1]} cells"
    if heat[0].numel() == 1:
        rank_zero_info("off: the image of feature maps, because they are of one cell")
        return
    shown = arrays(extracted.stills[places])
    pairs = [side_by_side([one, heat_overlay(one, warmth)]) for one, warmth in zip(shown, heat, strict=True)]
    captions = [shorten(extracted.name(int(row))) for row in extracted.rows[places]]
    log_figure(extracted.trainer, "maps", grid(pairs, captions, title))


def _various(extracted: ExtractedFeatures, count: int) -> list[int]:
    """Places in the sample of images: the first of each class in turn, then evenly spread ones."""
    if extracted.off:
        return evenly(len(extracted.rows), count).tolist()
    labels = extracted.evaluated.labels[extracted.rows].cpu().numpy()
    first = np.sort(np.unique(labels, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(labels)), first)
    rest = others[evenly(len(others), count)] if len(others) else others
    return [*first[evenly(len(first), count)], *rest][:count]


def _plain(value: float) -> str:
    """Three digits without an exponent, such as 2,197 and 0.0314."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
