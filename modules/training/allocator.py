"""Memory of large tensors on a CPU, kept by the process between steps."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
LARGEST = 2**30  # bytes of a tensor whose memory is still given back at once


def keep_freed_memory() -> bool:
    """Let glibc's malloc keep memory freed by tensors for the next ones; returns true if it does.

    By default every tensor of more than 32 MiB is mapped anew and unmapped when it is freed, so each step of training
    waits for the kernel to clear the same pages again: a fifth of the time of SimCLR with batches of 256 on a CPU. The
    process holds on to the most that it has needed. Nothing is changed on systems without glibc, or where the user has
    set malloc up (GLIBC_TUNABLES, MALLOC_MMAP_THRESHOLD_, ...).
    """
    if platform.libc_ver()[0] != "glibc" or _set_up():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST) or mallopt(M_MMAP_MAX, 0)  # some versions refuse so large a threshold
    return bool(kept and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def _set_up() -> bool:
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
    return "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in names)
