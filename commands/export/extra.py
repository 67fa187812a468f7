"""Packages of the extra `export`."""

from importlib import import_module
from types import ModuleType

from modules.contracts import ConfigError


def need(package: str) -> ModuleType:
    """Import a package of the extra.

    Raises:
        ConfigError: it is not installed; names it and the extra.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"this needs the package {package}, which is not installed: pip install 'graft[export]'"
        ) from error
