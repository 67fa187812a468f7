"""Training batches of a data module, and their comparison."""

from typing import Any

import torch


def epoch(data, number: int = 0) -> list[dict]:
    """The training batches of an epoch."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def assert_same(ours: list[dict], theirs: list[dict]) -> None:
    """Assert that the batches are equal in every key and value."""
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert _same(one[key], other[key]), key


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
