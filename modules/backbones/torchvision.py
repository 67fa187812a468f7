"""Torchvision's networks for images through the one backbone contract."""

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

from modules.backbones.classifiers import Classifier, find_classifier
from modules.backbones.size import size_error
from modules.backbones.stem import shrink_stem
from modules.contracts import Backbone, ConfigError, Features, Maps, Weights, check_range, suggest

IMAGES = list_models(module=torchvision.models)
OPENED = {"features", "layers", "trunk_output", "blocks"}  # children whose own children are the steps
UNUSED = {"avgpool", "dropout", "flatten", "permute", "fc", "classifier", "head", "heads", "aux1", "aux2", "AuxLogits"}
ENDS = {"alexnet": ("features.2", "features.5", "features.12")}  # elsewhere the last step of each stride
RESCALED = {"googlenet", "inception_v3"}  # whose weights expect -1..1
CLASSIFIERS = ("classifier", "fc", "head", "heads")


class Torchvision(Backbone):
    """A network of torchvision's as a pyramid of feature maps: the last map of each stride.

    `net` is torchvision's network up to its last linear layer: its tensors keep torchvision's names. `pool` is what
    lies between the last map and that layer: the mean, the norm of ConvNeXt and MaxViT, the hidden layers of AlexNet,
    VGG and MobileNetV3, or the class token. A ViT has one map, its cells without the class token, and rescales its
    positions to images of other sizes. Networks without padding (AlexNet, Inception) give maps a little smaller than
    image / stride.

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
        check_range("backbone.drop_path", drop_path, high=1)
        if name not in IMAGES:
            raise ConfigError(f"torchvision has no network for images called {name!r}{suggest(name, IMAGES)}")
        self.name, self.small_images, self.in_channels = f"torchvision/{name}", small_images, 3
        self.net = _create(name, drop_path, output_stride)
        if small_images:
            shrink_stem(self.net, name)
        weights = get_model_weights(name).DEFAULT
        recipe = weights.transforms()
        self.net.pretrained_cfg = {"input_size": (3, *recipe.crop_size * 2), "classifier": tuple(UNUSED)}
        self.net.group_matcher = self._layers
        self.features, self.stages, self.hidden = _measure(self.net, name, recipe.crop_size[0])
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

    def pool(self, maps: list[Tensor]) -> Tensor:
        if isinstance(self.net, torchvision.models.VisionTransformer):
            return maps.end[:, 0]
        if not self.hidden:
            return maps[-1].mean((-2, -1))
        cells = maps[-1] if isinstance(self.net, torchvision.models.MaxVit) else self.net.avgpool(maps[-1])
        for layer in self.net.classifier:
            cells = layer(cells.flatten(1) if isinstance(layer, nn.Linear) else cells)
        return cells.flatten(1)

    def classifier(self) -> Classifier:
        name = self.name.partition("/")[2]
        try:
            with torch.device("meta"):
                network = get_model(name, **_options(name))
        except NotImplementedError:  # RegNets compute with what they are built of
            network = get_model(name, **_options(name))
        child = next(child for child in CLASSIFIERS if hasattr(network, child))
        if name.startswith("squeezenet"):
            return Classifier({child: network.classifier}, "map")
        last = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]
        return Classifier(find_classifier(network, set(self.net.state_dict()), network.get_submodule(last)))

    def class_names(self) -> list[str]:
        return get_model_weights(self.name.partition("/")[2]).DEFAULT.meta["categories"]

    def _maps(self, image: Tensor) -> list[Tensor]:
        if isinstance(self.net, torchvision.models.VisionTransformer):
            return _cells(self.net, image)
        maps = [image]
        for stage in self.stages:
            maps.append(run(self.net, stage, maps[-1])[-1])
        return maps[1:]

    def pretrained(self) -> Weights:
        return library_weights(self.name.partition("/")[2], self)

    @property
    def weights_file(self) -> str:
        return get_model_weights(self.name.partition("/")[2]).DEFAULT.url

    def _layers(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups for layer-wise learning-rate decay (`optim.layer_decay`): the steps in their order."""
        if isinstance(self.net, torchvision.models.VisionTransformer):
            first, last = r"^(?:class_token|conv_proj|encoder\.pos)", (r"^encoder\.ln", (math.inf,))
            return {"stem": first, "blocks": [(r"^encoder\.layers\.encoder_layer_(\d+)", None), last]}
        steps = [path for stage in self.stages for path in stage]
        return {"blocks": [("^" + re.escape(f"{path}."), (index,)) for index, path in enumerate(steps)]}


def library_weights(name: str, backbone: Backbone) -> Weights:
    """Torchvision's weights of its network `name`, those of its classifier apart, without auxiliary classifiers."""
    weights = get_model_weights(name).DEFAULT
    tensors = weights.get_state_dict(progress=False, check_hash=True)
    own = backbone.net.state_dict()
    kept = {key: value for key, value in tensors.items() if key in own or key.partition(".")[0] not in UNUSED}
    last = {key: value for key, value in tensors.items() if key not in kept and key.startswith(CLASSIFIERS)}
    about = {"name": backbone.name} | statistics(name)
    return Weights(kept, about, f"torchvision {name}.{weights.name}", last)


def statistics(name: str) -> dict[str, list[float]]:
    """`mean` and `std` of the images that torchvision's weights of a network expect."""
    recipe = get_model_weights(name).DEFAULT.transforms()
    half = [0.5, 0.5, 0.5]  # the effect of torchvision's `transform_input`
    return {"mean": half, "std": half} if name in RESCALED else {"mean": recipe.mean, "std": recipe.std}


def run(net: nn.Module, steps: list[str], image: Tensor) -> list[Tensor]:
    """The output of each of the `steps` of `net`, paths of modules that follow one another."""
    outputs = [image]
    for path in steps:
        outputs.append(net.get_submodule(path)(outputs[-1]))
    return outputs[1:]


def _options(name: str) -> dict[str, Any]:
    return {"aux_logits": False, "init_weights": True} if name in RESCALED else {}


def _create(name: str, drop_path: float, stride: int) -> nn.Module:
    options = _options(name)
    options |= {"stochastic_depth_prob": drop_path} if drop_path else {}
    options |= {"replace_stride_with_dilation": [False, stride == 8, True]} if stride < 32 else {}
    try:
        net = get_model(name, **options)
    except (TypeError, NotImplementedError) as error:
        if not drop_path and stride == 32:
            raise
        asked = f"output_stride {stride}" if stride < 32 else f"drop_path {drop_path:g}"
        raise ConfigError(f"torchvision/{name} has no {asked}: leave it out, or choose timm's {name}") from error
    hidden = _hidden_layers(net)
    for child in UNUSED & dict(net.named_children()).keys():
        if child != "avgpool":
            setattr(net, child, nn.Identity())
    if hidden is not None:
        net.classifier = hidden
    return net


def _hidden_layers(net: nn.Module) -> nn.Sequential | None:
    """Hidden layers before the last linear layer of a classifier; null if they have neither weights nor activations."""
    classifier = getattr(net, "classifier", None)
    if not isinstance(classifier, nn.Sequential) or not isinstance(classifier[-1], nn.Linear):
        return None
    before = classifier[:-1]  # keeps the names of its layers
    return None if all(isinstance(layer, nn.Dropout | nn.Flatten) for layer in before) else before


def _measure(net: nn.Module, name: str, side: int) -> tuple[Features, list[list[str]], bool]:
    """Channels and strides of the maps, found by trying the network out.

    Also the steps that lead from each map to the next, and whether there are hidden layers behind the last.
    """
    if isinstance(net, torchvision.models.VisionTransformer):
        return Features([net.hidden_dim], [net.patch_size]), [], False
    steps = []
    for path, child in net.named_children():
        opened = [f"{path}.{inner}" for inner, _ in child.named_children()] if path in OPENED else [path]
        steps += [] if path in UNUSED else opened
    side = side if isinstance(net, torchvision.models.MaxVit) else 512  # padding that is missing matters little there
    with torch.no_grad():
        outputs = run(deepcopy(net).to("meta").eval(), steps, torch.empty(1, 3, side, side, device="meta"))
    sizes = [x.shape[1:3] if isinstance(net, torchvision.models.SwinTransformer) else x.shape[2:] for x in outputs]
    strides = [2 ** round(math.log2(side / size[0])) for size in sizes]
    ends = [steps.index(path) for path in ENDS.get(name, ())] or list({s: i for i, s in enumerate(strides)}.values())
    channel = -1 if isinstance(net, torchvision.models.SwinTransformer) else 1
    hidden = isinstance(getattr(net, "classifier", None), nn.Sequential)
    widths = [layer.out_features for layer in net.classifier if isinstance(layer, nn.Linear)] if hidden else []
    channels = [outputs[i].shape[channel] for i in ends]
    features = Features(channels, [strides[i] for i in ends], widths[-1] if widths else None)
    starts = [0, *(end + 1 for end in ends)]
    return features, [steps[start : end + 1] for start, end in zip(starts, ends, strict=False)], hidden


def _cells(net: torchvision.models.VisionTransformer, image: Tensor) -> Maps:
    """Images of any size to the normalized cells (B, D, h, w) of a ViT, and all its tokens.

    The last cells are filled up with zeros.
    """
    high, wide = (-side % net.patch_size for side in image.shape[-2:])
    cells = net.conv_proj(functional.pad(image, (0, wide, 0, high)))
    tokens = torch.cat([net.class_token.expand(len(image), -1, -1), cells.flatten(2).mT], dim=1)
    encoder = net.encoder
    positions = resample_abs_pos_embed(encoder.pos_embedding, list(cells.shape[-2:]))
    tokens = encoder.ln(encoder.layers(encoder.dropout(tokens + positions)))
    return Maps([tokens[:, 1:].mT.unflatten(2, cells.shape[-2:])], tokens)
