"""GANs from the command line: resumed to the bit, samples by seed, and what is refused."""

from pathlib import Path

import pytest
import torch

from tests.helpers.commands import command_line, measured, state, whole_and_killed
from tests.helpers.errors import sentence
from tests.helpers.forks import forked

TINY = "--data.train 96 --data.val 20 --data.test 10 --data.batch_size 8 --data.image_size 16 --data.workers 0".split()
TINY += "--model.generator.width 4 --model.discriminator.width 4 --model.latent 8 --trainer.callbacks null".split()
TINY += "--trainer.precision 32 --trainer.log_every_n_steps 1 --figures.samples 1".split()
GAN = ["fit", "--config", "tasks/gan.yaml", *TINY]
WGAN = ["fit", "--config", "tasks/wgan.yaml", *TINY]


# 12 batches an epoch, 36 in all; the kill comes in the middle of an epoch and of a round of the critic
@pytest.mark.parametrize(
    ("typed", "step", "steps"),
    [
        ([*GAN, "--model.ema_decay", "0.9", "--model.augment", "[color,cutout]", "--data.workers", "2"], 19, 36),
        ([*WGAN, "--model.n_critic", "5", "--model.condition", "projection", "--model.ema_decay", "0.9"], 4, 7),
    ],
)
def test_killed_and_resumed_equals_never_stopped(graft, tmp_path, typed, step, steps):
    typed = [*typed, "--trainer.max_epochs", "3", "--checkpoint.every_n_steps", "3"]
    whole_and_killed(typed, step, tmp_path)
    assert 0 < state(Path("killed"))["global_step"] < step
    assert forked(command_line([*typed, "--ckpt_path", "killed"]), tmp_path) == [0]

    whole, resumed = state(Path("whole")), state(Path("killed"))
    assert whole["global_step"] == resumed["global_step"] == steps
    assert {key.partition(".")[0] for key in whole["state_dict"]} >= {"averaged", "fixed_noise"}
    assert all(torch.equal(whole["state_dict"][k], resumed["state_dict"][k]) for k in whole["state_dict"])
    assert len(whole["optimizer_states"]) == 2
    for one, other in zip(whole["optimizer_states"], resumed["optimizer_states"], strict=True):
        for key, values in one["state"].items():
            assert all(torch.equal(value, other["state"][key][name]) for name, value in values.items())
    assert [s["_last_lr"] for s in whole["lr_schedulers"]] == [s["_last_lr"] for s in resumed["lr_schedulers"]]
    assert measured(Path("whole")) == measured(Path("killed"))


def test_samples_follow_from_seed_and_place_alone(graft, capsys):
    assert graft(*GAN, "--model.optim.lr", "0.01", "--trainer.max_epochs", "1", "--run_dir", "run")[0] == 0
    assert "accuracy" not in capsys.readouterr().out  # nothing is judged by class
    predict = ["predict", "--config", "tasks/gan.yaml", "--ckpt_path", "run", "--data", "LatentSamples"]

    def samples(name: str, *typed: str) -> dict[str, bytes]:
        assert graft(*predict, *typed, "--run_dir", name)[0] == 0
        assert (Path(name) / "predictions" / "grid.png").is_file()
        return {path.name: path.read_bytes() for path in Path(name, "predictions", "samples").iterdir()}

    first = samples("first", "--data.count", "20", "--seed_everything", "1")
    assert len(first) == 20
    assert len(set(first.values())) == 20
    again = samples("again", "--data.count", "30", "--data.batch_size", "7", "--seed_everything", "1")
    assert {name: again[name] for name in first} == first
    assert not set(samples("other", "--data.count", "20", "--seed_everything", "2").values()) & set(first.values())


def test_steps_of_the_generator_are_what_max_steps_and_the_logs_count(graft):
    typed = [*WGAN, "--model.n_critic", "5", "--trainer.max_steps", "3", "--trainer.max_epochs", "9"]
    assert graft(*typed, "--run_dir", "run")[0] == 0
    saved = state(Path("run"))
    assert saved["global_step"] == 3
    assert [int(o["state"][0]["step"]) for o in saved["optimizer_states"]] == [3, 15]
    rows = measured(Path("run"))
    steps = [int(row["step"]) for row in rows if row["train/discriminator_loss"]]
    assert steps == sorted(steps)
    assert steps[-1] == 3
    assert {"train/wasserstein", "train/penalty", "train/generator_grad_norm", "val/wasserstein"} <= rows[0].keys()


CLIPPED = "--trainer.gradient_clip_val 1 --trainer.accumulate_grad_batches 2"


@pytest.mark.parametrize(
    ("fit", "typed", "code", "names"),
    [
        (GAN, "--data.image_size 30", 2, ["DCGANGenerator", "30", "--data.image_size", "28", "32"]),
        (WGAN, "--model.discriminator.norm batch", 2, ["DCGANDiscriminator", "--model.discriminator.norm layer"]),
        (GAN, CLIPPED, 2, ["--model.gradient_clip", "trainer.gradient_clip_val", "--model.accumulate"]),
        (WGAN, "--model.n_critic 50 --trainer.max_epochs 1", 2, ["50", "--model.n_critic", "12", "trainer.max_epochs"]),
        (WGAN, "--model.penalty none", 2, ["--model.penalty gradient", "--model.weight_clip 0.01"]),
        (GAN, "--model.loss hinged", 2, ["loss", "hinged", "hinge"]),
        (GAN[:3], "--data LatentSamples --model.condition null", 1, ["LatentSamples", "--data.root"]),
        (GAN[:9], "--data ShapesVideo", 2, ["GAN", "image", "ShapesVideo"]),
    ],
)
def test_what_cannot_work_is_named_with_what_to_set(refused, fit, typed, code, names):
    refused(code, [*fit, *typed.split()], *names)


def test_networks_for_another_size_than_the_data_gives_are_answered_with_the_option(graft):
    code, error = graft(*GAN, "--model.image_size", "32")
    assert code == 2
    sentence(error, "16 x 16", "--data.image_size 32")


def test_labels_asked_for_where_there_are_none(refused, image_folder):
    root = image_folder({"plain": 40}, size=(16, 16))
    typed = [*GAN[:3], "--data", "UnlabeledImages", "--data.root", str(root), "--data.image_size", "16"]
    refused(2, [*typed, "--model.condition", "projection"], "model.condition", "projection")


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_loss_that_is_no_number_names_its_network_and_step(graft, network, monkeypatch):
    from tasks import GAN as Task

    plain = Task.training_step

    def spoilt(self, batch, index):
        losses = plain(self, batch, index)
        return losses | ({f"{network}_loss": losses[f"{network}_loss"] * float("nan")} if index == 4 else {})

    monkeypatch.setattr(Task, "training_step", spoilt)
    code, error = graft(*GAN, "--trainer.max_epochs", "1")
    assert code == 1
    rates = ("--model.optim.lr", "--model.discriminator_optim.lr")
    sentence(error, network, "nan", "step 5", "epoch 1", "batch 5", *rates)
