"""Memory that tensors have freed is used again, without asking the system."""

import platform
import resource

import pytest
import torch

from modules.training.allocator import keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")


@glibc
def test_a_large_tensor_takes_the_pages_of_the_one_before(monkeypatch):
    for name in ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    assert keep_freed_memory()
    for _ in range(12):  # holes of the first ones fill up
        torch.ones(2**24)  # 64 MiB: 16,384 pages
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(2**24)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4 * 16384


@glibc
@pytest.mark.parametrize(
    ("name", "value"), [("GLIBC_TUNABLES", "glibc.malloc.check=0"), ("MALLOC_TRIM_THRESHOLD_", "0")]
)
def test_what_the_user_has_set_up_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
