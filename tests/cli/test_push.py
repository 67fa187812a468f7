"""`push` and weights from repositories: plain timm loads what goes up, and gives the same answers."""

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save

from modules.backbones import by_name
from modules.contracts import ConfigError, DataError
from modules.heads.base import through
from modules.heads.classification import FullyConnected, Linear
from modules.training.hub import repository_file
from modules.training.timm_format import write_format
from modules.training.transfer import load_backbone
from tasks import Classification
from tests.helpers.errors import assert_named, refuses, sentence
from tests.helpers.hub import TOKEN, hub, use

CLASSES = ["cat", "dog", "<script>|`"]
PLAIN_TIMM = """
import sys, torch, timm
from pathlib import Path
for path in map(Path, sys.argv[1:]):
    saved = torch.load(path)
    model = timm.create_model(saved["source"], pretrained=True).eval()
    with torch.no_grad():
        found = model.forward_head(model.forward_features(saved["image"]), pre_logits=True)
        assert torch.allclose(found, saved["features"], rtol=1e-5, atol=1e-5), path
        if saved["logits"] is not None:
            assert torch.allclose(model(saved["image"]), saved["logits"], rtol=1e-5, atol=1e-5), path
            assert model.pretrained_cfg["label_names"] == saved["classes"], path
    config = timm.data.resolve_model_data_config(model)
    assert config["input_size"] == (saved["image"].shape[1], *saved["image"].shape[2:]), config
    assert (list(config["mean"]), config["crop_pct"]) == (saved["mean"], 1.0), config
assert not {"modules", "tasks", "commands"} & set(sys.modules)
"""
"""Program that compares plain timm's answers with those in files."""


@torch.no_grad()
def answers(path: Path, source: str, backbone, head, classes, size: int) -> Path:
    """Write our answers to noise for `PLAIN_TIMM`."""
    image = torch.randn(2, backbone.in_channels, size, size)
    backbone.eval()
    features = backbone.pool(backbone(image))
    logits = None if head is None else through(backbone, head.eval(), image)
    mean = [round(value, 6) for value in backbone.mean.tolist()]
    saved = {"source": source, "image": image, "features": features, "logits": logits, "classes": classes, "mean": mean}
    torch.save(saved, path)
    return path


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hub() as running:
        use(monkeypatch, running.address, tmp_path / "cache")
        yield running


def test_plain_timm_gives_the_answers_of_what_was_pushed(graft, server, trained, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    typed = ["push", "--ckpt_path", str(run), "--repo", "me/shapes", "--license", "mit", "--private"]
    assert graft(*typed, "--dry_run") == (0, "") and not server.files
    following = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert following[-len(typed) :] == typed and following[0] == "next:"
    code, error = graft(*typed)  # with bars of progress
    assert code == 0, error
    assert len({path.stat().st_mode for path in (run / "hub").iterdir()}) == 1
    said = capsys.readouterr().out
    assert_named(said, "plain timm", "10 classes", f"pushed: {server.address}/me/shapes")
    sent = server.files["me/shapes"]
    assert set(sent) == {"README.md", "config.json", "model.safetensors", "config.yaml", "results.json"}
    assert server.private == {"me/shapes"}
    task = Classification.load_from_checkpoint(run / "checkpoints" / "best.ckpt").eval()
    files = [answers(tmp_path / "hub.pt", "hf-hub:me/shapes", task.backbone, task.head, task.classes, 32)]
    nets = [
        ("test_vit", {}, Linear, 48),  # positions of another size
        ("test_resnet", {"output_stride": 8}, Linear, 64),
        ("dla46_c", {}, Linear, 64),  # a convolution as classifier
        ("test_efficientnet", {"drop_path": 0.1}, None, 64),
    ]
    for number, (name, options, kind, size) in enumerate(nets):
        folder = tmp_path / f"net{number}"
        folder.mkdir()
        torch.manual_seed(number)
        backbone = by_name(name, **options).eval()
        head = kind(backbone.features, len(CLASSES)) if kind else None
        classes = CLASSES if kind else None
        found = write_format(folder, backbone, head, classes, (size, size))
        assert (found.timm, found.classifier, found.reason) == (True, kind is not None, ""), name
        files.append(answers(tmp_path / f"{number}.pt", f"local-dir:{folder}", backbone, head, classes, size))
    (tmp_path / "plain.py").write_text(PLAIN_TIMM)
    variables = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    command = [sys.executable, str(tmp_path / "plain.py"), *map(str, files)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    _check_card(sent["README.md"].decode(), json.loads((run / "results.json").read_text()))
    for source in ("hf-hub:me/shapes", f"local-dir:{run / 'hub'}"):
        fresh = by_name("test_resnet")
        assert_named(load_backbone(fresh, source), source)
        own = task.backbone.net.state_dict()
        assert all(torch.equal(value, own[key]) for key, value in fresh.net.state_dict().items())
    with refuses(ConfigError, "test_vit", "--model.backbone test_resnet"):
        load_backbone(by_name("test_vit"), "hf-hub:me/shapes")

    server.private.clear()
    code, error = graft(*typed)
    assert code == 1
    assert_named(error, "me/shapes", "--private")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    code, error = graft(*typed[:-1])
    assert code == 1
    sentence(error, server.address, "token", "me/shapes")


def _check_card(card: str, results: dict) -> None:
    _, front, body = card.split("---\n", 2)
    about = yaml.safe_load(front)
    assert (about["license"], about["library_name"], about["pipeline_tag"]) == ("mit", "timm", "image-classification")
    stated = {one["type"]: one["value"] for one in about["model-index"][0]["results"][0]["metrics"]}
    test = {row["metric"]: row for row in results["results"] if row["metric"].startswith("test/")}
    assert stated == {name.removeprefix("test/"): row["value"] for name, row in test.items()}
    assert_named(body, "How to use", "How to reproduce", "Limits", 'timm.create_model("hf-hub:me/shapes"', "hourglass")
    assert_named(body, "softmax", "Every image gets one of the classes")
    row = test["test/accuracy"]
    assert_named(body, f"{row['value']:.4f}", "top-1", "20 test images", "95 % interval")


@pytest.mark.parametrize(
    ("name", "options", "head", "reason", "in_timm"),
    [
        ("torchvision/shufflenet_v2_x0_5", {}, Linear, "no network of timm's", False),
        ("test_resnet", {"small_images": True}, Linear, "small_images", False),
        ("lenet5", {}, None, "Graft's own", False),
        ("levit_128s", {}, Linear, "no single", True),
        ("coat_lite_tiny", {}, None, "", True),  # layers that share their tensors
        ("test_resnet", {}, partial(FullyConnected, hidden=(8,), cells=1), "FullyConnected", True),
    ],
)
def test_what_timm_cannot_build_goes_out_as_plain_tensors(tmp_path, name, options, head, reason, in_timm):
    backbone = by_name(name, **options).eval()
    made = head(backbone.features, 3) if head else None
    found = write_format(tmp_path, backbone, made, CLASSES if head else None, None)
    assert reason in found.reason and not found.classifier
    assert found.timm == in_timm
    assert (tmp_path / "classifier.safetensors").is_file() == (head is not None)
    fresh = by_name(name, **options)
    load_backbone(fresh, f"local-dir:{tmp_path}")
    own = backbone.net.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in fresh.net.state_dict().items())


def test_bad_input_of_push_is_a_sentence(graft, refused, trained, tmp_path, monkeypatch):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")  # nothing answers there
    run = ["--ckpt_path", str(trained)]
    for name in ("shapes", "a/b/c", "me/sha pes", "me/a..b", f"me/{'x' * 96}", "/shapes"):
        refused(2, ["push", *run, "--repo", name, "--dry_run"], "--repo", name)
    refused(2, ["push", *run, "--repo", "me/shapes"], "HF_TOKEN", "--dry_run")
    refused(2, ["push", *run], "--repo")
    refused(2, ["push", *run, "--repo", "me/shapes", "--model.lr", "1"], "model.lr")
    refused(1, ["push", "--ckpt_path", "nowhere", "--repo", "me/shapes", "--dry_run"], "nowhere")
    (tmp_path / "full").mkdir()  # and stays empty, else the next push would take its files for those of others
    with monkeypatch.context() as patch:

        def full(pushed):
            raise OSError(errno.ENOSPC, "no space left")

        patch.setattr("commands.push.command.card", full)
        refused(1, ["push", *run, "--repo", "me/shapes", "--dry_run", "--out", "full"], "full", "--out")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("mine")  # push would have deleted it
    refused(2, ["push", *run, "--repo", "me/shapes", "--dry_run", "--out", "project"], "--out", "README.md")
    refused(2, ["push", *run, "--repo", "me/shapes", "--dry_run", "--out", str(trained)], "--out", "config.yaml")
    (tmp_path / "bare" / "checkpoints").mkdir(parents=True)
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare" / "checkpoints")
    refused(1, ["push", "--ckpt_path", "bare", "--repo", "me/shapes", "--dry_run"], "results.json")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code, error = graft("push", *run, "--repo", "me/shapes", "--out", "made")
    assert code == 1
    sentence(error, "http://127.0.0.1:9", "me/shapes")


def test_repositories_that_cannot_be_read_are_named(server, tmp_path, monkeypatch):
    net = by_name("test_resnet")
    server.files["me/empty"] = {}
    server.files["me/text"] = {"config.json": b'{"architecture": "bert"}'}
    server.files["me/odd"] = {"config.json": b"[1"}
    server.files["me/unknown"] = {"config.json": b'{"architecture": "graft/vgg99"}'}
    server.files["me/bare"] = {"config.json": b'{"architecture": "test_resnet"}'}
    about = {"architecture": "graft/test_resnet"}
    weights = save({key: value.contiguous() for key, value in net.net.state_dict().items()})
    odd = ([1], {"mean": "abc"}, {"mean": [0] * 3, "std": [0] * 3}, {"name": [1]}, {"untrained": 3}, {"mean": [1] * 3})
    for number, own in enumerate(odd):
        config = json.dumps(about | {"graft": own}).encode()
        server.files[f"me/own{number}"] = {"config.json": config, "model.safetensors": weights}
        with refuses(DataError, f"me/own{number}"):
            load_backbone(net, f"hf-hub:me/own{number}")
    for name, words in {
        "hf-hub:me/none": ["me/none", "HF_TOKEN"],
        "hf-hub:me/empty": ["me/empty", "config.json"],
        "hf-hub:me/text": ["me/text", "bert"],
        "hf-hub:me/odd": ["me/odd", "config.json"],
        "hf-hub:me/unknown": ["me/unknown", "vgg99"],
        "hf-hub:me/bare": ["me/bare"],
        f"local-dir:{tmp_path}": [tmp_path, "config.json"],
    }.items():
        with refuses(DataError, *words):
            load_backbone(net, name)
    with refuses(ConfigError, "shapes", "OWNER/NAME"):
        load_backbone(net, "hf-hub:shapes")
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    with refuses(DataError, "me/shapes", "http://127.0.0.1:9"):
        repository_file("hf-hub:me/shapes")
