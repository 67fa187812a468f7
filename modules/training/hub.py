"""Repositories in timm's format, of the Hugging Face hub (`hf-hub:OWNER/NAME`) or a folder (`local-dir:PATH`)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import load_file

from modules.backbones import Timm, class_of
from modules.contracts import Backbone, DataError, Weights
from modules.contracts.repositories import FOLDER, HUB, check_repository

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OWN = "graft"
"""Key of config.json for what timm does not know, and first part of the names of architectures that it does not."""


def repository_file(source: str, name: str = WEIGHTS) -> Path:
    """A file of a repository, fetched if it is not in the cache yet.

    Raises:
        ConfigError: no name of a repository.
        DataError: no such repository, folder or file, or the hub cannot be reached.
    """
    place = source.partition(":")[2]
    if source.startswith(FOLDER):
        path = Path(place).expanduser() / name
        if not path.is_file():
            raise DataError(f"{source} has no {name}: a folder in timm's format has {CONFIG} and {WEIGHTS}")
        return path
    repository, _, revision = place.partition("@")
    check_repository(repository, f"the name behind {HUB}")
    with explained(repository, name):
        return Path(hf_hub_download(repository, name, revision=revision or None))


@contextmanager
def explained(repository: str, file: str = "") -> Iterator[None]:
    """Turn what the hub's library raises into a DataError of one sentence.

    Args:
        repository: OWNER/NAME.
        file: that is asked for.
    """
    try:
        yield
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise DataError(_unreachable(repository, error.__cause__ or error)) from error
    except EntryNotFoundError as error:
        lack = f"has no {file}: a repository in timm's format has {CONFIG} and {WEIGHTS}"
        raise DataError(f"{repository} {lack}") from error
    except GatedRepoError as error:
        raise DataError(
            f"{repository} asks for consent: give it on {constants.ENDPOINT}/{repository} and set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise DataError(f"{repository} has no such revision: leave out what follows @") from error
    except RepositoryNotFoundError as error:
        more = "or it is private and HF_TOKEN does not open it"
        raise DataError(f"there is no repository {repository} on {constants.ENDPOINT}, {more}") from error
    except HfHubHTTPError as error:
        raise DataError(_refused(repository, error)) from error
    except OSError as error:
        raise DataError(_unreachable(repository, error)) from error
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore")):  # those of the network have no common base
            raise
        raise DataError(_unreachable(repository, error)) from error


def _refused(repository: str, error: HfHubHTTPError) -> str:
    status = getattr(error.response, "status_code", None)
    if status in (401, 403):
        return f"{constants.ENDPOINT} does not let this token use {repository}: it takes one with the right to write"
    said = " ".join(str(error).split())[:200]
    return f"{constants.ENDPOINT} refused {repository}: {said}"


def _unreachable(repository: str, error: BaseException) -> str:
    if constants.HF_HUB_OFFLINE:
        return f"HF_HUB_OFFLINE is set and {repository} is not in the cache: unset it, or fetch the repository before"
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return f"cannot reach {constants.ENDPOINT} for {repository} ({said}): try again where there is a network"


def read_repository(source: str, backbone: Backbone) -> Weights:
    """Weights of a repository: of timm's networks as timm loads them, of others the tensors as they are.

    Args:
        source: `hf-hub:OWNER/NAME[@REVISION]` or `local-dir:PATH`.
        backbone: that takes them; position embeddings are resampled to its image size.

    Raises:
        ConfigError: no name of a repository.
        DataError: it cannot be had, or has no weights of timm or of this program.
    """
    config = _read_config(source)
    name, known = config.get("architecture"), config.get(OWN) or {}
    if not isinstance(known, dict):
        raise DataError(f"{source}: {OWN} in {CONFIG} is {known!r}, but must be an object")
    if isinstance(name, str) and name.startswith(f"{OWN}/"):
        own = name.removeprefix(f"{OWN}/")
        if class_of(own) is None and own not in (backbone.name, *(cls.__name__ for cls in Backbone.__subclasses__())):
            raise DataError(f"{source}: its {CONFIG} names architecture {name!r}, but there is no backbone {own!r}")
        path = repository_file(source)
        try:
            return Weights(load_file(path), {"name": own, **known}, source)
        except Exception as error:  # safetensors' own
            raise DataError(f"{source}: {WEIGHTS} is damaged: {error}") from error
    if not isinstance(name, str) or not timm.is_model(name):
        raise DataError(f"{source} has no weights of timm or of this program: its {CONFIG} names architecture {name!r}")
    size = backbone.built_for if isinstance(backbone, Timm) else None
    asked: dict[str, Any] = {"img_size": size} if size else {}
    place = FOLDER + str(Path(source.removeprefix(FOLDER)).expanduser()) if source.startswith(FOLDER) else source
    try:
        with explained(source.partition(":")[2], WEIGHTS):
            net: Any = timm.create_model(place, pretrained=True, **asked)
    except DataError:
        raise
    except Exception as error:  # of whatever the files hold
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{source} is no {name} that timm can load: {said}") from error
    about = {"name": name} | {key: net.pretrained_cfg[key] for key in ("mean", "std") if key in net.pretrained_cfg}
    return Weights(net.state_dict(), about | known, source)


def repository_about(source: str) -> dict[str, Any]:
    """Metadata of the network whose weights a repository has: its `name`, if given, and what this program wrote."""
    config = _read_config(source)
    name, known = config.get("architecture"), config.get(OWN)
    named = {"name": name.removeprefix(f"{OWN}/")} if isinstance(name, str) else {}
    return named | (known if isinstance(known, dict) else {})


def _read_config(source: str) -> dict[str, Any]:
    try:
        config = json.loads(repository_file(source, CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: {CONFIG} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise DataError(f"{source}: {CONFIG} holds no object")
    return config.get("pretrained_cfg", {}) | config if isinstance(config.get("pretrained_cfg"), dict) else config
