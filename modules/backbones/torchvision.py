"""Torchvision's networks for pictures through the one backbone contract."""

import math
import re
from copy import deepcopy
from typing import Any, Literal

import torch
import torchvision
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model, get_model_weights, list_models

from modules.backbones.size import size_error
from modules.backbones.stem import shrink_stem
from modules.contracts import Backbone, ConfigError, Features, Weights, nearest

PICTURES = list_models(module=torchvision.models)
OPENED = {"features", "layers", "trunk_output", "blocks"}  # children whose own children are the steps
UNUSED = {"avgpool", "dropout", "flatten", "permute", "fc", "classifier", "head", "heads", "aux1", "aux2", "AuxLogits"}
ENDS = {"alexnet": ("features.2", "features.5", "features.12")}  # elsewhere the last step of each stride
RESCALED = {"googlenet", "inception_v3"}  # whose weights expect -1..1


class Torchvision(Backbone):
    """A network of torchvision's as a pyramid of feature maps: the last map of each stride.

    `net` is torchvision's network without classifiers: its tensors keep torchvision's names. The last map is what
    torchvision pools, so a linear head on it is torchvision's classifier. A ViT has one map, its cells without the
    class token, and rescales its positions to pictures of other sizes. Networks without padding (AlexNet, Inception)
    give maps a little smaller than picture / stride.

    Args:
        name: torchvision's, such as `resnet18` or `shufflenet_v2_x1_0`.
        small_images: see `Timm`.
        drop_path: see `Timm`; ConvNeXt, EfficientNet, MaxViT and Swin have it.
        output_stride: see `Timm`; ResNets with bottlenecks have it.

    Raises:
        ConfigError: an unknown name, or an option that this network does not have.
    """

    def __init__(
        self,
        name: str,
        small_images: bool = False,
        drop_path: float = 0.0,
        output_stride: Literal[8, 16, 32] = 32,
    ):
        super().__init__()
        if name not in PICTURES:
            raise ConfigError(f"torchvision has no network for pictures called {name!r}{nearest(name, PICTURES)}")
        self.name, self.small_images, self.in_channels = f"torchvision/{name}", small_images, 3
        self.net = _create(name, drop_path, output_stride)
        if small_images:
            shrink_stem(self.net, name)
        weights = get_model_weights(name).DEFAULT
        recipe = weights.transforms()
        self.net.pretrained_cfg = {"input_size": (3, *recipe.crop_size * 2), "classifier": tuple(UNUSED)}
        self.net.group_matcher = self._layers
        self.features, self.stages = _measure(self.net, name, recipe.crop_size[0])
        for key, values in statistics(name).items():
            self.register_buffer(key, torch.tensor(values))

    def forward(self, image: Tensor) -> list[Tensor]:
        try:
            maps = self._maps(image)
        except (AssertionError, ValueError, RuntimeError) as error:
            if sentence := size_error(self, image, error):
                raise sentence from error
            raise
        if isinstance(self.net, torchvision.models.SwinTransformer):
            return [cells.permute(0, 3, 1, 2) for cells in maps]
        if isinstance(self.net, torchvision.models.DenseNet):
            maps[-1] = functional.relu(maps[-1])
        return maps

    def _maps(self, image: Tensor) -> list[Tensor]:
        if isinstance(self.net, torchvision.models.VisionTransformer):
            return [_cells(self.net, image)]
        maps = [image]
        for stage in self.stages:
            maps.append(run(self.net, stage, maps[-1])[-1])
        return maps[1:]

    def pretrained(self) -> Weights:
        return library_weights(self.name.partition("/")[2], self.name, UNUSED)

    @property
    def weights_file(self) -> str:
        return get_model_weights(self.name.partition("/")[2]).DEFAULT.url

    def _layers(self, coarse: bool = False) -> dict[str, Any]:
        """What `optim.layer_decay` grades: the steps in their order."""
        if isinstance(self.net, torchvision.models.VisionTransformer):
            first, last = r"^(?:class_token|conv_proj|encoder\.pos)", (r"^encoder\.ln", (math.inf,))
            return {"stem": first, "blocks": [(r"^encoder\.layers\.encoder_layer_(\d+)", None), last]}
        steps = [path for stage in self.stages for path in stage]
        return {"blocks": [("^" + re.escape(f"{path}."), (index,)) for index, path in enumerate(steps)]}


def library_weights(name: str, called: str, unused: set[str]) -> Weights:
    """Torchvision's weights of a network without its children `unused`; `called` is the name of the backbone."""
    weights = get_model_weights(name).DEFAULT
    tensors = weights.get_state_dict(progress=False, check_hash=True)
    tensors = {key: value for key, value in tensors.items() if key.partition(".")[0] not in unused}
    return Weights(tensors, {"name": called} | statistics(name), f"torchvision {name}.{weights.name}")


def statistics(name: str) -> dict[str, list[float]]:
    """`mean` and `std` of the pictures that torchvision's weights of a network expect."""
    recipe = get_model_weights(name).DEFAULT.transforms()
    half = [0.5, 0.5, 0.5]  # what torchvision's `transform_input` comes to
    return {"mean": half, "std": half} if name in RESCALED else {"mean": recipe.mean, "std": recipe.std}


def run(net: nn.Module, steps: list[str], image: Tensor) -> list[Tensor]:
    """The output of each of the `steps` of `net`, paths of modules that follow one another."""
    outputs = [image]
    for path in steps:
        outputs.append(net.get_submodule(path)(outputs[-1]))
    return outputs[1:]


def _create(name: str, drop_path: float, stride: int) -> nn.Module:
    options: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in RESCALED else {}
    options |= {"stochastic_depth_prob": drop_path} if drop_path else {}
    options |= {"replace_stride_with_dilation": [False, stride == 8, True]} if stride < 32 else {}
    try:
        net = get_model(name, **options)
    except (TypeError, NotImplementedError) as error:
        if not drop_path and stride == 32:
            raise
        asked = f"output_stride {stride}" if stride < 32 else f"drop_path {drop_path:g}"
        raise ConfigError(f"torchvision/{name} has no {asked}: leave it out, or choose timm's {name}") from error
    for child in UNUSED & dict(net.named_children()).keys():
        setattr(net, child, nn.Identity())
    return net


def _measure(net: nn.Module, name: str, side: int) -> tuple[Features, list[list[str]]]:
    """Channels and strides of the maps, and the steps that lead from each map to the next, by trying it out."""
    if isinstance(net, torchvision.models.VisionTransformer):
        return Features([net.hidden_dim], [net.patch_size]), []
    steps = []
    for path, child in net.named_children():
        opened = [f"{path}.{inner}" for inner, _ in child.named_children()] if path in OPENED else [path]
        steps += [] if path in UNUSED else opened
    side = side if isinstance(net, torchvision.models.MaxVit) else 512  # where what lacks padding cannot mislead
    with torch.no_grad():
        outputs = run(deepcopy(net).to("meta").eval(), steps, torch.empty(1, 3, side, side, device="meta"))
    sizes = [x.shape[1:3] if isinstance(net, torchvision.models.SwinTransformer) else x.shape[2:] for x in outputs]
    strides = [2 ** round(math.log2(side / size[0])) for size in sizes]
    ends = [steps.index(path) for path in ENDS.get(name, ())] or list({s: i for i, s in enumerate(strides)}.values())
    channel = -1 if isinstance(net, torchvision.models.SwinTransformer) else 1
    features = Features([outputs[i].shape[channel] for i in ends], [strides[i] for i in ends])
    starts = [0, *(end + 1 for end in ends)]
    return features, [steps[start : end + 1] for start, end in zip(starts, ends, strict=False)]


def _cells(net: torchvision.models.VisionTransformer, image: Tensor) -> Tensor:
    """Pictures of any size to the normalised cells (B, D, h, w) of a ViT; the last ones are filled up with zeros."""
    high, wide = (-side % net.patch_size for side in image.shape[-2:])
    cells = net.conv_proj(functional.pad(image, (0, wide, 0, high)))
    tokens = torch.cat([net.class_token.expand(len(image), -1, -1), cells.flatten(2).mT], dim=1)
    encoder = net.encoder
    positions = resample_abs_pos_embed(encoder.pos_embedding, list(cells.shape[-2:]))
    tokens = encoder.ln(encoder.layers(encoder.dropout(tokens + positions)))
    return tokens[:, 1:].mT.unflatten(2, cells.shape[-2:])
