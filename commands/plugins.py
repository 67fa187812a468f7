"""Parts that other packages bring: entry points of the group `graft.plugins`, and modules in the working directory."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

from modules.contracts import ConfigError
from modules.training.trusted import PLUGINS


def load_plugins() -> None:
    """Import what the entry points in `PLUGINS` of installed packages name, so that its classes have short names.

    Modules in the working directory can be imported from now on; those of this program go before them.

    Raises:
        ConfigError: a plugin fails; names it, its package and the reason.
    """
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    for plugin in entry_points(group=PLUGINS):
        try:
            plugin.load()
        except (Exception, SystemExit) as error:
            package = plugin.dist.name if plugin.dist else "an installed package"
            raise ConfigError(
                f"the plugin {plugin.name!r} ({plugin.value}) of {package} cannot be loaded: {type(error).__name__}: "
                f"{' '.join(str(error).split())}; mend it or uninstall {package}"
            ) from error
