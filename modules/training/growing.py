"""Growing of VGGs: a deep one begins with the trained layers of a shallower one (Simonyan and Zisserman 2015)."""

import torch
from torch import nn

from modules.backbones import by_name, class_of
from modules.backbones.classics.vgg import depth
from modules.contracts import Backbone, DataError
from modules.training.checkpoint_file import read_checkpoint, run_file


def is_deeper(backbone: Backbone, name: str) -> bool:
    """True if `backbone` is a VGG, and `name` that of a shallower one."""
    if not (_is_vgg(backbone.name) and _is_vgg(name) and class_of(name)):
        return False
    with torch.device("meta"):
        return depth(by_name(name).net) < depth(backbone.net)


def grow_head(head: nn.Module, classes: list[str], backbone: Backbone, source: str) -> str:
    """Copy the head of a shallower VGG's run into that of a deeper one: the last of the fully connected layers.

    Args:
        head: changed in place.
        classes: that it tells apart, in order.
        backbone: the deeper VGG; with any other pair of networks nothing is copied.
        source: as `model.weights`; of a run directory the checkpoint whose backbone it exports.

    Returns:
        A line with what was copied, or why not; empty where nothing is grown.
    """
    if not _is_vgg(backbone.name):
        return ""
    try:
        path = run_file(source)
    except DataError:  # a library's weights, or a folder with those of a backbone alone
        return ""
    if path.suffix != ".ckpt":
        return ""
    checkpoint = read_checkpoint(path, mapped=True)
    name = checkpoint.get("backbone", {}).get("name", "")
    if not is_deeper(backbone, name):
        return ""
    own, tensors = head.state_dict(), checkpoint["state_dict"]
    found = {key.removeprefix("head."): value for key, value in tensors.items() if key.startswith("head.")}
    fits = found.keys() == own.keys() and all(found[key].shape == value.shape for key, value in own.items())
    if not fits or checkpoint.get("hyper_parameters", {}).get("classes") != classes:
        return f"head: it starts afresh, as {path} has none like it for the same classes"
    head.load_state_dict(found)
    return f"head: {', '.join(own)} from {name} in {path}"


def _is_vgg(name: str) -> bool:
    return name.rpartition("/")[2].startswith("vgg")
