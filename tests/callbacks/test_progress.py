"""Progress on a terminal and in a log file: epochs or steps from 1, loss, monitored metric, speed, time left."""

import io
import re

import pytest
from rich.console import Console

from callbacks import progress
from callbacks.progress import Bar, Lines, make_progress, place
from callbacks.results.number_format import duration
from callbacks.speed_monitor import SpeedMonitor
from tests.helpers import small_task
from tests.helpers.errors import assert_named, line_naming
from tests.helpers.small_task import Data, MemoryLogger

LEFT = re.compile(r"(?<![\w/])\d+ s\b")  # time


class Task(small_task.Task):
    """Task that logs the training loss, and a validation metric that counts the epochs."""

    monitor = "val/accuracy"

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_end(self):
        self.log("val/accuracy", 0.25 * (self.current_epoch + 1))


@pytest.fixture
def lines(trainer, capsys):
    """Train; returns the printed lines."""

    def run(**settings) -> list[str]:
        data, speed = Data(), SpeedMonitor()
        data.noun = "images"
        trainer(speed, Lines(speed), **settings).fit(Task(), datamodule=data)
        return [line for line in capsys.readouterr().out.splitlines() if line]

    return run


def test_each_epoch_has_a_line_with_loss_monitor_speed_and_time_left(lines):
    first, second = lines(max_epochs=2)
    assert_named(first, "1 of 2", "loss", "val/accuracy 0.25", "images/s")
    assert_named(second, "2 of 2", "loss", "val/accuracy 0.5", "images/s")
    assert LEFT.search(first) and not LEFT.search(second)


def test_the_loss_of_a_line_is_the_mean_over_the_epoch_whatever_is_accumulated(trainer, capsys):
    logger = MemoryLogger()
    data = Data()
    trainer(Lines(SpeedMonitor()), logger=logger, accumulate_grad_batches=2).fit(Task(), datamodule=data)
    said = float(re.search(r"loss ([\d.]+)", capsys.readouterr().out)[1])
    losses = logger.values("train/loss")  # of every second batch
    assert min(losses) * 0.7 < said < max(losses) * 1.4


def test_steps_are_counted_where_they_end_the_run(lines):
    said = lines(max_steps=8, max_epochs=-1)  # 6 in an epoch
    assert len(said) == 2
    assert_named(said[0], "step", "6 of 8")
    assert_named(said[1], "step", "8 of 8")
    assert LEFT.search(said[0]) and not LEFT.search(said[1])


def test_long_epochs_and_evaluations_are_heard_of_in_between(trainer, monkeypatch, capsys):
    monkeypatch.setattr(progress, "PAUSE", -1.0)
    data, run = Data(), trainer(Lines(SpeedMonitor()))
    data.noun = "images"
    run.fit(Task(), datamodule=data)
    run.test(Task(), datamodule=data, verbose=False)
    said = capsys.readouterr().out.splitlines()
    line_naming(said, "1 of 1", "2 of 6", "loss")
    line_naming(said, "validation", "3 of 3")
    line_naming(said, "test", "3 of 3")


def test_a_bar_where_there_is_a_terminal_and_lines_elsewhere():
    assert isinstance(make_progress(SpeedMonitor(), Console(file=io.StringIO(), force_terminal=True)), Bar)
    assert isinstance(make_progress(SpeedMonitor(), Console(file=io.StringIO(), force_terminal=False)), Lines)


def test_the_bar_shows_epochs_from_1_the_loss_and_the_monitor_and_no_version(trainer):
    seen = []

    class Watched(Bar):
        def on_train_epoch_end(self, run, task):
            super().on_train_epoch_end(run, task)
            seen.append((self._get_train_description(run.current_epoch).strip(), self.get_metrics(run, task)))

    run = trainer(Watched(), max_epochs=2, enable_progress_bar=True)
    run.fit(Task(), datamodule=Data())
    for (description, _), numbers in zip(seen, ("1 of 2", "2 of 2"), strict=True):
        assert_named(description, numbers)
    assert [list(metrics) for _, metrics in seen] == [["loss", "val/accuracy"]] * 2
    assert [metrics["val/accuracy"] for _, metrics in seen] == [0.25, 0.5]


def test_an_endless_training_has_no_last_epoch(trainer):
    said = place(trainer(max_epochs=-1))
    assert_named(said, 1)
    assert re.findall(r"\d+", said) == ["1"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (125, "2 min 5 s"), (3599.7, "1 h 0 min"), (12000, "3 h 20 min")]
)
def test_durations_as_people_say_them(seconds, text):
    assert duration(seconds) == text
