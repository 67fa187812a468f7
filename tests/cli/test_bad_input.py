"""Error messages: setting, file or value of each mistake, the right exit code, and no files left behind."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.annotated import annotation, coco, image, make_image
from tests.helpers.commands import TINY
from tests.helpers.errors import assert_named, line_naming, sentence
from tests.helpers.files import Bomb

SIMCLR = ["fit", "--config", "tasks/simclr.yaml"]
CLASSIFY = ["fit", "--config", "tasks/classification.yaml"]
TIMM = "--model.backbone Timm --model.backbone.name"


@pytest.mark.parametrize(
    ("task", "typed", "names"),
    [
        ("simclr", "--traner.max_epochs 3", ["--traner.max_epochs", "trainer.max_epochs"]),
        ("simclr", "--trainer.max_epoch 3", ["--trainer.max_epoch", "--trainer.max_epochs"]),  # no abbreviation
        ("simclr", "--model.backbone resnet81", ["resnet81", "resnet18"]),
        ("simclr", "--data ImageFoldr", ["data", "ImageFoldr", "ImageFolder"]),
        ("simclr", "--data.batch_size -4", ["data.batch_size", "-4"]),
        ("simclr", "--data.batch_size None", ["data.batch_size", "null"]),
        ("simclr", "--model.temperature null", ["model.temperature", "null"]),
        ("simclr", "--model.head.hidden null", ["model.head.hidden", "null"]),
        ("simclr", "--data.workers -1", ["data.workers", "-1"]),
        ("simclr", "--data.limit 50", ["data.limit"]),
        ("simclr", "--data.image_sze 32", ["data.image_sze", "'--data.image_size'"]),
        ("simclr", "--model.img_size 32", ["model.img_size", "--data.image_size"]),
        ("simclr", "--model.optim.lrr 1", ["model.optim.lrr", "'--model.optim.lr'"]),
        (
            "simclr",
            "--model.backbone test_resnet --model.backbone.in_channels 1",
            ["model.backbone.in_channels", "--model.backbone Timm --model.backbone.name test_resnet"],
        ),
        ("simclr", "--seed_everything None", ["seed_everything", "null", "a whole number"]),
        ("simclr", "--seed_everything many", ["seed_everything", "'many'", "a whole number"]),
        ("simclr", "--seed_everything -1", ["seed_everything", "-1", 2**32 - 1]),
        ("simclr", "--trainer.strategy dpp", ["strategy", "dpp"]),
        ("simclr", "--trainer.max_epochs 0", ["trainer.max_epochs", "0"]),
        ("simclr", "--trainer.val_check_interval 1000", ["val_check_interval", "1000"]),
        ("simclr", "--trainer.callbacks EarlyStopping", ["--trainer.callbacks.monitor"]),
        ("video", "--trainer.precision bf16-true", ["trainer.precision", "bf16-true", "bf16-mixed"]),
        ("simclr", "--trainer.callbacks+ KNN --trainer.callbacks+ KNN", ["trainer.callbacks", "KNN"]),
        ("simclr", "--seed_everything false", ["seed_everything", "False"]),
        ("simclr", "--trainer null", ["trainer", "null"]),
        ("classification", "--model.optim [3]", ["model.optim", "[3]"]),
        ("classification", "--model.head ClassificationHead", ["model.head", "ClassificationHead", "forward"]),
        ("classification", "--figures.samples -1", ["figures.samples", "-1"]),
        # a backbone or a part of it
        ("simclr", "--model.head Projektion", ["model.head", "Projektion", "Projection"]),
        ("simclr", "--model.backbone test_vit --model.small_images true", ["small_images", "test_vit"]),
        ("classification", "--model.backbone lenet_5", ["lenet_5", "lenet5"]),
        ("classification", f"{TIMM} vgg11 --model.backbone.attention cbam", ["vgg11", "attention"]),
        ("classification", f"{TIMM} resnet18 --model.backbone.attention cbma", ["attention", "cbma", "cbam"]),
        (
            "classification",
            "--model.backbone test_resnet --model.aux_loss_weight 0.3",
            ["test_resnet", "aux_loss_weight", "aux_levels"],
        ),
        (
            "classification",
            "--model.backbone test_resnet.bogus_tag",
            ["test_resnet.bogus_tag", "test_resnet.r160_in1k"],
        ),
        ("video", "--model.fusion lsmt", ["fusion", "lsmt", "lstm", "attention"]),
        ("video", "--model.backbone r3d_18", ["r3d_18", "--model.fusion", "early", "mean"]),
        ("video", "--model.frames 16", ["model.frames", "16", "8", "--data.frames"]),
        ("classification", "--model.head DeepLabV3", ["model.head", "DeepLabV3", "Linear", "FullyConnected"]),
        ("classification", "--model.head modules.heads.DeepLabV3", ["model.head", "modules.heads.DeepLabV3", "Linear"]),
        (
            "semantic_segmentation",
            "--model.head.class_path Linear --model.head.init_args.dropout 0.1",
            ["model.head", "Linear", "UNet", "modules.heads.base.DenseHead"],
        ),
        # sizes of images
        ("classification", "--data.image_size 16", ["16", "32", "--data.image_size", "--model.small_images"]),
        ("classification", "--data.image_size 16 --model.backbone inception_resnet_v1", ["75", "--data.image_size"]),
        ("dino", "--data.local_size 16", ["16", "--data.local_size", "32"]),
        ("dino", "--data.image_size 16 --data.local_size 16", ["16", "--data.image_size", "32"]),
        (
            "dino",
            "--data.image_size 224 --model.backbone mixer_s32_224",
            ["mixer_s32_224", "32 x 32", "--data.local_size 224", "--data.local_views 0"],
        ),
        # what a method can train on
        ("simclr", "--data.views 1", ["SimCLR", "1", "--data.views 2"]),
        ("byol", "--data.local_views 4", ["BYOL", "6", "--data.local_views 0"]),
        ("dino", "--data.views 1 --data.local_views 0", ["DINO", "--data.views 2"]),
        ("rotation", "--data.views 2", ["Rotation", "--data.views 1"]),
        ("classification", "--data.views 2", ["Classification", "--data.views 1"]),
        ("simclr", "--data.batch_size 1", ["SimCLR", "--data.batch_size", "2"]),
        ("moco", "--model.queue_size 70", ["model.queue_size", "70", "20", "80"]),  # keys of a step, and what is near
        (
            "moco",
            "--model.queue_size 40 --model.shuffle_bn_groups 3",
            ["data.batch_size", "10", "--model.shuffle_bn_groups 1"],
        ),
        ("swav", "--model.prototypes 64 --model.queue_size 0", ["model.prototypes", "64", "10", "70"]),
        ("nnclr", "--model.queue_size 8", ["model.queue_size", "8", "10"]),
        ("jigsaw", "--model.num_permutations 100", ["model.num_permutations", "100", "2", "24"]),
        ("simclr", "--data.train 16 --data.batch_size 8", ["20", "--trainer.callbacks KNN --trainer.callbacks.k 16"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_set(refused, task, typed, names):
    refused(2, ["fit", "--config", f"tasks/{task}.yaml", *TINY, *typed.split()], *names)


def test_images_above_the_stride_that_a_network_without_padding_fails_on_are_answered_with_the_smallest(graft):
    code, error = graft(*CLASSIFY, *TINY, "--data.image_size", "64", "--model.backbone", "inception_resnet_v1")
    assert code == 2
    sentence(error, "inception_resnet_v1", "75", "64 x 64", "--data.image_size")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_missing_is_named(refused):
    refused(2, [*SIMCLR, *TINY, "--trainer.accelerator", "gpu"], "accelerator", "gpu", "cpu")


@pytest.mark.parametrize(
    ("task", "data", "names"),
    [
        ("semantic_segmentation", "Shapes", ["SemanticSegmentation", "mask", "Shapes", "--data"]),
        ("classification", "ShapesVideo", ["Classification", "images", "ShapesVideo", "videos", "--data"]),
        ("classification", "ShapesObjects", ["Classification", "label", "ShapesObjects", "boxes", "--data"]),
        ("simclr", "ShapesVideo", ["SimCLR", "ShapesVideo", "--data VideoFrames", "tasks/video_simclr.yaml"]),
        ("instance_segmentation", "ShapesObjects", ["masks", "--data.masks true"]),
        ("keypoints", "ShapesObjects", ["Keypoints", "--data.keypoints true", "tasks/detection.yaml"]),
    ],
)
def test_data_of_another_kind_than_the_task_needs_is_refused(refused, task, data, names):
    typed = ["--data", data, *TINY[:12], *(["--data.masks", "false"] if "instance" in task else [])]
    refused(2, ["fit", "--config", f"tasks/{task}.yaml", *typed], *names)


def test_a_checkpoint_with_another_queue_or_without_the_teacher_is_not_resumed(graft, refused):
    moco = ["fit", "--config", "tasks/moco.yaml", *TINY, "--model.shuffle_bn_groups", "1", "--model.queue_size", "40"]
    assert graft(*moco, "--run_dir", "run")[0] == 0
    other = [*moco, "--model.queue_size", "80", "--ckpt_path", "run"]
    refused(2, other, "MoCo", "queue.keys", "[40, 128]", "[80, 128]", "--model.queue_size 40")
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    checkpoint["state_dict"] = {k: v for k, v in weights.items() if not k.startswith("teacher.")}
    torch.save(checkpoint, "bare.ckpt")
    refused(2, [*moco, "--ckpt_path", "bare.ckpt"], "teacher", "--ckpt_path", "--model.weights")


def test_supcon_without_labels_is_answered_with_what_needs_none(refused, folder):
    typed = ["fit", "--config", "tasks/supcon.yaml", *TINY[6:], "--data", "UnlabeledImages", "--data.root", str(folder)]
    refused(2, [*typed, "--trainer.callbacks", "null"], "SupCon", "UnlabeledImages", "tasks/simclr.yaml")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("model: {class_path: SimCLR, init_args: {tempreture: 0.1}}\ndata: Shapes\n", ["tempreture", "temperature"]),
        ("model: SimCLRR\ndata: Shapes\n", ["model", "SimCLRR", "SimCLR"]),
        ("model: SimCLR\ndata: Shapes\nckpt_path: some.ckpt\n", ["some.ckpt", "--ckpt_path"]),
        ("model: SimCLR\ndata: {class_path: UnlabeledImages, init_args: {root: ''}}\n", ["data.root"]),
        ("model: {class_path: SimCLR, init_args: {weights: ''}}\ndata: Shapes\n", ["model.weights"]),
        (f"model: SimCLR\ndata: {{class_path: ImageFolder, init_args: {{root: {'x' * 300}}}}}\n", ["x" * 30]),
    ],
)
def test_a_mistake_in_a_yaml_is_named(refused, text, names):
    Path("mine.yaml").write_text(text)
    refused(2, ["fit", "--config", "mine.yaml"], *names)


@pytest.mark.parametrize("ending", ["sys.exit(5)", "sys.exit()"])
def test_a_module_that_ends_the_program_when_imported_is_named(graft, ending):
    Path(f"ends{len(ending)}.py").write_text(f"import sys\n{ending}\n")
    code, error = graft(*CLASSIFY, "--model.head", f"ends{len(ending)}.X")
    assert code == 2
    sentence(error, "model.head", f"ends{len(ending)}", "SystemExit")


@pytest.mark.parametrize("command", ["validate", "predict", "evaluate"])
def test_evaluating_without_weights_is_answered_with_the_option(refused, command):
    refused(2, [command, "--config", "tasks/classification.yaml"], command, "--ckpt_path")


def test_a_root_that_is_empty_or_not_given_is_named(refused, tmp_path):
    refused(2, [*SIMCLR, "--data", "ImageFolder"], "--data.root")
    (tmp_path / "empty").mkdir()
    refused(1, [*SIMCLR, "--data", "ImageFolder", "--data.root", "empty"], "empty")


def test_a_class_folder_without_images_is_named(refused, folder):
    (folder / "train" / "hollow").mkdir()
    refused(1, [*CLASSIFY, "--data", "ImageFolder", "--data.root", str(folder)], folder / "train" / "hollow")


def test_a_val_class_that_training_lacks_is_named(refused, folder):
    (folder / "val" / "cats").mkdir(parents=True)
    (folder / "val" / "cats" / "0.png").write_bytes((folder / "train" / "cat" / "0.png").read_bytes())
    typed = [*CLASSIFY, "--data", "ImageFolder", "--data.root", str(folder)]
    refused(1, typed, folder / "val", "cats", folder / "train", "cat")


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_a_broken_image_is_named_before_the_first_step_or_skipped_and_counted(graft, refused, folder, damage, capsys):
    victim = folder / "train" / "cat" / "broken.jpg"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(victim)
    victim.write_bytes(victim.read_bytes()[:-200] if damage == "truncated" else b"these are words")
    typed = [*CLASSIFY, "--data", "ImageFolder", "--data.root", str(folder), *TINY[6:]]
    refused(1, typed, victim, "--data.on_error skip")
    assert graft(*typed, "--data.on_error", "skip")[0] == 0
    assert "skipped.txt" in capsys.readouterr().out
    assert Path("runs/classification/latest/skipped.txt").read_text() == "train/cat/broken.jpg\n"


def test_without_a_network_the_file_to_fetch_and_the_option_for_it_are_named(refused, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    typed = [*CLASSIFY, *TINY, "--model.weights", "pretrained"]
    refused(1, typed, "no route to host", "model.safetensors", "timm/test_resnet.r160_in1k", "--model.weights")
    refused(1, [*typed, "--model.backbone", "hardnet39ds"], "hardnet39ds", "--model.weights")


def test_weights_that_would_run_code_are_not_loaded(refused, tmp_path):
    with (tmp_path / "evil.ckpt").open("wb") as file:
        pickle.dump({"state_dict": Bomb(tmp_path / "boom")}, file)
    torch.save({"state_dict": Bomb(tmp_path / "boom")}, tmp_path / "evil2.ckpt")
    for name in ("evil.ckpt", "evil2.ckpt"):
        for option in ("--model.weights", "--ckpt_path"):
            refused(1, [*CLASSIFY, *TINY, option, name], name)
    assert not (tmp_path / "boom").exists()


def test_weights_of_another_architecture_are_refused(refused, trained):
    typed = [*CLASSIFY, *TINY, "--model.weights", str(trained), "--model.backbone", "resnet18"]
    refused(2, typed, trained / "backbone.safetensors", "resnet18", "conv1.weight", "--model.backbone test_resnet")


@pytest.mark.parametrize("command", [["test", *SIMCLR[1:]], [*SIMCLR, *TINY]], ids=["test", "fit"])
def test_a_checkpoint_of_another_task_is_refused(refused, trained, command):
    refused(2, [*command, "--ckpt_path", str(trained)], "Classification", "SimCLR", f"--model.weights {trained}")


def test_a_typed_class_of_another_task_than_the_checkpoint_is_refused(refused, trained):
    typed = ["--ckpt_path", str(trained), "--model.class_path", "SimCLR"]
    refused(2, ["test", *typed], "Classification", "SimCLR", f"--model.weights {trained}")


def test_classes_of_the_checkpoint_must_be_those_of_the_data(refused, trained, folder):
    typed = ["--ckpt_path", str(trained), "--data", "ImageFolder", "--data.root", str(folder)]
    refused(1, ["test", *CLASSIFY[1:], *typed], trained / "checkpoints" / "best.ckpt", "10", "2", "cat", "dog")


def test_typed_classes_are_named_where_data_and_checkpoint_agree(refused, trained):
    refused(1, ["test", "--ckpt_path", str(trained), "--model.classes", "[a, b]"], "model.classes", "2", "10")


def test_typed_classes_must_be_those_of_the_data(refused):
    refused(1, [*CLASSIFY, *TINY, "--model.classes", "[circle, square]"], "model.classes", "2", "10")


def test_a_run_directory_that_cannot_be_used_is_named(refused, trained, tmp_path):
    refused(1, [*CLASSIFY, *TINY, "--run_dir", str(trained)], trained, "--run_dir", f"--ckpt_path {trained}")
    (tmp_path / "file").write_text("a file, not a folder")
    refused(1, [*CLASSIFY, *TINY, "--run_dir", "file/run"], "file/run", "--run_dir")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("no run")
    assert "--ckpt_path" not in refused(1, [*CLASSIFY, *TINY, "--run_dir", "notes"], "notes", "--run_dir")


def test_a_full_disk_is_named_and_the_last_whole_checkpoint_stays(graft, monkeypatch, tmp_path):
    import lightning as L

    save, calls = L.Trainer.save_checkpoint, []

    def full(trainer, path, *args, **kwargs):
        calls.append(path)
        if len(calls) > 2:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(trainer, path, *args, **kwargs)

    monkeypatch.setattr(L.Trainer, "save_checkpoint", full)
    run = tmp_path / "run"
    code, error = graft(*CLASSIFY, *TINY, "--checkpoint.every_n_steps", "1", "--run_dir", str(run))
    assert code == 1
    sentence(error, "No space left on device", run / "checkpoints" / "last.ckpt", "--run_dir")
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["last.ckpt"]


def test_early_stopping_on_a_metric_that_nobody_logs_names_those_there_are_and_loses_no_epoch(graft):
    stop = [*CLASSIFY, *TINY, "--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor"]
    code, error = graft(*stop, "val/los", "--run_dir", "run")
    assert code == 2
    sentence(error, "EarlyStopping", "val/los", "val/loss", "val/accuracy")
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    assert graft(*stop, "val/loss", "--trainer.max_epochs", "2", "--ckpt_path", "run")[0] == 0
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 8


def test_a_nan_loss_stops_with_step_and_learning_rate(graft):
    code, error = graft(*CLASSIFY, *TINY, "--model.optim.lr", "1e30", "--model.optim.schedule", "constant")
    assert code == 1
    sentence(error, "step 2", "1e+30", "--model.optim.lr")


# Detection -----------------------------------------------------------------------------------------------------------

SMALL = ["--data.image_size", "64", "--data.batch_size", "2", "--data.workers", "0", "--data.val_split", "0"]
SMALL += ["--trainer.max_epochs", "1", "--trainer.precision", "32", "--figures.samples", "1"]
JSON = "annotations/instances_train.json"
SQUARE = [[10, 5, 30, 5, 30, 15, 10, 15]]


def objects(root: Path, task: str = "detection", *typed: str) -> list[str]:
    return [
        "fit",
        "--config",
        f"tasks/{task}.yaml",
        "--data",
        "DetectionFolder",
        "--data.root",
        str(root),
        *typed,
        *SMALL,
    ]


def twice_the_same_id(root):
    coco(root, [annotation()], [image(1), image(1, file_name="2.png")])
    return [JSON, "images[0]", "images[1]", "2.png", "id 1"]


def missing_image(root):
    coco(root, [annotation(1), annotation(2)])
    (root / "images" / "2.png").unlink()
    return [JSON, "images[1]", "2.png", "--data.on_error skip"]


def object_of_no_image(root):
    coco(root, [annotation(1), annotation(9)], [image(1)])
    make_image(root / "images" / "1.png")
    return [JSON, "annotations[1]", "image_id 9", "--data.on_error skip"]


def truncated_image(root):
    coco(root, [annotation(1), annotation(2)])
    file = root / "images" / "2.png"
    file.write_bytes(file.read_bytes()[:-400])
    return [JSON, "images[1]", "2.png", "--data.on_error skip"]


def turned_image(root):
    coco(root, [annotation(1), annotation(2)])
    make_image(root / "images" / "2.png", orientation=6)
    return [JSON, "images[1]", "2.png", "EXIF", "40 x 60", "60 x 40", "--data.on_error skip"]


def not_coco(root):
    coco(root, [annotation()], images={})
    return [JSON, "COCO", "images"]


def results(root):
    (root / "train.json").write_text('[{"image_id": 1, "category_id": 7, "score": 1, "annotations": []}]')
    return [root / "train.json", "COCO", "images", "annotations", "categories"]


def no_object(root):
    coco(root, [annotation(box=[504, 337, 0, 0]), annotation(box=[9, 9, -3, 4])])
    return [JSON, "2", "annotations[0]", "[504, 337, 0, 0]"]


def crowds_alone(root):
    coco(root, [annotation(iscrowd=1), annotation(2, iscrowd=1)])
    return ["2", "data.label_fraction", "data.num_labels", "data.val_split"]


@pytest.mark.parametrize(
    "defect",
    [
        twice_the_same_id,
        missing_image,
        object_of_no_image,
        truncated_image,
        turned_image,
        not_coco,
        results,
        no_object,
        crowds_alone,
    ],
)
def test_annotations_that_cannot_be_right_are_named_before_the_first_step(refused, tmp_path, defect):
    (tmp_path / "cells").mkdir()
    names = defect(tmp_path / "cells")
    refused(1, objects(tmp_path / "cells"), *names)


def test_what_is_left_out_of_annotations_is_said_counted_and_listed(graft, tmp_path, capsys):
    boxes = {"[20, 20, -5, 5]": [20, 20, -5, 5], "[70, 5, 20, 10]": [70, 5, 20, 10], "[1, 2, 3]": [1, 2, 3]}
    outlines = {
        "three": [[10, 5, 30, 5]],
        "[9, 9]": {"size": [9, 9], "counts": [81]},
        "150": {"size": [40, 60], "counts": [100, 50]},
    }
    bad = [annotation(box=box, segmentation=SQUARE) for box in boxes.values()]
    bad += [annotation(segmentation=outline) for outline in outlines.values()]
    reaching = annotation(2, box=[50, 30, 20, 20], segmentation=[[50, 30, 70, 30, 70, 50]])
    root = tmp_path / "cells"
    file = coco(root, [*bad, annotation(1, segmentation=SQUARE), reaching], [image(i) for i in (1, 2, 3, 4)])
    for number in (1, 2, 3, 4):
        make_image(root / "images" / f"{number}.png")
    (root / "images" / "4.png").unlink()
    typed = objects(root, "instance_segmentation", "--data.on_error", "skip")
    assert graft(*typed, "--run_dir", "run")[0] == 0
    said = capsys.readouterr().out
    listed = Path("run/dropped.txt").read_text().splitlines()
    assert len(listed) == len(bad)
    for k, (line, value) in enumerate(zip(listed, [*boxes, *outlines], strict=True)):
        assert line.startswith(f"{file} annotations[{k}]: ")
        assert_named(line, value)
    (skipped,) = Path("run/skipped.txt").read_text().splitlines()
    assert_named(skipped, f"{file} images[3]", "4.png")
    head, _, end = said.partition("epoch 1 of 1")
    line_naming(head.splitlines(), "6", "8", "dropped.txt")
    line_naming(head.splitlines(), "1", f"{file} annotations[7]")  # of the box that reached out of its image
    line_naming(head.splitlines(), "1", "2", "dog")  # of the class without object
    line_naming(head.splitlines(), "1", "images/3.png")  # of the image without object
    assert listed[0] in head and skipped in head
    line_naming(end.splitlines(), "6", "run/dropped.txt")


def test_boxes_of_another_form_than_cocos_are_suspected(graft, tmp_path, capsys):
    low = np.random.default_rng(0).uniform(0, 25, (30, 2))
    corners = np.concatenate([low, low + 12], 1)
    coco(tmp_path / "cells", [annotation(k % 2 + 1, box=box.tolist()) for k, box in enumerate(corners)])
    assert graft(*objects(tmp_path / "cells"), "--run_dir", "run")[0] == 0
    line_naming(capsys.readouterr().out.splitlines(), "xywh", "xyxy", "0 %")


def test_a_validation_set_without_objects_chooses_no_best_weights(graft, tmp_path, capsys):
    root = tmp_path / "cells"
    coco(root, [annotation(1), annotation(2)])
    make_image(root / "images" / "3.png")
    coco(root, [], [image(3)], split="val")
    assert graft(*objects(root), "--run_dir", "run")[0] == 0
    line_naming(capsys.readouterr().out.partition("epoch 1 of 1")[0].splitlines(), "val", "nan")
    assert [file.name for file in Path("run/checkpoints").iterdir()] == ["last.ckpt"]


def test_zero_area_boxes_of_blood_cells_are_named_and_counted(graft, data_root, capsys):
    if not (data_root / "bccd_voc").is_dir():
        pytest.skip("no bccd_voc in the real data")
    few = [word for split in ("train", "val", "test") for word in (f"--trainer.limit_{split}_batches", "1")]
    assert graft(*objects(data_root / "bccd_voc"), *few, "--run_dir", "run")[0] == 0
    said = capsys.readouterr().out
    line_naming(said.splitlines(), "2", "4,888")
    for line, (name, box) in zip(
        Path("run/dropped.txt").read_text().splitlines(),
        [("BloodImage_00343.xml object[3]", "[181, 329, 181, 329]"), ("BloodImage_00338.xml object[12]", "[504, 337")],
        strict=True,
    ):
        assert name in line and box in line and line in said
