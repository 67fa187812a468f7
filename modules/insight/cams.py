"""Class activation maps at any layer: Grad-CAM, Grad-CAM++, LayerCAM, Eigen-CAM."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from modules.backbones.timm import Timm
from modules.contracts import Backbone, ConfigError
from modules.insight.layers import find_layer, leaf, level_number, recorded
from modules.insight.subject import Subject

CELLS = 6
"""Fewest cells per side of a map worth looking at."""


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM: channels weighted by their mean gradient, ReLU of the sum (Selvaraju et al. 2017).

    Args:
        activation: of the layer, (B, C, h, w) or (B, C, t, h, w).
        gradient: of the score at it.

    Returns:
        (B, h, w) or (B, t, h, w).
    """
    weights = gradient.flatten(2).mean(2)
    return torch.einsum("bc,bc...->b...", weights, activation).relu()


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM++: channels weighted by their positive gradients (Chattopadhay et al. 2018); see `gradcam`."""
    total = activation.flatten(2).sum(2).view(*activation.shape[:2], *[1] * (activation.ndim - 2))
    below = 2 * gradient**2 + total * gradient**3
    share = gradient**2 / below.where(below != 0, 1.0)
    weights = (share * gradient.relu()).flatten(2).sum(2)
    return torch.einsum("bc,bc...->b...", weights, activation).relu()


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """LayerCAM: each cell weighted by its own positive gradient (Jiang et al. 2021); see `gradcam`."""
    return (gradient.relu() * activation).sum(1).relu()


def eigencam(activation: Tensor, gradient: Tensor | None = None) -> Tensor:
    """Eigen-CAM: first principal component of the cells of each image, for any target (Muhammad and Yeasin 2020).

    Its sign is such that strong activations are high; see `gradcam`.
    """
    cells = activation.flatten(2).transpose(1, 2).float()
    direction = torch.linalg.eigh(cells.transpose(1, 2) @ cells)[1][..., -1]
    values = torch.einsum("bnc,bc->bn", cells, direction)
    sign = torch.where((values * cells.norm(dim=2)).sum(1) >= 0, 1.0, -1.0)
    return (sign[:, None] * values).relu().unflatten(1, activation.shape[2:])


Cam = Callable[[Tensor, Tensor], Tensor]
CAMS: dict[str, Cam] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "layercam": layercam,
    "eigencam": eigencam,
}


def cam(subject: Subject, method: Cam, layer: str | None = None) -> Tensor:
    """Class activation map of each sample, as large as the layer's output; see `at_layer`.

    Of boxes LayerCAM takes the finest level where no layer is given: cells of the coarser ones reach into the
    neighbors.

    Returns:
        (B, h, w), or (B, t, h, w) of clips.
    """
    return method(*at_layer(subject, layer, finest=subject.boxes and method is layercam))


def at_layer(subject: Subject, layer: str | None = None, finest: bool = False) -> tuple[Tensor, Tensor]:
    """Activation of a layer, and the gradient of the scores at it.

    Args:
        subject: what is explained.
        layer: a level of the backbone's maps by its number, 0 the finest and -1 the coarsest, or a layer by its name;
            null is the coarsest level with enough cells.
        finest: null is the finest level that the score depends on.

    Returns:
        (B, C, h, w) each, or (B, C, t, h, w) of clips.

    Raises:
        ConfigError: there is no such layer, it has no map, or the score does not depend on it.
    """
    parts = zip(subject.inputs.split(subject.at_once), subject.rows.split(subject.at_once), strict=True)
    found = [_part(replace(subject, inputs=inputs), rows, layer, finest) for inputs, rows in parts]
    return torch.cat([one for one, _ in found]), torch.cat([slope for _, slope in found])


def _part(subject: Subject, rows: Tensor, layer: str | None, finest: bool) -> tuple[Tensor, Tensor]:
    """The same of a few inputs at once, which are for the targets of these samples."""
    network, backbone = subject.network, subject.backbone
    if network is None or (backbone is None and layer is None):
        name = "an exported file" if network is None else type(network).__name__
        others = "occlusion or rise" if network is None else "saliency, or name a layer by --layer"
        raise ConfigError(f"class activation maps need a backbone's feature maps, which {name} lacks: choose {others}")
    levels = len(backbone.features.strides) if backbone is not None else 0
    typed = None if layer is None else level_number(layer, levels, "the backbone")
    is_level = layer is None or typed is not None
    watched = {} if backbone is None else {"maps": backbone} | _sources(backbone)
    watched |= {} if is_level else {"layer": find_layer(network, layer or "")}
    with subject.gradients_on(), recorded(watched) as outputs:
        score = subject.score(leaf(subject.inputs), rows)
        tried = [-1] if not is_level else [typed] if typed is not None else _usual_levels(outputs["maps"], finest)
        found = [(level, one) for level in tried for one in _outputs(outputs, level)]
        used = [(level, one) for level, one in found if isinstance(one, Tensor) and one.ndim > 2]
        slopes = torch.autograd.grad(score.sum(), [one for _, one in used], allow_unused=True) if used else []
    for (level, one), slope in zip(used, slopes, strict=True):
        if slope is not None:
            grid = outputs["maps"][level].shape[-2:] if "maps" in outputs else None
            return _as_map(one.detach(), subject, grid), _as_map(slope, subject, grid)
    why = "the score does not depend on it" if used else "its output is no map"
    raise ConfigError(f"--layer {layer or tried[0]} cannot be explained, because {why}: choose another layer")


def _sources(backbone: Backbone) -> dict[str, nn.Module]:
    """Layers that the levels of a timm backbone come from; some of its maps are copies that no score depends on.

    Of a ViT the norm before the last attention, since the class token alone goes on behind it.
    """
    if not isinstance(backbone, Timm):
        return {}
    net: Any = backbone.net
    info = net.feature_info
    found = {f"level {i}": net.get_submodule(info[place]["module"]) for i, place in enumerate(backbone.levels)}
    last = net.blocks[-1] if isinstance(getattr(net, "blocks", None), nn.Sequential) else None
    return found | ({f"level {len(found) - 1}": last.norm1} if hasattr(last, "norm1") and hasattr(last, "attn") else {})


def _outputs(outputs: dict[str, Any], level: int) -> list[Any]:
    """Outputs of the layer that is asked for, else those of a level: of the layer it comes from, and its map."""
    if "layer" in outputs:
        return [outputs["layer"]]
    return [*([outputs[f"level {level}"]] if f"level {level}" in outputs else []), outputs["maps"][level]]


def _usual_levels(maps: Sequence[Tensor], finest: bool) -> list[int]:
    """Coarsest level with enough cells, else the finest; or all of them, the finest first."""
    if finest:
        return list(range(len(maps)))
    return [max((i for i, one in enumerate(maps) if min(one.shape[-2:]) >= CELLS), default=0)]


def _as_map(output: Tensor, subject: Subject, grid: Sequence[int] | None) -> Tensor:
    """Output of a layer as (B, C, h, w), of clips (B, C, t, h, w).

    Takes tokens (B, N, C), the last of which are the cells; channels last of networks that have them so; and frames
    in the place of samples.
    """
    if output.ndim == 3:
        count = math.prod(grid) if grid is not None else output.shape[1]
        if count > output.shape[1]:
            raise ConfigError("--layer gives other tokens than cells of the image: choose another layer")
        sides = tuple(grid) if grid is not None else (1, count)
        output = output[:, -count:].transpose(1, 2).unflatten(2, sides)
    elif getattr(getattr(subject.backbone, "net", None), "output_fmt", "NCHW") == "NHWC" and grid is not None:
        output = output.movedim(-1, 1) if tuple(output.shape[1:3]) == tuple(grid) else output
    count = len(subject.inputs)
    if len(output) != count and len(output) % count == 0 and len(subject.space) == 3:
        output = output.unflatten(0, (count, -1)).transpose(1, 2)
    return output
