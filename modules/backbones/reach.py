"""Parameters that maps and pooled features depend on, freezing, and validation of the backbone contract."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modules.backbones.size import on_a_copy, published, zeros
from modules.contracts import Backbone, ConfigError, Features


class Reach(NamedTuple):
    """Names of the parameters in `net` that the outputs of a backbone depend on.

    Args:
        maps: those of each map, fine to coarse.
        pooled: those of the pooled features.
    """

    maps: list[set[str]]
    pooled: set[str]


def survey(backbone: Backbone) -> Reach:
    """Trace a copy on the meta device, on one image, or clip, of the published size; validates the contract.

    Raises:
        ConfigError: the backbone breaks its contract: an attribute is missing or of another kind, or maps or pooled
            features are not as `features` says.
    """
    _check_attributes(backbone)
    try:
        copy, maps, pooled = on_a_copy(backbone, _outputs)
    except Exception as error:
        raise _broken(backbone, f"fails on an image of {_sides(backbone)} pixels: {error}") from error
    _check_outputs(backbone, maps, pooled)
    names = {id(parameter): name for name, parameter in copy.net.named_parameters()}
    return Reach([_reached(one, names) for one in maps], _reached(pooled, names))


def train_only(backbone: Backbone, names: Iterable[str]) -> None:
    """Freeze all parameters of `backbone.net` except `names`; frozen ones stay frozen.

    Processes of DDP would wait for the gradients of parameters that the loss does not follow from.
    """
    kept = set(names)
    for name, parameter in backbone.net.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in kept)


def freeze_norms(module: nn.Module) -> None:
    """Freeze the batch norms of `module`: running statistics in use and not updated, scale and shift untrained.

    For batches too small for statistics of their own, as in detection. Tensors keep their names. `module.train()`
    undoes the first half, so call this after it.
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.requires_grad_(False).eval()


@torch.no_grad()
def pools_plainly(backbone: Backbone) -> bool:
    """True if the pooled features are the mean of the last map (global average pooling)."""
    copy = deepcopy(backbone).eval()
    copy.set_pools(True)
    maps = copy(torch.randn_like(zeros(copy, 1, *published(copy))))
    pooled, plain = copy.pool(maps), maps[-1].flatten(2).mean(2)
    return pooled.shape == plain.shape and torch.allclose(pooled, plain, rtol=1e-3, atol=1e-4)


def _outputs(copy: Backbone) -> tuple[Backbone, list[Tensor], Tensor]:
    copy.set_pools(True)
    with torch.enable_grad():
        copy.net.requires_grad_(True)
        maps = copy(zeros(copy, 1, *published(copy)))
        return copy, list(maps), copy.pool(maps)


def _reached(output: Tensor, names: dict[int, str]) -> set[str]:
    """Names of the parameters in the graph behind `output`."""
    found, seen, ahead = set(), set(), [output.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.add(names.get(id(getattr(node, "variable", None))))
        ahead += [before for before, _ in node.next_functions]
    return found - {None}


def _check_attributes(backbone: Backbone) -> None:
    features = getattr(backbone, "features", None)
    wrong = {
        "net": not isinstance(getattr(backbone, "net", None), nn.Module) and "a module with all its layers",
        "features": not isinstance(features, Features) and "Features(channels, strides)",
        "mean": not _is_statistic(backbone, "mean") and f"a buffer of {backbone.in_channels} values",
        "std": not _is_statistic(backbone, "std") and f"a buffer of {backbone.in_channels} values",
    }
    for name, wanted in wrong.items():
        if wanted:
            channels = " (its in_channels)" if name in ("mean", "std") else ""
            raise _broken(backbone, f"needs {name}, {wanted}{channels}: set self.{name} in its __init__")
    if not features.channels or len(features.channels) != len(features.strides):
        raise _broken(backbone, f"has {len(features.channels)} channels and {len(features.strides)} strides")
    if list(features.strides) != sorted(features.strides):
        raise _broken(backbone, f"has strides {features.strides}, which must go from fine to coarse")


def _is_statistic(backbone: Backbone, name: str) -> bool:
    value: Any = getattr(backbone, name, None)
    return isinstance(value, Tensor) and value.shape == (backbone.in_channels,)


def _check_outputs(backbone: Backbone, maps: list[Tensor], pooled: Tensor) -> None:
    features, dimensions = backbone.features, 5 if backbone.temporal else 4
    if len(maps) != len(features.channels):
        raise _broken(backbone, f"gives {len(maps)} maps, but its features have {len(features.channels)} levels")
    for level, (one, channels, stride) in enumerate(zip(maps, *features, strict=True)):
        if one.ndim != dimensions or one.shape[1] != channels:
            raise _broken(backbone, f"gives map {level} of shape {tuple(one.shape)}, but its channels are {channels}")
        for side, cells in zip(published(backbone), one.shape[-2:], strict=True):
            if not side / stride / 2 - 4 <= cells <= -(-side // stride) + 1:  # without padding, some cells are lost
                raise _broken(
                    backbone, f"gives map {level} of {cells} cells for {side} pixels, but its stride is {stride}"
                )
    if tuple(pooled.shape) != (1, features.pooled):
        raise _broken(
            backbone, f"pools to shape {tuple(pooled.shape)} of one image, but features.pooled is {features.pooled}"
        )


def _broken(backbone: Backbone, what: str) -> ConfigError:
    return ConfigError(f"backbone {type(backbone).__name__} {what}; see modules.contracts.Backbone for all it must do")


def _sides(backbone: Backbone) -> str:
    return " x ".join(map(str, published(backbone)))
