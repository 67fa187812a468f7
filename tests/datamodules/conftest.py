"""Fixtures of the data tests: a cache of their own, and folders of images with masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.images import save


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own: nothing is read from the user's, nothing is left there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graft"


@pytest.fixture
def pair_folder(tmp_path: Path) -> Callable[..., Path]:
    """Factory for folders of pairs: `pair_folder({"train": 4})` writes `images/train/000.png`, `masks/train/000.png`...

    A mask has blocks of 8 x 8 pixels, whose class is drawn from `values`; its image is 20 times as bright.
    """

    def make(
        counts: dict[str, int],
        name: str = "pairs",
        size: tuple[int, int] = (24, 32),
        values: tuple[int, ...] = (0, 1, 2),
        colors: list[int] | None = None,
    ) -> Path:
        random, root = np.random.default_rng(0), tmp_path / name
        for split, count in counts.items():
            for i in range(count):
                blocks = random.choice(values, (-(-size[0] // 8), -(-size[1] // 8)))
                mask = blocks.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]].astype(np.uint8)
                save(mask, root / "masks" / split / f"{i:03d}.png", colors)
                save((mask[..., None] * 20).repeat(3, 2), root / "images" / split / f"{i:03d}.png")
        return root

    return make
