"""Every mistake gets one sentence, the right exit code, no traceback, and leaves nothing behind."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.annotated import annotation, coco, image, picture

TINY = ["--data.train", "40", "--data.val", "20", "--data.test", "20", "--data.batch_size", "10", "--data.workers", "0"]
TINY += ["--data.image_size", "32", "--trainer.max_epochs", "1", "--trainer.precision", "32"]
SIMCLR = ["fit", "--config", "tasks/simclr.yaml"]
CLASSIFY = ["fit", "--config", "tasks/classification.yaml"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--model.bakcbone", "resnet18"], ["bakcbone", "did you mean 'backbone'"]),
        (["--traner.max_epochs", "3"], ["traner.max_epochs", "did you mean 'trainer.max_epochs'"]),
        (["--model.backbone", "resnet81"], ["resnet81", "did you mean 'resnet18'"]),
        (["--data", "ImageFoldr"], ["ImageFoldr", "did you mean 'ImageFolder'"]),
        (["--data.batch_size", "many"], ["batch_size", "'many'", "number"]),
        (["--model.optim.schedule", "cosin"], ["cosin", "did you mean 'cosine'"]),
        (["--model.head", "Linnear"], ["Linnear", "did you mean 'Linear'"]),
        (["--data.crop", "[0.5, 2.0]"], ["data.crop", "[0.2, 1.0]"]),
        (["--trainer.accelerator", "gpu"], ["accelerator gpu", "cpu"]),
        (["--model.backbone", "test_vit", "--model.small_images", "true"], ["small_images", "test_vit"]),
        (["--data", "ImageFolder"], ["root"]),
        (["--data.batch_size", "-4"], ["data.batch_size is -4", "at least 1"]),
        (["--data.workers", "-1"], ["data.workers -1", "0 or more"]),
        (["--seed_everything", "-1"], ["seed_everything is -1", "4294967295"]),
        (["--trainer.strategy", "dpp"], ["strategy='dpp'"]),
        (["--trainer.max_epochs", "0"], ["trainer.max_epochs is 0"]),
        (["--trainer.accumulate_grad_batches", "0"], ["accumulate_grad_batches is 0"]),
        (["--trainer.check_val_every_n_epoch", "0"], ["check_val_every_n_epoch is 0"]),
        (["--trainer.overfit_batches", "2"], ["overfit_batches", "--data.labels"]),
        (["--trainer.val_check_interval", "1000"], ["val_check_interval", "1000"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_meant(graft, typed, words):
    if "gpu" in typed and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    code, error = graft(*SIMCLR, *typed)
    assert code == 2
    assert all(word in error for word in words), error
    assert not Path("runs").exists()


def test_a_wrong_fusion_is_answered_with_those_there_are(graft):
    code, error = graft("fit", "--config", "tasks/video.yaml", "--model.fusion", "lsmt")
    assert code == 2 and "'attention'" in error and "did you mean 'lstm'" in error, error
    code, error = graft("fit", "--config", "tasks/video.yaml", "--model.backbone", "r3d_18", "--data.train", "64")
    assert code == 2 and "r3d_18 sees time itself" in error and "--model.fusion mean" in error, error
    code, error = graft("fit", "--config", "tasks/video.yaml", "--model.frames", "16")
    assert code == 2 and "the data gives clips of 8" in error, error
    code, error = graft("fit", "--config", "tasks/video.yaml", "--trainer.precision", "bf16-true")
    assert code == 2 and "Video has its weights in float32" in error and "bf16-mixed" in error, error


@pytest.mark.parametrize(
    ("task", "data", "words"),
    [
        ("detection", "Shapes", "Detection needs image, boxes, labels, but Shapes gives id, image, label"),
        ("semantic_segmentation", "Shapes", "SemanticSegmentation needs image, mask, but Shapes gives"),
        ("classification", "ShapesInMotion", "Classification needs image, label, but ShapesInMotion gives id, video"),
        ("classification", "ShapesObjects", "Classification needs image, label, but ShapesObjects gives"),
        ("rotation", "ShapesInMotion", "features are of image, but the data gives id, video, label"),
        ("instance_segmentation", "ShapesObjects", "instance segmentation needs masks: set --data.masks true"),
    ],
)
def test_data_of_another_kind_than_the_task_needs_is_refused(graft, task, data, words):
    typed = ["--data", data, *TINY[:12], *(["--data.masks", "false"] if "instance" in task else [])]
    code, error = graft("fit", "--config", f"tasks/{task}.yaml", *typed)
    assert code == 2 and words in error, error
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("task", "typed", "words"),
    [
        ("simclr", "--data.views 1", ["SimCLR trains on 2 views", "gives 1", "--data.views 2"]),
        ("byol", "--data.local_views 4", ["BYOL trains on 2 views", "gives 6", "--data.local_views 0"]),
        ("dino", "--data.views 1 --data.local_views 0", ["DINO trains on 2 or more views", "--data.views 2"]),
        ("rotation", "--data.views 2", ["Rotation trains on 1 view", "--data.views 1"]),
        ("classification", "--data.views 2", ["Classification trains on 1 view", "--data.views 1"]),
        ("simclr", "--data.batch_size 1", ["batch_size must be 2 or more"]),
        ("moco", "--model.queue 700", ["multiple of the 256 keys of a step", "take 768"]),
        ("moco", "--model.splits 3", ["batch_size 128", "splits 3", "--model.splits 1"]),
        ("jigsaw", "--model.orders 100", ["orders is 100", "2 to 24"]),
        ("simclr", "--data.train 16 --data.batch_size 8", ["--trainer.callbacks KNN --trainer.callbacks.k 16"]),
    ],
)
def test_what_a_method_cannot_train_on_is_said_before_anything_is_written(graft, task, typed, words):
    code, error = graft("fit", "--config", f"tasks/{task}.yaml", *typed.split())
    assert code == 2
    assert all(word in error for word in words), error
    assert not Path("runs").exists()


def test_multi_crop_with_a_backbone_of_one_size_and_views_below_the_stride_are_refused(graft):
    dino = ["fit", "--config", "tasks/dino.yaml", *TINY]
    fixed = "--model.backbone mixer_s32_224 --data.image_size 224 --data.batch_size 2".split()
    code, error = graft(*dino, *fixed)
    assert code == 2 and "mixer_s32_224 takes pictures of 224 x 224 pixels, not 32 x 32" in error, error
    assert "set --data.local_size 224, or --data.local_views 0" in error, error
    code, error = graft(*dino, "--data.local_size", "16")
    assert code == 2 and "16 pixels are smaller than the stride 32" in error
    assert "raise --data.local_size to 32 or more" in error, error
    code, error = graft(*dino, "--data.image_size", "16", "--data.local_size", "16")
    assert code == 2 and "raise --data.image_size to 32 or more" in error, error
    assert not Path("runs").exists()


def test_a_checkpoint_with_another_queue_or_without_the_teacher_is_not_resumed(graft):
    moco = ["fit", "--config", "tasks/moco.yaml", *TINY, "--model.splits", "1", "--model.queue", "40"]
    assert graft(*moco, "--run_dir", "run")[0] == 0
    code, error = graft(*moco, "--model.queue", "80", "--ckpt_path", "run")
    assert code == 2 and "queue.keys is [40, 128] there and [80, 128] here" in error
    assert error.endswith("; it was made with --model.queue 40\n"), error
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    checkpoint["state_dict"] = {k: v for k, v in weights.items() if not k.startswith("teacher.")}
    torch.save(checkpoint, "bare.ckpt")
    code, error = graft(*moco, "--ckpt_path", "bare.ckpt")
    assert code == 2 and "it has no teacher" in error and "give it as --model.weights" in error


def test_a_misspelt_key_in_a_yaml_is_named(graft, tmp_path):
    (tmp_path / "mine.yaml").write_text("model: {class_path: SimCLR, init_args: {tempreture: 0.1}}\ndata: Shapes\n")
    code, error = graft("fit", "--config", str(tmp_path / "mine.yaml"))
    assert code == 2 and "tempreture" in error and "did you mean 'temperature'" in error


def test_a_misspelt_class_in_a_yaml_is_named(graft, tmp_path):
    (tmp_path / "mine.yaml").write_text("model: SimCLRR\ndata: Shapes\n")
    code, error = graft("fit", "--config", str(tmp_path / "mine.yaml"))
    assert code == 2 and "SimCLRR" in error and "did you mean 'SimCLR'" in error


def test_a_missing_yaml_and_a_misspelt_command_are_named(graft):
    code, error = graft("fit", "--config", "tasks/simclr.yml")
    assert code == 2 and "did you mean 'simclr.yaml'" in error
    code, error = graft("fti", "--config", "tasks/simclr.yaml")
    assert code == 2 and "did you mean 'fit'" in error


@pytest.mark.parametrize("command", ["test", "validate", "predict", "evaluate"])
def test_evaluating_without_weights_says_so_and_stops(graft, command):
    code, error = graft(command, "--config", "tasks/classification.yaml")
    assert code == 2 and "--ckpt_path" in error


def test_a_root_that_is_missing_or_empty_is_named(graft, tmp_path):
    code, error = graft(*SIMCLR, "--data", "ImageFolder", "--data.root", str(tmp_path / "nowhere"))
    assert code == 1 and "nowhere" in error
    (tmp_path / "empty").mkdir()
    code, error = graft(*SIMCLR, "--data", "ImageFolder", "--data.root", str(tmp_path / "empty"))
    assert code == 1 and "empty" in error


def test_a_class_folder_without_pictures_is_named(graft, folder):
    (folder / "train" / "hollow").mkdir()
    code, error = graft(*CLASSIFY, "--data", "ImageFolder", "--data.root", str(folder))
    assert code == 1 and "hollow" in error


def test_a_val_class_that_training_lacks_is_named(graft, folder):
    (folder / "val" / "cats").mkdir(parents=True)
    (folder / "val" / "cats" / "0.png").write_bytes((folder / "train" / "cat" / "0.png").read_bytes())
    code, error = graft(*CLASSIFY, "--data", "ImageFolder", "--data.root", str(folder))
    assert code == 1 and "'cats'" in error and "did you mean 'cat'" in error


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_a_broken_picture_is_named_before_the_first_step_or_skipped_and_counted(graft, folder, damage, capsys):
    victim = folder / "train" / "cat" / "broken.jpg"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(victim)
    victim.write_bytes(victim.read_bytes()[:-200] if damage == "truncated" else b"these are words")
    typed = [*CLASSIFY, "--data", "ImageFolder", "--data.root", str(folder), *TINY[6:]]
    code, error = graft(*typed)
    assert code == 1 and "broken.jpg" in error and "skip" in error
    assert not Path("runs").exists()
    code, _ = graft(*typed, "--data.on_error", "skip")
    assert code == 0
    assert "skipped: 1 pictures" in capsys.readouterr().out
    assert "broken.jpg" in Path("runs/classification/latest/skipped.txt").read_text()


def test_pictures_smaller_than_one_cell_of_the_backbone_are_refused(graft):
    code, error = graft(*CLASSIFY, *TINY, "--data.image_size", "16")
    assert code == 2 and "stride 32" in error and "small_images" in error


@pytest.mark.parametrize("side", ["16", "64"])
def test_pictures_too_small_for_a_network_without_padding_are_answered_with_the_smallest(graft, side):
    code, error = graft(*CLASSIFY, *TINY, "--data.image_size", side, "--model.backbone", "inception_resnet_v1")
    assert code == 2 and "75 " in error and "--data.image_size" in error


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--model.backbone lenet_5", "no backbone 'lenet_5'; did you mean 'lenet5'"),
        ("--model.backbone Timm --model.backbone.name vgg11 --model.backbone.attention cbam", "leave attention out"),
        ("--model.backbone Timm --model.backbone.name resnet18 --model.backbone.attention cbma", "did you mean 'cbam'"),
        ("--model.backbone inception_v3 --model.auxiliary 0.3", "set model.auxiliary to 0"),
    ],
)
def test_what_a_family_is_not_or_has_not_is_said(graft, typed, words):
    code, error = graft(*CLASSIFY, *TINY, *typed.split())
    assert code == 2 and words in error and error.count("\n") == 1


def test_without_a_network_it_is_said_which_file_to_fetch_and_where_to_put_it(graft, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    code, error = graft(*CLASSIFY, *TINY, "--model.weights", "pretrained")
    assert code == 1 and "fetch model.safetensors of timm/" in error and "--model.weights FILE" in error
    code, error = graft(*CLASSIFY, *TINY, "--model.backbone", "hardnet39ds", "--model.weights", "pretrained")
    assert code == 1 and "nobody has published weights of hardnet39ds" in error and "--model.weights PATH" in error


def test_a_checkpoint_path_in_a_yaml_is_not_ignored(graft, tmp_path):
    (tmp_path / "mine.yaml").write_text("model: SimCLR\ndata: Shapes\nckpt_path: some.ckpt\n")
    code, error = graft("fit", "--config", str(tmp_path / "mine.yaml"))
    assert code == 2 and "some.ckpt" in error and "--ckpt_path" in error


def test_a_batch_larger_than_the_data_is_refused(graft):
    code, error = graft(*SIMCLR, *TINY, "--data.batch_size", "41")
    assert code == 1 and "41" in error and "at most 40" in error


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_that_would_run_code_are_not_loaded(graft, tmp_path):
    with (tmp_path / "evil.ckpt").open("wb") as file:
        pickle.dump({"state_dict": Bomb(tmp_path / "boom")}, file)
    torch.save({"state_dict": Bomb(tmp_path / "boom")}, tmp_path / "evil2.ckpt")
    for name in ("evil.ckpt", "evil2.ckpt"):
        code, error = graft(*CLASSIFY, *TINY, "--model.weights", str(tmp_path / name))
        assert code == 1 and name in error
        code, error = graft(*CLASSIFY, *TINY, "--ckpt_path", str(tmp_path / name))
        assert code == 1 and name in error
    assert not (tmp_path / "boom").exists()


def test_weights_that_are_no_checkpoint_or_of_another_architecture_are_refused(graft, trained, tmp_path):
    (tmp_path / "notes.ckpt").write_text("not weights")
    code, error = graft(*CLASSIFY, *TINY, "--model.weights", str(tmp_path / "notes.ckpt"))
    assert code == 1 and "notes.ckpt" in error
    code, error = graft(*CLASSIFY, *TINY, "--model.weights", str(trained), "--model.backbone", "resnet18")
    assert code == 2 and "--model.backbone test_resnet" in error and "conv1" in error


def test_a_checkpoint_of_another_task_is_refused(graft, trained):
    code, error = graft("test", "--config", "tasks/simclr.yaml", "--ckpt_path", str(trained))
    assert code == 2 and "Classification" in error and "--model.weights" in error
    code, error = graft(*SIMCLR, *TINY, "--ckpt_path", str(trained))
    assert code == 2 and "Classification" in error


def test_classes_of_the_checkpoint_must_be_those_of_the_data(graft, trained, folder):
    code, error = graft(
        "test",
        "--config",
        "tasks/classification.yaml",
        "--ckpt_path",
        str(trained),
        "--data",
        "ImageFolder",
        "--data.root",
        str(folder),
    )
    assert code == 1 and "10 classes" in error and "2" in error


def test_typed_classes_must_be_those_of_the_data(graft):
    code, error = graft(*CLASSIFY, *TINY, "--model.classes", "[circle, square]")
    assert code == 1 and "model.classes" in error and "10" in error


def test_a_run_directory_in_use_is_refused(graft, trained):
    code, error = graft(*CLASSIFY, *TINY, "--run_dir", str(trained))
    assert code == 1 and "in use" in error


def test_a_run_directory_that_cannot_be_written_is_named(graft, tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    code, error = graft(*CLASSIFY, *TINY, "--run_dir", str(tmp_path / "file" / "run"))
    assert code == 1 and "cannot write" in error and "--run_dir" in error


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
    assert code == 1 and "No space left" in error and "last.ckpt" in error
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["last.ckpt"]


def test_early_stopping_on_a_metric_that_nobody_logs_names_those_there_are(graft):
    stop = ["--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor", "val/los"]
    code, error = graft(*CLASSIFY, *TINY, *stop)
    assert code == 2 and "`val/los` which is not available" in error and "`val/loss`" in error


def test_a_nan_loss_stops_with_step_and_learning_rate(graft):
    code, error = graft(*CLASSIFY, *TINY, "--model.optim.lr", "1e30", "--model.optim.schedule", "constant")
    assert code == 1 and "step" in error and "learning rate" in error


# Detection -----------------------------------------------------------------------------------------------------------

SMALL = ["--data.image_size", "64", "--data.batch_size", "2", "--data.workers", "0", "--data.val_split", "0"]
SMALL += ["--trainer.max_epochs", "1", "--trainer.precision", "32"]
SQUARE = [[10, 5, 30, 5, 30, 15, 10, 15]]


def objects(root: Path, task: str = "detection", *typed: str) -> list[str]:
    return ["fit", "--config", f"tasks/{task}.yaml", "--data", "Objects", "--data.root", str(root), *typed, *SMALL]


def unknown_category(root):
    coco(root, [annotation(), annotation(category=5)])
    return ["instances_train.json annotations[1] has category_id 5, which its categories lack: add it to them"]


def twice_the_same_id(root):
    coco(root, [annotation()], [image(1), image(1, file_name="2.png")])
    return ["images[0] and images[1] (2.png) both have the id 1: give each its own"]


def missing_picture(root):
    coco(root, [annotation(1), annotation(2)])
    (root / "images" / "2.png").unlink()
    return ["instances_train.json images[1] (2.png) is not there", "--data.on_error skip"]


def object_of_no_picture(root):
    coco(root, [annotation(1), annotation(9)], [image(1)])
    picture(root / "images" / "1.png")
    return ["annotations[1] is of image_id 9, which its images lack", "--data.on_error skip"]


def truncated_picture(root):
    coco(root, [annotation(1), annotation(2)])
    file = root / "images" / "2.png"
    file.write_bytes(file.read_bytes()[:-400])
    return ["images[1] (2.png) is no image that can be decoded", "--data.on_error skip"]


def turned_picture(root):
    coco(root, [annotation(1), annotation(2)])
    picture(root / "images" / "2.png", orientation=6)
    return ["images[1] (2.png) is stored on its side and turned by EXIF", "40 x 60", "60 x 40"]


def not_coco(root):
    coco(root, [annotation()], images={})
    return ["instances_train.json is not COCO's: it has no list images"]


def results(root):
    (root / "train.json").write_text('[{"image_id": 1, "category_id": 7, "score": 1, "annotations": []}]')
    return ["train.json is a list, as results are", "images, annotations, categories"]


def no_object(root):
    coco(root, [annotation(box=[504, 337, 0, 0]), annotation(box=[9, 9, -3, 4])])
    return ["instances_train.json has no object of any class to train on", "2 were left out, first", "annotations[0]"]


def crowds_alone(root):
    coco(root, [annotation(iscrowd=1), annotation(2, iscrowd=1)])
    return ["none of the 2 training pictures shows an object, crowds aside"]


@pytest.mark.parametrize(
    "defect",
    [
        unknown_category,
        twice_the_same_id,
        missing_picture,
        object_of_no_picture,
        truncated_picture,
        turned_picture,
        not_coco,
        results,
        no_object,
        crowds_alone,
    ],
)
def test_annotations_that_cannot_be_right_are_named_before_the_first_step(graft, tmp_path, defect):
    (tmp_path / "cells").mkdir()
    words = defect(tmp_path / "cells")
    code, error = graft(*objects(tmp_path / "cells"))
    assert code == 1
    assert all(word in error for word in words), error
    assert not Path("runs").exists()


def test_what_is_left_out_of_annotations_is_said_counted_and_listed(graft, tmp_path, capsys):
    boxes = {
        "is reversed": [20, 20, -5, 5],
        "lies outside the picture": [70, 5, 20, 10],
        "is not four finite numbers": [1, 2, 3],
    }
    outlines = {
        "has fewer than three points": [[10, 5, 30, 5]],
        "is of size [9, 9], the picture of [40, 60]": {"size": [9, 9], "counts": [81]},
        "has run lengths that span 150 pixels": {"size": [40, 60], "counts": [100, 50]},
    }
    bad = [annotation(box=box, segmentation=SQUARE) for box in boxes.values()]
    bad += [annotation(segmentation=outline) for outline in outlines.values()]
    reaching = annotation(2, box=[50, 30, 20, 20], segmentation=[[50, 30, 70, 30, 70, 50]])
    root = tmp_path / "cells"
    file = coco(root, [*bad, annotation(1, segmentation=SQUARE), reaching], [image(i) for i in (1, 2, 3, 4)])
    for number in (1, 2, 3, 4):
        picture(root / "images" / f"{number}.png")
    (root / "images" / "4.png").unlink()
    typed = objects(root, "instance_segmentation", "--data.on_error", "skip")
    assert graft(*typed, "--run_dir", "run")[0] == 0
    said = capsys.readouterr().out
    listed = Path("run/dropped.txt").read_text().splitlines()
    assert len(listed) == len(bad)
    for k, (line, reason) in enumerate(zip(listed, [*boxes, *outlines], strict=True)):
        assert line.startswith(f"{file} annotations[{k}]: ")
        assert reason in line
    (skipped,) = Path("run/skipped.txt").read_text().splitlines()
    assert skipped == f"{file} images[3] (4.png) is not there"
    head = said[: said.index("run directory")]
    for line in (
        "left out: 6 of 8 annotations, listed in dropped.txt",
        listed[0],
        "left out: 1 of 4 pictures",
        skipped,
        f"boxes clipped because they reached out of their pictures: 1, first {file} annotations[7]",
        "classes without object in train: 1 of 2 (dog)",
        "1 have none, first images/3.png",
    ):
        assert line in head, head
    assert "left out 6 annotations: run/dropped.txt" in said[len(head) :]


def test_boxes_of_another_form_than_cocos_are_suspected(graft, tmp_path, capsys):
    low = np.random.default_rng(0).uniform(0, 25, (30, 2))
    corners = np.concatenate([low, low + 12], 1)
    coco(tmp_path / "cells", [annotation(k % 2 + 1, box=box.tolist()) for k, box in enumerate(corners)])
    assert graft(*objects(tmp_path / "cells"), "--run_dir", "run")[0] == 0
    assert "when read as xywh, 0% when read as xyxy: check which of them the file holds" in capsys.readouterr().out


def test_a_validation_set_without_objects_chooses_no_best_weights(graft, tmp_path, capsys):
    root = tmp_path / "cells"
    coco(root, [annotation(1), annotation(2)])
    picture(root / "images" / "3.png")
    coco(root, [], [image(3)], split="val")
    assert graft(*objects(root), "--run_dir", "run")[0] == 0
    assert "val shows no object, so its figures will be nan" in capsys.readouterr().out
    assert [file.name for file in Path("run/checkpoints").iterdir()] == ["last.ckpt"]


def test_zero_area_boxes_of_blood_cells_are_named_and_counted(graft, data_root, capsys):
    if not (data_root / "bccd_voc").is_dir():
        pytest.skip("no bccd_voc in the real data")
    few = [
        "--trainer.limit_train_batches",
        "1",
        "--trainer.limit_val_batches",
        "1",
        "--trainer.limit_test_batches",
        "1",
    ]
    assert graft(*objects(data_root / "bccd_voc"), *few, "--run_dir", "run")[0] == 0
    said = capsys.readouterr().out
    assert "left out: 2 of 4,888 annotations" in said
    for line, (name, box) in zip(
        Path("run/dropped.txt").read_text().splitlines(),
        [("BloodImage_00343.xml object[3]", "[181, 329, 181, 329]"), ("BloodImage_00338.xml object[12]", "[504, 337")],
        strict=True,
    ):
        assert name in line and box in line and line.endswith("has no area")
        assert line in said
