"""Parameter groups of an optimizer, the optimizer over them, and their settings when its state is loaded."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim import Optimizer

from modules.contracts import ConfigError

OptimizerCallable = Callable[[Iterable], Optimizer]


def make_optimizer(make: OptimizerCallable, groups: list[dict[str, Any]]) -> Optimizer:
    """The optimizer over the groups, or over one group of all parameters where it takes no more, as L-BFGS.

    Raises:
        ConfigError: it refuses its settings, or would need several groups.
    """
    scales = {group["lr_scale"] for group in groups}
    try:
        # copies, because groups are filled in
        return make([dict(group) for group in groups])
    except (ValueError, TypeError) as error:
        hint = ": timm.optim.Muon takes AdamW for the others" if "Muon only supports 2D" in str(error) else ""
        if "parameter groups" not in str(error):
            raise ConfigError(f"optim.optimizer cannot be built: {error}{hint}") from error
        if len(scales) > 1:
            raise ConfigError(
                "optim.optimizer has one learning rate for all parameters (as L-BFGS), but layer_decay, "
                "backbone and the factors of model.unfreeze give several: leave them out"
            ) from error
    optimizer = make([p for group in groups for p in group["params"]])
    optimizer.param_groups[0] |= {"decay": True, "lr_scale": scales.pop()}
    return optimizer


def name_state(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """State of an optimizer with its class by name, as checkpoints hold it."""
    return state | {"name": type(optimizer).__name__}


def keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Keep the state of a checkpoint's optimizer (averages, steps), with the settings that `optimizer` was built with.

    Raises:
        ConfigError: it was another optimizer, or had other parameters.
    """
    there, here = state["param_groups"], optimizer.param_groups
    before, now = ([len(group["params"]) for group in groups] for groups in (there, here))
    saved, own = state.get("name"), type(optimizer).__name__
    if saved not in (None, own) or before != now:
        was, is_now = (
            f"{name} over {sum(sizes)} tensors in {len(sizes)} groups"
            for name, sizes in ((saved or own, before), (own, now))
        )
        raise ConfigError(
            f"the checkpoint's optimizer is {was}, this run's is {is_now}: resume with the optimizer, layer_decay and "
            "frozen parts that it had, or begin a run with its backbone, --model.weights"
        )
    return state | {"param_groups": [new | {"params": old["params"]} for new, old in zip(here, there, strict=True)]}


def parameter_groups(
    module: nn.Module,
    backbone: nn.Module | None = None,
    layer_decay: float = 1.0,
    factor: float = 1.0,
    factors: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Parameter groups by weight decay (yes or no) and learning-rate scale, the keys `decay` and `lr_scale` of each.

    Biases, norms and other parameters of less than two dimensions, and those the model itself names, are not decayed.
    All of the backbone gets `factor`; with layer-wise learning-rate decay (`layer_decay` < 1) its layers (timm's
    grouping) also get layer_decay, layer_decay^2, ... from the top. `factors` are further ones, by name in `module`.
    """
    scales: dict[int, float] = {}
    exempt: set[int] = set()
    if backbone is not None:
        scales = {id(p): factor for p in backbone.parameters()}
        if layer_decay < 1:
            for group in param_groups_layer_decay(backbone, layer_decay=layer_decay):
                scales |= {id(p): factor * group["lr_scale"] * layer_decay for p in group["params"]}
        own = getattr(backbone, "no_weight_decay", None)
        names = own() if callable(own) else ()
        exempt = {id(p) for name, p in backbone.named_parameters() if name in names}
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    named = factors or {}
    for name, p in module.named_parameters():
        if p.requires_grad:
            decay, scale = p.ndim > 1 and id(p) not in exempt, scales.get(id(p), 1.0) * named.get(name, 1.0)
            groups.setdefault((decay, scale), []).append(p)
    if not groups:
        raise ConfigError("no parameter is trainable: set model.frozen false")
    return [{"params": params, "decay": decay, "lr_scale": scale} for (decay, scale), params in groups.items()]
