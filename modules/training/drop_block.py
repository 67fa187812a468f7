"""DropBlock: contiguous blocks of feature maps are set to zero in training."""

import torch
from torch import Tensor, nn
from torchvision.ops import drop_block2d

from modules.backbones.layers import Layer, trace
from modules.backbones.size import published
from modules.contracts import Backbone, ConfigError, check_range, check_sizes


class DropBlock:
    """DropBlock behind the last blocks of a backbone, in training only (Ghiasi et al. 2018, algorithm 1).

    Every channel of every image has blocks of its own; the frames of a clip share theirs. What is left is scaled up, so
    that the mean stays. Blocks larger than a map are clipped to the largest odd ones inside of it.

    Args:
        backbone: whose layers are hooked; its tensors and its outputs in evaluation mode stay as they are.
        rate: share of each map that is set to zero at the end of the training, 0..1; it rises to it linearly. 0 is off.
        size: odd side of the blocks in cells.
        stages: number of last stages, behind each of whose residual blocks it acts, or behind the stage where that is
            no sequence of blocks.

    Attributes:
        rate: at present; 0 before training.

    Raises:
        ConfigError: a value out of range, or a network without such maps.
    """

    def __init__(self, backbone: Backbone, rate: float, size: int, stages: int):
        check_range("model.drop_block", rate, high=1)
        check_sizes("model", drop_block_size=size, drop_block_stages=stages)
        if size % 2 == 0:
            raise ConfigError(f"model.drop_block_size is {size}, but blocks have a center: set an odd side")
        self.rate, self.highest, self.size = 0.0, rate, size
        for name, channels_last in (_places(backbone, stages) if rate else {}).items():
            hook = self._drop_last if channels_last else self._drop
            backbone.net.get_submodule(name).register_forward_hook(hook)

    def set_progress(self, share: float) -> None:
        """Set the rate for this share of the training, 0..1."""
        self.rate = self.highest * min(max(share, 0.0), 1.0)

    def _drop(self, layer: nn.Module, inputs: tuple[Tensor, ...], x: Tensor) -> Tensor | None:
        """Drop blocks of maps (B, C, h, w) or (B, C, T, h, w)."""
        if not layer.training or not self.rate:
            return None
        *_, height, width = x.shape
        side = min(self.size, height, width)
        kept = torch.ones(*x.shape[:2], height, width, device=x.device)
        kept = drop_block2d(kept, self.rate, side - 1 + side % 2).to(x.dtype)
        return x * (kept if x.ndim == 4 else kept.unsqueeze(2))

    def _drop_last(self, layer: nn.Module, inputs: tuple[Tensor, ...], x: Tensor) -> Tensor | None:
        """Drop blocks of maps (B, h, w, C)."""
        found = self._drop(layer, inputs, x.movedim(-1, 1))
        return None if found is None else found.movedim(1, -1)


def _places(backbone: Backbone, stages: int) -> dict[str, bool]:
    """Layers behind which blocks are dropped, by name; true for maps with channels last."""
    levels = len(backbone.features.channels)
    if stages > max(levels, 2):  # the default holds for all networks
        raise ConfigError(
            f"model.drop_block_stages is {stages}, but {backbone.name} has {levels}: set {levels} or less"
        )
    layers, maps = trace(backbone, *published(backbone))
    found = {}
    for name, channels in zip(maps[-stages:], backbone.features.channels[-stages:], strict=False):
        shape = layers[name].shape or ()
        if len(shape) < 4:
            break
        channels_last = shape[1] != channels == shape[-1]
        found |= dict.fromkeys(_blocks(backbone.net, name, layers), channels_last)
    if not found:
        raise ConfigError(
            f"model.drop_block drops blocks of maps, but no layer of {backbone.name} gives the last of its maps: leave "
            f"it out, try --model.drop_path, or choose a network such as resnet18"
        )
    return found


def _blocks(net: nn.Module, name: str, layers: dict[str, Layer]) -> list[str]:
    """Names of the blocks in the sequence that gives the map of layer `name`; itself where there is none."""
    module, shape = net.get_submodule(name), layers[name].shape
    paths = {f"{name}.{child}": inner for child, inner in module.named_children() if [*inner.children()]}
    inside = [path for path in paths if path in layers and layers[path] == Layer(1, shape)]
    if isinstance(module, nn.Sequential) and len(inside) > 1:
        return inside
    if inside and isinstance(paths[inside[-1]], nn.Sequential):
        return _blocks(net, inside[-1], layers)
    return inside if isinstance(module, nn.Sequential) and inside else [name]
