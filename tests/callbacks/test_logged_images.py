"""Figures reach every logger that takes images, by the interface of its library."""

from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.loggers import CometLogger, CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from callbacks.figures.log import log_figure
from callbacks.loggers.fault_tolerant import fault_tolerant
from tests.helpers.errors import assert_named

FIGURE = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
STEP = 7


class Wandb(WandbLogger):
    def __init__(self, sent):
        self.sent = sent

    def log_image(self, key, images, step=None):
        (image,) = images
        self.sent.append((key, image, step))


class Comet(CometLogger):
    def __init__(self, sent):
        self.sent = sent

    @property
    def experiment(self):
        def log_image(image_data, name=None, overwrite=False, image_format="png", step=None):
            self.sent.append((name, image_data, step))

        return SimpleNamespace(log_image=log_image)


class MLflow(MLFlowLogger):
    run_id = "run 1"

    def __init__(self, sent):
        self.sent = sent

    @property
    def experiment(self):
        def log_image(run_id, image, artifact_file=None, key=None, step=None):
            assert run_id == "run 1"
            self.sent.append((key, image, step))

        return SimpleNamespace(log_image=log_image)


class Bare(Logger):
    """Logger with an experiment, by default none that takes images."""

    name, version = "bare", 0
    experiment = SimpleNamespace(log=print)

    def __init__(self, sent):
        self.sent = sent

    def log_metrics(self, metrics, step=None):
        raise NotImplementedError

    log_hyperparams = log_metrics


class Neptune(Bare):
    """Neptune 1: fields by item access, of files."""

    @property
    def experiment(self):
        class Run:
            def __getitem__(run, key):
                return SimpleNamespace(upload=lambda path: self.sent.append((key, np.asarray(Image.open(path)), STEP)))

        return Run()


class NeptuneScale(Bare):
    """Neptune 3: series of files."""

    @property
    def experiment(self):
        def log_files(files, step):
            self.sent.extend((key, np.asarray(Image.open(path)), step) for key, path in files.items())

        return SimpleNamespace(log_files=log_files)


def run(folder, *loggers):
    return SimpleNamespace(default_root_dir=folder, loggers=list(loggers), is_global_zero=True, global_step=STEP)


@pytest.mark.parametrize("kind", [Wandb, Comet, MLflow, Neptune, NeptuneScale])
@pytest.mark.parametrize("guard", [fault_tolerant, lambda logger: logger])
def test_a_logger_gets_the_figure_under_its_name_at_the_step(tmp_path, kind, guard):
    sent = []
    log_figure(run(tmp_path, guard(kind(sent))), "knn", FIGURE)
    ((key, image, step),) = sent
    assert (key, step) == ("figures/knn", STEP)
    assert np.array_equal(image, FIGURE)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "figures" / "knn.png")), FIGURE)


def test_tensorboard_holds_the_figure(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoardLogger(tmp_path, name="", version="board")
    log_figure(run(tmp_path, board), "knn", FIGURE)
    board.experiment.flush()
    assert EventAccumulator(str(tmp_path / "board")).Reload().Tags()["images"] == ["figures/knn"]


def test_loggers_that_take_no_images_are_left_out_without_a_word(tmp_path, capsys):
    log_figure(run(tmp_path, Bare([]), fault_tolerant(Bare([])), CSVLogger(tmp_path)), "knn", FIGURE)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("guard", [fault_tolerant, lambda logger: logger])
def test_a_logger_that_fails_says_so_once_and_the_others_get_the_figure(tmp_path, capsys, guard):
    class Gone(Comet):
        @property
        def experiment(self):
            raise ConnectionError("server gone")

    sent = []
    trainer = run(tmp_path, guard(Gone([])), Wandb(sent))
    for _ in range(3):
        log_figure(trainer, "knn", FIGURE)
    (line,) = capsys.readouterr().out.splitlines()
    assert_named(line, "Gone", "server gone")
    assert len(sent) == 3
