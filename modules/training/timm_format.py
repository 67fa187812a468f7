"""A trained backbone in timm's own format: config.json and model.safetensors, which plain timm builds and loads."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from safetensors.torch import save
from timm.models._hub import save_config_for_hf
from torch import Tensor, nn

from modules.backbones import Timm
from modules.backbones.classifiers import Classifier
from modules.backbones.size import published
from modules.backbones.timm import ANY_SIZE
from modules.contracts import Backbone, ConfigError
from modules.heads.base import ClassificationHead, through
from modules.heads.classification import Linear
from modules.training.hub import CONFIG, OWN, WEIGHTS
from modules.training.transfer import describe

CLOSE = 1e-4
"""Largest difference to plain timm's answers, relative to the largest of them."""
KEPT = ("architecture", "pool_size", "first_conv", "classifier", "fixed_input_size", "input_size")
"""Entries of timm's config that are about the network; the others are about weights that were published with it."""


class Format(NamedTuple):
    """Format of a folder.

    Args:
        timm: plain timm builds and loads it.
        classifier: it has the classifier too.
        reason: why not, of the first of these that it is not.
        difference: largest one between plain timm's answers and ours, relative to the largest of them.
    """

    timm: bool
    classifier: bool
    reason: str = ""
    difference: float = 0.0


def write_format(
    folder: Path, backbone: Backbone, head: nn.Module | None, classes: list[str] | None, size: tuple[int, int] | None
) -> Format:
    """Write config.json and model.safetensors for plain timm, after comparing its answers with ours.

    A backbone that timm cannot build goes out as plain tensors under its library's names, and so does a classifier that
    timm has no place for, in `classifier.safetensors`.

    Args:
        folder: is there.
        backbone: in eval mode, on the CPU.
        head: of a classification; null for features alone.
        classes: their names.
        size: height and width of the images that it was trained for; null for those of its library.
    """
    head = head if isinstance(head, ClassificationHead) else None
    net, found = _network(backbone, head, size)
    if net is None:
        _write_plain(folder, backbone, size)
    else:
        names = {"label_names": classes} if found.classifier and classes else {}
        more = {OWN: describe(backbone), **names}
        save_config_for_hf(net, str(folder / CONFIG), model_config=more, data_config=_seen(backbone, size))
        _write_tensors(net, folder / WEIGHTS)
    if head is not None and not found.classifier:
        _write_tensors(head, folder / "classifier.safetensors")
    return found


def _network(
    backbone: Backbone, head: ClassificationHead | None, size: tuple[int, int] | None
) -> tuple[nn.Module | None, Format]:
    """Plain timm's network with our tensors; null where there is none that gives our answers."""
    if reason := obstacle(backbone):
        return None, Format(False, False, reason)
    assert isinstance(backbone, Timm)
    reason = ""
    for own in (head, None) if head is not None else (None,):
        try:
            net = _built(backbone, own)
        except LookupError as error:
            reason = str(error)
            continue
        apart = difference(net, backbone, own, size)
        if apart <= CLOSE:
            return net, Format(True, own is not None, reason, apart)
        reason = f"plain timm gives other {'logits' if own else 'features'}, by {apart:.1e} of the largest"
    return None, Format(False, False, reason)


def obstacle(backbone: Backbone) -> str:
    """Reason why plain timm cannot build a backbone; empty where it can."""
    if not isinstance(backbone, Timm):
        return f"{backbone.name} is no network of timm's"
    if not timm.models.model_entrypoint(backbone.name).__module__.startswith("timm."):
        return f"{backbone.name} is a network of Graft's own"
    if backbone.small_images:
        return "timm has no option for the smaller stem of small_images"
    if backbone.changed:
        return f"timm has no option for {' and '.join(f'{key} {value}' for key, value in backbone.changed.items())}"
    try:
        json.dumps(_options(backbone))
    except TypeError:
        return f"{backbone.name} has blocks of Graft's own"
    return ""


def _options(backbone: Timm) -> dict[str, Any]:
    stride = {} if backbone.output_stride == 32 else {"output_stride": backbone.output_stride}
    options = {name: value for name, value in backbone.options.items() if name != "drop_path_rate"}
    return ANY_SIZE.get(backbone.family, {}) | options | stride


def _built(backbone: Timm, head: ClassificationHead | None) -> nn.Module:
    """The network as plain timm builds it, with our tensors.

    Raises:
        LookupError: there is none, or it has no place for the head's.
    """
    layer = head.fc if type(head) is Linear else None
    if head is not None and layer is None:
        raise LookupError(f"timm has no place for a {type(head).__name__}")
    count = 0 if layer is None else [*layer.parameters()][-1].shape[0]
    config = {name: backbone.config[name] for name in KEPT if name in backbone.config}
    try:
        net = timm.create_model(
            backbone.name.partition(".")[0], pretrained_cfg=config, num_classes=count, **_options(backbone)
        )
        net.load_state_dict(backbone.net.state_dict() | _classifier(net, layer))
    except LookupError:
        raise
    except Exception as error:  # every network has its own way to refuse options and tensors
        said = " ".join(str(error).split())[:120]
        raise LookupError(f"timm's {backbone.name} does not take these tensors or options: {said}") from error
    return net.eval()


def _classifier(net: Any, layer: nn.Module | None) -> dict[str, Tensor]:
    """Tensors of a classifier under the names that it has in timm's network."""
    if layer is None or isinstance(layer, Classifier):
        return {} if layer is None else layer.state_dict()
    place = net.get_classifier()
    own = place.state_dict() if isinstance(place, nn.Linear | nn.Conv2d) else {}
    if own.keys() != layer.state_dict().keys():
        raise LookupError(f"timm's classifier of {type(net).__name__} is no single linear layer")
    name = next(name for name, module in net.named_modules() if module is place)
    return {f"{name}.{key}": value.reshape(own[key].shape) for key, value in layer.state_dict().items()}


@torch.no_grad()
def difference(net: Any, backbone: Backbone, head: ClassificationHead | None, size: tuple[int, int] | None) -> float:
    """Largest difference between plain timm's answers and ours on noise, relative to the largest of ours."""
    ours = deepcopy(backbone).eval()
    ours.set_pools(True)
    image = torch.randn(2, ours.in_channels, *(size or published(ours)), generator=torch.Generator().manual_seed(0))
    expected = ours.pool(ours(image)) if head is None else through(ours, head.eval(), image)
    found = net(image) if head is not None else net.forward_head(net.forward_features(image), pre_logits=True)
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def _seen(backbone: Backbone, size: tuple[int, int] | None) -> dict[str, Any]:
    """Preprocessing in timm's terms: the centered square, resized by bilinear interpolation."""
    if backbone.mean_image is not None:
        raise ConfigError(
            "the network subtracts a mean image (data.normalization mean_image), which timm's format cannot hold: "
            "train with --data.normalization data, or use export"
        )
    sides = {} if size is None else {"input_size": (backbone.in_channels, *size)}
    statistics = {name: tuple(describe(backbone)[name]) for name in ("mean", "std")}
    return {**sides, **statistics, "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center"}


def _write_plain(folder: Path, backbone: Backbone, size: tuple[int, int] | None) -> None:
    config = {
        "architecture": f"{OWN}/{backbone.name}",
        "num_classes": 0,
        "num_features": backbone.features.pooled,
        "pretrained_cfg": {"num_classes": 0} | _seen(backbone, size),
        OWN: describe(backbone),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_tensors(backbone.net, folder / WEIGHTS)


def _write_tensors(module: nn.Module, path: Path) -> None:
    """Write the tensors of a module."""
    tensors = module.state_dict().items()  # not by `save_file`, whose files only their owner can read
    path.write_bytes(save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors}))
