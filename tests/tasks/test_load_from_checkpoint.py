"""A checkpoint alone rebuilds its task, whatever the task and wherever it was made."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

import tasks
from modules.contracts import ConfigError, DataError
from modules.heads import Linear
from modules.temporal import Recurrent
from modules.text.tokenizer import Tokenizer
from modules.training.optim import Optim
from tests.helpers.errors import refuses

WORDS = Tokenizer.train(["a red dog runs", "a cat sits"], "words", 20).to_json()
NET: dict[str, Any] = {"backbone": "test_resnet", "optim": Optim(lr=0.01)}
VIT = NET | {"backbone": "test_vit"}
CLASSES = {"classes": ["cat", "dog"]}
TWO = {"optim": Optim(lr=0.01), "image_size": 16, **CLASSES}
TASKS: dict[str, dict[str, Any]] = {
    "AutoEncoder": NET | {"image_size": 32},
    "BYOL": NET,
    "BarlowTwins": NET | {"embed_dim": 8},
    "Captioning": NET | {"tokenizers": [WORDS]},
    "Classification": NET | CLASSES | {"head": partial(Linear, loss="binary"), "mixup": 0.2},
    "Colorization": NET,
    "DINO": NET | {"prototypes": 8},
    "Detection": NET | CLASSES,
    "Distillation": NET | {"teacher": "no.safetensors", "teacher_backbone": "test_vit"},
    "FastStyle": NET | {"styles": ["strokes"], "width": 4, "blocks": 1, "image_size": 32},
    "GAN": TWO,
    "IJEPA": VIT | {"predictor_width": 8, "predictor_depth": 1, "predictor_heads": 2},
    "InstanceSegmentation": NET | CLASSES,
    "Jigsaw": NET,
    "Keypoints": NET | CLASSES | {"keypoints": ["nose", "tail"], "skeleton": [["nose", "tail"]]},
    "MAE": VIT | {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2},
    "LeJEPA": NET | {"embed_dim": 8},
    "MaskedPatches": NET,
    "MoCo": NET | {"queue_size": 64},
    "MoCoV3": NET,
    "MultilabelClassification": NET | CLASSES | {"cutmix": 0.2},
    "NNCLR": NET | {"queue_size": 64},
    "PanopticSegmentation": NET | CLASSES | {"things": ["cat"]},
    "Rotation": NET,
    "SemanticSegmentation": NET | CLASSES,
    "SimCLR": NET,
    "SimSiam": NET,
    "SupCon": NET,
    "SwAV": NET | {"prototypes": 8, "queue_size": 16},
    "Translation": {"tokenizers": [WORDS, WORDS]},
    "VICReg": NET | {"embed_dim": 8},
    "Video": NET | CLASSES | {"frames": 4, "fusion": partial(Recurrent, hidden=8)},
    "VideoSimCLR": NET | {"frames": 4, "fusion": partial(Recurrent, hidden=8)},
    "WGAN": TWO,
}


def saved(task: tasks.Task, path: Path) -> Path:
    """A checkpoint as Lightning's trainer writes it, without a training."""
    trainer = L.Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(task)
    trainer.save_checkpoint(path)
    return path


def test_every_task_is_here():
    abstract = {"Task", "VisionTask"}
    built = {"VideoMAE"}  # on an object, which a checkpoint of Python does not hold; test_commands.py loads one of fit
    assert TASKS.keys() == set(tasks.__all__) - abstract - built


@pytest.mark.parametrize("name", TASKS)
def test_a_path_is_enough(name, tmp_path):
    task = vars(tasks)[name](**TASKS[name])
    loaded = type(task).load_from_checkpoint(saved(task, tmp_path / "task.ckpt"))
    assert type(loaded) is type(task)
    theirs = loaded.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in task.state_dict().items())


def test_classes_and_their_arguments_are_rebuilt(tmp_path):
    task = tasks.Classification(**TASKS["Classification"])
    loaded = tasks.Classification.load_from_checkpoint(saved(task, tmp_path / "task.ckpt"))
    assert loaded.head.loss_name == task.head.loss_name
    assert loaded.optim == task.optim


def test_what_a_checkpoint_cannot_hold_is_asked_for(tmp_path):
    backbone = tasks.Classification(**NET | CLASSES).backbone
    path = saved(tasks.Classification(backbone=backbone, **CLASSES), tmp_path / "task.ckpt")
    with refuses(ConfigError, "model.backbone"):
        tasks.Classification.load_from_checkpoint(path)
    tasks.Classification.load_from_checkpoint(path, backbone=backbone)


def test_paths_and_numpy_scalars_are_plain_in_a_checkpoint(tmp_path):
    task = tasks.SimCLR(weights=tmp_path / "no.ckpt", temperature=np.float32(0.5), drop_path=np.float64(0), **NET)
    loaded = tasks.SimCLR.load_from_checkpoint(saved(task, tmp_path / "task.ckpt"))
    assert (loaded.weights, loaded.temperature) == (str(tmp_path / "no.ckpt"), 0.5)


def test_a_base_loads_what_is_derived_from_it(tmp_path):
    path = saved(tasks.SimCLR(**NET), tmp_path / "task.ckpt")
    assert type(tasks.Task.load_from_checkpoint(path)) is tasks.SimCLR
    assert type(tasks.VisionTask.load_from_checkpoint(str(path))) is tasks.SimCLR


def test_another_class_and_another_network_are_refused(tmp_path):
    path = saved(tasks.SimCLR(**NET), tmp_path / "task.ckpt")
    with refuses(ConfigError, "SimCLR", "Classification"):
        tasks.Classification.load_from_checkpoint(path)
    with refuses(ConfigError, "load_from_checkpoint"):
        tasks.SimCLR.load_from_checkpoint(path, embed_dim=8)


def test_a_folder_and_a_file_of_another_kind_are_refused(tmp_path):
    with refuses(DataError, tmp_path):
        tasks.SimCLR.load_from_checkpoint(tmp_path)
    (tmp_path / "backbone.safetensors").write_bytes(bytes(64))
    with refuses(DataError, tmp_path / "backbone.safetensors"):
        tasks.SimCLR.load_from_checkpoint(tmp_path / "backbone.safetensors")


def test_classes_are_a_list(tmp_path):
    with refuses(ConfigError, "model.classes", "cat"):
        tasks.Classification(classes="cat", **NET)
    path = saved(tasks.Classification(classes=np.array(["cat", "dog"]), **NET), tmp_path / "task.ckpt")
    assert tasks.Classification.load_from_checkpoint(path).classes == ["cat", "dog"]
