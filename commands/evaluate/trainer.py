"""Lightning's trainer with an `evaluate` method: metrics of the features of a checkpoint."""

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.fabric.connector import _PRECISION_INPUT
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info

from callbacks.run_directory import RunDirectory
from commands.evaluate.extraction import Result, collect
from commands.evaluate.feature_figures import draw
from commands.evaluate.features import save
from commands.evaluate.geometry import geometry
from commands.evaluate.labeled import labeled
from commands.evaluate.preconditions import split_to_evaluate
from commands.evaluate.projection import Method
from commands.evaluate.voting import Vote, choose_voting
from datamodules import DataModule
from datamodules.base import Split
from modules.contracts import ConfigError
from modules.metrics.neighbors import Distance, Ties
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
        distance: Distance = "cosine",
        vote: Vote | None = None,
        ties: Ties | None = None,
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
            distance: between features, for neighbors.
            vote: `weighted` by exp(cosine / temperature), or `majority` of equal votes; null is weighted for the cosine
                without a rule for ties, else majority.
            ties: winner among classes with equally many votes: that of the `nearest` of their neighbors (which null is
                too), the `smallest` index as in scikit-learn, or that of the vote without the farthest (`shrink`).
            temperature: of the weighted vote; small values let the nearest decide.
            label_fractions: of the training labels for the linear probe, shares up to 1.0 or counts above 1, as
                0.01,0.1,1; the same share of every class. The largest is also used for SGD and under corruptions.
            sgd_epochs: epochs of the linear probe that is fitted by SGD.
            sgd_lr: its first learning rate, for standardized features scaled to length 1.
            num_images: images, evenly spread, for corruptions, alignment, uniformity, rank and the projection.
            projection: two-dimensional projection of the features; `pca` also where there are fewer than 50 images.

        Raises:
            ConfigError, DataError: a setting that cannot work, or no images to learn from or to judge.
        """
        self._check(model, num_neighbors, temperature, label_fractions, sgd_epochs, sgd_lr, num_images)
        voting = choose_voting(distance, vote, ties, temperature)
        if ckpt_path:
            load_weights(model, Path(ckpt_path))
        split = self._prepare(model, datamodule, label_fractions)
        extracted = collect(self, model, split, num_images)
        save(Path(self.default_root_dir) / "features.npz", extracted.splits)
        results = geometry(extracted)
        if extracted.off:
            rank_zero_info(f"off: kNN, linear probes, clusters and robustness, because {extracted.off}")
        else:
            results = labeled(extracted, num_neighbors, voting, label_fractions, sgd_epochs, sgd_lr) + results
        for logger in self.loggers:
            logger.log_metrics({result.metric: result.value for result in results}, step=0)
        draw(extracted, projection, distance)
        return results

    def attach(self, datamodule: DataModule) -> None:
        """Attach data whose features are to be judged."""
        self.datamodule, datamodule.trainer = datamodule, self

    def ready_to_predict(self, model: Task, datamodule: DataModule, ckpt_path: Path | None) -> None:
        """Attach task and data and load the weights, if any, as `predict` does before its first batch."""
        self.attach(datamodule)
        model.trainer = self
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
        self.attach(datamodule)
        model.trainer = self
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
        model: Task,
        num_neighbors: tuple[int, ...],
        temperature: float,
        label_fractions: tuple[float, ...],
        sgd_epochs: int,
        sgd_lr: float,
        num_images: int,
    ) -> None:
        if model.backbone is None:
            raise ConfigError(
                f"evaluate judges the features of a backbone, but {type(model).__name__} has none: use test"
            )
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
        self.attach(datamodule)
        model.trainer = self
        self.strategy.connect(model)
        datamodule.prepare_data()
        datamodule.setup("evaluate")
        split, image = split_to_evaluate(model, datamodule, label_fractions)
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


def load_weights(model: Task, path: Path) -> None:
    """Load all weights of a checkpoint; nothing in it is unpickled.

    Raises:
        ConfigError: they are of a model with other settings.
    """
    checkpoint = read_checkpoint(path)
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])


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
