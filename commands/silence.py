"""Messages of Lightning and torch that are silenced."""

import logging
import os
import re
import warnings
from pathlib import Path

import torch

import callbacks
from callbacks.terminal import fill
from modules.training.allocator import keep_freed_memory
from modules.training.trusted import OWN
from tasks.plateau import ReduceOnPlateau
from tasks.weight_averaging import EpochAverage, MovingAverage

ROOT, WITH_PLACE = Path(__file__).parents[1], warnings.formatwarning


def format_warning(message: Warning | str, category: type, filename: str, lineno: int, line: str | None = None) -> str:
    """A warning as text: of ours the sentence alone, of libraries with the place in the code."""
    own = any(Path(filename).is_relative_to(ROOT / folder) for folder in (*OWN, "commands"))
    return f"{fill(f'warning: {message}')}\n" if own else WITH_PLACE(message, category, filename, lineno, line)


class Filled(logging.Formatter):
    """Messages of one line as wide as the terminal; those of several may be tables."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return message if "\n" in message else fill(message)


class HubRetries(logging.Filter):
    """Retries of requests to the Hugging Face hub as a single line, in place of two for each."""

    said = False

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if not (asked := re.search(r"thrown while requesting \w+ https?://([^/\s]+)", message)):
            return not message.startswith("Retrying in")
        first, self.said = not self.said, True
        record.msg = f"{asked[1]} does not answer: trying again for up to a minute (HF_HUB_OFFLINE=1 leaves that out)"
        record.args = ()
        return first


def silence_messages() -> None:
    """Silence the messages of Lightning and torch that appear at every start and need no action; wrap the others."""
    warnings.formatwarning = format_warning
    for handler in logging.getLogger("lightning.pytorch").handlers:
        handler.setFormatter(Filled())
    warnings.filterwarnings("ignore", message=".*is an instance of `nn.Module` and is already saved.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not round-trip.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen parts, averages
    warnings.filterwarnings("ignore", message=".*already exist within another group.*")  # batch norms, which train
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*You have overridden `on_after_batch_transfer`.*")
    warnings.filterwarnings("ignore", message=".*does not have a `batch_size`.*")
    warnings.filterwarnings("ignore", message=".*across ranks is zero.*")  # no validation set
    warnings.filterwarnings("ignore", message=".*all_gather is deprecated.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # the data module is
    warnings.filterwarnings("ignore", message=".*SWA is currently only supported every epoch.*")  # it is told so
    own = (*vars(callbacks).values(), MovingAverage, EpochAverage, ReduceOnPlateau)
    own = (c.__name__ for c in own if isinstance(c, type))
    own = "|".join(own)  # that a task or a command adds by itself
    warnings.filterwarnings("ignore", message=rf".*using `ckpt_path`, callbacks.*: \[('({own})'(, )?)+\]")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    noise = re.compile(
        "available:|used:|LOCAL_RANK|Tip|litlogger|Seed set|Mixed Precision|Loading `train_data|"
        "`Trainer.fit` stopped|Restored all|Restoring states|Loaded model w|Initializing distributed|^-+\ndistributed_"
    )
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed"):
        logging.getLogger(f"lightning.{name}").addFilter(lambda record: not noise.search(record.getMessage()))
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # a new experiment
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("huggingface_hub.utils._http").addFilter(HubRetries())
    torch.set_float32_matmul_precision("high")
    keep_freed_memory()
