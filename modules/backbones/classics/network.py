"""Base of the classic networks: timm models, registered and built by name."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import checkpoint, register_model
from timm.models._features import FeatureGetterNet, feature_take_indices
from torch import Tensor, nn

from modules.backbones.classics.classifiers import Dense, Pooled, last_layer
from modules.backbones.classics.plugins import plug_in
from modules.contracts import ConfigError, Features


class Network(nn.Module):
    """Sequential stages and a head, with the methods of timm's models.

    Without classes its output is the input of the classifier: the pooled last map (B, num_features), or the last of the
    hidden layers behind it.

    Args:
        stages: each takes the map of the one before; the first takes images (B, C, H, W).
        features: channels and strides of the end of each stage. A network without padding gives maps a little smaller
            than H / stride, but `stride` more pixels are always one more cell.
        head: the last map to logits, `Pooled` or `Dense`; null where there are neither classes nor hidden layers.
        maxpool: between the first two stages; `small_images` takes it away.
        input_size: channels, height and width of the images that it was published for.
        smallest: shortest side of an image that it takes; a quarter of it with `small_images`.
        mean: of the images (scaled to 0..1) that it expects, per channel.
        std: as `mean`.

    `auxiliary_points` are the stages on whose maps it was published with auxiliary classifiers.
    """

    auxiliary_points: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self,
        stages: Sequence[nn.Module],
        features: Features,
        head: nn.Module | None,
        maxpool: nn.Module | None = None,
        input_size: tuple[int, int, int] = (3, 224, 224),
        smallest: int = 1,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ):
        super().__init__()
        self.stages = nn.Sequential(*stages)
        self.maxpool = maxpool or nn.Identity()
        self.head = head or Pooled(features.channels[-1])
        self.num_features, self.grad_checkpointing = features.channels[-1], False
        self._smallest, self._pools = smallest, maxpool is not None
        self.feature_info = [
            {"num_chs": channels, "reduction": stride, "module": f"stages.{index}"}
            for index, (channels, stride) in enumerate(zip(*features, strict=True))
        ]
        first = next(name for name, layer in self.named_modules() if isinstance(layer, nn.Conv2d))
        classifier = f"head.{last_layer(self.head)}" if self.num_classes else None
        self.pretrained_cfg: dict[str, Any] = {
            "input_size": input_size,
            "mean": tuple(mean),
            "std": tuple(std),
            "num_classes": self.num_classes,
            "first_conv": first,
            "classifier": classifier,
        }

    @property
    def smallest(self) -> int:
        """Shortest side of an image that it takes."""
        small_images = self._pools and isinstance(self.maxpool, nn.Identity)
        return math.ceil(self._smallest / 4) if small_images else self._smallest

    @property
    def head_hidden_size(self) -> int:
        """Width of the input of the classifier."""
        return (self.head.hidden_size if isinstance(self.head, Dense) else 0) or self.num_features

    @property
    def num_classes(self) -> int:
        classifier = self.get_classifier()
        return getattr(classifier, "out_features", 0) or getattr(classifier, "out_channels", 0)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes), or to features (B, num_features) without classes."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        """Images to the last map (B, num_features, h, w)."""
        return self.forward_intermediates(image, indices=1, intermediates_only=True)[0]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map to logits, or with `pre_logits` to the input of the classifier (B, head_hidden_size)."""
        return self.head.pre_logits(x) if pre_logits or not self.num_classes else self.head(x)

    def score_map(self, image: Tensor) -> Tensor:
        """Images of any size to the logits of every place (B, num_classes, h, w), whose mean `forward` returns.

        As if the network were applied to crops of its own input size everywhere, at once (Sermanet et al. 2014,
        "OverFeat"): exactly so where no layer pads, else but for what padding adds at the borders of the crops.
        """
        return self.head.score_map(self.forward_features(image))

    def forward_intermediates(
        self,
        image: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps at the end of the stages `indices` (the last n for a number, all for null), as timm's models do.

        Raises:
            ConfigError: images smaller than `smallest`.
        """
        self._check(image)
        taken, last = feature_take_indices(len(self.stages), indices)
        maps, x = [], image
        for index, stage in enumerate(self.stages[: last + 1] if stop_early else self.stages):
            x = checkpoint(stage, x) if self.grad_checkpointing and self.training else stage(x)
            maps += [x] * (index in taken)
            x = self.maxpool(x) if index == 0 else x
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages after the last of `indices`, and the head; returns the stages as nonnegative indices."""
        taken, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        if prune_head or last + 1 < len(self.feature_info):
            self.num_features = self.feature_info[last]["num_chs"]
            self.head = Pooled(self.num_features)
        return taken

    def get_classifier(self) -> nn.Module:
        name = last_layer(self.head)
        return self.head.get_submodule(name) if name else nn.Identity()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one, behind the fully connected layers if there are some; 0 leaves none."""
        if num_classes and self.num_classes:
            self.head.set_submodule(last_layer(self.head), _resized(self.get_classifier(), num_classes))
        elif isinstance(self.head, Dense) and (hidden := self.head.hidden_size):
            last = [nn.Conv2d(hidden, num_classes, 1)] if num_classes else []
            self.head = Dense(*self.head.without_classes(), *last, classifies=bool(last))
        else:
            norm = self.head.norm if isinstance(self.head, Pooled) else None
            self.head = Pooled(self.num_features, num_classes, norm=norm)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups for layer-wise learning-rate decay: stages if `coarse`, else the layers within them."""
        parts = [(r"^stages\.(\d+)\.(\d+)", None), (r"^stages\.(\d+)", (0,))]
        return {"blocks": r"^stages\.(\d+)" if coarse else parts}

    def no_weight_decay(self) -> set[str]:
        return set()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    def _check(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        if min(height, width) < self.smallest:
            raise ConfigError(
                f"{self.name} takes images of {self.smallest} pixels or more, not {height} x {width}: "
                f"raise --data.image_size"
            )

    @property
    def name(self) -> str:
        return self.pretrained_cfg.get("architecture", "this network")


def register(make: Callable[..., Network]) -> Callable[..., Network | FeatureGetterNet]:
    """Register a builder of networks with timm, under its name: `timm.create_model("lenet5", num_classes=0)`.

    All of them take `block_args={"attn_layer": NAME}`, as timm's ResNets do, for the blocks of `plugins`.

    Raises:
        ConfigError: when it is called for pretrained weights, which there are none of.
    """

    @wraps(make)
    def build(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: dict[str, Any] | None = None,
        cache_dir: str | None = None,
        block_args: dict[str, str] | None = None,
        features_only: bool = False,
        out_indices: int | list[int] | None = None,
        **options: Any,
    ) -> Network | FeatureGetterNet:
        if pretrained or pretrained_cfg or pretrained_cfg_overlay:
            raise ConfigError(
                f"nobody has published weights of {make.__name__}: train it, or say where they lie with "
                f"--model.weights PATH"
            )
        net = make(**options)
        if block_args and not isinstance(net, Network):
            raise ConfigError(f"{make.__name__} takes no attention layers: leave attention out")
        if block_args:
            plug_in(net.stages, [info["num_chs"] for info in net.feature_info], block_args["attn_layer"])
        net.pretrained_cfg["architecture"] = make.__name__
        if not features_only:
            return net
        return FeatureGetterNet(net, list(range(len(net.feature_info))) if out_indices is None else out_indices)

    return register_model(build)


def _resized(layer: nn.Module, outputs: int) -> nn.Module:
    where = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, outputs, **where)
    return nn.Conv2d(layer.in_channels, outputs, layer.kernel_size, **where)
