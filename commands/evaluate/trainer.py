"""Lightning's trainer with an `evaluate` method: metrics of the features of a checkpoint."""

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.fabric.connector import _PRECISION_INPUT
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.collectors.chosen import shots
from callbacks.figures.log import log_figure
from callbacks.run_directory import RunDirectory
from commands.evaluate.accuracies import groups, probe, recipe, vote
from commands.evaluate.drawing import bars
from commands.evaluate.extraction import ExtractedFeatures, Result, collect
from commands.evaluate.feature_figures import draw_maps, draw_neighbors, draw_projection
from commands.evaluate.features import samples, save, stills
from commands.evaluate.geometry import geometry
from commands.evaluate.projection import Method
from commands.evaluate.robustness import robustness
from datamodules import DataModule
from datamodules.base import Split
from modules.contracts import ConfigError, DataError
from modules.training.precision import AUTO, choose, detect
from modules.training.transfer import read_checkpoint
from tasks import Task

_QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


class Trainer(L.Trainer):
    """Lightning's trainer (devices, precision, epochs, ...), with an `evaluate` method.

    Args:
        precision: `auto` is bf16-mixed where the hardware computes in it (CUDA with bf16, CPUs with AVX512-BF16 or
            AMX), 16-mixed on older CUDA, and float32 elsewhere.
    """

    def __init__(self, *, precision: Literal["auto"] | _PRECISION_INPUT | None = AUTO, **kwargs: Any):
        if precision == AUTO:
            plugins, accelerator = kwargs.get("plugins") or [], kwargs.get("accelerator", "auto")
            plugged = any(isinstance(p, Precision) for p in (plugins if isinstance(plugins, list) else [plugins]))
            name = accelerator if isinstance(accelerator, str) else accelerator.name()
            precision = None if plugged else choose(AUTO, name, detect()).precision
        super().__init__(precision=precision, **kwargs)

    def evaluate(
        self,
        model: Task,
        datamodule: DataModule,
        ckpt_path: str | Path | None = None,
        num_neighbors: tuple[int, ...] = (1, 10, 20, 200),
        temperature: float = 0.1,
        label_fractions: tuple[float, ...] = (1.0,),
        sgd_epochs: int = 100,
        sgd_lr: float = 10.0,
        num_images: int = 1000,
        projection: Method = "tsne",
    ) -> list[Result]:
        """Evaluate the features of a checkpoint of any task: kNN, linear probes, clusters, robustness, figures.

        Probes learn from the train split and are evaluated on the test split, or on val where there is no test. All on
        one device. Features of every split go to `features.npz`.

        Args:
            model: task whose backbone is evaluated.
            datamodule: gives the images.
            ckpt_path: a .ckpt file of any task, a run directory, or `latest`.
            num_neighbors: numbers of neighbors k of the kNN vote, as 1,10,20,200; the middle one is also evaluated
                under corruptions.
            temperature: of that vote; small values let the nearest decide.
            label_fractions: of the training labels for the linear probe, shares up to 1.0 or counts above 1, as
                0.01,0.1,1; the same share of every class. The largest is also used for SGD and under corruptions.
            sgd_epochs: epochs of the linear probe that is fitted by SGD.
            sgd_lr: its first learning rate, for standardized features scaled to length 1.
            num_images: images, evenly spread, for corruptions, alignment, uniformity, rank and the projection.
            projection: two-dimensional projection of the features; `pca` also where there are fewer than 50 images.

        Raises:
            ConfigError: a setting that cannot work, or more than one device.
            DataError: no training images, or none to judge.
        """
        if model.backbone is None:
            raise ConfigError(
                f"evaluate judges the features of a backbone, but {type(model).__name__} has none: use test"
            )
        self._check(num_neighbors, temperature, label_fractions, sgd_epochs, sgd_lr, num_images)
        if ckpt_path:
            load_weights(model, Path(ckpt_path))
        split = self._prepare(model, datamodule, label_fractions)
        extracted = collect(self, model, split, num_images)
        splits = {"train": extracted.bank, "val": extracted.held, split: extracted.evaluated}
        save(Path(self.default_root_dir) / "features.npz", {name: part for name, part in splits.items() if part})
        results = geometry(extracted)
        if extracted.off:
            rank_zero_info(f"off: kNN, linear probes, clusters and robustness, because {extracted.off}")
        else:
            results = _labeled(extracted, num_neighbors, temperature, label_fractions, sgd_epochs, sgd_lr) + results
        for logger in self.loggers:
            logger.log_metrics({result.metric: result.value for result in results}, step=0)
        draw_projection(extracted, projection)
        draw_neighbors(extracted)
        draw_maps(extracted)
        return results

    def ready_to_predict(self, model: Task, datamodule: DataModule, ckpt_path: Path | None) -> None:
        """Attach task and data and load the weights, if any, as `predict` does before its first batch."""
        self.datamodule, datamodule.trainer, model.trainer = datamodule, self, self
        self.state.fn, self.predicting = TrainerFn.PREDICTING, True
        self.strategy.connect(model)
        model.setup("predict")
        if ckpt_path is not None:
            load_weights(model, ckpt_path)
        self.strategy.setup_environment()
        self.strategy.model_to_device()
        self.precision_plugin.convert_module(model)
        model.on_predict_start()
        model.eval()

    def ready_to_train(self, model: Task, datamodule: DataModule) -> None:
        """Attach task and data and set up both, as `fit` does before its first batch."""
        self.datamodule, datamodule.trainer, model.trainer = datamodule, self, self
        self.state.fn = TrainerFn.FITTING
        self.strategy.connect(model)
        datamodule.prepare_data()
        datamodule.setup("fit")
        model.setup("fit")
        self.strategy.setup_environment()
        self.strategy.model_to_device()
        model.train()

    def _check(
        self,
        num_neighbors: tuple[int, ...],
        temperature: float,
        label_fractions: tuple[float, ...],
        sgd_epochs: int,
        sgd_lr: float,
        num_images: int,
    ) -> None:
        if (devices := self.num_devices * self.num_nodes) > 1:
            raise ConfigError(f"evaluate works on one device, not on {devices}: add --trainer.devices 1")
        positive = {"num_neighbors": num_neighbors, "label_fractions": label_fractions, "temperature": [temperature]}
        positive |= {"sgd_epochs": [sgd_epochs], "sgd_lr": [sgd_lr]}
        for name, values in positive.items():
            if not values or min(values) <= 0:
                raise ConfigError(f"{name} is {', '.join(map(str, values)) or 'empty'}, but must be above 0")
        if num_images < 2:
            raise ConfigError(f"num_images is {num_images}, but two images are needed to compare any")

    def _prepare(self, model: Task, datamodule: DataModule, label_fractions: tuple[float, ...]) -> Split:
        """Set up data and model, and choose the split to evaluate; all settings are validated here."""
        self.datamodule, datamodule.trainer, model.trainer = datamodule, self, self
        self.strategy.connect(model)
        datamodule.prepare_data()
        datamodule.setup("evaluate")
        split, image = _to_judge(model, datamodule, label_fractions)
        model.normalized(image)  # refuses images that are too small
        if self.precision != "32-true":
            rank_zero_info(f"features are computed in {self.precision}: --trainer.precision 32 is exact")
        for callback in self.callbacks:
            callback.setup(self, model, "evaluate")
            if isinstance(callback, RunDirectory):
                callback.on_test_start(self, model)  # writes the settings
                callback.on_test_batch_end(self)
        self.strategy.setup_environment()
        self.strategy.model_to_device()
        self.precision_plugin.convert_module(model)
        return split


def _to_judge(model: Task, data: DataModule, label_fractions: tuple[float, ...]) -> tuple[Split, Tensor]:
    """The split to evaluate, and a few of its images.

    Raises:
        ConfigError: data of another kind, or fewer training images than `label_fractions` asks for.
        DataError: no training images, or none to judge.
    """
    name = type(data).__name__
    refused = ConfigError(
        f"evaluate judges features of single images of one size, or of videos by a task for videos, which {name} "
        f"does not give: add other --data, such as --data ImageFolder --data.root FOLDER"
    )
    if data.noun != "images" and not (data.noun == "videos" and "video" in model.required_keys):
        raise refused
    split = next((split for split in ("test", "val") if data.has(split)), None)
    if split is None or not data.has("train"):
        missing = "test or val images to judge" if data.has("train") else "training images to learn from"
        raise DataError(f"{name} has no {missing}: point --data.root to some")
    train, evaluated = (len(data.dataset(part, "plain")) for part in ("train", split))
    if max(label_fractions) > train:
        raise ConfigError(
            f"label_fractions is {max(label_fractions):g}, but there are only {train} training {data.noun}"
        )
    if evaluated < 2:
        raise DataError(f"the {split} split has {evaluated} image: two are needed to compare any")
    for name, every in (("label_fraction", "1"), ("num_labels", "null")):
        if (known := data.hparams.get(name)) not in (None, 1.0):
            rank_zero_info(f"the train split is that of data.{name} {known:g}: --data.{name} {every} takes all of it")
    batch = next(samples(data, split, "plain", range(min(8, evaluated))))
    if not isinstance(batch.get("image", batch.get("video")), Tensor):
        raise refused
    return split, stills(shots(batch))


def load_weights(model: Task, path: Path) -> None:
    """Load all weights of a checkpoint; nothing in it is unpickled.

    Raises:
        ConfigError: they are of a model with other settings.
    """
    checkpoint = read_checkpoint(path)
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])


def _labeled(
    extracted: ExtractedFeatures,
    ks: tuple[int, ...],
    temperature: float,
    label_fractions: tuple[float, ...],
    epochs: int,
    lr: float,
) -> list[Result]:
    """kNN, linear probes, clusters and robustness, which need labels; draws the accuracies."""
    shares = sorted(label_fractions, key=lambda share: share if share > 1 else share * len(extracted.bank.ids))
    votes, neighbor = vote(extracted, ks, temperature)
    probes = [probe(extracted, share) for share in shares]
    results = [*votes, *(result for result, _ in probes), recipe(extracted, shares[-1], epochs, lr), *groups(extracted)]
    shown = [result for result in results if not result.metric.endswith("_nmi")]
    names, chance = [result.metric.partition("/")[2] for result in shown], 1 / len(extracted.classes)
    title = f"How well classes can be read off the features, {extracted.counts}"
    log_figure(extracted.trainer, "accuracies", bars(names, [result.value for result in shown], chance, title))
    return results + robustness(extracted, probes[-1][1] | neighbor)


def idle_trainer(accelerator: Any, precision: Any, checkpoint: Path | None = None, **settings: Any) -> Trainer:
    """A trainer that runs nothing: it has one device, a precision and the file that weights come from.

    Args:
        accelerator: as typed; one by class_path is chosen by `auto`.
        precision: as typed.
        checkpoint: for tasks, which then load no initial weights; null without.
        settings: further ones of Lightning's.
    """
    name = accelerator if isinstance(accelerator, str) else "auto"
    trainer = Trainer(accelerator=name, devices=1, precision=precision, **_QUIET, **settings)
    trainer.ckpt_path = checkpoint
    return trainer
