"""A checkpoint's settings: they build classes of this program, and neither import nor call anything else."""

import sys
from pathlib import Path

import pytest
import torch

from datamodules import DataModule, FromDataset
from modules.contracts import ConfigError
from modules.training.trusted import check_trusted
from tasks import Classification
from tests.helpers.errors import refuses

EVIL = "open('executed', 'w')\nfrom modules.heads import Linear as X\n"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with a module that leaves a file when it is imported."""
    (tmp_path / "evilmod.py").write_text(EVIL)
    (tmp_path / "evil.yaml").write_text("class_path: evilmod.X\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("evilmod", None)


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "evilmod.X"},
        {"head": {"class_path": "evilmod.X"}},
        {"head": {"class_path": "modules.heads.Linear", "init_args": {"norm": ["evilmod.X"]}}},
        {"head": '{"class_path": "evilmod.X"}'},
        {"head": "evil.yaml"},
        {"head": "- evilmod.X"},
        {"_class_path": "evilmod.X"},
        {"train": {"class_path": "torchvision.datasets.ImageFolder", "init_args": {"root": "."}}},
        {"train": {"class_path": "torch.utils.data.Subset", "init_args": {"f": "os.remove"}}},
        {"augment": [{"class_path": "albumentations.Lambda", "init_args": {"image": "os.system"}}]},
        {"augment": "albumentations.Compose.from_dict"},
        {"optim": {"optimizer": {"class_path": "torch.optim.lr_scheduler.StepLR"}}},
        {"head": "modules.training.transfer.Path"},
        {"head": "subprocess.Popen"},
        {"head": "&a [*a]"},
    ],
)
def test_names_of_code_that_nobody_typed_are_refused_unimported(here, settings):
    with refuses(ConfigError, "x.ckpt"):
        check_trusted(settings, "x.ckpt")
    assert not (here / "executed").exists()


def test_classes_of_this_program_and_its_libraries_are_built(here):
    own = {"_class_path": "tasks.classification.Classification", "head": {"class_path": "modules.heads.Linear"}}
    optimizers = ["torch.optim.adamw.AdamW", "timm.optim.lion.Lion", "torch.optim.SGD"]
    transforms = [{"class_path": "albumentations.HorizontalFlip"}, "albumentations.core.composition.Compose"]
    names = {"backbone": "resnet18.a1_in1k", "root": "evil.data", "classes": ["os.remove"], "_instantiator": "a.b"}
    check_trusted(own | names | {"optimizer": optimizers, "augment": transforms}, "x.ckpt")


def test_what_the_user_typed_is_trusted_with_its_package(here):
    check_trusted({"head": "evilmod.X"}, "x.ckpt", {"evilmod.X"})
    check_trusted({"is_valid_file": "os.remove"}, "x.ckpt", {"os.remove"})
    with refuses(ConfigError, "is_valid_file", "os.remove"):
        check_trusted({"is_valid_file": "os.remove"}, "x.ckpt", {"os.path.isfile"})


@pytest.mark.parametrize(("kind", "key"), [(Classification, "hyper_parameters"), (FromDataset, None)])
def test_load_from_checkpoint_calls_nothing(here, kind, key):
    key = key or DataModule.CHECKPOINT_HYPER_PARAMS_KEY
    train = {"class_path": "torchvision.datasets.ImageFolder", "init_args": {"root": ".", "is_valid_file": "os.remove"}}
    settings = {"head": "evilmod.X"} if kind is Classification else {"train": train}
    made = {
        "_class_path": f"{kind.__module__}.{kind.__name__}",
        "_instantiator": "lightning.pytorch.cli.instantiate_module",
    }
    torch.save({"state_dict": {}, key: made | settings, "pytorch-lightning_version": "2.6.0"}, "x.ckpt")
    before = set(here.iterdir())
    with refuses(ConfigError, "x.ckpt"):
        kind.load_from_checkpoint("x.ckpt")
    with (here / "x.ckpt").open("rb") as file, refuses(ConfigError):
        kind.load_from_checkpoint(file)
    assert set(here.iterdir()) == before
