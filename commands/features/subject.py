"""A trained network for images, its layers as maps, its answers on classes, and samples of its data."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.collectors.chosen import evenly, shots
from commands.evaluate import idle_trainer
from commands.evaluate.features import samples, set_up_samples, stills
from commands.predictor import kind_of, parts_of
from commands.setting_checks import check_float32
from datamodules.base import Split
from modules.contracts import ConfigError, DataError, with_channels
from modules.insight.layers import find_layer, level_number, recorded, refuse_compiled
from modules.insight.maps_of import as_map
from modules.insight.targets import Region, class_index
from tasks import Classification, SemanticSegmentation, Task, Video, VisionTask

CHUNK = 64


class Subject:
    """A trained task whose network looks at images; the discriminator of a GAN, of videos still clips.

    Args:
        ckpt_path: a .ckpt file, a run directory or `latest`.
        typed: settings of `test`.
        count: samples of each split.

    Attributes: `images` uint8 (N, C, H, W) of the split `split`; `labels` int64 (N,), null without; `network` holds the
    layers.

    Raises:
        ConfigError: the task looks at no images, they are smaller than a cell of its network, or a precision is typed.
        DataError: no checkpoint or no data.
    """

    def __init__(self, ckpt_path: str, typed: list[str], count: int):
        parts: Any = parts_of(["test", "--data.workers", "0", *typed, "--ckpt_path", ckpt_path])
        self.task, self.data, self.checkpoint = parts.model, parts.datamodule, parts.checkpoint
        if kind_of(type(self.task)) == "text":
            name = type(self.task).__name__
            raise ConfigError(f"features looks at networks for images, but {name} has no backbone: give another run")
        check_float32("features", typed)
        refuse_compiled(self.task, "features")
        trainer = idle_trainer(parts.settings.trainer.accelerator, "32-true", self.checkpoint)
        set_up_samples(self.data, self.task)
        trainer.ready_to_predict(self.task, self.data, self.checkpoint)
        self.task.requires_grad_(False)
        self.split: Split = self.data.predicted
        self.images, self.labels = self.samples(self.split, count)
        if isinstance(self.task, VisionTask):
            self.task.check_sides({"data.image_size": min(self.images.shape[-2:])})

    @property
    def network(self) -> nn.Module:
        """Module with all layers that can be looked at."""
        return self.task.exported.net if isinstance(self.task, VisionTask) else self.task.discriminator

    def samples(self, split: Split, count: int) -> tuple[Tensor, Tensor | None]:
        """Evenly spread images uint8 (N, C, H, W) of a split, of videos the middle frames, and labels (N,) if known.

        Raises:
            DataError: images of different sizes.
        """
        rows = evenly(len(self.data.dataset(split, "plain")), count)
        images, labels = [], []
        for batch in samples(self.data, split, "plain", rows):
            batch = self.data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
            image = shots(batch)
            if not isinstance(image, Tensor):
                raise DataError(f"{type(self.data).__name__} gives images of several sizes: set --data.image_size")
            images.append(stills(image))
            labels.append(batch.get("label"))
        known = all(isinstance(label, Tensor) and label.ndim == 1 for label in labels)
        return torch.cat(images), torch.cat(labels) if known else None

    def enter(self, image: Tensor) -> Tensor:
        """Images uint8, or floats in 0..1, (B, C, H, W) to the input of the network; differentiable."""
        image = (image.float() / 255 if image.dtype == torch.uint8 else image).to(self.task.device)
        if not isinstance(self.task, VisionTask):
            return 2 * with_channels(image, self.task.spec.channels) - 1
        backbone = self.task.backbone
        return backbone.standardize(with_channels(image, backbone.mean.numel()))

    def levels(self, x: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of each level of the network, shallow to deep, of its input."""
        if isinstance(self.task, VisionTask):
            return [as_map(one, len(x), x.shape[-2:]) for one in self.task.maps(x)]
        blocks: Any = getattr(self.network, "blocks", None)
        if blocks is None:
            return list(self.task.discriminator.backbone(x))
        with recorded({str(i): block for i, block in enumerate(blocks)}) as found:
            self.task.discriminator.features(x)
        return [as_map(one, len(x), x.shape[-2:]) for one in found.values()]

    @property
    def num_levels(self) -> int:
        """Number of levels of the network."""
        with torch.no_grad():
            return len(self.levels(self.enter(self.images[:1])))

    def said(self, name: str) -> str:
        """Name of a layer in words; the number of a level counts from the shallowest."""
        level = level_number(name, self.num_levels, "the network")
        return f"Layer {name}" if level is None else f"Level {level}"

    def layer(self, name: str) -> Callable[[Tensor], Tensor]:
        """Function from the network's input to the maps (B, C, h, w) of a layer.

        Args:
            name: of a module, or the number of a level, negative from the deepest on.

        Raises:
            ConfigError: there is none, it is not in the network, or gives no maps.
        """
        level = level_number(name, self.num_levels, "the network")
        if level is not None:
            return lambda x: self.levels(x)[level]
        short = name
        for prefix in ("backbone.", "net.", "discriminator."):
            short = short.removeprefix(prefix)
        module = find_layer(self.network, short)

        def run(x: Tensor) -> Tensor:
            with recorded({name: module}) as found:
                if isinstance(self.task, Video):
                    self.task.maps(x)
                elif isinstance(self.task, VisionTask):
                    self.task.exported(x)
                else:
                    self.task.discriminator.features(x)
            output = found.get(name)
            whole = isinstance(output, Tensor) and output.ndim > 1
            if not whole or (len(output) != len(x) and not isinstance(self.task, Video)):  # windows are no maps
                raise ConfigError(f"--layer {name} gives no maps of images: name another")
            return as_map(output, len(x), x.shape[-2:])

        with torch.no_grad():
            run(self.enter(self.images[:1]))
        return run

    @property
    def classes(self) -> list[str]:
        """Classes whose score can rise by a change of the image; of a GAN without labels `real`. Empty without any."""
        if isinstance(self.task, Classification | Video | SemanticSegmentation):
            return list(self.task.classes or ())
        if isinstance(self.task, VisionTask):
            return []
        return list(self.task.classes) if self.task.condition else ["real"]

    def class_index(self, name: str) -> int:
        """Index of a class by its name or number.

        Raises:
            ConfigError: there is none.
        """
        if not self.classes:
            raise ConfigError(
                f"--classes is {name}, but {type(self.task).__name__} gives images no class: leave it out"
            )
        try:
            return class_index(name, self.classes)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--target", "--classes")) from error

    def class_score(self, x: Tensor, classes: list[int]) -> Tensor:
        """Score (B,) of a class of each input (B, C, H, W), before any softmax."""
        task: Any = self.task
        if isinstance(task, SemanticSegmentation):
            whole = torch.ones(x.shape[-2:], dtype=torch.bool)
            return task.target_score({"image": x}, [Region(label, whole) for label in classes])
        return task.target_score(self._batch(x), classes)

    @torch.no_grad()
    def reached(self, x: Tensor, classes: list[int]) -> list[str]:
        """The answer on a class in words, for each input: its probability, its share of the pixels, or the score."""
        task: Any = self.task
        if isinstance(task, SemanticSegmentation):
            found = task(x).argmax(1)
            shares = [(one == label).float().mean() for one, label in zip(found, classes, strict=True)]
            return [f"share of pixels {share:.0%}" for share in shares]
        if isinstance(task, Classification | Video):
            scores = task.predict_step(self._batch(x), 0)["scores"]
            return [f"probability {one[label]:.1%}" for one, label in zip(scores, classes, strict=True)]
        return [f"score {one:.2f}" for one in self.class_score(x, classes)]

    def _batch(self, x: Tensor) -> dict[str, Any]:
        if not isinstance(self.task, Video):
            return {"image": x}
        clip = x.unsqueeze(2).expand(-1, -1, self.task.frames, -1, -1)
        return {"video": clip, "id": [str(i) for i in range(len(x))]}

    def batches(self, images: Tensor) -> list[Tensor]:
        """Images in batches, as inputs of the network."""
        return [self.enter(part) for part in images.split(CHUNK)]


def generator_of(ckpt_path: str, typed: list[str]) -> Task:
    """A trained task that generates images from noise.

    Raises:
        ConfigError: another task.
    """
    parts: Any = parts_of(["test", "--data.workers", "0", *typed, "--ckpt_path", ckpt_path])
    if not parts.model.generative:
        raise ConfigError(f"--generator is a run of {type(parts.model).__name__}, but must be one of a GAN")
    trainer = idle_trainer("cpu", "32-true", parts.checkpoint)
    parts.datamodule.prepare_data()
    parts.datamodule.setup("test")
    trainer.ready_to_predict(parts.model, parts.datamodule, parts.checkpoint)
    return parts.model.requires_grad_(False)
