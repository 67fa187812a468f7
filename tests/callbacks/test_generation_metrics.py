"""GenerationMetrics: named feature extractors, comparison with the training images."""

import warnings
from pathlib import Path

import pytest
import torch

from callbacks import GenerationMetrics
from callbacks.generation import generation_metrics
from callbacks.generation.reference_statistics import images, reference_statistics
from modules.contracts import ConfigError, DataError
from modules.metrics.extractors import Inception
from tests.helpers.errors import assert_named, line_naming, refuses, warnings_of
from tests.helpers.small_generator import Generator, shapes
from tests.helpers.small_task import MemoryLogger

SCORES = {"FID", "KID", "IS"}
OTHERS = {"precision", "recall", "density", "coverage", "modes", "mode_entropy", "largest_mode", "novelty"}


@pytest.fixture(autouse=True)
def short_training(monkeypatch, tmp_path):
    """Cache in a temporary folder, and a classifier trained for three steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("modules.metrics.extractors.STEPS", 3)


def names(stage: str, extractor: str = "test_resnet") -> set[str]:
    return {f"{stage}/{name}" for name in {f"{name}-{extractor}" for name in SCORES} | OTHERS}


def judged(trainer, data, callback: GenerationMetrics, stage: str = "validate", **settings):
    """Metrics logged by validating a generator."""
    run = trainer(callback)
    getattr(run, stage)(Generator(data, **settings), datamodule=data, verbose=False)
    return {name: value.item() for name, value in run.callback_metrics.items()}


def test_copies_of_the_training_images_are_precise_but_not_new(trainer, tmp_path):
    callback = GenerationMetrics(samples=60)
    found = judged(trainer, shapes(), callback)
    assert set(found) == names("val") == set(callback.protocols)
    assert found["val/precision"] == 1
    assert found["val/novelty"] < 0.01
    how = callback.protocols["val/FID-test_resnet"]
    assert_named(how, 60, 96, "train", "test_resnet", "16 px", "Gaussian", 32, "val")
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert drawn == {"val_generated_classes", "val_generated_neighbors"}


def test_one_image_again_and_again_is_called_a_collapse_once(trainer):
    callback = GenerationMetrics(samples=60)
    with warnings_of(generation_metrics) as said:
        found = judged(trainer, shapes(), callback, collapsed=True)
        judged(trainer, shapes(), callback, collapsed=True)
    line_naming(said, 1, "100 %")
    assert found["val/modes"] == 1 and found["val/mode_entropy"] == 0
    assert found["val/recall"] < 0.1


def test_the_features_are_unknown_to_training_and_the_same_for_every_run(trainer, monkeypatch):
    first = judged(trainer, shapes(), GenerationMetrics(samples=60))

    def forbidden(*_):
        raise AssertionError("a classifier for these images was there")

    monkeypatch.setattr("callbacks.generation.reference_statistics.train", forbidden)
    monkeypatch.setattr("callbacks.generation.reference_statistics._measure", forbidden)
    before = torch.get_rng_state()
    assert judged(trainer, shapes(batch_size=16), GenerationMetrics(samples=60)) == first
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(AssertionError, match="a classifier for these images was there"):
        judged(trainer, shapes(train=95), GenerationMetrics(samples=60))


def test_in_training_it_judges_every_so_many_epochs_and_at_the_end(trainer, tmp_path):
    logger, callback = MemoryLogger(), GenerationMetrics(samples=60, every=2)
    run, data = trainer(callback, max_epochs=5, logger=logger), shapes()
    run.fit(Generator(data), datamodule=data)
    assert [epochs for epochs, _ in callback.history] == [2, 4, 5]
    assert logger.values("val/FID-test_resnet") == pytest.approx([value for _, value in callback.history])
    assert (tmp_path / "figures" / "generated_fid.png").is_file()
    run.test(Generator(data), datamodule=data, verbose=False)
    assert names("test") <= set(run.callback_metrics)


def test_training_that_stops_elsewhere_or_has_nothing_to_validate_is_judged_at_its_end(trainer):
    callback = GenerationMetrics(samples=60, every=100)
    run, data = trainer(callback, max_epochs=None, max_steps=4), shapes()  # an epoch has 3 steps
    run.fit(Generator(data), datamodule=data)
    assert len(callback.history) == 1
    assert names("val") <= set(run.callback_metrics)
    callback = GenerationMetrics(samples=60)
    trainer(callback, max_epochs=1, limit_val_batches=0).fit(Generator(data), datamodule=data)
    assert len(callback.history) == 1


def test_the_course_of_fid_survives_a_resume(trainer):
    callback, data = GenerationMetrics(samples=60, every=1), shapes()
    trainer(callback, max_epochs=2).fit(Generator(data), datamodule=data)
    resumed = GenerationMetrics()
    resumed.load_state_dict(callback.state_dict())
    assert resumed.history == callback.history
    resumed.load_state_dict({"history": callback.history[:1], "step": 0})  # of the best checkpoint, which is older
    assert resumed.history == callback.history


def test_a_conditional_generator_is_asked_for_classes_and_checked(trainer, monkeypatch):
    monkeypatch.setattr("modules.metrics.extractors.STEPS", 60)
    found = judged(trainer, shapes(), GenerationMetrics(samples=60), condition="projection")
    assert found["val/right_class"] > 0.5  # by a classifier that has seen these very images
    assert found["val/modes"] == 10 and found["val/largest_mode"] < 0.3


def test_images_without_labels_need_another_extractor(trainer, image_folder, monkeypatch, capfd):
    from datamodules import UnlabeledImages

    monkeypatch.setattr(Inception, "missing", classmethod(lambda cls: "nothing is there"))
    data = UnlabeledImages(root=str(image_folder({"a": 30})), image_size=16, workers=0, batch_size=10)
    data.setup()
    run = trainer(GenerationMetrics())
    run.strategy.connect(Generator(shapes()))
    run.datamodule = data
    data.trainer = run
    words = reference_statistics(run, torch.device("cpu"), "auto", 50)
    assert_named(words, "Inception", "nothing is there")


def test_gaussian_pixels_and_unseen_images_frame_the_scores(trainer):
    run, data = trainer(), shapes()
    data.setup()
    run.datamodule = data
    statistics = reference_statistics(run, torch.device("cpu"), "classifier", 60)
    assert statistics.noise > statistics.correlated > 0
    assert statistics.held == "val" and statistics.count == 32 and statistics.floor > 0 and statistics.distance > 0
    assert int(statistics.real.count) == 96
    assert sum(len(batch["image"]) for batch in images(run, "train")) == 96


def test_too_few_real_images_are_refused(trainer):
    data = shapes(train=5, batch_size=2)
    with refuses(DataError, 5, 6, "GenerationMetrics", "--data.root"):
        trainer(GenerationMetrics(samples=6)).fit(Generator(data), datamodule=data)


def test_fewer_images_than_features_are_warned_of(trainer):
    data = shapes(train=6, batch_size=2)
    with warnings_of(generation_metrics) as said:
        trainer(GenerationMetrics(samples=6)).fit(Generator(data), datamodule=data)
    line_naming(said, "FID-test_resnet", 6, 96)


@pytest.mark.parametrize(("setting", "value"), [("samples", 4), ("every", 0)])
def test_settings_that_cannot_work_are_refused(setting, value):
    with refuses(
        ConfigError, "GenerationMetrics", f"{setting} is {value}" if setting == "samples" else f"{setting} {value}"
    ):
        GenerationMetrics(**{setting: value})


def test_inception_without_its_weights_says_where_to_put_them(trainer, monkeypatch, tmp_path):
    monkeypatch.setattr("modules.metrics.extractors.find_spec", lambda name: object())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    data = shapes()
    with refuses(ConfigError, "extractor", "inception", tmp_path / "hub" / "checkpoints"):
        judged(trainer, data, GenerationMetrics(extractor="inception", samples=60))


def test_an_extractor_that_is_no_file_is_named(trainer):
    with warnings.catch_warnings(), refuses(DataError, "nowhere.ckpt"):
        warnings.simplefilter("ignore")
        judged(trainer, shapes(), GenerationMetrics(extractor=str(Path("nowhere.ckpt")), samples=60))


@pytest.mark.integration
def test_two_processes_judge_together_what_they_generate(trainer):
    """Two gloo processes with half of the samples each have the metrics of one."""
    data, callback = shapes(), GenerationMetrics(samples=61)
    run = trainer(callback, devices=2, strategy="ddp_fork")
    run.validate(Generator(data), datamodule=data, verbose=False)
    found = {name: value.item() for name, value in run.callback_metrics.items()}
    assert set(found) == names("val")
    assert found["val/precision"] == 1 and found["val/novelty"] < 0.01
    alone = judged(trainer, data, GenerationMetrics(samples=61))
    assert found == pytest.approx(alone, abs=1e-5, rel=1e-4)
