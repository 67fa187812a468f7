"""Progress of a run: a bar on a terminal, lines in a log file or a pipe."""

from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import BatchesProcessedColumn, CustomBarColumn
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import ProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from callbacks.results.number_format import duration
from callbacks.speed_monitor import SpeedMonitor
from callbacks.terminal import print_line
from modules.contracts import Batch

PAUSE = 60.0  # seconds without a line, after which one is printed within an epoch


def make_progress(speed: SpeedMonitor, console: Console | None = None) -> Callback:
    """Progress bar for a terminal or a notebook, lines elsewhere.

    Args:
        speed: of the same trainer.
        console: the output; null is standard output.
    """
    console = console or Console()
    return Bar() if console.is_terminal or console.is_jupyter else Lines(speed)


def place(trainer: Trainer) -> str:
    """Position in the training, counted from 1: "epoch 1 of 16", or "step 40 of 200" where steps end the run."""
    if trainer.max_steps > 0:
        return f"step {trainer.global_step} of {trainer.max_steps}"
    most = trainer.max_epochs or -1
    return f"epoch {trainer.current_epoch + 1}" + (f" of {most}" if most > 0 else "")


class Bar(RichProgressBar):
    """Progress bar with the loss and the task's monitored metric."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=2, leave=False)  # per second, in a thread that costs time

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Columns that leave room for the metrics in a line of 80 characters."""
        theme = self.theme
        bar = CustomBarColumn(
            complete_style=theme.progress_bar,
            finished_style=theme.progress_bar_finished,
            pulse_style=theme.progress_bar_pulse,
        )
        bar.bar_width = 10
        description = TextColumn("[progress.description]{task.description}")
        return [description, bar, BatchesProcessedColumn(style=theme.batch_progress), TimeRemainingColumn(compact=True)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        shown = {_short(name): value for name, value in trainer.progress_bar_metrics.items()}
        value = trainer.callback_metrics.get(pl_module.monitor)
        return shown if value is None else shown | {pl_module.monitor: value.item()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.max_steps > 0 and self.progress is not None and self.train_progress_bar_id is not None:
            description = self._get_train_description(trainer.current_epoch)
            self.progress.update(self.train_progress_bar_id, description=description)

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{place(self.trainer).capitalize():{len(self.validation_description)}}"


class Lines(Callback):
    """A line per epoch (loss, monitored metric, samples per second, time left), and one a minute within long epochs.

    Args:
        speed: of the same trainer.
    """

    def __init__(self, speed: SpeedMonitor):
        self.speed = speed
        self._losses: list[Tensor] = []  # of the epoch's batches so far: their sum
        self._batches = 0
        self._counted = (0, 0.0)  # samples and seconds of training at the last epoch's end
        self._began, self._share = 0.0, 0.0  # when this process began to train, with which share done
        self._said = perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = self._said = perf_counter()
        self._share = _share(trainer, trainer.fit_loop.epoch_loop.batch_progress.current.processed)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses, self._batches = [], 0
        self._counted = self.speed.samples, self.speed.seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if isinstance(outputs, dict) and isinstance(outputs.get("loss"), Tensor):
            loss = outputs["loss"].detach() * trainer.accumulate_grad_batches  # the trainer has divided it
            self._losses, self._batches = [self._losses[0] + loss if self._losses else loss], self._batches + 1
        most = trainer.num_training_batches
        if batch_idx + 1 < most and perf_counter() - self._said > PAUSE:
            within = f", batch {batch_idx + 1} of {most}" if trainer.max_steps <= 0 else ""
            self._say(trainer, pl_module, place(trainer) + within, _share(trainer, batch_idx + 1))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._say(trainer, pl_module, place(trainer), _share(trainer, trainer.num_training_batches))

    def on_validation_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self._say_batch("validation", arguments, trainer.num_val_batches)

    def on_test_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self._say_batch("test", arguments, trainer.num_test_batches)

    def on_predict_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self._say_batch("prediction", arguments, trainer.num_predict_batches)

    @rank_zero_only
    def _say_batch(self, stage: str, arguments: tuple[Any, ...], counts: list[int | float]) -> None:
        """A line within a long evaluation; `arguments` are those of the hook: task, outputs, batch, its number."""
        if perf_counter() - self._said > PAUSE:
            self._said = perf_counter()
            print_line(f"{stage}, batch {arguments[3] + 1} of {sum(counts)}")

    @rank_zero_only
    def _say(self, trainer: Trainer, task: LightningModule, where: str, share: float) -> None:
        parts, known = [], trainer.callback_metrics
        if self._losses:
            parts.append(f"loss {self._losses[0].item() / self._batches:.4g}")
        else:  # of tasks with several losses
            parts += [f"{_short(name)} {value:.4g}" for name, value in trainer.progress_bar_metrics.items()]
        if task.monitor in known and task.monitor not in trainer.progress_bar_metrics:
            parts.append(f"{task.monitor} {known[task.monitor].item():.4g}")
        samples, seconds = self.speed.samples - self._counted[0], self.speed.seconds - self._counted[1]
        if samples and seconds:
            parts.append(f"{samples / seconds:,.0f} {trainer.datamodule.noun}/s")
        self._said = perf_counter()
        if self._share < share < 1:
            left = (self._said - self._began) * (1 - share) / (share - self._share)
            parts.append(f"{duration(left)} left")
        print_line(f"{where}: {', '.join(parts)}" if parts else where)


def _share(trainer: Trainer, batches: int | float) -> float:
    """Share 0..1 of the training that is done with so many batches of the current epoch; 0 where no end is set."""
    done = [0.0]
    if trainer.max_steps > 0:
        done.append(trainer.global_step / trainer.max_steps)
    if (trainer.max_epochs or -1) > 0:
        done.append((trainer.current_epoch + batches / trainer.num_training_batches) / trainer.max_epochs)
    return min(max(done), 1.0)


def _short(name: str) -> str:
    """Short name of a training loss: "loss", "generator" for train/generator_loss."""
    return name.removeprefix("train/").removesuffix("_loss")
