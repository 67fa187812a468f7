"""Checkpoints that Lightning cannot restore are answered with a sentence that names the file."""

import pytest
import torch

from tests.helpers.commands import TINY


@pytest.fixture
def refused_with(refused, trained):
    """Refuses a command on the last checkpoint of a run after `change` of its content."""

    def run(change, *argv: str, names: tuple = ()) -> None:
        checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, "x.ckpt")
        refused(1, [*argv, "--ckpt_path", "x.ckpt", "--trainer.logger", "false"], "x.ckpt", *names)

    return run


def test_loops_and_callbacks_of_odd_content(refused_with):
    refused_with(lambda content: content["loops"].pop("test_loop"), "test", names=("test_loop",))
    refused_with(lambda content: content["callbacks"].update(Checkpoint=3), "test")


@pytest.mark.parametrize("version", [None, "foo", "0.1"])
def test_versions_that_lightning_does_not_know(refused_with, version):
    key = "pytorch-lightning_version"
    refused_with(lambda content: content.pop(key) if version is None else content.update({key: version}), "test")


def test_weights_alone_are_not_resumed(refused_with):
    fit = "fit --config tasks/classification.yaml --trainer.max_epochs 2".split()
    refused_with(lambda content: content.pop("optimizer_states"), *fit, names=("--model.weights",))


def test_a_random_state_of_odd_content(refused_with):
    fit = "fit --config tasks/classification.yaml --trainer.max_epochs 2".split()
    refused_with(lambda content: content.update(random_state=[3]), *fit, *TINY[:10], names=("random_state",))
