"""Normalization that the data chooses in place of what the weights of a network expect."""

from collections.abc import Iterable

from modules.contracts import Backbone, ConfigError
from modules.contracts.data_info import DataInfo


def take_normalization(data: DataInfo, networks: Iterable[Backbone | None]) -> None:
    """Set mean and standard deviation of networks to those of `data.normalization`, where it gives any.

    Raises:
        ConfigError: it does, but the task has no network that normalizes images.
    """
    for network in networks:
        found = data.normalization(3 if network is None else network.in_channels)
        if found is None:
            continue
        if network is None:
            raise ConfigError("data.normalization is for tasks with a backbone, which this one lacks: leave it out")
        network.set_normalization(**found)
