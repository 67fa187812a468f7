"""Start of a network with all tensors of an earlier run of its task: rows of classes are taken over by their names."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError
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


def load_network(
    task: nn.Module, name: str, source: str, classes: list[str], remake: Callable[[int], nn.Module]
) -> str:
    """Load all tensors but those of the backbone; returns a line with what was kept and what starts afresh.

    A tensor of the head has rows of classes along the axis that grows with their number. Those of classes whose names
    both runs have are copied, and the rows of the background. Tensors that the earlier run lacks, or has in another
    size, stay as they are.

    Args:
        task: changed in place.
        name: of its class, which the earlier run must have.
        source: run directory or .ckpt.
        classes: of the task.
        remake: makes the head for another number of classes.

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
    given, before = checkpoint["state_dict"], list(checkpoint.get("hyper_parameters", {}).get("classes") or [])
    kept = [name for name in classes if name in before]
    wanted = [classes.index(name) for name in kept], [before.index(name) for name in kept]
    own = {key: tensor for key, tensor in task.state_dict().items() if not key.startswith(BACKBONE)}
    rows, fresh = _rows(remake, len(classes)), []
    for key, tensor in own.items():
        there, part = given.get(key), rows.get(key)
        if there is None or not _fits(there, tensor, part, len(before)):
            fresh.append(key)
        elif part is None:
            tensor.copy_(there)
        else:
            here, other = part.of(wanted[0], len(classes)), part.of(wanted[1], len(before))
            tensor.index_copy_(part.axis, here.to(tensor.device), there.index_select(part.axis, other).to(tensor))
    epoch = f", epoch {checkpoint['epoch'] + 1}" if "epoch" in checkpoint else ""
    said = f"network: {len(own) - len(fresh)}/{len(own)} further tensors from {path}{epoch}"
    said += f"; of {len(classes)} classes {len(kept)} are known"
    if new := [name for name in classes if name not in before]:
        said += f", and {first_of(new)} new"
    return said + (f"; {first_of(fresh)} start afresh" if fresh else "")


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
