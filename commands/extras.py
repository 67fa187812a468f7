"""Packages that a command needs beside those of every installation."""

from importlib.util import find_spec

from modules.contracts import ConfigError


def require(extra: str, *packages: str) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        ConfigError: one is not; says how to install it.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ConfigError(f'{extra} needs {package}, which is not installed: pip install "graft[{extra}]"')
