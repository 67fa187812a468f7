"""Layers of a backbone by name, with their outputs, found by a pass on torch's meta device."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modules.backbones.size import on_a_copy, published, zeros
from modules.contracts import Backbone, ConfigError

INPUT = "input"


class Layer(NamedTuple):
    """Output of a layer of `Backbone.net` for a batch of images.

    Args:
        calls: number of calls in a pass.
        shape: of the output of the first call; null if it is no tensor with a row per image.
    """

    calls: int
    shape: tuple[int, ...] | None


def trace(backbone: Backbone, height: int, width: int) -> tuple[dict[str, Layer], list[str]]:
    """All layers by name in order of their first result, the image included, and the names of those that give a map.

    Args:
        height, width: of the images (of clips of 16 frames or the next multiple of a tubelet) in pixels.

    Raises:
        ConfigError: the backbone does not take such images.
    """
    try:
        return on_a_copy(backbone, partial(_trace, height=height, width=width))
    except Exception as error:
        raise ConfigError(
            f"{backbone.name} fails on images of {height} x {width} pixels ({error}), so that none of its layers "
            f"can be changed: set --data.image_size {max(published(backbone))}"
        ) from error


@torch.no_grad()
def _trace(copy: Backbone, height: int, width: int) -> tuple[dict[str, Layer], list[str]]:
    image = zeros(copy, 2, height, width)
    layers, outputs = {INPUT: Layer(1, tuple(image.shape))}, dict[str, Any]()

    def note(name: str, output: Any) -> None:
        usable = isinstance(output, Tensor) and output.is_floating_point() and output.ndim > 1 and len(output) == 2
        known = layers.get(name)
        layers[name] = (
            Layer(known.calls + 1, known.shape) if known else Layer(1, tuple(output.shape) if usable else None)
        )
        outputs.setdefault(name, output)

    for name, module in copy.net.named_modules():
        if name:
            module.register_forward_hook(lambda _, inputs, output, name=name: note(name, output))
    maps = copy(image)
    passed_on = {name for name, module in copy.net.named_modules() if isinstance(module, nn.Identity)}
    made = [name for name in reversed(outputs) if name not in passed_on]
    give = [next((name for name in made if outputs[name] is one), None) for one in maps]
    info: Any = getattr(copy.net, "feature_info", None) or []
    named = [entry.get("module", "") for entry in info] if all(isinstance(e, dict) for e in info) else []
    found = [name for name in give if name] if all(give) else [name for name in named if name in layers]
    return layers, found
