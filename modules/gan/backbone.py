"""A discriminator made of any backbone that the other tasks share."""

from torch import Tensor

from modules.backbones import Timm
from modules.backbones.reach import survey, train_only
from modules.contracts import Backbone, ConfigError
from modules.gan.contracts import Discriminator, ImageSpec, constrain


class BackboneDiscriminator(Discriminator):
    """A backbone's pooled features and a linear head.

    Args:
        spec: image shape and classes.
        backbone: a timm model name, or a backbone of our own.
        weights: source of the backbone's weights, as --model.weights of other tasks; null for random ones.
        small_images: 3x3 stem without max-pool, for images of about 64 pixels or less.
        spectral: spectral norm on every layer.

    Raises:
        ConfigError: the backbone takes other images.
    """

    def __init__(
        self,
        spec: ImageSpec,
        backbone: Backbone | str = "resnet18",
        weights: str | None = None,
        small_images: bool = False,
        spectral: bool = False,
    ):
        if isinstance(backbone, str):
            backbone = Timm(backbone, in_channels=spec.channels, small_images=small_images)
        if len(backbone.mean) != spec.channels:
            raise ConfigError(
                f"{backbone.name} takes images of {len(backbone.mean)} channels, but model.channels is "
                f"{spec.channels}: give the discriminator's backbone by name"
            )
        stride = backbone.features.strides[-1]
        if spec.size < stride:
            raise ConfigError(
                f"images of {spec.size} pixels are smaller than the stride {stride} of {backbone.name}: raise "
                f"--data.image_size, or set --model.discriminator.small_images true"
            )
        super().__init__(spec, backbone.features.pooled)
        self.backbone, self.weights = backbone, weights
        train_only(backbone, survey(backbone).pooled)
        if spectral:
            constrain(self)

    def features(self, image: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        mean, std = self.backbone.mean.view(shape), self.backbone.std.view(shape)
        return self.backbone.pool(self.backbone(((image + 1) / 2 - mean) / std))
