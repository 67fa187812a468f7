"""Whole published networks of torchvision as a start: backbone, neck and head, with the names of their classes."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from modules.backbones.torchvision import statistics
from modules.contracts import Backbone, ConfigError, DataError, Weights
from modules.heads.base import Head
from modules.heads.dense import FCN, DeepLabV3
from modules.heads.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from modules.training.transfer import read_tensors
from modules.training.whole_network import BACKBONE, Start

WORD, BACKGROUND = "torchvision", "background"
DETECTORS: dict[type[Head], str] = {
    FasterRCNN: "fasterrcnn_{}_fpn",
    MaskRCNN: "maskrcnn_{}_fpn",
    RetinaNet: "retinanet_{}_fpn",
    FCOS: "fcos_{}_fpn",
}
SEGMENTERS: dict[type[Head], str] = {FCN: "fcn_{}", DeepLabV3: "deeplabv3_{}"}
NETWORKS = {
    *(form.format("resnet50") for form in DETECTORS.values()),
    *(form.format(name) for form in SEGMENTERS.values() for name in ("resnet50", "resnet101")),
}
BODY = f"{BACKBONE}net."
COUNTED, EPSILON = "num_batches_tracked", 1e-5  # of batch norms
MISSING = (".shapes", "class_weights")
"""Endings of the names of what torchvision does not keep: anchors, which settings say, and what comes from the data."""
NAMES = {"backbone.body.": BODY, "backbone.fpn.": "neck.net.", "rpn.": "head.rpn."}
NAMES |= {"roi_heads.": "head.roi_heads.", "head.": "head.net.head."}
"""Beginnings of the names of tensors in torchvision's detectors, and here."""


def is_published(source: str) -> bool:
    """True for `torchvision`, and for files as torchvision publishes them."""
    return source == WORD or source.endswith(".pth")


def published_start(source: str, backbone: Backbone, head: nn.Module) -> Start:
    """Read the network that torchvision publishes with this backbone and head.

    Frozen batch norms that divide by the root of the variance alone get a variance that is smaller by the epsilon here,
    so that the function is the same.

    Args:
        source: `torchvision`, which downloads it, or its file.
        backbone: of the task.
        head: of the task.

    Raises:
        ConfigError: none is published of these two, or the file is of another network.
        DataError: it cannot be had.
    """
    name = _name(backbone, head)
    published = cast(Any, get_model_weights(name)).DEFAULT
    tensors = _tensors(source, published)
    segments = isinstance(head, tuple(SEGMENTERS))
    options = {"num_classes": len(published.meta["categories"])} | ({"aux_loss": True} if segments else {})
    with torch.device("meta"):  # nothing is drawn for weights that are replaced
        net = get_model(name, weights=None, weights_backbone=None, **options)
    try:
        net.load_state_dict(tensors, assign=True)  # older files have other names, which it knows
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[1].strip()
        raise ConfigError(f"model.init_from {source} is not torchvision's {name}: {reason}") from error
    convert = _segmenter if segments else _detector
    found, classes = convert(net.state_dict(), head, list(published.meta["categories"]))
    if not segments and not isinstance(head, FCOS) and not any(key.endswith(COUNTED) for key in tensors):
        # frozen norms, whose epsilon torchvision's builders, but that of FCOS, set to 0
        found |= {key: value - EPSILON for key, value in found.items() if key.endswith("running_var")}
    body = {key.removeprefix(BODY): tensor for key, tensor in found.items() if key.startswith(BODY)}
    about = {"name": backbone.name} | statistics(name.split("_")[1])
    label = f"torchvision {name}.{published.name}"
    return Start(found, classes, label, Weights(body, about, label), True, MISSING)


def _name(backbone: Backbone, head: nn.Module) -> str:
    """Torchvision's name of a backbone with a head."""
    forms = [form for kind, form in (DETECTORS | SEGMENTERS).items() if type(head) is kind]
    base = backbone.name.removeprefix(f"{WORD}/")
    found = [form.format(base) for form in forms if form.format(base) in NETWORKS]
    if not found:
        raise ConfigError(
            f"model.init_from: torchvision publishes no network of {backbone.name} with {type(head).__name__}, but "
            f"{', '.join(sorted(NETWORKS))}: choose backbone and head of one, or take the backbone alone by "
            f"--model.weights pretrained"
        )
    return found[0]


def _tensors(source: str, published: Any) -> dict[str, Tensor]:
    if source != WORD:
        return read_tensors(Path(source).expanduser()).tensors
    try:
        return published.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # network and cache each raise their own types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"cannot get torchvision's {published.name}: {reason}; fetch {published.url} where there is a network, and "
            f"say --model.init_from FILE"
        ) from error


def _detector(given: dict[str, Tensor], head: nn.Module, classes: list[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a detector under their names here, and the classes of its rows."""
    found = {}
    for name, tensor in given.items():
        start = next(start for start in NAMES if name.startswith(start))
        found[NAMES[start] + name.removeprefix(start)] = tensor
    two_stages = isinstance(head, FasterRCNN | MaskRCNN)  # their rows of the background are beside those of the classes
    return found, classes[1:] if two_stages else classes


def _segmenter(given: dict[str, Tensor], head: nn.Module, classes: list[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a segmentation network under their names here, and the classes of its rows."""
    found = {BODY + key.removeprefix("backbone."): given[key] for key in given if key.startswith("backbone.")}
    layers = [tensor for key, tensor in given.items() if key.startswith("classifier.")]
    # both have their layers in one order; what FCN here has behind these begins at zero
    found |= {f"head.{key}": tensor for key, tensor in zip(head.state_dict(), layers, strict=False)}
    return found, [BACKGROUND if name == "__background__" else name for name in classes]
