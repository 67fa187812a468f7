"""Base class of the heads of mask queries, which serve semantic, instance and panoptic segmentation alike."""

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from modules.heads.base import Head

Target = dict[str, Tensor]


class Queries(NamedTuple):
    """Answers of Q queries about B images.

    Attributes:
        classes: logits (B, Q, C + 1), the last for no object, float32.
        masks: logits (B, Q, h, w) of any size, which covers that of the image, float32.
    """

    classes: Tensor
    masks: Tensor


class MaskQueryHead(Head):
    """Base of heads that answer each of Q queries by a class, or none, and a mask (Cheng et al. 2021).

    `outputs` is the number of classes C, without background: stuff and things are classes alike.
    """

    @abstractmethod
    def forward(  # pyrefly: ignore[bad-override]
        self, image: Tensor, maps: list[Tensor], targets: list[Target] | None = None
    ) -> tuple[Queries, dict[str, Tensor]]:
        """Answers of the queries, and losses where there are targets.

        Args:
            image: (B, 3, H, W), normalized; the size counts for most heads.
            maps: fine to coarse.
            targets: one per image: `labels` int64 (N,) in 0..C-1 and `masks` uint8 or bool (N, H, W). N may be 0. For
                semantic segmentation each class of the image is one segment; `ignore` bool (H, W), where it is there,
                marks pixels that count for no loss.

        Returns:
            Answers of the last layer, and scalar losses by name, those of all layers summed.
        """
