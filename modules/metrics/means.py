"""Means of scalars computed batch by batch, exact on any number of devices."""

import torch
from torch import Tensor
from torch.distributed import all_gather_object, get_world_size, is_available, is_initialized


class Means:
    """Weighted means of named scalars over all batches of all devices, summed in double precision.

    Unlike torchmetrics' MeanMetric it learns the names as they come, which a device without batches never does.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}  # name -> float64 (2,): sum of the weighted values, sum of the weights

    def update(self, values: dict[str, Tensor | float], count: int | Tensor) -> None:
        """Takes a batch.

        Args:
            values: scalars, each the mean over `count` samples, pixels or the like.
            count: scalar above or equal 0; with 0 the values do not count, even if they are nan.
        """
        for name, value in values.items():
            value = torch.as_tensor(value).detach()
            exact = torch.float32 if value.device.type == "mps" else torch.float64  # which has no other
            value, weight = value.to(exact), torch.as_tensor(count, dtype=exact, device=value.device)
            self.add({name: torch.stack([(value * weight).where(weight > 0, 0.0), weight])})

    def add(self, sums: dict[str, Tensor]) -> None:
        """Adds sums as `sums` holds them, such as those of a checkpoint."""
        for name, added in sums.items():
            self.sums[name] = self.sums[name].to(added.device) + added if name in self.sums else added

    def compute(self) -> dict[str, Tensor]:
        """The means by name, float32, the same on every device, nan where nothing counted; starts anew.

        Every device must call it.
        """
        here, self.sums = self.sums, {}
        total = dict(here)
        if is_available() and is_initialized() and get_world_size() > 1:
            everyone: list[dict[str, Tensor]] = [{}] * get_world_size()
            all_gather_object(everyone, {name: part.cpu() for name, part in here.items()})
            names = dict.fromkeys(name for parts in everyone for name in parts)  # in the same order everywhere
            total = {name: sum(parts[name] for parts in everyone if name in parts) for name in names}
        return {name: (part[0] / part[1]).float() for name, part in total.items()}
