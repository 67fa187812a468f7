"""The precision that `cli.py` chooses on this machine, for both sides of a benchmark alike."""

import torch

from modules.training.precision import AUTO, choose, detect

DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def automatic(accelerator: str = "cpu") -> str:
    """Lightning's name of the precision that `--trainer.precision auto` comes to, such as bf16-mixed."""
    return choose(AUTO, accelerator, detect()).precision


def autocast(precision: str, device: torch.device | str = "cpu") -> torch.autocast:
    """A plain loop's context for a precision; does nothing in float32."""
    return torch.autocast(torch.device(device).type, DTYPES.get(precision), enabled=precision in DTYPES)
