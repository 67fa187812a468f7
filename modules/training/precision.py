"""Automatic precision: mixed precision where the hardware computes in it, float32 where it would be emulated."""

from typing import NamedTuple

import torch

AUTO = "auto"
ALIASES = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


class Hardware(NamedTuple):
    """Capabilities of a machine that decide in which precision it computes fast.

    Args:
        cpu: instructions for bf16 of the CPU, of "AVX512-BF16" and "AMX"; empty where bf16 is emulated.
        cuda: true if every CUDA device computes in bf16; null without CUDA.
        mps: true if there is an Apple GPU.
    """

    cpu: tuple[str, ...] = ()
    cuda: bool | None = None
    mps: bool = False

    def device(self, accelerator: str) -> str:
        """Kind of device that Lightning takes for `trainer.accelerator`: cuda, mps, cpu or another's name."""
        if accelerator not in ("auto", "gpu"):
            return accelerator
        return "cuda" if self.cuda is not None else "mps" if self.mps else "cpu"


class Choice(NamedTuple):
    """A precision by Lightning's name, such as bf16-mixed or 32-true, and the reason for it, for the summary."""

    precision: str
    reason: str


def detect() -> Hardware:
    """Capabilities of this machine, as far as the settings of torch and oneDNN let them be used."""
    cuda = torch.cuda.is_available()
    return Hardware(
        cpu=_cpu_instructions(),
        cuda=all(map(_computes_bf16, range(torch.cuda.device_count()))) if cuda else None,
        mps=torch.backends.mps.is_available(),
    )


def choose(asked: str | int | None, accelerator: str, hardware: Hardware, before: str | None = None) -> Choice:
    """Precision of a run.

    Args:
        asked: `trainer.precision`: `auto`, null for Lightning's default (float32), or a precision, which is taken as it
            is.
        accelerator: `trainer.accelerator`, such as auto, gpu, cuda or cpu.
        hardware: capabilities of the machine.
        before: precision of the run that is resumed, which `auto` keeps unless it would be emulated here.
    """
    device = hardware.device(accelerator)
    slow = _emulation(device, hardware)
    if asked != AUTO:
        name = unified(asked) or "32-true"
        if name == "16-mixed" and device == "cpu":  # Lightning takes bf16 there
            return Choice("bf16-mixed", ", ".join(["16-mixed, as set, is bf16-mixed on a CPU", *filter(None, [slow])]))
        return Choice(name, f"as set, although {slow}" if slow and name.startswith("bf16") else "as set")
    if before not in (None, AUTO) and not (slow and before.startswith("bf16")) and _exists(before, device):
        return Choice(before, "auto: as in the run that is resumed")
    if device == "cuda":
        if hardware.cuda:
            return Choice("bf16-mixed", "auto: the GPU computes in bf16")
        return Choice("16-mixed", "auto: the GPU computes in float16, but not in bf16")
    if device == "cpu" and hardware.cpu:
        return Choice("bf16-mixed", f"auto: the CPU computes in bf16 ({', '.join(hardware.cpu)})")
    return Choice("32-true", f"auto: {slow}" if slow else f"auto: float32 on {device}")


def unified(precision: str | int | None) -> str | None:
    """Lightning's full name of a precision: "32-true" for 32 and "32"; null and `auto` as they are."""
    return None if precision is None else ALIASES.get(str(precision), str(precision))


def _exists(precision: str, device: str) -> bool:
    return device == "cuda" or not precision.startswith(("16", "transformer-engine"))


def _emulation(device: str, hardware: Hardware) -> str:
    """Sentence about a device that only emulates bf16; empty for others."""
    if device == "cpu" and not hardware.cpu:
        return "the CPU has neither AVX512-BF16 nor AMX, so bf16 is emulated and several times slower than float32"
    if device == "cuda" and hardware.cuda is False:
        return "the GPU does not compute in bf16, which is emulated and slower than float32"
    return ""


def _cpu_instructions() -> tuple[str, ...]:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported() or "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return ()  # older, or held back by ONEDNN_MAX_CPU_ISA or ATEN_CPU_CAPABILITY
    present = {"AVX512-BF16": torch.cpu._is_avx512_bf16_supported(), "AMX": torch.cpu._is_amx_tile_supported()}
    return tuple(name for name, here in present.items() if here)


def _computes_bf16(index: int) -> bool:
    with torch.cuda.device(index):
        return torch.cuda.is_bf16_supported(including_emulation=False)
