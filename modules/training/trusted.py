"""Names of code in a checkpoint's settings: what may be imported and built without the user naming it."""

import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities.cloud_io import _load as load_anything
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from modules.contracts import ConfigError, DataError
from modules.training.transfer import read_checkpoint

OWN = ("tasks", "datamodules", "modules", "callbacks")
OPTIMIZERS = ("torch.optim.", "timm.optim.")
PLUGINS = "graft.plugins"
PLAIN = ("classes", "tokenizers", "_instantiator")
"""Settings that are text of any form and never code: names, thousands of pieces, and what Lightning checks itself."""

LARGEST = 64 << 20
"""Bytes of a file that is looked into as YAML: larger ones take a parser minutes."""


def check_trusted(settings: Any, source: object, typed: Collection[str] = ()) -> None:
    """Refuse settings from a file that name code which nobody has asked for; it is not imported to find out.

    Allowed are classes of this program, optimizers of torch and timm, transforms of albumentations; networks, data
    and optimizers in modules that Python or a plugin has imported, or of a package that the user typed. Functions are
    called by some of their settings (`is_valid_file: os.remove`): each has to be typed itself.

    Args:
        settings: plain values, as a checkpoint holds them.
        source: the file, for messages.
        typed: all texts that the user typed, those of the YAMLs of `--config` included.

    Raises:
        ConfigError: names the setting and what it asks for.
    """
    known = {text for text in typed if _is_path(text)}
    packages = {text.partition(".")[0] for text in (*known, *(each.value for each in entry_points(group=PLUGINS)))}
    packages -= sys.stdlib_module_names
    try:
        asked = [(name, text) for name, text in texts(settings) if _is_path(text) and _exists(text)]
    except RecursionError:
        raise ConfigError(f"{source} has settings within themselves: take another checkpoint") from None
    for name, text in asked:
        found = _find(text, packages)
        if text in known or _allowed(found) or (found is not None and any(found is _find(k, packages) for k in known)):
            continue
        where = f"{name} = {text}" if name else text
        raise ConfigError(
            f"{source} asks for {where}, which is not of this program, and nothing is imported or called because a "
            f"file says so: if you trust it, name it on the command line, or give the run's config.yaml as --config "
            f"(in Python, import it first)"
        )


def trusted_settings(source: Any, key: str, given: Collection[str] = ()) -> dict[str, Any]:
    """The settings in a checkpoint that `load_from_checkpoint` builds from, once they are checked.

    Args:
        source: path of the checkpoint, a URL or an open file.
        key: `hyper_parameters`, or `datamodule_hyper_parameters`.
        given: names of settings that are given in place of those in the checkpoint.

    Raises:
        DataError: the path is a folder, or no checkpoint.
        ConfigError: as `check_trusted`.
    """
    if isinstance(source, str | Path) and (path := Path(source)).exists():
        if path.is_dir():
            raise DataError(f"{path} is a folder: give a .ckpt file, such as {path / 'checkpoints' / 'best.ckpt'}")
        checkpoint = read_checkpoint(path, mapped=True)
    else:
        start = source.tell() if hasattr(source, "seek") else 0
        checkpoint = load_anything(source, map_location="cpu", weights_only=True)
        if hasattr(source, "seek"):
            source.seek(start)
    settings = checkpoint.get(key, {})
    check_trusted({name: value for name, value in settings.items() if name not in given}, source)
    return settings


def texts(tree: Any, name: str = "", files: bool = True) -> Iterator[tuple[str, str]]:
    """All texts in plain values, with the name of the setting that each belongs to.

    Texts that are YAML are read as such, because the parser does, and those that are the path of a file of settings.

    Args:
        tree: plain values.
        name: of the setting that holds them.
        files: look into files.
    """
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key not in PLAIN:
                inside = key in ("class_path", "init_args", "dict_kwargs", "_class_path")
                yield from texts(value, name if inside else f"{name}.{key}".lstrip("."), files)
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from texts(value, name, files)
    elif isinstance(tree, str):
        yield name, tree
        for text in (tree, *_content(tree)) if files else (tree,):
            if text is not tree:
                yield name, text
            with suppress(yaml.YAMLError, ValueError):
                if not isinstance(read := yaml.safe_load(text), str):
                    yield from texts(read, name, files)


def _content(path: str) -> Iterator[str]:
    """The text of a file that names a class; nothing for other files, and for text that is no path."""
    with suppress(OSError, ValueError):
        if Path(path).is_file() and Path(path).stat().st_size <= LARGEST:
            text = Path(path).read_text(encoding="utf-8")
            if "class_path" in text or _is_path(text.strip()):
                yield text.strip()


def _is_path(text: str) -> bool:
    return "." in text and all(word.isidentifier() for word in text.split("."))


def _exists(text: str) -> bool:
    """True if there is such a package, or may be one; it is not imported."""
    top = text.partition(".")[0]
    with suppress(ImportError, ValueError):
        return top in sys.modules or find_spec(top) is not None
    return True


def _find(text: str, packages: set[str]) -> Any:
    """The object of that path if its module is imported, or may be; null otherwise."""
    module, _, name = text.rpartition(".")
    safe = f"{module}.".startswith((*OPTIMIZERS, "albumentations.")) or module.partition(".")[0] in {*OWN, *packages}
    if safe and module not in sys.modules:
        with suppress(Exception, SystemExit):  # the parser says why it cannot be imported
            import_module(module)
    return getattr(sys.modules.get(module), name, None)


def _allowed(found: Any) -> bool:
    """True for classes that may be built with plain values from anywhere."""
    if not isinstance(found, type):
        return False
    home = f"{found.__module__}."
    if home.startswith("albumentations."):
        return any(base.__name__ in ("BasicTransform", "BaseCompose") for base in found.__mro__)
    if home.startswith("torchvision.datasets."):  # some write what they download
        return False
    kinds = (nn.Module, Optimizer, Dataset, LightningDataModule)
    return home.partition(".")[0] in OWN or issubclass(found, kinds)
