"""A backbone's weights from one run into another, and nothing else: what fits loads whole, what does not is named."""

import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from timm.models import adapt_input_conv
from torch import nn

from modules.backbones import Timm, by_name
from modules.backbones.reach import freeze_norms
from modules.contracts import ConfigError, DataError
from modules.training.metadata import check_about
from modules.training.transfer import described_backbone, export_backbone, load_backbone, read_checkpoint, read_weights
from tasks.classification import Classification
from tests.helpers.errors import assert_named, refuses
from tests.helpers.files import Bomb

pytestmark = pytest.mark.filterwarnings("ignore:Attribute 'backbone' is an instance of")


def fresh(name: str = "test_resnet", seed: int = 1, **options) -> Timm:
    """A backbone whose every tensor, running statistics too, is its own."""
    torch.manual_seed(seed)
    backbone = Timm(name, **options)
    for tensor in backbone.net.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand_like(tensor) * 0.1)
    return backbone.eval()


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def save_task(backbone: Timm, path: Path) -> None:
    """A real checkpoint, as Lightning writes it."""
    task = Classification(classes=["cat", "dog"], backbone=backbone)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(accelerator="cpu", devices=1, **quiet)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "backbone.safetensors"
    export_backbone(fresh(), path, epoch=20)
    return path


# Loading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "epoch=3.ckpt"])
def test_a_checkpoint_of_any_task_loads_whole(tmp_path, where):
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    save_task(fresh(seed=2), path)
    backbone = fresh(seed=1)
    line = load_backbone(backbone, str(path))
    assert same(backbone, fresh(seed=2))
    count = len(backbone.net.state_dict())
    assert_named(line, f"{count}/{count}", path, "epoch 0")  # of no training


def test_an_exported_backbone_loads_whole(exported):
    backbone = fresh(seed=2)
    line = load_backbone(backbone, str(exported))
    assert same(backbone, fresh())
    count = len(backbone.net.state_dict())
    assert_named(line, f"{count}/{count}", exported, 20)


@pytest.mark.parametrize(
    ("files", "wins"),
    [(["best", "last"], "best"), (["last"], "last"), (["safetensors", "best", "last"], "safetensors")],
)
def test_a_run_directory_gives_its_export_or_else_its_best_or_last_checkpoint(tmp_path, files, wins):
    (tmp_path / "checkpoints").mkdir()
    for seed, file in enumerate(files):
        if file == "safetensors":
            export_backbone(fresh(seed=seed), tmp_path / "backbone.safetensors")
        else:
            save_task(fresh(seed=seed), tmp_path / "checkpoints" / f"{file}.ckpt")
    backbone = fresh(seed=9)
    load_backbone(backbone, str(tmp_path))
    assert same(backbone, fresh(seed=files.index(wins)))


def test_pretrained_takes_timms_weights_and_their_statistics(monkeypatch):
    theirs = timm.create_model("test_resnet", num_classes=0)
    theirs.pretrained_cfg = theirs.pretrained_cfg | {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    asked, backbone = [], fresh()
    answer = SimpleNamespace(create_model=lambda *a, **k: asked.append((a, k)) or theirs)
    monkeypatch.setattr("modules.backbones.timm.timm", answer)
    line = load_backbone(backbone, "pretrained")
    assert asked == [(("test_resnet",), {"pretrained": True})]
    assert same(backbone.net, theirs)
    assert backbone.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert_named(line, "timm", "test_resnet")


def test_pretrained_weights_that_cannot_be_fetched_are_answered_in_one_line(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host\nand a page of advice")

    backbone = fresh()
    monkeypatch.setattr("modules.backbones.timm.timm", SimpleNamespace(create_model=offline))
    with refuses(DataError, "no route to host", "timm/test_resnet.r160_in1k", "--model.weights") as caught:
        load_backbone(backbone, "pretrained")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "ending"), [("test_resnet", "safetensors"), ("torchvision/squeezenet1_1", "pth")])
def test_a_file_of_the_library_loads_without_its_classifier(name, ending, tmp_path):
    if ending == "pth":
        theirs, path = torchvision.models.squeezenet1_1(), tmp_path / "squeezenet1_1-b8a52dc0.pth"
        torch.save(theirs.state_dict(), path)
    else:
        theirs, path = timm.create_model(name), tmp_path / "model.safetensors"
        save_file(theirs.state_dict(), path)
    backbone = by_name(name)
    load_backbone(backbone, str(path))
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in backbone.net.state_dict().items())


def test_a_pth_that_is_no_file_of_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "model.pth")
    with refuses(DataError, tmp_path / "model.pth", ".ckpt"):
        load_backbone(fresh(), str(tmp_path / "model.pth"))


def test_input_statistics_travel_with_the_weights(tmp_path):
    source = fresh()
    source.mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    source.std.copy_(torch.tensor([0.4, 0.5, 0.6]))
    export_backbone(source, tmp_path / "backbone.safetensors")
    save_task(source, tmp_path / "last.ckpt")
    for file in ("backbone.safetensors", "last.ckpt"):
        backbone = fresh(seed=2)
        load_backbone(backbone, str(tmp_path / file))
        torch.testing.assert_close(backbone.mean, source.mean)
        torch.testing.assert_close(backbone.std, source.std)


# Exports in plain timm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_plain_timm_loads_an_export_and_gives_the_same_outputs(tmp_path, name):
    backbone, path, image = fresh(name), tmp_path / "backbone.safetensors", torch.rand(2, 3, 160, 160)
    export_backbone(backbone, path)
    plain = timm.create_model(name, num_classes=0, checkpoint_path=str(path)).eval()
    torch.testing.assert_close(plain(image), backbone.net(image))


def test_plain_timm_loads_a_small_stem_of_the_same_shape(tmp_path):
    backbone, path, image = fresh(small_images=True), tmp_path / "backbone.safetensors", torch.rand(2, 3, 32, 32)
    export_backbone(backbone, path)
    plain = timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(path)).eval()
    plain.conv1[0].stride, plain.maxpool = (1, 1), nn.Identity()
    torch.testing.assert_close(plain(image), backbone.net(image))


def test_an_export_says_what_it_holds(tmp_path):
    path = tmp_path / "backbone.safetensors"
    export_backbone(fresh(small_images=True), path, task="SimCLR", epoch=20)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "name": '"test_resnet"',
            "small_images": "true",
            "mean": "[0.5, 0.5, 0.5]",
            "std": "[0.5, 0.5, 0.5]",
            "task": '"SimCLR"',
            "epoch": "20",
        }


def test_an_export_leaves_no_partial_file(exported):
    assert [p.name for p in exported.parent.iterdir()] == ["backbone.safetensors"]


def test_an_export_into_a_missing_folder_is_answered_in_one_sentence(tmp_path):
    with refuses(DataError, tmp_path / "nowhere" / "backbone.safetensors", "--run_dir"):
        export_backbone(fresh(), tmp_path / "nowhere" / "backbone.safetensors")


# Other numbers of channels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize(("name", "first"), [("test_resnet", "conv1.0"), ("test_vit", "patch_embed.proj")])
def test_color_weights_are_adapted_to_other_channels_as_timm_does(tmp_path, channels, name, first):
    source, path = fresh(name), tmp_path / "backbone.safetensors"
    export_backbone(source, path)
    backbone = fresh(name, seed=2, in_channels=channels)
    load_backbone(backbone, str(path))
    expected = adapt_input_conv(channels, source.net.get_submodule(first).weight)
    torch.testing.assert_close(backbone.net.get_submodule(first).weight, expected)


def test_gray_weights_give_a_color_model_that_sees_gray_images_alike(tmp_path):
    source, path = fresh(in_channels=1), tmp_path / "backbone.safetensors"
    export_backbone(source, path)
    backbone = fresh(seed=2)
    load_backbone(backbone, str(path))
    gray = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(backbone(gray.expand(-1, 3, -1, -1))[-1], source(gray)[-1])


def test_statistics_of_other_channels_are_left_behind(tmp_path):
    source, path = fresh(in_channels=1), tmp_path / "backbone.safetensors"
    source.mean.fill_(0.9)
    export_backbone(source, path)
    backbone = fresh(seed=2)
    load_backbone(backbone, str(path))
    assert backbone.mean.tolist() == [0.5, 0.5, 0.5]


# Misfits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["backbone.safetensors", "last.ckpt"])
def test_another_architecture_is_refused_with_tensors_and_the_right_option(tmp_path, kind):
    path = tmp_path / kind
    (save_task if kind.endswith("ckpt") else export_backbone)(fresh(), path)
    backbone = fresh("test_convnext")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    with refuses(ConfigError, path, "test_convnext", "stem.0.weight", "--model.backbone test_resnet"):
        load_backbone(backbone, str(path))
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())


def test_another_stem_is_refused_with_the_shapes_and_the_right_option(tmp_path):
    path = tmp_path / "backbone.safetensors"
    export_backbone(fresh("resnet18"), path)
    with refuses(ConfigError, path, "conv1.weight", "64x3x7x7", "64x3x3x3", "--model.small_images false"):
        load_backbone(fresh("resnet18", small_images=True), str(path))


def test_a_network_of_other_arguments_is_built_again_from_its_weights_or_named(tmp_path):
    path, arguments = tmp_path / "backbone.safetensors", {"image_size": (32, 32), "options": {"patch_size": 8}}
    backbone, image = fresh("test_vit", **arguments), torch.rand(2, 3, 32, 32)
    export_backbone(backbone, path)
    again = described_backbone(read_weights(str(path)).about).eval()
    load_backbone(again, str(path))
    assert torch.equal(again(image)[-1], backbone(image)[-1])
    words = ["--model.backbone Timm", "--model.backbone.name test_vit", "--model.backbone.image_size '[32, 32]'"]
    for other in (fresh("test_vit"), fresh()):
        with refuses(ConfigError, path, *words, "--model.backbone.options '{\"patch_size\": 8}'"):
            load_backbone(other, str(path))
    with refuses(DataError, "checkpoint_path"):
        check_about({"options": {"checkpoint_path": "x"}}, "a file")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda t: t.pop("bn1.weight"), ["bn1.weight"]),
        (lambda t: t.update(extra=torch.zeros(1)), ["extra"]),
        (lambda t: t.update({"bn1.weight": torch.zeros(7)}), ["bn1.weight", 7, 32]),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_one_wrong_tensor_is_enough_to_refuse(tmp_path, exported, change, names):
    tensors = load_file(exported)
    change(tensors)
    save_file(tensors, tmp_path / "odd.safetensors")
    with refuses(ConfigError, tmp_path / "odd.safetensors", "test_resnet", *names):
        load_backbone(fresh(seed=2), str(tmp_path / "odd.safetensors"))


# Files that are no checkpoint ----------------------------------------------------------------------------------------


def text(path: Path) -> None:
    path.write_text("these are not weights")


def empty(path: Path) -> None:
    path.touch()


def truncated(path: Path) -> None:
    save_task(fresh(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "these are not weights")


def tensors_without_names(path: Path) -> None:
    torch.save([torch.zeros(2)], path)


def other_network(path: Path) -> None:
    torch.save({"state_dict": {"fc.weight": torch.zeros(2)}}, path)


@pytest.mark.parametrize(
    "write", [text, empty, truncated, archive, tensors_without_names, other_network], ids=lambda w: w.__name__
)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, write):
    path = tmp_path / "last.ckpt"
    write(path)
    with refuses(DataError, path) as caught:
        load_backbone(fresh(), str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [text, empty, truncated], ids=lambda w: w.__name__)
def test_what_is_no_safetensors_file_is_refused_by_name(tmp_path, write):
    path = tmp_path / "backbone.safetensors"
    write(path)
    with refuses(DataError, path, "safetensors"):
        load_backbone(fresh(), str(path))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "save", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))], ids=["zip", "pickle"]
)
def test_code_in_a_checkpoint_is_not_executed(tmp_path, save):
    bomb, path = tmp_path / "executed", tmp_path / "last.ckpt"
    save({"state_dict": {"backbone.net.conv1.0.weight": Bomb(bomb)}}, path)
    for read in (lambda: load_backbone(fresh(), str(path)), lambda: read_checkpoint(path)):
        with refuses(DataError, path):
            read()
    assert not bomb.exists()
    with suppress(RuntimeError):  # a bare pickle is no checkpoint, but has run by then
        torch.load(path, weights_only=False)
    assert bomb.exists()  # it was real


@pytest.mark.parametrize(("path", "names"), [("nowhere", (".ckpt", "pretrained")), ("", ("checkpoints",))])
def test_a_path_that_does_not_exist_and_a_run_that_has_saved_nothing_are_refused(tmp_path, path, names):
    with refuses(DataError, tmp_path / path, "backbone.safetensors", *names):
        load_backbone(fresh(), str(tmp_path / path))


def test_frozen_norms_keep_their_statistics_scale_and_names():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    names, image = list(net.state_dict()), torch.randn(2, 3, 8, 8)
    expected = net.eval()(image)
    freeze_norms(net.train())
    torch.testing.assert_close(net(image), expected)
    net(image).sum().backward()
    assert list(net.state_dict()) == names and net[1].num_batches_tracked == 0
    assert net[0].weight.grad is not None and net[1].weight.grad is None
