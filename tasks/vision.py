"""What all tasks that see pictures or clips share: the backbone, its weights and its input."""

from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from modules.backbones import by_name
from modules.backbones.size import blank, size_error, smallest
from modules.contracts import Backbone, Batch, ConfigError
from modules.fusing import fused
from modules.transfer import describe, load_backbone
from tasks.base import Task


class VisionTask(Task):
    """Base of the tasks with a backbone.

    Args:
        backbone: a timm model name, that of a network for clips (`r3d_18`, `c3d`, ...), or a backbone of our own.
        weights: where the backbone's weights come from: a run directory, a .ckpt of any task here, a
            backbone.safetensors, its library's file, or `pretrained` to fetch that; null starts from random ones.
        small_images: 3x3 stem without max-pool, for pictures of about 64 pixels or less.
        drop_path: highest probability of skipping a residual branch in training, 0..1.
        output_stride: stride of the backbone's coarsest map, by dilation; 8 or 16 keep detail for dense tasks.
        frozen: keep the backbone as it is, its normalisation layers in eval mode; only the rest is trained.
        compile: compile the backbone with torch.compile; the first step takes a minute or so longer.
        fuse: in validate, test and predict, put batch norms into the convolutions before them and RepVGG into its plain
            form: the same answers but for rounding, faster.
    """

    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone | str = "resnet18",
        weights: str | None = None,
        small_images: bool = False,
        drop_path: float = 0.0,
        output_stride: Literal[8, 16, 32] = 32,
        frozen: bool = False,
        compile: bool = False,
        fuse: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if isinstance(backbone, str):
            backbone = by_name(backbone, small_images, drop_path, output_stride)
        elif small_images or drop_path or output_stride != 32:
            raise ConfigError(
                "small_images, drop_path and output_stride belong into the backbone's init_args when it is given by "
                "class_path"
            )
        if backbone.temporal and "video" not in self.needs:
            raise ConfigError(
                f"{backbone.name} takes clips, not pictures: choose another --model.backbone, such as resnet18"
            )
        self.backbone, self.weights, self.frozen = backbone, weights, frozen
        self.backbone.to(memory_format=self.backbone.memory_format)
        if frozen:
            self.backbone.requires_grad_(False).eval()
        self.compiled, self.fuse = compile, fuse
        if compile:
            self.backbone.compile()  # in place, so that its tensors keep their names

    @property
    def parts(self) -> dict[str, nn.Module]:
        return {self.backbone.name: self.backbone}

    def maps(self, image: Tensor) -> list[Tensor]:
        """Normalised pictures (B, 3, H, W) to feature maps, fine to coarse."""
        return self.backbone(image)

    def features(self, image: Tensor) -> Tensor:
        """The coarsest of these maps pooled to features (B, D): what probes and exports look at."""
        return self.maps(image)[-1].mean((-2, -1))

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.weights and not self.trainer.ckpt_path:  # a resumed run has its own
            rank_zero_info(load_backbone(self.backbone, self.weights))

    def train(self, mode: bool = True) -> "VisionTask":
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def on_validation_start(self) -> None:
        if self.trainer.state.fn == "validate":
            self._fuse()

    def on_test_start(self) -> None:
        self._fuse()

    def on_predict_start(self) -> None:
        self._fuse()

    def _fuse(self) -> None:
        """Here, because a checkpoint is loaded before, into the network as it was trained."""
        if not self.fuse:
            return
        self.backbone, self.fuse = fused(self.backbone), False
        if self.compiled:
            self.backbone.compile()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Pictures cross to the device as uint8 and become normalised floats there.

        Raises:
            ConfigError: the data gives something else than the task `needs`, or too small pictures.
        """
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if "image" in batch:
            batch["image"] = self.normalised(batch["image"])
        if "video" in batch:
            batch["video"] = self.normalised(batch["video"])
        if "views" in batch:
            batch["views"] = [self.normalised(view) for view in batch["views"]]
        return batch

    def normalised(self, image: Tensor) -> Tensor:
        """Pictures or clips uint8 (B, C, ...) to floats of the weights' type, which is float32 unless asked otherwise.

        Raises:
            ConfigError: they are smaller than one cell of the backbone's coarsest map.
        """
        self._check_stride(min(image.shape[-2:]))
        return self.backbone.normalise(image).to(self.dtype)

    def check_sides(self, sides: dict[str, int]) -> None:
        """Refuses squares that the backbone cannot see.

        Args:
            sides: in pixels, by the option that sets them, those of whole pictures first.

        Raises:
            ConfigError: they are smaller than one cell of its coarsest map, or parts of pictures have another size than
                the one that it is built for.
        """
        for number, (option, side) in enumerate(sides.items()):
            self._check_stride(side, option)
            # of whole pictures the first batch tells, without a copy of the network
            image, remedy = torch.empty(1, self.backbone.in_channels, side, side), ", or --data.local_views 0"
            if number and (sentence := size_error(self.backbone, image, ValueError("it fails"), remedy, option)):
                raise sentence

    def _check_stride(self, size: int, option: str = "data.image_size") -> None:
        stride = self.backbone.features.strides[-1]
        if size < stride:  # less than one cell; on a CPU in bf16 such convolutions also have undefined gradients
            finer = "" if self.backbone.small_images else ", or try --model.small_images true"
            raise ConfigError(
                f"pictures of {size} pixels are smaller than the stride {stride} of {self.backbone.name}: "
                f"raise --{option} to {smallest(blank(self.backbone))} or more{finer}"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["backbone"] = describe(self.backbone)
