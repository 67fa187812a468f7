"""Lanes of the tests, by folder, and fixtures that all share."""

import gc
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

# before torch is imported: workers of pytest share the cores, and scikit-learn would start a process to count them
os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightning.pytorch  # noqa: F401  # before libraries whose Union[float, int] typing would hand to its Union[int, float]
import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)
gc.disable()  # until all tests are imported

LANES = {  # of folders and files; the deepest that is named decides
    ".": "unit",
    "benchmarks": "e2e",
    "callbacks/test_generation_metrics.py": "integration",  # fits
    "callbacks/test_mask_figures.py": "integration",
    "callbacks/test_object_figures.py": "integration",
    "callbacks/test_text_figures.py": "integration",
    "cli": "e2e",
    "commands/backbones": "integration",  # published networks
    "docs": "e2e",
    "examples": "e2e",
    "modules/backbones": "integration",  # hundreds of published networks
    "tasks": "integration",
}
EXPLICIT = ("slow", "gpu", "e2e", "integration")  # marks of a test, of which the first wins over its folder's


def lane_of(path: Path, marks: Collection[str] = ()) -> str:
    """Lane of a folder or file, or of a file's test that has these marks of its own."""
    place = path.relative_to(Path(__file__).parent)
    by_mark = [mark for mark in EXPLICIT if mark in marks]
    by_folder = [LANES[name] for folder in (place, *place.parents) if (name := folder.as_posix()) in LANES]
    return (by_mark + by_folder)[0]


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist would begin with the files of most tests, not of the longest


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its lane; those of real data are integration. Workers of pytest-xdist begin with long files.

    A long file at the end would keep one worker busy while the others wait.
    """
    for item in items:
        real = ["integration"] if "data_root" in getattr(item, "fixturenames", ()) else []
        item.add_marker(lane_of(item.path, [mark.name for mark in item.iter_markers()] + real))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: ("e2e", "integration", "unit").index(lane_of(item.path)))


def pytest_collection_finish() -> None:
    """Leave all that is imported out of garbage collection, which took a fifth of the time of commands."""
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders of other lanes out of `-m unit`: importing their tests takes seconds."""
    units = config.option.markexpr == "unit"
    return True if units and collection_path.is_dir() and lane_of(collection_path) != "unit" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fail a unit test that starts a process or the command line, in its fixtures too."""
    starts = ("os.fork", "subprocess.Popen.__init__", "multiprocessing.process.BaseProcess.start", "cli.main")
    with pytest.MonkeyPatch.context() as patch:
        for start in starts if item.get_closest_marker("unit") else ():
            patch.setattr(start, refuse)
        return (yield)


def refuse(*args: object, **kwargs: object) -> None:
    """Fail the test."""
    pytest.fail("a unit test starts a process or the command line: mark it integration or e2e, or move it")


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which lines are not wrapped, as tests read them; `narrow_terminal` is another."""
    monkeypatch.setenv("COLUMNS", "500")


@pytest.fixture
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of as many columns as a log file or a pipe has."""
    monkeypatch.setenv("COLUMNS", "80")
    return 80


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


@pytest.fixture(scope="module")
def blank_figures() -> Iterator[Callable]:
    """Leave figures blank, as drawing takes a fifth of a short run; gives the method that draws."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    draws = FigureCanvasAgg.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasAgg, "draw", FigureCanvasAgg.get_renderer)  # of no color
        yield draws


@pytest.fixture
def drawn_figures(blank_figures, monkeypatch) -> None:
    """Draw figures, as tests do in which every task and every kind of figure occurs."""
    monkeypatch.setattr("matplotlib.backends.backend_agg.FigureCanvasAgg.draw", blank_figures)
