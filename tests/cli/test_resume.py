"""Resuming: a killed run ends like one that was never stopped; a stopped one saves first."""

import signal
from pathlib import Path

import pytest
import torch

from tests.helpers.commands import EXPLANATIONS, ROOT, command_line, measured, run, state, stopped, whole_and_killed
from tests.helpers.forks import forked

SMALL = "--data.train 96 --data.val 16 --data.test 16 --data.batch_size 12 --data.image_size 32".split()
SMALL += "--trainer.max_epochs 3 --trainer.log_every_n_steps 1 --checkpoint.every_n_steps 3 --figures.samples 2".split()
FEWER = ["--data.train", "48"]
RANDOM = {
    "classification": "--model.head.dropout 0.2 --model.mixup 0.5 --model.mixing.manifold_mixup 1 "
    "--model.mixing.patchup_soft 0.5 --model.mixing.patchup_block 1 --model.mixing.puzzlemix 1 --model.drop_path 0.1 "
    "--model.ema_decay 0.9 --model.adversarial pgd --model.adversarial_steps 1 --data.augment augmix --data.repeats 2 "
    "--data.erasing pixel".split()
    + EXPLANATIONS,
    "classification, auxiliary": "--model.backbone inception_v1 --model.aux_loss_weight 0.3".split(),  # with dropout
    "simclr": [],
    "autoencoder": "--model.noise 0.2".split(),  # and codes that are drawn
    "moco": "--model.queue_size 96 --model.symmetric true".split(),
    "nnclr": "--model.queue_size 96".split(),
    "swav": "--model.queue_size 48 --model.prototypes 32 --data.local_views 1".split(),  # used from the third step on
    "lejepa": [],  # directions are drawn
    "semantic_segmentation": "--model.head.dropout 0.2 --data.balanced 0.5 --model.drop_path 0.1 "
    "--model.drop_block 0.3 --model.pooling fractional --model.init lsuv".split(),
    "detection": "--model.drop_path 0.1 --data.mosaic 0.5 --data.scale [0.5,1.5] --model.lora.rank 4 "
    "--model.lora.dropout 0.2".split(),
    "keypoints": "--model.drop_path 0.1 --data.mosaic 0.5 --data.scale [0.5,1.5] --model.head KeypointRCNN "
    "--model.head.keypoint_channels 16 --model.head.keypoint_layers 1 --model.head.hidden 32".split(),
    "panoptic_segmentation": "--data.mosaic 0.3 --data.scale [0.5,1.5] --model.drop_path 0.1".split(),  # points, too
    "instance_segmentation, queries": "--model.neck NoNeck --model.head QueryMasks --model.head.queries 8 "
    "--model.head.width 32 --model.head.layers 2".split(),  # points, and queries that are masked
    "detr": [],  # denoising queries are drawn
    "video": "--model.head.dropout 0.2 --model.drop_path 0.1 --data.crop [0.5,1] --data.frames 4".split(),
    "translation": "--data.train 200 --data.batch_tokens 800 --model.encoder.width 32 --model.decoder.width 32 "
    "--model.average_last_epochs 2 --model.search.max_length 20".split(),  # dropout, and batches by length
    "captioning": "--model.drop_path 0.1 --model.search.max_length 12 --data.augment flip".split(),
    "fast_style": "--model.width 4 --model.blocks 1 --model.norm batch".split(),  # styles are drawn
    "dino": "--model.prototypes 64 --model.centering mean --data.views 3 --model.backbone test_vit "
    "--model.masked_loss_weight 1".split(),  # centers are a state, masks are drawn
    "mae": [],  # masks are drawn
    "ijepa": [],
    "videomae": ["--data.frames", "4"],  # tubes are drawn
    "video_simclr": ["--data.frames", "4"],  # two clips are
}


# 4 steps an epoch; 7 is in the middle of one, 5 is the first after a checkpoint at an epoch's end
@pytest.mark.parametrize(
    ("task", "workers", "step"),
    [
        ("simclr", 2, 7),
        ("classification", 0, 5),
        pytest.param("classification, auxiliary", 0, 7, marks=pytest.mark.slow),
        ("autoencoder", 0, 7),
        ("moco", 0, 7),
        ("dino", 0, 5),
        ("ijepa", 0, 7),
        pytest.param("mae", 0, 7, marks=pytest.mark.slow),
        pytest.param("videomae", 2, 7, marks=pytest.mark.slow),
        pytest.param("video_simclr", 2, 7, marks=pytest.mark.slow),
        pytest.param("nnclr", 0, 7, marks=pytest.mark.slow),
        ("swav", 0, 7),
        pytest.param("lejepa", 0, 7, marks=pytest.mark.slow),
        ("fast_style", 0, 7),
        ("semantic_segmentation", 2, 7),
        ("detection", 2, 7),
        pytest.param("keypoints", 2, 7, marks=pytest.mark.slow),
        pytest.param("panoptic_segmentation", 2, 7, marks=pytest.mark.slow),
        pytest.param("instance_segmentation, queries", 0, 7, marks=pytest.mark.slow),
        pytest.param("detr", 2, 7, marks=pytest.mark.slow),
        ("video", 2, 7),
        ("captioning", 2, 7),
        ("translation", 2, 7),
    ],
)
def test_killed_in_mid_epoch_and_resumed_equals_never_stopped(graft, tmp_path, task, workers, step):
    small = [*SMALL[:6], *SMALL[10:]] if task == "translation" else SMALL  # without the size of batches and images
    typed = [
        "fit",
        "--config",
        f"tasks/{task.partition(',')[0]}.yaml",
        *small,
        *FEWER,
        *RANDOM[task],
        "--data.workers",
        str(workers),
    ]
    if task in ("simclr", "classification"):
        assert forked(command_line([*typed, "--run_dir", "whole"]), tmp_path) == [0]
        assert forked(command_line([*typed, "--run_dir", "killed"], kill_at=step), tmp_path) == [-signal.SIGKILL]
    else:
        whole_and_killed(typed, step, tmp_path)
    assert state(Path("killed"))["global_step"] < step
    assert forked(command_line([*typed, "--ckpt_path", "killed"]), tmp_path) == [0]

    whole, resumed = state(Path("whole")), state(Path("killed"))
    assert whole["global_step"] == resumed["global_step"] == 12
    assert all(torch.equal(whole["state_dict"][k], resumed["state_dict"][k]) for k in whole["state_dict"])
    assert [s["_last_lr"] for s in whole["lr_schedulers"]] == [s["_last_lr"] for s in resumed["lr_schedulers"]]
    assert measured(Path("whole")) == measured(Path("killed"))


@pytest.mark.slow
def test_scheduled_accumulation_holds_in_an_epoch_that_is_resumed(graft, tmp_path):
    typed = ["fit", "--config", "tasks/classification.yaml", *SMALL, "--data.train", "32", "--data.batch_size", "8"]
    typed += ["--data.workers", "0", "--trainer.precision", "32", "--checkpoint.every_n_steps", "1"]
    typed += ["--trainer.callbacks+", "GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{0: 1, 1: 2}"]
    typed += "--model.backbone test_resnet --trainer.max_epochs 2 --figures.samples 1".split()
    whole_and_killed(typed, 5, tmp_path)
    assert forked(command_line([*typed, "--ckpt_path", "killed"]), tmp_path) == [0]
    whole, resumed = state(Path("whole")), state(Path("killed"))
    assert whole["global_step"] == resumed["global_step"] == 4 + 2
    assert all(torch.equal(whole["state_dict"][k], resumed["state_dict"][k]) for k in whole["state_dict"])
    assert whole["lr_schedulers"][0]["_last_lr"] == resumed["lr_schedulers"][0]["_last_lr"] == [0.0, 0.0]


# to the whole process group, as SLURM, systemd and `timeout` send it: to loaders and other devices' processes too
@pytest.mark.parametrize(
    ("name", "workers", "devices"),
    [
        ("SIGTERM", 2, 1),
        *(
            pytest.param(name, workers, devices, marks=pytest.mark.slow)
            for name in ("SIGTERM", "SIGUSR1", "SIGINT")
            for workers in (0, 2)
            for devices in (1, 2)
            if (name, workers, devices) != ("SIGTERM", 2, 1)
        ),
    ],
)
def test_a_signal_to_all_processes_saves_and_the_same_command_goes_on(graft, tmp_path, name, workers, devices):
    typed = ["fit", "--config", "tasks/classification.yaml", *SMALL, *RANDOM["classification"]]
    typed += ["--data.workers", str(workers), "--checkpoint.every_n_steps", "0", "--trainer.accelerator", "cpu"]
    typed += ["--trainer.precision", "32", "--trainer.devices", str(devices), "--ckpt_path", "auto"]
    stop = f"if trainer.is_global_zero: os.killpg(os.getpgrp(), signal.{name})"
    assert stopped(stop, 6, [*typed, "--run_dir", "stopped"], tmp_path)[0] == 128 + getattr(signal, name)
    assert 6 <= state(Path("stopped"))["global_step"] <= 7
    assert not list(Path("stopped/checkpoints").glob("*.tmp"))
    for folder in ("whole", "stopped"):  # one that was never stopped, and the next start
        again = [*typed, "--run_dir", folder]
        assert (graft(*again)[0] if devices == 1 else run([str(ROOT / "cli.py"), *again], tmp_path)) == 0
    whole, resumed = state(Path("whole")), state(Path("stopped"))
    assert whole["global_step"] == resumed["global_step"] == 24 / devices
    assert all(torch.equal(whole["state_dict"][k], resumed["state_dict"][k]) for k in whole["state_dict"])


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_when_one_process_is_killed_the_others_end_and_what_was_saved_stays(graft, tmp_path, rank):
    typed = ["fit", "--config", "tasks/classification.yaml", *SMALL, "--data.workers", "0", "--run_dir", "run"]
    typed += ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
    stop = f"if trainer.global_rank == {rank}: os.kill(os.getpid(), signal.SIGKILL)"
    code, said = stopped(stop, 5, typed, tmp_path)
    assert code == (137 if rank else -signal.SIGKILL)
    assert "--ckpt_path run" in said and "Traceback" not in said
    assert state(Path("run"))["global_step"] == 4  # of 4 steps an epoch
