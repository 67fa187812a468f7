"""Every timm model through the one backbone contract."""

from copy import deepcopy
from typing import Literal

import timm
import torch
from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError, Features, nearest


class Timm(Backbone):
    """A timm model (torchvision's names exist there too) as a pyramid of feature maps.

    `net` is the plain timm model without classifier: its tensors keep timm's names. Parameters that feature maps do not
    need (such as the last 1x1 convolution of an EfficientNet) are kept for timm but not trained.

    Args:
        name: timm model name, such as `resnet18` or `convnext_tiny`.
        in_channels: channels of the pictures.
        small_images: for pictures of about 64 pixels or less: the first convolution becomes 3x3 with stride 1 and
            the max-pool after it goes, so all strides shrink.
        drop_path: highest probability of skipping a residual branch in training (stochastic depth), 0..1.
        output_stride: stride of the coarsest map, by dilation, where the model allows it.

    Raises:
        ConfigError: an unknown name, or an option that this model does not have.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = 3,
        small_images: bool = False,
        drop_path: float = 0.0,
        output_stride: Literal[8, 16, 32] = 32,
    ):
        super().__init__()
        if not timm.is_model(name):
            raise ConfigError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
        options: dict[str, float | bool] = {"drop_path_rate": drop_path} if drop_path else {}
        if output_stride != 32:
            options["output_stride"] = output_stride
        if timm.models.is_model_in_modules(name, {"vision_transformer"}):
            options["dynamic_img_size"] = True
        try:
            self.net = timm.create_model(name, num_classes=0, in_chans=in_channels, **options)
        except (TypeError, NotImplementedError, AssertionError) as error:
            raise ConfigError(f"{name} cannot be built with {options}: {error}") from error
        self.name, self.small_images, self.in_channels = name, small_images, in_channels
        shrink = _small_stem(self.net, name) if small_images else 1

        info = self.net.feature_info
        levels = {f["reduction"]: i for i, f in enumerate(info)}  # the last map of each stride
        self.levels = list(levels.values())
        strides = [max(1, min(r, output_stride) // shrink) for r in levels]
        self.features = Features([info[i]["num_chs"] for i in self.levels], strides)
        self._leave_unused_untrained()

        config = self.net.pretrained_cfg
        for key, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            values = list(config.get(key, default))
            values = values if len(values) == in_channels else [sum(values) / len(values)] * in_channels
            self.register_buffer(key, torch.tensor(values))

    def forward(self, image: Tensor) -> list[Tensor]:
        try:
            return self.net.forward_intermediates(image, indices=self.levels, norm=True, intermediates_only=True)
        except AssertionError as error:  # of models made for one size
            height, width = image.shape[-2:]
            raise ConfigError(f"{self.name} does not take pictures of {height} x {width} pixels: {error}") from error

    def _leave_unused_untrained(self) -> None:
        pruned = deepcopy(self.net)
        pruned.prune_intermediate_layers(self.levels, prune_norm=False, prune_head=True)
        used = {name for name, _ in pruned.named_parameters()}
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name in used)


def _small_stem(net: nn.Module, name: str) -> int:
    """Gives the first convolution stride 1 and removes the max-pool after it; returns how much finer all maps are."""
    path, first = next(((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if first is None or first.stride[0] != 2:
        raise ConfigError(f"small_images needs a model that starts with a convolution of stride 2; {name} does not")
    parent, _, last = path.rpartition(".")
    fresh = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    setattr(net.get_submodule(parent), last, fresh)
    if not isinstance(getattr(net, "maxpool", None), nn.MaxPool2d):
        return 2
    net.maxpool = nn.Identity()
    return 4
