"""Disk cache: results are computed once; a cache that cannot be written costs nothing but time."""

import os

import pytest
import torch

from datamodules.cache import cached, cached_tensors, digest, stamp


def test_a_result_is_computed_once_per_key(own_cache):
    calls = []

    def compute() -> list:
        calls.append(1)
        return [len(calls), {"a": None}]

    assert [cached("thing", key, compute) for key in ("x", "x", "y", "x")] == [[1, {"a": None}]] * 2 + [
        [2, {"a": None}],
        [1, {"a": None}],
    ]
    assert sorted(path.name for path in own_cache.iterdir()) == ["thing-x.json", "thing-y.json"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2"])
def test_a_damaged_entry_is_replaced(own_cache, content):
    own_cache.mkdir(parents=True)
    (own_cache / "thing-x.json").write_text(content)
    assert cached("thing", "x", lambda: 5) == 5
    assert (own_cache / "thing-x.json").read_text() == "5"


def test_an_unwritable_cache_is_no_error(own_cache):
    own_cache.parent.parent.mkdir(exist_ok=True)
    own_cache.parent.write_text("a file where the folder should be")
    assert cached("thing", "x", lambda: 5) == 5


def test_without_xdg_it_lies_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    cached("thing", "x", lambda: 5)
    assert (tmp_path / ".cache" / "graft" / "thing-x.json").is_file()


def test_a_stamp_changes_with_place_size_and_time(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("12")
    seen = [stamp(path)]
    path.write_text("123")
    os.utime(path, ns=(1, 1))
    seen.append(stamp(path))
    os.utime(path, ns=(1, 2))
    seen.append(stamp(path))
    other.write_text("123")
    os.utime(other, ns=(1, 2))
    seen.append(stamp(other))
    assert len({digest([text]) for text in seen}) == 4


def test_a_digest_tells_the_order_and_the_parts_apart():
    assert len({digest(parts) for parts in (["a", "b"], ["b", "a"], ["ab"], ["a"])}) == 4


def test_tensors_are_kept_as_they_are(own_cache):
    calls = []

    def compute() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"a": torch.randn(3, 4).T, "n": torch.tensor(7), "d": torch.ones(2, dtype=torch.float64)}

    first = cached_tensors("thing", "x", compute)
    again = cached_tensors("thing", "x", compute)
    assert len(calls) == 1
    assert all(torch.equal(first[k], again[k]) and first[k].dtype == again[k].dtype for k in first)
    (own_cache / "thing-x.safetensors").write_bytes(b"cut short")
    cached_tensors("thing", "x", compute)
    assert len(calls) == 2
