"""Predictor: a trained task with the preprocessing of its data, for images, clips, sentences and noise in memory."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from commands.arguments import run_name
from commands.evaluate import Trainer, idle_trainer
from commands.fit import CLI
from commands.setting_types import Part, find_class
from commands.trained import read_trained, settings_for
from datamodules import DataModule, LatentSamples, TextFile, UnlabeledImages
from datamodules.inspection import MAX_PIXELS
from datamodules.video import Videos
from modules.contracts import ConfigError, DataError
from modules.gan import to_bytes
from modules.gan.noise import keyed_noise
from tasks import Task

Sample = bytes | np.ndarray | Path | str | int | Sequence[float] | dict[str, Any]
"""An image's file content or pixels uint8 RGB (H, W, 3); a video file or its content; a sentence; the number of a
generated image, or its noise (latent,), or `{"noise": either, "label": class}`."""

KINDS = {"image": UnlabeledImages, "video": Videos, "text": TextFile, "noise": LatentSamples}
"""Kinds of samples, and the data module by which `predict` reads them."""

_TAKEN = {
    "image": ((bytes, np.ndarray), "images: content of a file, or uint8 RGB (H, W, 3)"),
    "video": ((bytes, Path), "video files, or their content"),
    "text": ((str,), "sentences"),
    "noise": ((int, list, tuple, np.ndarray, dict), "numbers of images, or noise"),
}


class Predictor:
    """Predictions for samples in memory, the same as those of `predict` on files.

    Args:
        task: trained, on its device.
        data: data module whose samples `predict` reads: `UnlabeledImages`, `Videos`, `TextFile` or `LatentSamples`.
        trainer: its precision and device.
        checkpoint: the file.

    Attributes: `name` is that of the task's class; `kind` that of the samples, one of `KINDS`; `max_pixels` of an image
    or frame, larger ones are not decoded; `classes` names the classes, null without;
    `conditions` those of which a conditional generator makes images; `threshold` is the score of a
    detection of the best F1 in validation, null where there was none.
    """

    def __init__(self, task: Task, data: DataModule, trainer: Trainer, checkpoint: Path):
        self.task: Any = task
        self.data: Any = data
        self.trainer, self.checkpoint = trainer, checkpoint
        self.kind = next(name for name, cls in KINDS.items() if isinstance(data, cls))
        self.max_pixels, self.name = MAX_PIXELS, type(task).__name__
        self.classes: list[str] | None = task.classes
        self.threshold: Any = getattr(self.task, "drawing_threshold", None)
        self.conditions = self.classes if getattr(self.task, "condition", None) else None

    @classmethod
    def load(cls, ckpt_path: str | Path, *settings: str, named: tuple[str, ...] = ()) -> "Predictor":
        """A trained task with the preprocessing of its data module, as `predict` sets them up.

        Args:
            ckpt_path: a .ckpt file, a run directory or `latest`.
            settings: of `predict` as typed: "--model.tta.flip", "true", "--trainer.accelerator", "cpu", ...
            named: other arguments of the user's, whose code is trusted too.

        Raises:
            ConfigError: a setting does not go with the checkpoint.
            DataError: there is no checkpoint, or a damaged one.
        """
        argv = ["predict", *settings, "--ckpt_path", str(ckpt_path)]
        kind = _kind(argv, named)
        root = [] if kind == "noise" else ["--data.root", "-" if kind == "text" else "."]
        parts: Any = parts_of([*argv, "--data", KINDS[kind].__name__, *root], named)
        given = parts.settings.trainer
        trainer = idle_trainer(given.accelerator, given.precision, parts.checkpoint)
        trainer.ready_to_predict(parts.model, parts.datamodule, parts.checkpoint)
        return cls(parts.model, parts.datamodule, trainer, parts.checkpoint)

    def limit_pixels(self, max_pixels: int) -> None:
        """Set the pixels that an image or a frame may have."""
        self.max_pixels = max_pixels

    def __call__(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """Predictions of samples, batch by batch; see `prepare` and `predict`."""
        size, found = self.data.batch_size, []
        for start in range(0, len(samples), size):
            numbered = enumerate(samples[start : start + size], start)
            found += self.predict([self.prepare(sample, f"{self.kind} {i}") for i, sample in numbered])
        return found

    def prepare(self, sample: Sample, name: str | None = None) -> Any:
        """Decode and check one sample, and bring it into the form that the network sees; may run in any thread.

        Args:
            sample: of the task's kind.
            name: of the sample in messages; null is its kind.

        Raises:
            DataError: it cannot be read, or is of another kind.
        """
        taken, words = _TAKEN[self.kind]
        name = name or self.kind
        if not isinstance(sample, taken) or isinstance(sample, bool):
            raise DataError(f"{name} is {type(sample).__name__}, but this task takes {words}")
        if self.kind == "noise":
            return self._noise(sample, name)
        if self.kind == "text":
            return self._sentence(str(sample), name)
        return self.data.sample(sample, name, self.max_pixels)

    def predict(self, prepared: Sequence[Any]) -> list[dict[str, Any]]:
        """Predictions of prepared samples in one batch.

        Returns:
            For each sample the keys of the task's prediction, as numpy or plain values: `label` and `scores` (C,);
            `boxes` (N, 4), `labels` and `scores` (N,), and `rle`, a COCO mask each, in pixels of the original image;
            `mask` uint8 (H, W), of its size; `segments` int32 (H, W), their `labels` and `scores`; `text`, and `cut` if
            only the beginning of its source was read;
            `generated` uint8 (H, W, C); `features` (D,).
        """
        if not prepared:
            return []
        if self.kind == "noise":
            return self._generated(prepared)
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            batch = self._batch(prepared)
            found = self.task.predict_step(batch, 0)
        if self.kind == "text":
            found["cut"] = batch["cut"]
        return [{key: _plain(values[i]) for key, values in found.items()} for i in range(len(prepared))]

    def explain(self, prepared: Any) -> dict[str, Any]:
        """The text of one prepared sample as of `predict`, with the attention of its pieces where the decoder has any.

        Returns:
            `text`, `pieces`, T of them, `attention` (T, S) to the `source_pieces` or (T, h, w) over the image; the last
            is missing or null without attention.
        """
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            batch = self._batch([prepared])
            memory = self.task.memory(batch)
            ((best, *_),) = self.task.search(self.task.decoder, memory)
            found = self.task.written([[best]]) | self.task.attention([best], memory, batch)
        return {key: _plain(values[0]) for key, values in found.items()}

    def _batch(self, prepared: Sequence[Any]) -> dict[str, Any]:
        """The batch that the network sees, on its device."""
        batch = self.data.batch(list(prepared)) if self.kind == "text" else self.data.collate(list(prepared))
        return self.task.on_after_batch_transfer(self.data.transfer_batch_to_device(batch, self.task.device, 0), 0)

    def _generated(self, prepared: Sequence[tuple[np.ndarray, int]]) -> list[dict[str, Any]]:
        noise = torch.from_numpy(np.stack([noise for noise, _ in prepared]))
        label = torch.tensor([label for _, label in prepared]) if self.task.condition else None
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            made = to_bytes(self.task.images(noise, label)).permute(0, 2, 3, 1)
        named = ({"label": row} for _, row in prepared) if self.task.condition else ({} for _ in prepared)
        return [{"generated": _plain(image)} | more for image, more in zip(made, named, strict=True)]

    def _sentence(self, text: str, name: str) -> str:
        if "\0" in text:
            raise DataError(f"{name} holds a NUL character: delete it")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{name} holds half of a surrogate pair, which is no character: delete it") from error
        self.data.batch([text])  # refuses one of another script alone, not its whole batch
        return text

    def _noise(self, sample: Any, name: str) -> tuple[np.ndarray, int]:
        """Noise (latent,) and class, of which a generator without condition makes nothing."""
        given, label = (sample.get("noise"), sample.get("label")) if isinstance(sample, dict) else (sample, None)
        number = given if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**63 else None
        if number is not None:
            noise = keyed_noise([(self.data.seed, number)], self.task.latent)[0].numpy()
        else:
            noise = _floats(given)
        if noise.shape != (self.task.latent,) or not np.isfinite(noise).all():
            raise DataError(
                f"{name} is no number of an image, 0 or more, nor {self.task.latent} finite numbers of noise"
            )
        classes = self.classes or []
        if label is not None and (label not in classes or not self.task.condition):
            offered = ", ".join(classes[:20]) if self.task.condition else "none, as the generator knows no classes"
            raise DataError(f"label is {str(label)[:40]!r}, but must be one of: {offered}")
        return noise, (number or 0) % len(classes or "-") if label is None else classes.index(label)


def parts_of(argv: list[str], named: tuple[str, ...] = ()) -> CLI:
    """Task and data of a command that is given by its arguments, built but not run; `named` as of `CLI`."""
    before = sys.argv[:]
    try:
        return _Parts(argv, named)
    finally:
        sys.argv[:] = before  # which the command line has replaced


class _Parts(CLI):
    """Task and data of a `predict`, without its run directory and without running it."""

    def instantiate_classes(self) -> None:
        self.build_parts()

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


def _kind(argv: list[str], named: tuple[str, ...]) -> str:
    """Kind of the samples that the task of a checkpoint predicts."""
    trained = read_trained(argv, run_name(argv))
    settings_for(trained, argv, named)  # refuses code that nobody named, before it is imported
    path = trained.settings["model"].get("class_path", "")
    try:
        task = find_class(path, Part(Task)).base
    except LookupError as error:
        raise ConfigError(
            f"the checkpoint is of {path or 'an unknown task'}, which cannot be found: {error}"
        ) from error
    return kind_of(task)


def kind_of(task: type[Task]) -> str:
    """Kind of the samples that a task predicts, one of `KINDS`."""
    if task.generative:
        return "noise"
    return {"video": "video", "source": "text"}.get("".join(task.required_keys[:1]), "image")


def _floats(given: Any) -> np.ndarray:
    """Numbers as float32; empty of what is none, such as texts of digits, which NumPy would read."""
    try:
        values = np.asarray(given)
    except ValueError:  # lists of several lengths
        return np.zeros(0, np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32) if values.dtype.kind in "iuf" else np.zeros(0, np.float32)


def _plain(value: Any) -> Any:
    """A tensor as numpy, or as a number if it is one; float16 and bfloat16 as float32."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    value = value.float() if value.is_floating_point() else value
    return value.item() if value.ndim == 0 else value.numpy()
