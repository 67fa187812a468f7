"""SimCLR of clips: spatiotemporal contrastive video representation learning (CVRL; Qian et al. 2021)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, FusionFactory
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.temporal import Kind
from tasks.clip_pretraining import ClipPretraining
from tasks.simclr import SimCLR


class VideoSimCLR(ClipPretraining, SimCLR):
    """Pull two clips of a video together, push other videos apart; they differ in time, crop and color.

    Every clip has one crop and one draw of colors for all of its frames. Of a backbone for images only its own layers
    are kept afterward, not those of `fusion`.

    Args:
        head: projection head; only the backbone is kept afterward.
        embed_dim: size D of the embeddings that are compared.
        fusion: as in tasks/video.yaml.
    """

    views = (2, 2)
    protocols: ClassVar[dict[str, str]] = {"loss": "NT-Xent between two clips, within batches of one device"}

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] = Projection,
        embed_dim: int = 128,
        fusion: Kind | FusionFactory = "mean",
        **kwargs,
    ):
        super().__init__(head=head, embed_dim=embed_dim, fusion=fusion, **kwargs)
        self.head = EmbeddingHead.build(head, self.fusion.features, embed_dim)
        self.pools = self.head.pools
        self.train_used()

    def forward(self, image: Tensor) -> Tensor:
        """Normalized clips (B, 3, T, H, W) to embeddings (B, D)."""
        maps = self.fusion(self.backbone, image)
        return self.head(maps.end if self.head.pools else maps)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        clips = batch["video"]
        return super().compute_loss(batch | {"views": [clips[::2], clips[1::2]]}, generator)
