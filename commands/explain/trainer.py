"""Lightning's trainer with an `explain` method: attribution maps of single predictions."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from callbacks.run_directory import RunDirectory
from commands import evaluate
from commands.evaluate.extraction import Result
from commands.evaluate.features import set_up_samples
from commands.explain.exported import ExportedScores
from commands.explain.images import explain_images, show_images
from commands.explain.samples import Samples, take
from commands.explain.sentences import explain_sentences, show_sentences
from commands.export.runtime import ImageModel
from datamodules import DataModule
from datamodules.images.unlabeled_images import split_title
from modules.contracts import ConfigError
from modules.insight.layers import refuse_compiled
from modules.insight.methods import Options, check_methods
from modules.insight.perturbation import MASKS
from tasks import Task


class Trainer(evaluate.Trainer):
    """Lightning's trainer (devices, precision, epochs, ...), with the methods `evaluate` and `explain`.

    Args:
        precision: `auto` is bf16-mixed where the hardware computes in it (CUDA with bf16, CPUs with AVX512-BF16 or
            AMX), 16-mixed on older CUDA, and float32 elsewhere.
    """

    def explain(
        self,
        model: Task,
        datamodule: DataModule,
        ckpt_path: str | Path | None = None,
        exported: ImageModel | None = None,
        method: tuple[str, ...] = (),
        target: str | None = None,
        count: int = 8,
        layer: str | None = None,
        patch: int | None = None,
        stride: int | None = None,
        masks: int = MASKS,
        depths: int = 2,
    ) -> list[Result]:
        """Explain single predictions of a checkpoint of any task by attribution maps, and measure their faithfulness.

        In float32, on one device. Maps over the network's input go to `maps.npz`.

        Args:
            model: task whose predictions are explained.
            datamodule: gives the samples: the test split, else val or train.
            ckpt_path: a .ckpt file, a run directory, or `latest`.
            exported: an exported file in place of a checkpoint, by --onnx; with occlusion and rise.
            method: names, as gradcam,occlusion: saliency, gradient_x_input, smoothgrad, integrated_gradients, gradcam,
                gradcam++, layercam, eigencam, occlusion, rise, attention, rollout; by default a few that fit; of boxes
                layercam, not gradcam, whose weights of whole channels also fire on the neighbors.
            target: what is explained: a class by name or number, the number of a box, a pixel `x,y` of the network's
                input, a word; of features the number of a sample or an image file to compare with; by default what
                the network finds.
            count: number of samples, evenly spread over the split.
            layer: of class activation maps: a level of the backbone by its number, -1 the coarsest, or a layer by name;
                by default the coarsest of at least 6 x 6 cells, of layercam of boxes the finest.
            patch: side of the window of occlusion in pixels; a sixth of the image by default.
            stride: step of that window; half of it by default.
            masks: number of random masks of RISE.
            depths: steps in which the weights become random from the output to the input, to see whether maps change;
                0 leaves it out.

        Raises:
            ConfigError: a setting that cannot work, or more than one device.
            DataError: there are no samples.
        """
        _check(ckpt_path or exported, self.num_devices * self.num_nodes, method, count, masks, depths)
        answers: Any = model if exported is None else ExportedScores(exported, model.backbone, method)
        options = Options(layer, patch, stride, masks, datamodule.seed)
        samples = self._samples(model, datamodule, ckpt_path, count, target)
        found: Any = (
            explain_sentences(model, samples, method, target, options)
            if "source" in samples.batch
            else explain_images(answers, samples, method, target, options)
        )
        self._begin(model)  # all settings are valid
        what = f"{len(found.words)} {datamodule.noun} of {split_title(datamodule, samples.split)}"
        rank_zero_info(f"  explains {what} by {', '.join(found.methods)}")
        results = (show_sentences if "source" in samples.batch else show_images)(self, found, depths)
        for logger in self.loggers:
            logger.log_metrics({result.metric: result.value for result in results}, step=0)
        return results

    def _samples(
        self, model: Task, data: DataModule, ckpt_path: str | Path | None, count: int, target: str | None
    ) -> Samples:
        """Load weights and data, and take the samples."""
        if ckpt_path is not None:
            refuse_compiled(model, "explain")
        self.ready_to_predict(model, data, None if ckpt_path is None else Path(ckpt_path))
        set_up_samples(data, model)
        return take(data, model, count, target)

    def _begin(self, model: Task) -> None:
        """Begin the run directory, and print what is at hand."""
        callbacks: Any = vars(self)["callbacks"]
        for callback in callbacks:
            callback.setup(self, model, "explain")
            if isinstance(callback, RunDirectory):
                callback.on_test_start(self, model)  # writes the settings
                callback.on_test_batch_end(self)


def _check(weights: Any, devices: int, method: tuple[str, ...], count: int, masks: int, depths: int) -> None:
    """Check the settings that need no network.

    Raises:
        ConfigError: one cannot work.
    """
    if weights is None:
        raise ConfigError("explain needs weights: add --ckpt_path with a .ckpt file or a run directory, or --onnx")
    if devices > 1:
        raise ConfigError(f"explain works on one device, not on {devices}: add --trainer.devices 1")
    check_methods(method)
    for name, value, low in (("count", count, 1), ("masks", masks, 1), ("depths", depths, 0)):
        if value < low:
            raise ConfigError(f"--{name} is {value}, but must be {low} or more")
