"""Commands in the code blocks of README and guides run: cut to a few samples, on small stand-ins for the data."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.annotated import coco
from tests.helpers.commands import ROOT
from tests.helpers.filmed import film
from tests.helpers.images import save
from tests.helpers.panoptic_files import random_image, write_panoptic

pytestmark = pytest.mark.usefixtures("blank_figures")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = re.compile(r"^ +(?:.*&& )?(?:python cli\.py|graft) (\w+ .*?|\w+)(?: +#.*)?$", flags=re.MULTILINE)
OTHER = re.compile(r"^ +((?:torchrun|srun|pip|pytest|sphinx-build) .*)$", flags=re.MULTILINE)

BUILT_IN = "--data.train 24 --data.val 8 --data.test 8 --data.batch_size 8 --data.workers 0".split()
FOLDER = ["--data.batch_size", "2", "--data.workers", "0"]
FIT = "--trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.limit_val_batches 1".split()
FIT += "--trainer.limit_test_batches 1 --trainer.log_every_n_steps 1 --figures.samples 2".split()
ONE = ["--trainer.precision", "32"]
LESS = {
    "compare": ["--seeds", "1"],
    "tune": ["--trials", "2", "--seeds", "0"],
    "explain": "--count 2 --depths 1 --method saliency".split(),
    "evaluate": "--label_fractions 1.0 --num_neighbors 1 --num_images 4 --sgd_epochs 1".split(),
    "attack": "--num_images 4 --steps 2 --data.workers 0".split(),
    "features": "--num_images 8 --num_patches 2 --steps 4".split(),
    "inspect": "--data.train 16 --data.batch_size 4 --lanczos_steps 2".split(),
    "export": ["--data.train", "64", "--data.workers", "0"],
    "gan": ["--trainer.callbacks", "null", "--data.image_size", "16"],
    "wgan": ["--trainer.callbacks", "null", "--data.image_size", "16", "--model.n_critic", "1"],
    "translation": ["--model.search.max_length", "8"],
    "captioning": ["--model.search.max_length", "8"],
    "LatentSamples": ["--data.count", "4"],
}
"""Further cuts by command, configuration or data module."""

SLOW = {
    "attack",
    "backbones",
    "captioning",
    "classification",
    "compare",
    "data",
    "detection",
    "dream",
    "explain",
    "export",
    "features",
    "generation",
    "inspect",
    "keypoints",
    "multilabel_classification",
    "panoptic_segmentation",
    "semantic_segmentation",
    "stylize",
    "training",
    "translation",
    "tune",
    "video",
}
"""Pages whose commands take seconds each; other tests run these tasks by default."""

NOT_HERE = {
    "explain --ckpt_path runs/detection": "a detector of one step finds nothing to explain",
    "advise --": "trains for as long as it is told; tests/cli/test_advise.py races for seconds",
    "torchrun": "starts 32 processes on four machines; tests/cli/test_processes.py starts two",
    "srun": "needs SLURM",
    "--trainer.devices 8": "needs eight devices; tests/cli/test_devices.py has two",
    "pip install": "installs; CI does",
    "pytest": "runs these tests",
    "serve --": "serves until it is ended; tests/cli/test_serve.py starts it",
    "demo --": "shows a page until it is ended; tests/cli/test_demo.py starts it",
    "sphinx-build": "CI builds the documentation",
    "OWNER/NAME": "needs an account and the network; tests/cli/test_push.py has a stand-in for the hub",
    "vgg16.pth": "needs a file that is downloaded; tests/modules/backbones loads such files",
    "MyTask --data MyData": "needs my_pkg installed; tests/examples/test_my_pkg.py loads it as a plugin",
}
"""Commands that do not run here, by a part of them, with the reason."""


def collect(page: Path, pattern: re.Pattern[str]) -> list[str]:
    """The command lines of a page, without program and comment."""
    return pattern.findall(re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")))


def reason(command: str) -> str | None:
    """The reason why a command does not run here."""
    return next((why for part, why in NOT_HERE.items() if part in command), None)


COMMANDS: dict[str, str] = {}
"""Every different command, in the order of the pages, and the first page that has it."""
for each in PAGES:
    for typed in collect(each, PROGRAM):
        COMMANDS.setdefault(typed, each.stem)
RUN = [
    pytest.param(typed, id=f"{page}-{number}", marks=pytest.mark.slow if page in SLOW else ())
    for number, (typed, page) in enumerate(COMMANDS.items())
    if not reason(typed)
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working directory with what the commands name: folders of images, annotations, videos, text, `my_pkg`."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "tasks").symlink_to(ROOT / "tasks")
    shutil.copytree(ROOT / "examples" / "my_pkg", folder / "my_pkg")
    for root, count in (("pets", 12), ("CIFAR", 12)):
        for number in range(2 * count):
            noise(folder / root / "train" / ("cat", "dog")[number % 2] / f"{number}.png", number)
    for number in range(6):
        noise(folder / "photos" / f"{number}.png", number)
        noise(folder / "DIR" / f"{number}.png", number)
    for number, name in enumerate(("photo", "painting", "other")):
        noise(folder / f"{name}.jpg", number)
    for root in ("coco", "cells", "nuclei"):
        outline = [[10, 5, 30, 5, 30, 15, 10, 15]]
        things = [
            {
                "image_id": n,
                "category_id": 7,
                "bbox": (10, 5, 20, 10),
                "segmentation": outline,
                "area": 200,
                "iscrowd": 0,
            }
            for n in range(1, 7)
        ]
        things = [{"id": number, **thing} for number, thing in enumerate(things, 1)]
        coco(folder / root, things)
    points = [{**one, "category_id": 1, "keypoints": [12, 6, 2, 28, 6, 2, 0, 0, 0]} for one in things]
    coco(folder / "people", points, categories=[{"id": 1, "name": "person", "keypoints": ["left", "right", "top"]}])
    for number in range(6):
        noise(folder / "scenes" / "images" / "train" / f"{number}.png", number)
        save(np.eye(40, dtype=np.uint8), folder / "scenes" / "masks" / "train" / f"{number}.png")
    for root in ("films", "clips"):
        for number in range(8):
            film(folder / root / "train" / ("run", "jump")[number % 2] / f"{number}.mp4", seed=number)
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        write_panoptic(folder / "streets", [random_image(generator) for _ in range(4)], split)
    camvid(folder / "camvid")
    flickr8k(folder / "FLICKR8K")
    (folder / "tune.yaml").write_text("model.optim.lr: {low: 0.0001, high: 0.01, log: true}\n")
    for name in ("train", "val"):
        (folder / f"{name}.en").write_text("a red dog runs\na cat sits\n" * 6)
        (folder / f"{name}.de").write_text("ein roter Hund rennt\neine Katze sitzt\n" * 6)
    (folder / "letter.txt").write_text("a red dog runs\n")
    return folder


def noise(path: Path, seed: int) -> None:
    """An image of noise, 40 x 40."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)).save(path)


def camvid(root: Path) -> None:
    """CamVid as SegNet's authors prepared it: two images a split."""
    for split in ("train", "val", "test"):
        for number in range(2):
            noise(root / split / f"{number}.png", number)
            save(np.eye(40, dtype=np.uint8), root / f"{split}annot" / f"{number}.png")


def flickr8k(root: Path) -> None:
    """Flickr8k as published: four images a split, of five captions each."""
    lines = []
    for start, split in enumerate(("train", "dev", "test")):
        names = [f"{start}{number}.jpg" for number in range(4)]
        for number, name in enumerate(names):
            noise(root / "Images" / name, 10 * start + number)
            lines += [f"{name}#{caption}\tA dog runs on the grass .\n" for caption in range(5)]
        (root / f"Flickr_8k.{split}Images.txt").write_text("\n".join(names) + "\n")
    (root / "Flickr8k.token.txt").write_text("".join(lines))


@pytest.fixture
def graft(place, monkeypatch):
    """Runs a command in `place`, cut short, and before it the fit of the run that it needs; it must succeed."""
    import cli

    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.argv", ["cli.py"])
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr("logging.raiseExceptions", False)  # handlers that outlive the captured stream

    def run(command: str) -> None:
        for name in needed(command):
            if not Path("runs", name).exists():
                run(f"fit --config tasks/{Path(name).parts[0]}.yaml")
        for file in re.findall(r"--onnx (runs/\S+)", command):
            if not Path(file).exists():
                run(f"export --ckpt_path {Path(file).parent}")
        assert cli.main(cut(shlex.split(command))) == 0

    return run


def needed(command: str) -> list[str]:
    """Runs that a command reads, below `runs/`."""
    read = command if command.startswith("report") else command.partition("--run_dir")[0]
    found = re.findall(r"runs/([\w/]+)", read)
    found = [name.removesuffix("/model") for name in found]  # a file that `export` writes there
    if config := re.search(r"tasks/(\w+)\.yaml --ckpt_path latest", command):
        found.append(f"{config[1]}/latest")
    return found


def cut(argv: list[str]) -> list[str]:
    """The command on a few samples: what is typed last holds."""
    argv = ["null" if word == "pretrained" else word for word in argv]  # nothing is downloaded
    config = next((Path(word).stem for word in argv if word.endswith(".yaml")), "")
    data = argv[argv.index("--data") + 1] if "--data" in argv else ""
    if argv[0] in ("backbones", "report", "push"):
        return argv
    if argv[0] in ("stylize", "dream"):
        return [*argv, "--size", "48", "--steps", "2", *(["--film", "2"] if "--film" in argv else [])]
    if argv[0] == "check":
        return [*argv, *FOLDER]
    if argv[0] == "predict":
        return [*argv, *LESS.get(data, FOLDER), *ONE]
    more = [word for key in (argv[0], config, data) for word in LESS.get(key, ())]
    if argv[0] == "export":
        return [*argv, *LESS["export"]]
    if argv[0] in ("inspect", "attack", "features"):
        return [*argv, *LESS[argv[0]]]
    if "explain" in argv and "--onnx" in argv:  # which knows no saliency
        return [*argv, "--count", "2", "--masks", "4", *ONE]
    if argv[0] in ("evaluate", "explain", "test"):
        return [*argv, *more, *ONE]
    more += ["--data.num_labels", "4"] if "--data.num_labels" in argv else []
    if argv[0] == "fit" and len(argv) > 3 and "--run_dir" not in argv:  # `latest` is of the YAML as it is
        more += ["--run_dir", f"runs/{abs(hash(tuple(argv)))}"]
    return [*argv, *(BUILT_IN if built_in(config, data) else FOLDER), *FIT, *more, *ONE]


def built_in(config: str, data: str) -> bool:
    """True for data with a number of samples to set."""
    if not data and config:
        data = yaml.safe_load((ROOT / "tasks" / f"{config}.yaml").read_text())["data"]["class_path"]
    return data.startswith("Shapes")


@pytest.mark.parametrize("command", RUN)
def test_command(graft, command):
    graft(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_other_commands_are_left_out_for_a_reason(page):
    left = [line for line in collect(page, OTHER) if not reason(line)]
    assert left == []
