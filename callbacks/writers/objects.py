"""Images with predicted detections, as files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from callbacks.figures.base import shorten
from callbacks.figures.objects import draw_objects, object_palette, stacked
from callbacks.figures.skeletons import edges_of
from callbacks.writers.images import ImageFiles, originals
from modules.contracts import Batch, Prediction
from modules.decoding.boxes import rescaled
from modules.metrics.threshold import Threshold, reaches

KEYS = ("boxes", "labels", "scores", "rle", "keypoints")


class ObjectImages(ImageFiles):
    """Draw detections over each image into `figures/`: boxes, masks, keypoints, classes, scores in percent.

    The image is that of its file, at most 2,048 pixels wide and high.

    Args:
        folder: parent of `figures/`.
        rank: of this process.
        task: has classes and backbone.
        data: data module of the images.
        threshold: lowest score of drawn detections, or that of each class.
    """

    def __init__(self, folder: Path, rank: int, task: Any, data: Any, threshold: Threshold) -> None:
        super().__init__(folder, rank, {"figures": ".jpg"})
        self.classes, self.backbone, self.data, self.threshold = task.classes, task.backbone, data, threshold
        self.palette, self.edges = object_palette(len(task.classes)), edges_of(task)

    def add(self, batch: Batch, outputs: Prediction) -> None:
        images, heights = originals(batch, self.backbone, self.data), batch["size"][:, 0].tolist()
        for i, (name, image, height) in enumerate(zip(batch["id"], images, heights, strict=True)):
            one = {key: outputs[key][i] for key in KEYS if key in outputs}
            scale = torch.tensor([image.shape[0] / height] * 2)
            drawn = Image.fromarray(self._drawn(image, rescaled(one, scale.to(one["boxes"].device))))
            with self.open("figures", name) as file:
                drawn.save(file, "JPEG", quality=90, subsampling=0)  # thin lines keep their colors

    def _drawn(self, image: np.ndarray, found: Prediction) -> np.ndarray:
        sure = reaches(found["scores"], found["labels"], self.threshold)
        boxes, labels = found["boxes"][sure].float().cpu().numpy(), found["labels"][sure].tolist()
        several = len(self.classes) > 1
        names = [f"{shorten(self.classes[label])} " if several else "" for label in labels]
        tags = [f"{name}{100 * score:.0f}" for name, score in zip(names, found["scores"][sure].tolist(), strict=True)]
        shown = None
        if "rle" in found:
            shown = stacked([found["rle"][i] for i in sure.nonzero()[:, 0].tolist()], image.shape[:2])
        points = found["keypoints"][sure].float().cpu().numpy() if "keypoints" in found else None
        return draw_objects(image, boxes, labels, self.palette, tags, shown, points=points, edges=self.edges)
