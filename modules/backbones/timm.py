"""Every timm model through the one backbone contract."""

import json
from functools import partial
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.classics.plugins import PLUGINS, plugin
from modules.backbones.classifiers import Classifier, find_classifier, has_convolution
from modules.backbones.size import size_error
from modules.backbones.stem import shrink_stem, spare_strided_points
from modules.contracts import Backbone, ConfigError, Features, Maps, Weights, check_range, suggest

POSITIONS, WINDOWS = {"dynamic_img_size": True, "dynamic_img_pad": True}, {"strict_img_size": False}
ANY_SIZE = {  # with which options timm's modules take images of any size: by rescaled positions, or filled-up windows
    **dict.fromkeys(("vision_transformer", "deit", "eva", "vitamin", "vision_transformer_hybrid"), POSITIONS),
    **dict.fromkeys(("swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr"), WINDOWS),
}
HYBRIDS = {"vitamin", "vision_transformer_hybrid"}  # they miscount the cells of images that are no whole cells
NOT_NORMALIZED = {"hiera", "hieradet_sam2", "vision_transformer_sam"}  # timm cannot normalize their maps
LAST_BLOCKS = {"ghostnet", "repghost"}  # timm's last map comes before the last blocks of its stride
Attention = Literal["se", "ese", "eca", "ecam", "ceca", "gc", "gca", "cbam", "lcbam", "sk", "splat"]
Block = Literal["dense", "fire", "ghost", "hard", "inception", "maxout", "residual", "shuffle"]


class Timm(Backbone):
    """A timm model (torchvision's names exist there too) as a pyramid of feature maps.

    `net` is the plain timm model without classifier: its tensors keep timm's names. `pool` is timm's
    `forward_head(pre_logits=True)`. Parameters that a task does not use (the last 1x1 convolution of an EfficientNet,
    say, where only maps are needed) are kept for timm but not trained.

    Args:
        name: timm model name, such as `resnet18` or `convnext_tiny`.
        in_channels: channels of the images.
        small_images: for images of about 64 pixels or less: the first convolution becomes 3x3 with stride 1 and
            the max-pool after it goes, so all strides shrink.
        drop_path: highest probability of skipping a residual branch in training (stochastic depth), 0..1.
        output_stride: largest stride of all maps, reached by dilated convolutions, for segmentation; every stage keeps
            its own map. Counted before `small_images` shrinks all strides.
        attention: timm's attention layers in every residual block, for ResNets, ResNeXts and our own networks (those
            without residuals have them behind every stage): `se` (Hu et al. 2018), `eca` (Wang et al. 2020; its kernel
            follows from the channels), `cbam` (Woo et al. 2018), `sk` (Li et al. 2019), `splat` (Zhang et al. 2022),
            `gc` (Cao et al. 2019), ...; or a block there: `ghost`, `fire`, `maxout`, `residual` (scaled by 0.2), ...
        image_size: side, or height and width, of the images, for networks made for one size such as MaxViT or BEiT;
            null is the size that they were published with. Most networks take any size without it.
        options: more arguments of the network by its own names, such as `{width: 0.6}` of `mobilenetv1`, `{depth: 22,
            width: 6}` of `wide_resnet` or `{stem_type: deep}` of `resnet18`.

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
        attention: Attention | Block | None = None,
        image_size: int | tuple[int, int] | None = None,
        options: dict[str, Any] | None = None,
    ):
        super().__init__()
        check_range("backbone.drop_path", drop_path, high=1)
        if not timm.is_model(name):
            raise ConfigError(f"timm has no model {name!r}{suggest(name, timm.list_models())}")
        self.name, self.small_images, self.in_channels = name, small_images, in_channels
        self.family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        asked = _options(in_channels, drop_path, attention, image_size)
        if options and options.keys() & asked.keys():
            raise ConfigError(f"options of {name} say {', '.join(options.keys() & asked.keys())} a second time")
        said = {"attention": attention, "image_size": image_size, "options": options}
        self.arguments = {key: value for key, value in said.items() if value and _plain(value)}
        options = asked | (options or {})
        self.net, self.options = _create(name, ANY_SIZE.get(self.family, {}) | options), options
        self.output_stride = output_stride
        if self.family in LAST_BLOCKS:
            _end_at_last_block(self.net)
        reductions = [f["reduction"] for f in self.net.feature_info]
        if self.family == "tresnet":
            reductions[0] = 4  # timm says 2, but its stem makes a cell of 4 x 4 pixels
        self.levels = list({r: i for i, r in enumerate(reductions)}.values())  # the last map of each stride
        if output_stride < 32 and max(reductions) > output_stride:
            self.net = _dilate(name, output_stride, options)
        self.built_for = image_size
        if image_size is not None:
            sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
            self.net.pretrained_cfg = self.net.pretrained_cfg | {"input_size": (in_channels, *sides)}
        shrink = shrink_stem(self.net, name) if small_images else 1
        spare_strided_points(self.net)
        maps = [self.net.feature_info[i] for i in self.levels]
        strides = [max(1, m["reduction"] // shrink) for m in maps]
        self.features = Features([m["num_chs"] for m in maps], strides, self.net.head_hidden_size)

        config = self.net.pretrained_cfg
        for key, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            values = list(config.get(key, default))
            values = values if len(values) == in_channels else [sum(values) / len(values)] * in_channels
            self.register_buffer(key, torch.tensor(values))

    def forward(self, image: Tensor) -> list[Tensor]:
        norm = self.family not in NOT_NORMALIZED
        if self.family in HYBRIDS:
            stride = self.features.strides[-1]
            image = functional.pad(image, (0, -image.shape[-1] % stride, 0, -image.shape[-2] % stride))
        asked = {"indices": self.levels, "norm": norm}
        try:
            if not self.pools:
                return self.net.forward_intermediates(image, **asked, stop_early=True, intermediates_only=True)
            end, maps = self.net.forward_intermediates(image, **asked)
            return Maps(maps, end)
        except (AssertionError, ValueError, RuntimeError) as error:
            size = f"--model.backbone Timm --model.backbone.name {self.name} --model.backbone.image_size SIZE"
            if sentence := size_error(self, image, error, f", or build it for other images: {size}"):
                raise sentence from error
            raise

    def pool(self, maps: Maps) -> Tensor:
        return self.net.forward_head(maps.end, pre_logits=True)

    def classifier(self) -> Classifier | None:
        try:
            with torch.device("meta"):
                network = timm.create_model(self.name, **self.options)
        except Exception:  # some compute with what they are built of
            network = timm.create_model(self.name, **self.options)
        layers = find_classifier(network, set(self.net.state_dict()), network.get_classifier())
        tokens = len(layers) > 1 and getattr(network, "num_prefix_tokens", getattr(network, "num_tokens", 1)) > 1
        takes = "tokens" if tokens else "cells" if has_convolution(layers) else "pooled"
        takes = "branches" if self.family == "crossvit" else takes
        return Classifier(layers, takes) if layers else None

    def class_names(self) -> list[str] | None:
        from timm.data import ImageNetInfo, infer_imagenet_subset

        subset = infer_imagenet_subset(self.net.pretrained_cfg)
        return ImageNetInfo(subset).label_descriptions() if subset else None

    def pretrained(self) -> Weights:
        size = {} if self.built_for is None else {"img_size": self.built_for}  # size that positions are rescaled to
        net, own = timm.create_model(self.name, pretrained=True, **size), self.net.state_dict()
        config = net.pretrained_cfg
        about = {"name": self.name, "mean": config["mean"], "std": config["std"]}
        tensors = {key: value for key, value in net.state_dict().items() if key in own}
        classifier = {key: value for key, value in net.state_dict().items() if key not in own}
        return Weights(tensors, about, f"timm {self.name}.{config.get('tag', '')}", classifier)

    @property
    def weights_file(self) -> str:
        config = self.net.pretrained_cfg
        hub = config.get("hf_hub_id")
        return f"model.safetensors of {hub} (Hugging Face hub)" if hub else config.get("url") or ""


def _options(
    channels: int, drop_path: float, attention: str | None, image_size: int | tuple[int, int] | None
) -> dict[str, Any]:
    """Options under timm's names, without those that are not set."""
    asked = {
        "in_chans": channels,
        "drop_path_rate": drop_path or None,
        "block_args": attention and {"attn_layer": partial(_block, attention) if attention in PLUGINS else attention},
        "img_size": image_size,
    }
    return {key: value for key, value in asked.items() if value is not None}


def _plain(value: Any) -> bool:
    """True if a value is the same as JSON."""
    try:
        return json.loads(json.dumps(value)) == (list(value) if isinstance(value, tuple) else value)
    except TypeError:
        return False


def _block(name: str, channels: int, **where: Any) -> nn.Module:
    """One of our blocks for a network of timm's; its output is copied, as timm's ResNets add to it in place."""
    block = plugin(name, channels).to(**where)
    block.register_forward_hook(_copy)
    return block


def _copy(block: nn.Module, inputs: tuple[Tensor], x: Tensor) -> Tensor:
    return x.clone()


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, num_classes=0, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        if "." in name and "pretrained tag" in str(error):
            raise ConfigError(f"timm has no weights {name!r}{suggest(name, timm.list_pretrained())}") from error
        if "block_args" in options:
            raise ConfigError(
                f"{name} takes no attention layers: leave attention out, or choose a ResNet or ResNeXt such as resnet50"
            ) from error
        if "img_size" in options:
            raise ConfigError(f"{name} is not built for a size of images: leave image_size out ({error})") from error
        raise ConfigError(f"{name} cannot be built with {options}: {error}") from error


def _end_at_last_block(net: nn.Module) -> None:
    """Take the last map behind all blocks, before the 1x1 convolution that precedes pooling."""
    last = len(net.blocks) - 2
    net.feature_info[-1] = net.feature_info[-1] | {"module": f"blocks.{last}"}
    net.stage_ends[-1] = last


def _dilate(name: str, stride: int, options: dict[str, Any]) -> nn.Module:
    """Dilated convolutions in place of the last strides (output stride): the same stages and tensors, finer maps."""
    refused = ConfigError(
        f"{name} cannot give output_stride {stride}: timm has no dilation for it; "
        f"leave output_stride at 32 or choose a backbone that can, such as resnet50"
    )
    options = {**options, "output_stride": stride}
    try:
        if timm.models.is_model_in_modules(name, {"mobilenetv3", "hardcorenas"}):
            net = timm.create_model(name, num_classes=0, in_chans=options["in_chans"])
            dilated = timm.create_model(name, features_only=True, **options)  # timm dilates these only so
            net.blocks, net.feature_info = dilated.blocks, dilated.feature_info.info
        else:
            net = timm.create_model(name, num_classes=0, **options)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise refused from error
    if max(f["reduction"] for f in net.feature_info) > stride:  # ignored without a word
        raise refused
    return net
