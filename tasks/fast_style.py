"""Fast style transfer: one pass of a network per image (Johnson et al. 2016), for several styles (Dumoulin 2017)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from modules.contracts import Batch, ConfigError, Prediction
from modules.contracts.data_info import DataInfo
from modules.contracts.pixels import to_uint8
from modules.style import StyleFeatures, StyleWeights, TransformerNet
from modules.style.builtin import read_style
from modules.style.features import weighted
from modules.style.transformer import Norm
from tasks.base import Stage
from tasks.vision import VisionTask

MIX = "mix"


class FastStyle(VisionTask):
    """Fast style transfer: a network paints any image in one pass, in one style or several.

    It learns the losses of Gatys et al. 2016 (Gram matrices for the style, maps for the content) on any images, as in
    Johnson et al. 2016; each style has its own scales and shifts of the norms (Dumoulin et al. 2017), so that their
    mixtures are styles too. The backbone only measures: it is frozen, and its features decide what style is.

    Args:
        styles: image files, or `strokes` and `mosaic`, which are built in.
        style_weight: of the style loss, which is relative to the norm of the style's Gram matrices.
        content_weight: of the content loss, relative to the norm of the content's map.
        tv_weight: of the total variation, which smooths.
        style_levels: levels of the backbone's pyramid for the style, 0 the finest; null takes all up to stride 16.
        content_level: level for the content; null takes the finest of stride 4 or more.
        width: channels of the network's first convolution; coarser maps have 2 and 4 times as many.
        blocks: residual blocks.
        norm: `instance` or `batch` norm; each with scales and shifts per style.
        skip: the last convolution also sees the image, whose colors and contrast instance norm takes away.
        image_size: shorter side of the styles in pixels; null takes that of the data's images.
        mix: share of each style in `predict`, such as [1, 2]; null paints every image in each style.
        frozen: true, since the backbone measures and does not learn.

    Attributes: `style_names` are the stems of the files; `thumbnails` uint8 (S, 3, 64, 64) show the styles.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    letterbox: ClassVar[bool] = True
    original_size: ClassVar[bool] = True
    protocols: ClassVar[dict[str, str]] = {
        "loss": "style, content and total variation by their weights, mean over images, styles in turn",
        "style_loss": "squared distance of Gram matrices relative to the style's norm, mean over levels",
        "content_loss": "squared distance of maps relative to the content's norm",
        "input_style_loss": "style_loss of the images as they were",
    }
    thumbnails: Tensor

    def __init__(
        self,
        styles: list[str],
        style_weight: float = StyleWeights.style,
        content_weight: float = StyleWeights.content,
        tv_weight: float = StyleWeights.tv,
        style_levels: list[int] | None = None,
        content_level: int | None = None,
        width: int = 32,
        blocks: int = 5,
        norm: Norm = "instance",
        skip: bool = False,
        image_size: int | None = None,
        mix: list[float] | None = None,
        frozen: bool = True,
        **kwargs,
    ):
        super().__init__(frozen=True, **kwargs)
        if not frozen:
            raise ConfigError("model.frozen is false, but the backbone of fast style measures and does not learn")
        self.styles, self.mix, self.image_size = _checked(styles), mix, image_size or 64
        self.style_names = _names(styles)
        if mix is not None and (len(mix) != len(styles) or min(mix) < 0 or sum(mix) <= 0):
            raise ConfigError(f"model.mix is {mix}, but must be a share of 0 or more for each of {len(styles)} styles")
        self.loss_weights = StyleWeights(style_weight, content_weight, tv_weight)
        self.loss_weights.check("model.")
        self.measure = StyleFeatures(self.backbone, style_levels, content_level)
        self.network = TransformerNet(len(styles), width, blocks, norm, skip).to(memory_format=torch.channels_last)
        for level in self.measure.style_levels:
            channels = self.backbone.features.channels[level]
            self.register_buffer(f"gram_{level}", torch.zeros(len(styles), channels, channels))
        self.register_buffer("thumbnails", torch.zeros(len(styles), 3, 64, 64, dtype=torch.uint8))

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        return {"TransformerNet": self.network, f"{self.backbone.name} (measures)": self.backbone}

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage != "fit" or self.trainer.ckpt_path:  # a checkpoint holds what it learned of the styles
            return
        for i, style in enumerate(self.styles):
            image = _tensor(read_style(style, self.image_size))
            for level, found in zip(self.measure.style_levels, self.measure.style(image), strict=True):
                self.get_buffer(f"gram_{level}")[i] = found[0]
            self.thumbnails[i] = to_uint8(_tensor(read_style(style, 64))[0, :, :64, :64])

    def forward(self, image: Tensor, mix: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) and shares of the styles (B, S) to images in 0..1 of the same size."""
        return self.network(self.backbone.restore(image), mix).float()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        image = batch["image"]
        chosen = torch.randint(len(self.styles), (len(image),)).to(image.device)
        losses = {
            name: loss.mean() for name, loss in self._losses(image, self(image, self._one(chosen)), chosen).items()
        }
        loss = weighted(losses, self.loss_weights)
        self.log_step({"loss": loss} | {f"{name}_loss": losses[name].detach() for name in ("style", "content")})
        return loss

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        """Paint each image in one style, all styles in turn, and measure it."""
        each = torch.zeros(len(batch["image"]), 4, device=self.device)
        for rows, image in _whole(batch):
            chosen = (rows + index) % len(self.styles)
            losses = self._losses(image, self(image, self._one(chosen)), chosen)
            before = self._losses(image, self.backbone.restore(image), chosen)["style"]
            loss = weighted(losses, self.loss_weights)
            each[rows] = torch.stack([loss, losses["style"], losses["content"], before], 1)
        columns = dict(zip(("loss", "style_loss", "content_loss", "input_style_loss"), each.T, strict=True))
        self.log_mean(stage, {name: column.mean() for name, column in columns.items()}, len(each))
        self.records.add(stage, **columns)
        return {"style_loss": columns["style_loss"]}

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        """Images in every style, or in the mixture of `mix`; `generated` has the first of them."""
        found: list[dict[str, Tensor]] = [{} for _ in batch["id"]]
        for rows, image in _whole(batch):
            for name, shares in self.mixtures().items():
                pixels = to_uint8(self(image, shares.expand(len(image), -1))).permute(0, 2, 3, 1)
                for row, one in zip(rows.tolist(), pixels, strict=True):
                    found[row][name] = one
        return {"styles": found, "generated": [next(iter(one.values())) for one in found]}

    def mixtures(self) -> dict[str, Tensor]:
        """Shares of the styles (S,) of each image that `predict` paints, by name."""
        if self.mix is None:
            return dict(zip(self.style_names, torch.eye(len(self.styles), device=self.device), strict=True))
        shares = torch.tensor(self.mix, device=self.device)
        return {MIX: shares / shares.sum()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        known = checkpoint.get("hyper_parameters", {}).get("styles", self.styles)
        if list(known) != self.styles:
            raise ConfigError(f"model.styles is {self.styles}, but the checkpoint learned {list(known)}: leave it out")

    def _one(self, chosen: Tensor) -> Tensor:
        return one_hot(chosen, len(self.styles)).float()

    def _losses(self, image: Tensor, made: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Losses (B,) of images that were made of normalized ones in the styles of these numbers (B,)."""
        grams = [self.get_buffer(f"gram_{level}")[chosen] for level in self.measure.style_levels]
        return self.measure.losses(made, grams, self.measure.content(self.backbone.restore(image)))


def _checked(styles: list[str]) -> list[str]:
    if not styles or isinstance(styles, str):
        raise ConfigError(f"model.styles is {styles!r}, but must be a list of image files, such as [strokes, a.jpg]")
    return list(styles)


def _names(styles: Sequence[str]) -> list[str]:
    """Stems of the files, numbered where several have the same."""
    stems = [Path(style).stem for style in styles]
    return [stem if stems.count(stem) == 1 and stem != MIX else f"{stem}_{i}" for i, stem in enumerate(stems)]


def _tensor(pixels: Any) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def _whole(batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Rows of a batch and their images without padding: together if all are of one size, else one by one."""
    image = batch["image"]
    rows = torch.arange(len(image), device=image.device)
    sizes = batch["inside"].tolist() if "inside" in batch else []
    if all(size == sizes[0] for size in sizes):
        height, width = sizes[0] if sizes else image.shape[-2:]
        return [(rows, image[..., :height, :width])]
    return [(rows[i : i + 1], image[i : i + 1, :, :h, :w]) for i, (h, w) in enumerate(sizes)]
