"""Start of a network with all tensors of an earlier run of its task: rows of classes are taken over by their names."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, Weights
from modules.training.checkpoint_file import read_checkpoint, run_file
from modules.training.classifier_weights import first_of

BACKBONE, HEAD = "backbone.", "head."
BLOCKS = "bbox_pred"
"""Part of the names of layers whose rows of a class lie side by side; those of others are grouped by anchor."""


class Rows(NamedTuple):
    """Rows of a tensor that are of classes.

    Args:
        axis: that grows with the number of classes.
        each: rows of a class.
        beside: other rows, of the background, which come first.
        blocks: the rows of a class lie side by side; else there are `each` groups with a row of every class.
    """

    axis: int
    each: int
    beside: int
    blocks: bool

    def of(self, wanted: Sequence[int], classes: int) -> Tensor:
        """Indices of the rows of some of so many classes, and of those beside them, int64."""
        if self.blocks:
            return torch.tensor(
                [*range(self.beside), *(self.beside + c * self.each + j for c in wanted for j in range(self.each))]
            )
        ground = self.beside // self.each
        places = [*range(ground), *(ground + c for c in wanted)]
        return torch.tensor([group * (ground + classes) + place for group in range(self.each) for place in places])


class Start(NamedTuple):
    """Network to begin with.

    Args:
        tensors: under the names of a task's.
        classes: whose rows the head has.
        label: its source, in words.
        backbone: tensors of the backbone under its library's names, where `load_backbone` has not read them itself.
        whole: all of it must fit but the rows of classes and `missing`.
        missing: endings of the names of tensors that it never has.
    """

    tensors: dict[str, Tensor]
    classes: list[str]
    label: str
    backbone: Weights | None = None
    whole: bool = False
    missing: tuple[str, ...] = ()


def run_start(name: str, source: str) -> Start:
    """Read the network of an earlier run.

    Args:
        name: of the class of the task, which the earlier run must have.
        source: run directory or .ckpt.

    Raises:
        DataError: there is no checkpoint.
        ConfigError: it is of another task.
    """
    path = run_file(source)
    checkpoint = read_checkpoint(path, mapped=True)
    if (made := checkpoint.get("task", name)) != name:
        raise ConfigError(
            f"model.init_from {source} is a run of {made}, but this is {name}: take its backbone by --model.weights"
        )
    epoch = f", epoch {checkpoint['epoch'] + 1}" if "epoch" in checkpoint else ""
    classes = list(checkpoint.get("hyper_parameters", {}).get("classes") or [])
    return Start(checkpoint["state_dict"], classes, f"{path}{epoch}")


def load_network(task: nn.Module, start: Start, classes: list[str], remake: Callable[[int], nn.Module]) -> str:
    """Load all tensors but those of the backbone; returns a line with what was kept and what starts afresh.

    A tensor of the head has rows of classes along the axis that grows with their number. Those of classes whose names
    both have are copied, and the rows of the background. Tensors that the start lacks, or has in another size, stay as
    they are.

    Args:
        task: changed in place.
        start: network to begin with.
        classes: of the task.
        remake: makes the head for another number of classes.

    Raises:
        ConfigError: a tensor of a `whole` start does not fit.
    """
    before = start.classes
    kept = [name for name in classes if name in before]
    wanted = [classes.index(name) for name in kept], [before.index(name) for name in kept]
    own = {key: tensor for key, tensor in task.state_dict().items() if not key.startswith(BACKBONE)}
    rows, fresh = _rows(remake, len(classes)), []
    taken = {key: start.tensors.get(key) for key in own}
    fits = {
        key: tensor is not None and _fits(tensor, own[key], rows.get(key), len(before)) for key, tensor in taken.items()
    }
    fresh = [key for key in own if not fits[key] and not (start.whole and key.endswith(start.missing))]
    if start.whole and fresh:
        key = fresh[0]
        raise ConfigError(
            f"{start.label} does not fit: {key} is {_size(taken[key])} there, and {_size(own[key])} here: leave "
            "the settings of neck and head out (--model NAME in place of --config)"
        )
    for key in (key for key in own if fits[key]):
        tensor, there, part = own[key], start.tensors[key], rows.get(key)
        if part is None:
            tensor.copy_(there)
        else:
            here, other = part.of(wanted[0], len(classes)), part.of(wanted[1], len(before))
            tensor.index_copy_(part.axis, here.to(tensor.device), there.index_select(part.axis, other).to(tensor))
    said = f"network: {sum(fits.values())}/{len(own)} further tensors from {start.label}"
    said += f"; of {len(classes)} classes {len(kept)} are known"
    if new := [name for name in classes if name not in before]:
        said += f", and {first_of(new)} new"
    return said + (f"; {first_of(fresh)} start afresh" if fresh else "")


def _size(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "x".join(map(str, tensor.shape)) or "one number"


def _rows(remake: Callable[[int], nn.Module], classes: int) -> dict[str, Rows]:
    """Rows of classes of the head's tensors, by their names in a task."""
    with torch.device("meta"):
        few, more = (remake(count).state_dict() for count in (classes, classes + 1))
    found = {}
    for key, tensor in few.items():
        for axis, (size, larger) in enumerate(zip(tensor.shape, more[key].shape, strict=True)):
            if each := larger - size:
                found[f"{HEAD}{key}"] = Rows(axis, each, size - each * classes, BLOCKS in key)
    return found


def _fits(there: Tensor, here: Tensor, rows: Rows | None, classes: int) -> bool:
    """True if a tensor of a run with so many classes is like one here, but for the rows of classes."""
    expected = list(here.shape)
    if rows:
        expected[rows.axis] = rows.each * classes + rows.beside
    return list(there.shape) == expected
