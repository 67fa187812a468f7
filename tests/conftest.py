"""Fixtures shared by all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch  # noqa: F401  # before libraries whose Union[float, int] typing would hand to its Union[int, float]
import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture
def data_root() -> Path:
    """The folder of real data; skips the test where there is none."""
    root = Path(os.environ.get("GRAFT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real data in {root}: set GRAFT_DATA")
    return root


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes folders of noise: `image_folder({"train/cat": 4, "train/dog": 4})` writes that many PNG files in each."""

    def make(counts: dict[str, int], name: str = "images", size: tuple[int, int] = (20, 24)) -> Path:
        random = np.random.default_rng(0)
        root = tmp_path / name
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(root / folder / f"{i:03d}.png")
        return root

    return make
