"""Choice of the low-level map of a segmentation head, beside the coarsest one."""

from math import log

from modules.contracts import ConfigError, Features


def low_level(features: Features, stride: int, head: str) -> int:
    """The level, below the coarsest, whose stride is nearest to `stride` by ratio; the deepest where several are.

    Raises:
        ConfigError: a pyramid of a single map.
    """
    finer = features.strides[:-1]
    if not finer:
        raise ConfigError(
            f"{head} needs a fine map next to the coarsest, but this backbone gives one map only (stride "
            f"{features.strides[0]}): take a convolutional backbone such as resnet18, or the head DeepLabV3"
        )
    return min(range(len(finer)), key=lambda i: (abs(log(finer[i] / stride)), -i))
