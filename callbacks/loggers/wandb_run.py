"""W&B runs that start at the first log call and fall back to offline mode when the server is unreachable."""

import contextlib
import netrc
import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from callbacks.terminal import print_line
from modules.contracts import from_here

WAIT = 10  # seconds until a server that does not answer counts as out of reach
NO_LOGIN = "nobody is logged in"


class DeferredRun:
    """Mixin of WandbLogger.

    Lightning asks for the run before data and weights have proved good; it gets a dummy, so that a mistake leaves no
    run behind. Without a login or a network, and when W&B's process dies, the run is an offline one.

    Attributes: `counter` is the file that holds W&B's step, so that the next part of an offline run continues it;
    null for a logger of the user's own.
    """

    begun = fell_back = False
    settings: tuple[tuple[Any, ...], dict[str, Any]] = (), {"params": {}}
    counter: Path | None = None

    @property
    def experiment(self) -> Any:
        if not self.begun or rank_zero_only.rank:
            return DummyExperiment()
        if self._experiment is None:
            self._begin()
        return super().experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.begun, self.settings = True, (args, kwargs)
        super().log_hyperparams(*args, **kwargs)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:  # images and tables come here too
        self.begun = True
        super().log_metrics(*args, **kwargs)
        if self.counter and not rank_zero_only.rank:
            self.counter.write_text(str(self.experiment.step))

    def finalize(self, status: str) -> None:
        super().finalize(status)
        if (
            status in ("failed", "finished") and self._experiment is not None
        ):  # `success` comes after each of many loops
            self._experiment.finish(exit_code=int(status == "failed"))

    def fall_back(self) -> str:
        """Continue in an offline run of the same id; returns a note on where, nothing when that was tried before."""
        import wandb
        from wandb.sdk.lib.module import unset_globals

        if self.fell_back or not self.begun:
            return ""
        self.fell_back = self._offline = True
        if self._experiment is not None:
            self._wandb_init["id"] = self._experiment.id
            self._experiment = None
        with contextlib.suppress(Exception):  # its process may be dead
            wandb.teardown(exit_code=1)
        unset_globals()
        self._begin()
        args, kwargs = self.settings
        super().log_hyperparams(*args, **kwargs)
        return f"the run goes on offline, in {from_here(Path(self.experiment.settings.sync_dir))}"

    def advice(self) -> str:
        """Address of the run, or the commands that show and upload all parts of an offline run, a line each."""
        if self._experiment is None or os.environ.get("WANDB_MODE") == "disabled":
            return ""
        if not self._offline:
            return f"W&B: {self.experiment.url}" if self.experiment.url else ""
        folder = Path(self.experiment.settings.sync_dir)
        parts = sorted(folder.parent.glob(f"*run-*-{self.experiment.id}"), key=lambda part: part.name.split("run-")[1])
        look, *paths = (shlex.quote(str(from_here(path))) for path in (folder, *parts))
        return f"W&B, look:   wandb leet {look}\nW&B, upload: wandb sync {' '.join(paths)}"

    def _begin(self) -> None:
        """Start the run, offline when nobody is logged in or the server is out of reach, at its next step."""
        _writable_folders()
        # W&B's process, which outlives a run, would take it from the directory in which that process was started
        folder: Any = cast(Any, self)._wandb_init.get("dir") or "."
        self._wandb_init["dir"] = str(Path(folder).absolute())
        self._offline = self._offline or os.environ.get("WANDB_MODE") in ("offline", "dryrun")
        if not self._offline and (reason := unreachable()):
            self._offline = True
            if reason != NO_LOGIN or os.environ.get("WANDB_MODE") == "online":
                print_line(f"W&B: {reason}; the run is logged offline")
        self._wandb_init.pop("anonymous", None)  # W&B warns about what Lightning passes unasked
        offline, self._offline = self._offline, False  # which would make Lightning change the environment
        if offline:
            self._wandb_init["mode"] = "offline"
        run, self._offline = super().experiment, offline
        if offline and self.counter and self.counter.is_file():
            run.log({}, step=int(self.counter.read_text()))


def unreachable() -> str:
    """Reason why W&B must be offline; empty when there is none. Checked here, as W&B would ask, or wait for minutes."""
    if os.environ.get("WANDB_MODE") == "disabled":
        return ""
    import requests
    import wandb

    known = wandb.setup().settings
    address = os.environ.get("WANDB_BASE_URL") or known.base_url
    token = os.environ.get("WANDB_IDENTITY_TOKEN_FILE")
    key = os.environ.get("WANDB_API_KEY") or _in_netrc(address)
    if not key and not token:
        return NO_LOGIN
    try:
        answer = requests.post(
            f"{address}/graphql",
            json={"query": "query { viewer { id } }"},
            auth=("api", key) if key else None,
            headers=known.x_extra_http_headers,
            verify=not known.insecure_disable_ssl,
            timeout=WAIT,
        )
    except requests.RequestException as error:
        return f"no connection to {address} ({type(error).__name__})"
    if not answer.ok and not (token and answer.status_code == requests.codes.unauthorized):
        return f"{address} answers {answer.status_code} {answer.reason}"
    return ""


def wrong_variables() -> str:
    """WANDB_* variables that W&B would fail on, with their values; empty when there are none.

    Empty ones, such as a shell script leaves, are unset.
    """
    import wandb
    from pydantic import ValidationError

    wrong = []
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        value = os.environ[name]
        try:
            wandb.Settings().update_from_env_vars({name: value})
        except Exception as error:  # W&B's own types and pydantic's
            if value:
                reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                secret = re.search("KEY|TOKEN|HEADERS|PROXY", name)
                wrong.append(f"{name}: {reason}" if secret else f"{name} is {value!r}: {reason}")
            else:
                del os.environ[name]
    return "; ".join(wrong)


def unwritable() -> str:
    """Sentence about a WANDB_DIR that cannot be written, where W&B would log to a temporary folder; else empty."""
    folder = os.environ.get("WANDB_DIR")
    return f"WANDB_DIR is {folder}, which cannot be written" if folder and not _can_write(Path(folder)) else ""


def git_root() -> str:
    """Folder whose commit a run records: the working directory, or without git there this program's own."""
    source, here = Path(__file__).parents[2], Path.cwd()
    inside = any((folder / ".git").exists() for folder in (here, *here.parents))
    return str(source if not inside and (source / ".git").exists() else here)


def _in_netrc(address: str) -> str | None:
    """The key that `wandb login` stored for the server; null when there is none."""
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, RuntimeError, netrc.NetrcParseError):  # RuntimeError: there is no home directory
        return None
    known = hosts.get(urlsplit(address).hostname or "") or next((v for k, v in hosts.items() if "wandb" in k), None)
    return known[2] if known else None


def _writable_folders() -> None:
    """Folders for W&B's settings, cache and staged tables below the temporary one, where the home is read-only."""
    import platformdirs

    usual = {
        "WANDB_CONFIG_DIR": os.path.expanduser("~/.config/wandb"),  # noqa: PTH111  never raises
        "WANDB_CACHE_DIR": platformdirs.user_cache_dir("wandb"),
        "WANDB_DATA_DIR": platformdirs.user_data_dir("wandb"),
    }
    for variable, folder in usual.items():
        if variable not in os.environ and not _can_write(Path(folder)):
            os.environ[variable] = str(Path(tempfile.gettempdir()) / f"wandb-{os.getuid()}" / variable.lower())


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
