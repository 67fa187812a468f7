"""Generation of images by a task with a generator, in memory, in prediction and in an exported file."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from modules.contracts import Batch, ConfigError, Prediction
from modules.export import Graph, Preprocess, noise_graph
from modules.gan import Condition, Generator, to_bytes
from modules.gan.noise import keyed_noise
from tasks.base import Stage, Task


class Generation(Task):
    """Base of tasks that generate images.

    Attributes: `generator` of noise (N, `latent`), and of labels if there is a `condition`; `averaged` is its EMA, null
    without.
    """

    generative = True
    generator: Generator
    averaged: Generator | None
    latent: int
    condition: Condition | None

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return {k: v for k, v in self.make(batch, self.turn(index), self.data.seed).items() if k != "image"}

    def make(self, batch: Batch, index: int, seed: int) -> Prediction:
        """Generate an image per sample of batch number `index` of a split, of noise keyed by seed and position."""
        count = len(batch["id"] if "id" in batch else batch["image"])
        places = range(first := index * (self.data.batch_size or count), first + count)
        noise = keyed_noise([(seed, place) for place in places], self.latent).to(self.device)
        label = None
        if self.condition:
            label = (
                batch["label"]
                if "label" in batch
                else torch.tensor(places, device=self.device) % len(self.classes or ())
            )
        image = self.images(noise, label)
        made = {"image": image, "generated": to_bytes(image), "noise": noise}
        return made | ({"label": label} if self.condition else {})

    def generate(self, count: int, generator: torch.Generator | None = None, label: Tensor | None = None) -> Tensor:
        """Generate images float32 (count, C, H, W) in -1..1, by the EMA of the generator where there is one.

        Args:
            count: number of images.
            generator: random generator of the noise; null takes torch's own.
            label: classes int64 (count,) of a conditional generator; null takes each class in turn.
        """
        noise = torch.randn(count, self.latent, generator=generator, device=(generator or self).device)
        return self.images(noise, label)

    def images(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Generate images of given noise (N, latent), as `generate`.

        Raises:
            ConfigError: labels for a generator that knows none.
        """
        if label is not None and not self.condition:
            raise ConfigError("this generator was trained without labels: set --model.condition and train it again")
        if self.condition and label is None:
            label = torch.arange(len(noise)) % len(self.classes or ())
        network = self.averaged or self.generator
        return network.sample(noise.to(self.device), None if label is None else label.to(self.device))

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        classes = len(self.classes or ()) if self.condition else 0
        return {"model": noise_graph(deepcopy(self.averaged or self.generator), self.latent, classes)}

    def answer_by(self, predict: Callable[[Batch], Prediction]) -> None:
        """Let another program, such as an exported file, make all images in place of the generator.

        Without metrics of the discriminator, which is not in the file.

        Args:
            predict: `noise` (N, latent) and `label`, null or (N,), to `generated`, an image uint8 (H, W, C) each.
        """

        def images(noise: Tensor, label: Tensor | None = None) -> Tensor:
            if self.condition and label is None:
                label = torch.arange(len(noise)) % len(self.classes or ())
            made = predict({"noise": noise, "label": label})["generated"]
            return torch.stack(made).permute(0, 3, 1, 2).float().div(127.5).sub(1)

        def evaluate(batch: Batch, index: int, stage: Stage) -> Prediction:
            return {key: value for key, value in self.make(batch, index, 0).items() if key != "image"}

        self.answered, self.images, self.eval_step = True, images, evaluate
