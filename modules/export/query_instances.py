"""Objects of mask queries in exported graphs."""

import torch
from torch import Tensor

from modules.decoding.masks import crop
from modules.export.detection import ObjectFinder, Objects, best
from modules.heads.queries import QueryInstances
from modules.heads.queries.instances import CELLS, extents, quality


class QueryFinder(ObjectFinder):
    """`ObjectFinder` of mask queries."""

    head: QueryInstances  # pyrefly: ignore[bad-override-mutable-attribute]

    def find(self, image: Tensor, inside: Tensor) -> Objects:
        """See `ObjectFinder`: as `QueryInstances`, in fixed sizes."""
        answers, _ = self.head.net(image, lambda image: self.neck(self.backbone(image)))
        certain, labels, masks = self.head.candidates(answers, image.shape[-2:])
        rows, columns = (torch.arange(side) for side in image.shape[-2:])
        masks = masks * ((rows < inside[0])[:, None] & (columns < inside[1]))
        scores = certain * quality(masks)
        scores, which = best(scores * (scores > self.head.selection.score_threshold), self.head.selection.detections)
        masks = masks.gather(1, which[..., None, None].expand(-1, -1, masks.shape[2], masks.shape[3]))
        boxes = extents(masks > 0.5)
        return Objects(boxes, scores, labels.gather(1, which), crop(masks, boxes, CELLS))
