"""Base of tasks on clips of videos: frames, their fusion, and features."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from modules.contracts import ConfigError, FusionFactory
from modules.temporal import FUSIONS, Kind
from tasks.vision import VisionTask


class ClipInput(VisionTask):
    """Base of tasks whose batches have `video` (B V, 3, T, H, W): V clips of each of B videos.

    The backbone is an image network, with weights of any task, whose frames `fusion` combines; or a clip network, such
    as `r3d_18` or `VideoViT`.

    Args:
        frames: frames of a clip; null takes the data's.
        fusion: `single` (middle frame), `mean` or `max` of all frames, `concat` (late, fully connected), `early` (first
            convolution), `slow` (stage by stage), `lstm`, `gru`, `attention`, `inflate` (2-D to 3-D convolutions); a
            class_path takes their options. Backbones for clips take `mean`, `max`, `lstm`, `gru` and `attention`.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("video",)

    def __init__(self, frames: int | None = None, fusion: Kind | FusionFactory = "mean", **kwargs):
        super().__init__(**kwargs)
        if not frames or frames < 1:
            raise ConfigError(
                f"{type(self).__name__} needs the frames of a clip: from the data, or as --model.frames; choose --data "
                "of videos, such as VideoFolder"
            )
        self.frames = frames
        self.fusion = (FUSIONS[fusion] if isinstance(fusion, str) else fusion)(self.backbone, frames)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Normalized clips (N, 3, T, H, W), or images (N, 3, H, W) as still clips, to maps without time."""
        if image.ndim == 4:
            image = image.unsqueeze(2).expand(-1, -1, self.frames, -1, -1)
        return self.fusion(self.exported, image)

    @property
    def initialized(self) -> tuple[nn.Module, Callable[[Tensor], object]]:
        return self.backbone, self.maps

    def features(self, image: Tensor) -> Tensor:
        maps: Any = self.maps(image)
        return maps.end if self.pools else maps[-1].mean((-2, -1))
