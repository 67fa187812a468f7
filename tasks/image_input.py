"""Images and clips as a backbone takes them: checks of their sizes, and normalization."""

import torch
from torch import Tensor

from modules.backbones.size import check_stride, size_error
from modules.contracts import Backbone, Batch, ConfigError
from tasks.unfreezing import Unfreezing


class ImageInput(Unfreezing):
    """Base of tasks that normalize the images or clips of each batch on the device, as the backbone expects them."""

    backbone: Backbone

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalize images, which reach the device as uint8, to floats.

        Raises:
            ConfigError: the batch lacks one of `required_keys`, or its images are too small.
        """
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if "image" in batch:
            batch["image"] = self.normalized(batch["image"])
        if "video" in batch:
            batch["video"] = self.normalized(batch["video"])
        if "views" in batch:
            batch["views"] = [self.normalized(view) for view in batch["views"]]
        return batch

    def normalized(self, image: Tensor) -> Tensor:
        """Normalize images or clips uint8 (B, C, ...) to floats of the weights' type, float32 by default.

        Raises:
            ConfigError: they are smaller than one cell of the backbone's coarsest map.
        """
        if image.ndim == 4 and image.shape[-1] in (1, 3) and image.shape[1] > 4:
            raise ConfigError(
                f"images are (B, C, H, W), but the data gives {tuple(image.shape)}: put the channels first"
            )
        check_stride(self.backbone, min(image.shape[-2:]))
        return self.backbone.normalize(image).to(self.dtype)

    def check_sides(self, sides: dict[str, int]) -> None:
        """Check the image sizes against the backbone's stride and fixed input size.

        Args:
            sides: in pixels, by the option that sets them, those of whole images first.

        Raises:
            ConfigError: they are smaller than one cell of its coarsest map, or parts of images have another size than
                the one that it is built for.
        """
        for number, (option, side) in enumerate(sides.items()):
            check_stride(self.backbone, side, option)
            # of whole images the first batch tells, without a copy of the network
            image, remedy = torch.empty(1, self.backbone.in_channels, side, side), ", or --data.local_views 0"
            if number and (sentence := size_error(self.backbone, image, ValueError("it fails"), remedy, option)):
                raise sentence
