"""A linear probe beside the training: it learns, is resumed, and leaves the network alone."""

import logging

import pytest
import torch

from callbacks import OnlineProbe
from callbacks.collectors.embedding import embed
from modules.contracts import ConfigError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.small_task import Data, MemoryLogger, Pretraining, Task


def test_learns_classes_that_a_line_separates_from_features_that_do_not_change(trainer):
    probe, logger = OnlineProbe(lr=0.05, every=4), MemoryLogger()
    task = Task(lr=0.0)
    run = trainer(probe, max_epochs=8, logger=logger)
    run.fit(task, datamodule=Data())
    assert [step for step, row in logger.rows if "val/probe" in row] == [23, 47]
    assert logger.values("val/probe")[-1] > 0.9
    losses = logger.values("train/probe_loss")
    assert losses[0] == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-5)  # all classes alike
    assert losses[-1] < 0.5 * losses[0]
    features, labels = embed(Data().plain_dataloader("val"), run, task)
    right = probe.probe(features).argmax(1) == labels
    assert logger.values("val/probe")[-1] == pytest.approx(right.float().mean().item())
    assert_named(probe.protocol_lines(run)["val/probe"], 21, "0.05")


def test_the_training_does_not_notice_the_probe(trainer):
    finals = []
    for callbacks in ([], [OnlineProbe()]):
        torch.manual_seed(3)
        task = Pretraining()
        data = Data(views=True)
        trainer(*callbacks, max_epochs=2, limit_val_batches=0).fit(task, datamodule=data)
        finals.append((torch.get_rng_state(), *task.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*finals, strict=True))


def test_a_resumed_probe_is_the_one_that_was_saved(trainer, tmp_path):
    def run(epochs: int, ckpt: str | None = None) -> tuple[OnlineProbe, list[float]]:
        torch.manual_seed(0)
        probe, logger = OnlineProbe(lr=0.01), MemoryLogger()
        data = Data()
        data.train_dataloader = lambda: data.plain_dataloader("train")  # in order
        fitted = trainer(probe, max_epochs=epochs, logger=logger)
        fitted.fit(Task(lr=0.0), datamodule=data, ckpt_path=ckpt, weights_only=True)
        fitted.save_checkpoint(tmp_path / "saved.ckpt")
        return probe, logger.values("train/probe_loss")

    (whole, losses), (_, first) = run(4), run(2)
    resumed, second = run(4, str(tmp_path / "saved.ckpt"))
    assert first + second == pytest.approx(losses)
    for name in ("weight", "norm"):
        torch.testing.assert_close(resumed.probe.state_dict()[name], whole.probe.state_dict()[name])


def test_the_probe_of_a_checkpoint_is_tested(trainer, tmp_path):
    data, task = Data(), Task(lr=0.0)
    fitted = trainer(OnlineProbe(lr=0.05), max_epochs=6)
    fitted.fit(task, datamodule=data)
    fitted.save_checkpoint(tmp_path / "saved.ckpt")
    (found,) = trainer(OnlineProbe()).test(
        Task(), datamodule=data, ckpt_path=tmp_path / "saved.ckpt", verbose=False, weights_only=True
    )
    assert found["test/probe"] > 0.9


def test_without_labels_it_is_off_and_says_so(trainer, caplog):
    logger = MemoryLogger()
    with caplog.at_level(logging.INFO):
        trainer(OnlineProbe(), logger=logger).fit(Pretraining(), datamodule=Data(views=True, labeled=False))
    assert "labels" in caplog.text
    assert not logger.values("train/probe_loss") and not logger.values("val/probe")


@pytest.mark.parametrize("name, value", [("lr", 0), ("every", 0)])
def test_a_value_out_of_range_is_refused(name, value):
    with refuses(ConfigError, f"OnlineProbe.{name}", value):
        OnlineProbe(**{name: value})
