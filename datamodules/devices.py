"""Transfer of batches to a device."""

from typing import Any

import torch
from torch import Tensor


def to_device(value: Any, device: torch.device) -> Any:
    """Move tensors, also those in dicts, lists and tuples; everything else, such as lists of strings, stays as it is.

    A list is of one kind: one that begins with a string holds no tensors.
    """
    if isinstance(value, Tensor):
        # only CUDA orders what follows after the copy
        return value.to(device, non_blocking=device.type == "cuda")
    if isinstance(value, dict):
        return {key: to_device(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple) and value and not isinstance(value[0], str):
        return type(value)([to_device(part, device) for part in value])
    return value
