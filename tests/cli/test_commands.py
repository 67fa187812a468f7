"""Every YAML through every command, and what a run leaves behind."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file

import tasks
from commands.arguments import typed_class
from commands.checkpoints import resolve_weights
from modules.backbones import by_name
from modules.backbones.lora import norm_layers
from modules.metrics.bootstrap import load
from modules.training.precision import Hardware
from modules.training.transfer import export_backbone, load_backbone
from tests.helpers.commands import results, values
from tests.helpers.errors import line_naming, sentence
from tests.helpers.explained import assert_explains, assert_has_features
from tests.helpers.files import rows
from tests.helpers.predicted import assert_predicts_the_same

TASKS = sorted((Path(__file__).parents[2] / "tasks").glob("*.yaml"))
TINY = "--data.train 64 --data.val 32 --data.test 32 --data.batch_size 16 --data.workers 0 --data.image_size 32".split()
TINY += "--trainer.max_epochs 2 --figures.samples 4 --trainer.log_every_n_steps 1".split()
SHORT = ["--model.search.max_length", "8"]
TEXT = [*TINY[:10], *TINY[12:], *SHORT]  # sentences have no size in pixels
FEWER = "--figures.samples 2 --data.train 32 --data.val 16 --data.test 16 --trainer.max_epochs 1".split()
SINGLE = {"captioning", "classification", "colorization", "detection", "instance_segmentation", "jigsaw", "rotation"}
SINGLE |= {
    "detr",
    "ijepa",
    "keypoints",
    "mae",
    "masked_patches",
    "panoptic_segmentation",
    "semantic_segmentation",
    "translation",
    "video",
    "videomae",
}  # all metrics follow from single items
SERVED = {"captioning", "classification", "detection", "gan", "instance_segmentation", "semantic_segmentation"}
SERVED |= {"simclr", "translation", "video"}  # one of each kind of samples and predictions
FOUND = "--model.head.score_threshold 0 --model.head.proposals 10 --model.head.detections 3".split()
EXPLAINED = {"detection": FOUND, "instance_segmentation": FOUND, "simclr": ["--target", "own/0.png"]}
EXPLAINED |= {"translation": ["--model.search.min_length", "2"]}  # a trial's own sentences are empty
OWN = {"distillation": ["--model.teacher", "teacher.safetensors"]}
OWN |= {"jigsaw": ["--data.image_size", "64"], "captioning": SHORT}  # jigsaw's tiles are parts of the image


@pytest.fixture
def short_scores(monkeypatch, tmp_path_factory) -> None:
    """Scores of generators by a classifier that is trained for three steps, in a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("modules.metrics.extractors.STEPS", 3)


@pytest.mark.usefixtures("drawn_figures")
@pytest.mark.parametrize("path", TASKS, ids=lambda p: p.stem)
def test_every_yaml_fits_validates_tests_and_predicts(graft, path, short_scores, capsys):
    config = ["--config", f"tasks/{path.name}"]
    tiny = TEXT if path.stem == "translation" else TINY + OWN.get(path.stem, [])
    export_backbone(by_name("test_vit"), Path("teacher.safetensors"))
    assert graft("fit", *config, *tiny, *FEWER)[0] == 0
    out = capsys.readouterr().out
    assert "python cli.py" in out.partition("next")[2]  # what to type next
    run = Path("runs") / path.stem / "latest"
    written = {p.relative_to(run).as_posix() for p in run.rglob("*")}
    assert {"config.yaml", "metrics.csv", "results.json", "checkpoints/last.ckpt"} <= written
    assert ("backbone.safetensors" in written) == (path.stem not in ("gan", "translation", "wgan"))
    assert "figures/train_batch.png" in written
    fitted = results(run)
    assert all(row["protocol"] for row in fitted.values())
    task = vars(tasks)[typed_class(["fit", *config], "model")]
    assert type(task.load_from_checkpoint(run / "checkpoints" / "last.ckpt")) is task
    if task.pretraining:
        assert "before training" in fitted["val/knn"]["protocol"]
    for command in ("validate", "test", "predict"):
        assert graft(command, *config, "--ckpt_path", "latest")[0] == 0
    (again,) = Path("runs", path.stem).glob("*_test/results.json")
    tested = {metric: row["value"] for metric, row in fitted.items() if metric.startswith("test/")}
    assert values(again.parent) == pytest.approx(tested, nan_ok=True)
    check_intervals(run, path.stem)
    predicted = [p for p in Path("runs", path.stem).glob("*_predict/predictions/**/*") if p.is_file()]
    assert predicted
    assert all(p.stat().st_size for p in predicted)
    if path.stem in SERVED:
        assert_predicts_the_same(graft, run, Path("own"))
        said = assert_explains(graft, run, path.stem, EXPLAINED.get(path.stem, []))
        assert_has_features(graft, run, path.stem)
        if path.stem == "simclr":
            assert said == ["similarity to own/0.png"] * 2
            for code, target in ((2, "nowhere.png"), (1, "own")):
                found, error = graft("explain", "--ckpt_path", str(run), "--target", target)
                assert found == code
                sentence(error, "--target", target)


def check_intervals(run: Path, task: str) -> None:
    """Check that test metrics have intervals, or a reason why not, and follow from the file of the test's items."""
    tested = {name: row for name, row in results(run).items() if name.startswith("test/")}
    whole = {}
    if (path := run / "predictions" / "test_items.npz").is_file():
        items = load(path)
        whole = items.values(np.ones((1, len(items.ids)), int))
        assert {row["items"] for row in tested.values()} <= {None, len(items.ids)}
    reasons = {name: row.get("no interval", "") for name, row in tested.items()}
    assert (task in SINGLE) <= (not [name for name, reason in reasons.items() if "function" in reason])
    for name, row in tested.items():
        assert (row["interval"] is None) == bool(reasons[name])
        if row["interval"] and (own := name.removeprefix("test/")) in whole:  # others are no function of items
            assert whole[own] == pytest.approx(row["value"], rel=1e-3, abs=1e-6)


def test_config_yaml_reproduces_the_run(graft, trained, tmp_path):
    assert graft("fit", "--config", str(trained / "config.yaml"), "--run_dir", str(tmp_path / "again"))[0] == 0
    first, second = (
        torch.load(r / "checkpoints" / "last.ckpt", weights_only=True) for r in (trained, tmp_path / "again")
    )
    assert all(torch.equal(first["state_dict"][k], second["state_dict"][k]) for k in first["state_dict"])


def test_print_config_is_complete_and_can_be_used(graft, capsys):
    with pytest.raises(SystemExit):
        graft("fit", "--config", "tasks/classification.yaml", "--data.batch_size", "7", "--print_config")
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["data"]["init_args"]["batch_size"] == 7
    assert config["model"]["init_args"]["optim"]["schedule"] == "cosine"


def test_help_shows_task_and_data_with_the_values_of_the_yaml_and_the_trainer_last(graft, capsys):
    with pytest.raises(SystemExit) as end:
        graft("fit", "--config", "tasks/simclr.yaml", "--help")
    assert end.value.code == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  --")]
    sections = [name[2:].partition(".")[0] for name in shown if "." in name]
    order = list(dict.fromkeys(sections))
    assert (order[:2], order[-1]) == (["model", "data"], "trainer")
    assert {"--model.temperature", "--model.optim.lr", "--data.views", "--run_dir"} <= set(shown)


def test_data_may_come_from_a_yaml_of_its_own(graft, folder):
    Path("pets.yaml").write_text(
        f"class_path: ImageFolder\ninit_args: {{root: {folder}, image_size: 32, batch_size: 4, workers: 0}}\n"
    )
    assert (
        graft("fit", "--config", "tasks/classification.yaml", "--data", "pets.yaml", "--trainer.max_epochs", "1")[0]
        == 0
    )
    saved = yaml.safe_load(Path("runs/classification/latest/config.yaml").read_text())
    assert saved["model"]["init_args"]["classes"] == ["cat", "dog"]


def test_what_is_typed_wins_over_the_checkpoint_which_wins_over_the_yaml(graft, trained):
    config = ["--config", "tasks/classification.yaml", "--ckpt_path", str(trained)]
    assert graft("test", *config, "--data.batch_size", "5", "--run_dir", "out")[0] == 0
    saved = yaml.safe_load(Path("out/config.yaml").read_text())["data"]["init_args"]
    assert (saved["batch_size"], saved["image_size"], saved["test"]) == (5, 32, 20)  # typed, remembered, remembered


def test_predict_takes_size_and_classes_from_the_checkpoint(graft, trained, folder):
    assert (
        graft(
            "predict",
            "--config",
            "tasks/classification.yaml",
            "--ckpt_path",
            str(trained),
            "--data",
            "UnlabeledImages",
            "--data.root",
            str(folder),
            "--run_dir",
            "out",
        )[0]
        == 0
    )
    table = rows(Path("out/predictions/predict.csv"))
    assert len(table) == 24
    assert table[0]["path"] == "train/cat/0.png"
    assert sum(float(v) for k, v in table[0].items() if k.startswith("p(")) == pytest.approx(1, abs=1e-3)


def test_the_optimizer_is_what_was_asked_for(graft):
    Path("plain.yaml").write_text("model: Classification\ndata: Shapes\n")
    optim = {"optimizer": "SGD", "lr": "0.01", "schedule": "constant", "warmup": "0"}
    typed = [w for k, v in optim.items() for w in (f"--model.optim.{k}", v)]
    assert (
        graft(
            "fit",
            "--config",
            "plain.yaml",
            *TINY,
            "--model.backbone",
            "test_resnet",
            "--trainer.max_epochs",
            "1",
            *typed,
        )[0]
        == 0
    )
    (optimizer,) = torch.load("runs/plain/latest/checkpoints/last.ckpt", weights_only=True)["optimizer_states"]
    groups = optimizer["param_groups"]
    assert {g["lr"] for g in groups} == {0.01}
    assert {g["momentum"] for g in groups} == {0}
    assert {g["weight_decay"] for g in groups} == {0}  # SGD's own, not AdamW's


def test_an_average_of_the_weights_goes_with_any_optimizer(graft):
    typed = ["--config", "tasks/simsiam.yaml", *TINY, "--trainer.max_epochs", "1", "--model.ema_decay", "0.9"]
    assert graft("fit", *typed)[0] == 0  # by SGD, which the command line builds
    checkpoint = torch.load("runs/simsiam/latest/checkpoints/last.ckpt", weights_only=True)
    assert not torch.equal(
        checkpoint["state_dict"]["head.mlp.0.weight"], checkpoint["current_model_state"]["head.mlp.0.weight"]
    )


def test_pretrained_weights_travel_through_files_into_a_new_task_and_into_plain_timm(graft, capsys):
    assert graft("fit", "--config", "tasks/simclr.yaml", *TINY, "--trainer.max_epochs", "1")[0] == 0
    run = Path("runs/simclr/latest")
    kept = (["--model.frozen", "true"], ["--model.frozen", "true"], ["--model.lora.rank", "4"])
    sources = (run, run / "backbone.safetensors", run / "checkpoints" / "last.ckpt")
    for weights, typed in zip(sources, kept, strict=True):
        capsys.readouterr()
        assert (
            graft(
                "fit",
                "--config",
                "tasks/classification.yaml",
                *TINY,
                "--model.weights",
                str(weights),
                "--trainer.max_epochs",
                "1",
                *typed,
            )[0]
            == 0
        )
        before = load_file(run / "backbone.safetensors")
        after = load_file("runs/classification/latest/backbone.safetensors")
        assert before.keys() == after.keys()
        same = all(torch.equal(before[k], after[k]) for k in before)  # frozen, batch norm statistics included
        assert same == (typed == kept[0])
    out, net = capsys.readouterr().out, load_file("runs/classification/latest/lora.safetensors")
    adapters = sum(value.numel() for name, value in net.items() if ".lora." in name)
    norms = sum(layer.weight.numel() + layer.bias.numel() for layer in norm_layers(by_name("test_resnet").net))
    counts = (f"adapters {adapters:,}", f"backbone {norms:,}", f"{373_658 - 970 - norms:,} frozen", "head 970")
    line_naming(out.splitlines(), f"{adapters + norms + 970:,} of", *counts)
    line_naming(out.splitlines(), "weights", "checkpoints/best.ckpt", "backbone.safetensors", "lora.safetensors")
    load_backbone(adapted := by_name("test_resnet"), "runs/classification/latest/lora.safetensors")
    torch.testing.assert_close(dict(adapted.net.state_dict()), after)
    net = timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(run / "backbone.safetensors"))
    assert torch.equal(net.state_dict()["layer4.0.conv1.weight"], before["layer4.0.conv1.weight"])


def test_images_and_settings_reach_every_logger_and_wandb_stays_offline_without_a_login(graft, monkeypatch, capsys):
    import wandb
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "nowhere")
    one = ["--trainer.max_epochs", "1", "--tensorboard", "true"]
    with monkeypatch.context() as patch:
        patch.setattr("wandb.Run.finish", lambda run, **how: None)  # to be looked at
        assert graft("fit", "--config", "tasks/classification.yaml", *TINY, *one)[0] == 0
    run = Path("runs/classification/latest")
    (offline,) = run.glob("wandb/offline-run-*")
    assert list(offline.glob("*.wandb"))
    assert not Path("wandb").exists() and not Path("config.yaml").exists()
    out = capsys.readouterr().out
    assert "wandb sync" in out and "wandb leet" in out
    assert wandb.run.id == (run / ".wandb_id").read_text()
    assert wandb.run.config["data.init_args.batch_size"] == 16 and wandb.run.config["seed_everything"] == 0
    tested = results(run)["test/accuracy"]
    ends = [wandb.run.summary[f"test/accuracy/{end}"] for end in ("low", "high")]
    assert ends == pytest.approx(tested["interval"], abs=1e-5)
    wandb.finish()
    drawn = {path.stem for path in (run / "figures").glob("*.png")}
    assert len(drawn) >= 7
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    assert set(board.Tags()["images"]) == {f"figures/{name}" for name in drawn}
    sent = (offline / "files" / "media" / "images" / "figures").glob("*.png")
    assert {path.stem.rsplit("_", 2)[0] for path in sent} == drawn


def test_a_mistake_leaves_no_run_in_wandb_or_tensorboard_either(graft, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", "nowhere")
    typed = ["fit", "--config", "tasks/classification.yaml", *TINY, "--tensorboard", "true"]
    assert graft(*typed, "--data.batch_size", "65")[0] == 1  # found while loaders are made
    assert graft(*typed, "--data", "ShapesObjects")[0] == 2  # found at the first batch
    assert graft(*typed, "--trainer.accelerator", "tpu")[0] == 2  # found while the trainer is made
    assert not Path("runs").exists() and not Path("wandb").exists()


def test_the_head_says_the_effective_batch_and_its_rate_and_schedules_count_optimizer_steps(graft, capsys):
    typed = (
        "--trainer.accumulate_grad_batches 2 --model.optim.scale_lr true --model.optim.lr 0.256 --run_dir run".split()
    )
    assert graft("fit", "--config", "tasks/classification.yaml", *TINY, *typed)[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "32", "16", "2", "0.032")
    saved = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == saved["lr_schedulers"][0]["last_epoch"] == 4  # of 8 batches
    assert saved["lr_schedulers"][0]["_last_lr"] == pytest.approx([0, 0])  # the end of the cosine


def test_the_head_and_config_yaml_say_the_precision_that_the_hardware_gives(graft, monkeypatch, capsys):
    monkeypatch.setattr("commands.resume.detect", Hardware)  # without anything that computes in bf16
    typed = "--trainer.limit_train_batches 1 --trainer.limit_val_batches 1 --trainer.limit_test_batches 1".split()
    assert graft("fit", "--config", "tasks/classification.yaml", *TINY, *typed, "--run_dir", "run")[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "32-true", "cpu", "auto")
    assert yaml.safe_load(Path("run/config.yaml").read_text())["trainer"]["precision"] == "32-true"


def test_no_yaml_decides_the_precision():
    assert [path.name for path in TASKS if "precision" in path.read_text()] == []


def test_callbacks_are_appended_with_a_plus_and_replaced_without(graft, capsys):
    def callbacks(option: str) -> list[str]:
        with pytest.raises(SystemExit):
            graft("fit", "--config", "tasks/simclr.yaml", option, "LearningRateMonitor", "--print_config")
        found = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
        return [part["class_path"].rpartition(".")[2] for part in (found if isinstance(found, list) else [found])]

    assert callbacks("--trainer.callbacks") == ["LearningRateMonitor"]
    assert {"KNN", "CollapseMonitor", "LearningRateMonitor"} <= set(callbacks("--trainer.callbacks+"))


def test_the_configuration_names_the_run_that_latest_led_to(graft, trained, tmp_path):
    Path("runs/pets").mkdir(parents=True)
    Path("runs/pets/latest").symlink_to(trained)
    typed = ["--model.weights", "runs/pets/latest", "--trainer.fast_dev_run", "true", "--run_dir", "out"]
    assert graft("fit", "--config", "tasks/classification.yaml", *TINY, *typed)[0] == 0
    weights = yaml.safe_load(Path("out/config.yaml").read_text())["model"]["init_args"]["weights"]
    assert weights == str(trained.resolve())
    Path("model.safetensors").symlink_to("blob")  # as in a cache of downloads
    Path("blob").write_bytes(b"")
    assert resolve_weights(str(tmp_path / "model.safetensors")) == "model.safetensors"


def test_a_trial_of_one_batch_does_not_become_latest(graft, trained):
    Path("runs/classification").mkdir(parents=True)
    Path("runs/classification/latest").symlink_to(trained)
    assert graft("fit", "--config", "tasks/classification.yaml", *TINY, "--trainer.fast_dev_run", "true")[0] == 0
    assert Path("runs/classification/latest").readlink() == trained
