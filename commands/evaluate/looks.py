"""Figures of the features: t-SNE or PCA projection of thumbnails, nearest neighbors, attention maps."""

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.nn.functional import normalize

from callbacks.collectors.embedding import evaluating
from callbacks.figures.base import PLAIN, RIGHT, WRONG, shorten
from callbacks.figures.grids import grid, side_by_side
from callbacks.figures.log import log_figure
from commands.evaluate.drawing import projection
from commands.evaluate.features import arrays, evenly, image
from commands.evaluate.maps import activation, attention, overlay
from commands.evaluate.projection import Method, lay_out
from commands.evaluate.subject import Subject

QUERIES, NEIGHBORS = 8, 6
LOOKS = 12


def draw_projection(subject: Subject, method: Method) -> None:
    """Draw the sample of images in two dimensions, by t-SNE or PCA."""
    points, how = lay_out(subject.judged.features[subject.rows], method, subject.seed)
    groups = None if subject.off else subject.judged.labels[subject.rows].cpu().numpy()
    title = f"Backbone features of {subject.sampled}: {how}"
    drawn = projection(points, arrays(subject.stills), groups, subject.classes, title)
    log_figure(subject.trainer, "projection", drawn)


def draw_neighbors(subject: Subject) -> None:
    """Draw a few images, each followed by its nearest neighbors of the train split."""
    bank, judged = normalize(subject.bank.features, dim=1), normalize(subject.judged.features, dim=1)
    images, captions, colors = [], [], []
    count = min(NEIGHBORS, len(bank))
    for place in _various(subject, QUERIES):
        query = int(subject.rows[place])
        similarity, found = (bank @ judged[query]).topk(count)
        images += [arrays(subject.stills[place : place + 1])[0]]
        captions += [f"{shorten(subject.name(query), 18)}\n{subject.split}".strip()]
        colors += [PLAIN]
        for row, cosine in zip(found.tolist(), similarity.tolist(), strict=True):
            images.append(image(subject.trainer.datamodule, "train", subject.bank, row))
            name = "" if subject.off else subject.classes[int(subject.bank.labels[row])]
            captions.append(f"{shorten(name, 18)}\ncosine {cosine:.2f}".strip())
            same = PLAIN if subject.off else RIGHT if name == subject.name(query) else WRONG
            colors.append(same)
    title = f"First of each row: {subject.split}; then its {count} nearest of {len(bank):,} train {subject.noun}"
    title += "" if subject.off else "; green: same class"
    log_figure(subject.trainer, "neighbors", grid(images, captions, title, colors, columns=count + 1))


def draw_maps(subject: Subject) -> None:
    """Draw a few images, each beside its attention map."""
    places, task, plugin = _various(subject, LOOKS), subject.task, subject.trainer.precision_plugin
    with evaluating(task), torch.no_grad(), plugin.forward_context():
        image = plugin.convert_input(task.backbone.normalize(subject.images[places].to(task.device)))
        heat = None if "video" in task.required_keys else attention(task.exported, image)
        title = "Attention of the class token, last block, mean over heads"
        if heat is None:
            heat, _ = activation(task.maps(image))
            title = f"First principal component of the feature maps of {heat.shape[-2]} x {heat.shape[-1]} cells"
    if heat[0].numel() == 1:
        rank_zero_info("off: the image of feature maps, because they are of one cell")
        return
    shown = arrays(subject.stills[places])
    pairs = [side_by_side([one, overlay(one, warmth)]) for one, warmth in zip(shown, heat, strict=True)]
    captions = [shorten(subject.name(int(row))) for row in subject.rows[places]]
    log_figure(subject.trainer, "maps", grid(pairs, captions, title))


def _various(subject: Subject, count: int) -> list[int]:
    """Places in the sample of images: the first of each class in turn, then evenly spread ones."""
    if subject.off:
        return evenly(len(subject.rows), count).tolist()
    labels = subject.judged.labels[subject.rows].cpu().numpy()
    first = np.sort(np.unique(labels, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(labels)), first)
    rest = others[evenly(len(others), count)] if len(others) else others
    return [*first[evenly(len(first), count)], *rest][:count]
