"""Base class of the heads of mask queries, which serve semantic, instance and panoptic segmentation alike."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from modules.contracts import Backbone, Neck
from modules.heads.base import Head

Target = dict[str, Tensor]
See = Callable[[Tensor], list[Tensor]]
"""Backbone and neck: normalized images (B, 3, H, W) to maps, fine to coarse."""


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

    Attributes:
        queries: number of queries Q.
    """

    queries: int

    @abstractmethod
    def forward(  # pyrefly: ignore[bad-override]
        self, image: Tensor, see: See, targets: list[Target] | None = None
    ) -> tuple[Queries, dict[str, Tensor]]:
        """Answers of the queries, and losses where there are targets.

        Args:
            image: (B, 3, H, W), normalized.
            see: gives the maps of the image, fine to coarse; not called by heads that run the backbone by themselves.
            targets: one per image: `labels` int64 (N,) in 0..C-1 and `masks` uint8 or bool (N, H, W). N may be 0. For
                semantic segmentation each class of the image is one segment; `ignore` bool (H, W), where it is there,
                marks pixels that count for no loss.

        Returns:
            Answers of the last layer, and scalar losses by name, those of all layers summed.
        """

    def join(self, backbone: Backbone, neck: Neck, given: bool) -> Neck:
        """Take from the backbone what the head runs by itself; called by the task when all three are built.

        Args:
            backbone: of the task.
            neck: that the head was built for.
            given: the user chose it.

        Returns:
            Neck of the task: the same one, or one without weights where the head does without.

        Raises:
            ConfigError: the head does not go with this backbone, or with a neck.
        """
        return neck
