"""Layers of a backbone whose output can be mixed, found by a pass on torch's meta device."""

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modules.backbones.size import blank, published
from modules.contracts import Backbone, ConfigError, suggest

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
        height, width: of the images in pixels.

    Raises:
        ConfigError: the backbone does not take such images.
    """
    try:
        return _trace(blank(backbone), height, width)
    except Exception:  # some compute sizes from numbers
        try:
            return _trace(deepcopy(backbone).eval(), height, width)
        except Exception as error:
            raise ConfigError(
                f"{backbone.name} fails on images of {height} x {width} pixels ({error}), so that no layer can "
                f"be mixed: set --data.image_size {max(published(backbone))}"
            ) from error


def layer_error(name: str, layers: dict[str, Layer], backbone: Backbone, block: int | None) -> ConfigError | None:
    """Error about a layer that cannot be mixed; null if it can.

    Args:
        name: in `model.mixing.layers`.
        layers: all, of `trace`.
        block: side of PatchUp's blocks in cells; null without PatchUp.
    """
    where = f"model.mixing.layers: {name!r} of {backbone.name}"
    if name not in layers:
        hint = suggest(name, list(layers)) or f": name layers such as {', '.join(_short(layers))}"
        return ConfigError(f"{where} is no layer of the network{hint}")
    calls, shape = layers[name]
    if calls > 1 or shape is None:
        why = f"runs {calls} times in a pass" if calls > 1 else "gives no single tensor with a row per image"
        return ConfigError(f"{where} cannot be mixed, because it {why}: name another layer")
    if block is None:
        return None
    if len(shape) != 4:
        return ConfigError(
            f"{where} cannot be mixed by PatchUp, because it gives no map (B, C, H, W): name another layer"
        )
    if min(shape[2:]) < block:
        return ConfigError(
            f"model.mixing.patchup_block is {block}, larger than the map of {shape[2]} x {shape[3]} cells of {name} in "
            f"{backbone.name}: set it to {(min(shape[2:]) - 1) // 2 * 2 + 1} or less, or name earlier layers in "
            f"model.mixing.layers"
        )
    return None


@torch.no_grad()
def _trace(copy: Backbone, height: int, width: int) -> tuple[dict[str, Layer], list[str]]:
    like = next(copy.parameters(), copy.mean)
    image = torch.zeros(2, copy.in_channels, height, width, device=like.device, dtype=like.dtype)
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
    give = [next((n for n in reversed(outputs) if outputs[n] is one), None) for one in maps]
    info: Any = getattr(copy.net, "feature_info", None) or []
    named = [entry.get("module", "") for entry in info] if all(isinstance(e, dict) for e in info) else []
    found = [name for name in give if name] if all(give) else [name for name in named if name in layers]
    return layers, found


def _short(layers: dict[str, Layer]) -> list[str]:
    return [name for name in layers if name.count(".") <= 1][:4]
