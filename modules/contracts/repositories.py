"""Names of repositories: `hf-hub:OWNER/NAME[@REVISION]` of the Hugging Face hub, and folders as `local-dir:PATH`."""

import re

from modules.contracts.errors import ConfigError

HUB, FOLDER = "hf-hub:", "local-dir:"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
LONGEST = 96  # characters of a repository's name


def is_repository(source: str) -> bool:
    """True for `hf-hub:...` and `local-dir:...`."""
    return source.startswith((HUB, FOLDER))


def check_repository(name: str, option: str) -> None:
    """Check the name of a repository of the hub.

    Args:
        name: OWNER/NAME.
        option: that has it.

    Raises:
        ConfigError: no repository is called so; names the option.
    """
    fits = NAME.fullmatch(name) and len(name) <= LONGEST and not re.search(r"\.\.|--", name)
    if not fits or name.endswith((".git", ".", "-")):
        folder = f"; a folder is {FOLDER}PATH" if option.endswith(HUB) else ""
        raise ConfigError(
            f"{option} is {name!r}, but a repository is called OWNER/NAME, of letters, digits, '-', '_' and '.'{folder}"
        )
