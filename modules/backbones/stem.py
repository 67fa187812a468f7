"""The first layers of a network, for small pictures."""

from torch import nn

from modules.contracts import ConfigError


def shrink_stem(net: nn.Module, name: str) -> int:
    """Makes the first convolution of `net` 3x3 with stride 1 and removes the max-pool after it.

    Returns:
        How much finer all maps are, 2 or 4.

    Raises:
        ConfigError: it does not start with a convolution of stride 2.
    """
    path, first = next(((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if first is None or first.stride[0] != 2:
        raise ConfigError(f"small_images needs a model that starts with a convolution of stride 2; {name} does not")
    fresh = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    net.set_submodule(path, fresh)
    if not isinstance(getattr(net, "maxpool", None), nn.MaxPool2d):
        return 2
    net.maxpool = nn.Identity()
    return 4
