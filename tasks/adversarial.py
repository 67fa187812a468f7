"""What GANs of every kind share: noise to pictures, a discriminator's verdicts, penalties, labels, samples."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import ClassVar, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional

from modules.averaging import follow, share_at
from modules.contracts import Batch, ConfigError, DataError, Prediction
from modules.generative import BackboneDiscriminator, Canvas, Condition, DCGANDiscriminator, DCGANGenerator, Verdict
from modules.generative.augment import DRAWS, Change, diff_augment
from modules.generative.contracts import DiscriminatorFactory, GeneratorFactory
from modules.generative.noise import keyed_noise
from modules.losses.adversarial import Game, dragan, gradient_penalty, r1
from modules.transfer import load_backbone
from tasks.base import Stage
from tasks.turns import Turns

Penalty = Literal["none", "gradient", "r1", "dragan"]
FIXED = 64  # rows of noise that are looked at throughout a run


class Adversarial(Turns):
    """Base of generative adversarial networks; a subclass names the `game`.

    Args:
        generator: makes pictures.
        discriminator: tells them from real ones.
        image_size: side of the pictures in pixels; null takes the data's, 32 where there is none.
        channels: of the pictures.
        latent: numbers of noise that a picture is made of.
        classes: class names in order of their index; null takes the data's.
        condition: how labels come in: `embedding`, `projection` or `auxiliary`; null ignores them.
        auxiliary_weight: of the auxiliary classifier's cross-entropy, in both losses.
        penalty: on the discriminator's slope: `gradient` (Gulrajani et al. 2017), `r1` (Mescheder et al. 2018) or
            `dragan` (Kodali et al. 2017).
        penalty_weight: of it.
        penalty_every: steps of the discriminator for each that has the penalty, then that many times as strong.
        augment: changes that both real and generated pictures undergo before they are judged, for few training
            pictures (Zhao et al. 2020): some of `colour`, `translation`, `cutout`.

    Attributes: `fixed_noise` (64, latent) is the same throughout a run; `averaged` is the moving average of the
    generator, null without.
    """

    monitor = "val/FID-test_resnet"
    mode = "min"
    generative = True
    protocols: ClassVar[dict[str, str]] = {
        "d_real": "mean verdict of the discriminator on real pictures",
        "d_fake": "mean verdict of the discriminator on as many generated pictures",
        "discriminator_loss": "mean over batches, without penalty",
    }
    game: Game

    def __init__(
        self,
        generator: GeneratorFactory = DCGANGenerator,
        discriminator: DiscriminatorFactory = DCGANDiscriminator,
        image_size: int | None = None,
        channels: int = 3,
        latent: int = 128,
        classes: list[str] | None = None,
        condition: Condition | None = None,
        auxiliary_weight: float = 1.0,
        penalty: Penalty = "none",
        penalty_weight: float = 10.0,
        penalty_every: int = 1,
        augment: list[Change] = [],  # noqa: B006
        **kwargs,
    ):
        super().__init__(**kwargs)
        if latent < 1 or penalty_every < 1:
            raise ConfigError(f"model.latent is {latent} and model.penalty_every {penalty_every}: both are at least 1")
        if condition and not classes:
            raise ConfigError(
                f"model.condition is {condition}, but the data names no classes: choose labelled data (--data), or "
                f"leave model.condition at null"
            )
        self.canvas = Canvas(channels, image_size or 32, len(classes) if condition else 0, condition)
        self.generator, self.discriminator = generator(self.canvas, latent), discriminator(self.canvas)
        self.mixes = self.discriminator.mixes
        if penalty != "none" and self.mixes:
            raise ConfigError(
                f"model.penalty {penalty} is about the slope at each picture alone, but batch norm in "
                f"{type(self.discriminator).__name__} makes every score depend on the whole batch: choose a "
                f"discriminator without it (--model.discriminator.norm layer, or ResNetDiscriminator)"
            )
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
        self.averaged = deepcopy(self.generator).requires_grad_(False).eval() if self.ema else None
        self.latent, self.classes, self.condition = latent, classes, condition
        self.needs = ("image", "label") if condition else ("image",)
        self.auxiliary_weight, self.augment = auxiliary_weight, augment
        self.penalty, self.penalty_weight, self.penalty_every = penalty, penalty_weight, penalty_every
        noise = torch.randn(FIXED, latent, generator=torch.Generator().manual_seed(0))
        self.register_buffer("fixed_noise", noise)

    def setup(self, stage: str) -> None:
        judge = self.discriminator
        if stage == "fit" and not self.trainer.ckpt_path and isinstance(judge, BackboneDiscriminator) and judge.weights:
            rank_zero_info(load_backbone(judge.backbone, judge.weights))

    def _check(self, batch: Batch) -> None:
        if not self.trainer.predicting:  # needs nothing but how many
            super()._check(batch)

    # Pictures --------------------------------------------------------------------------------------------------------

    def generate(self, count: int, generator: torch.Generator | None = None, label: Tensor | None = None) -> Tensor:
        """Pictures float32 (count, C, H, W) in -1..1, by the average of the generator where there is one.

        Args:
            count: how many.
            generator: draws the noise; null takes torch's own.
            label: classes int64 (count,) of a conditional one; null takes each class in turn.
        """
        device = generator.device if generator else self.device
        return self.pictures(torch.randn(count, self.latent, generator=generator, device=device), label)

    @torch.no_grad()
    def pictures(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """The same, of noise (N, latent).

        Raises:
            ConfigError: labels for a generator that knows none.
        """
        if label is not None and not self.condition:
            raise ConfigError("this generator was trained without labels: set --model.condition and train it again")
        if self.condition and label is None:
            label = torch.arange(len(noise)) % len(self.classes)
        network = self.averaged or self.generator
        training = network.training
        network.eval()
        image = network(noise.to(self.device), None if label is None else label.to(self.device)).float()
        network.train(training)
        return image

    def scaled(self, image: Tensor) -> Tensor:
        """Pictures uint8, or floats in 0..1, (B, C, H, W) to float32 in -1..1.

        Raises:
            ConfigError: they have other channels or another size than those that are made.
            DataError: floats beyond 0..1.
        """
        (_, channels, height, width), canvas = image.shape, self.canvas
        if channels != canvas.channels:
            raise ConfigError(
                f"the data gives pictures of {channels} channel(s), but model.channels is {canvas.channels}: "
                f"set --model.channels {channels}"
            )
        if (height, width) != (canvas.size, canvas.size):
            raise ConfigError(
                f"the data gives pictures of {height} x {width} pixels, but the networks are made for "
                f"{canvas.size}: set --data.image_size {canvas.size}"
            )
        if not image.is_floating_point():
            return image.float().div_(127.5).sub_(1)
        low, high = torch.stack(image.aminmax()).tolist()
        if not 0 <= low <= high <= 1:
            raise DataError(f"pictures are bytes, or floats in 0..1; these reach from {low:.3g} to {high:.3g}")
        return image.float() * 2 - 1

    # Training --------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        real, label = self.scaled(batch["image"]), batch["label"] if self.condition else None
        stepping, persuading = self.turns
        once = persuading and self.accumulate == 1  # then both judge the same pictures, made once
        with torch.set_grad_enabled(once):
            fake = self._fake(len(real), label)
        losses = {"discriminator_loss": self._train_discriminator(real, fake.detach(), label)}
        self.collected += 1
        if stepping:
            self.step_discriminator()
            self.constrain()
        if persuading:
            fakes = [fake] if once else (self._fake(len(real), label) for _ in range(self.accumulate))
            losses["generator_loss"] = self._train_generator(fakes, label)
            self.step_generator()
            if self.averaged is not None:
                share = share_at(self.ema, self.trainer.global_step)
                follow(_tensors(self.averaged), _tensors(self.generator), share)
        self.measured |= losses
        self.log_step(self.measured)
        return losses

    def constrain(self) -> None:
        """What is done to the discriminator's parameters after each of its steps."""

    def _fake(self, count: int, label: Tensor | None) -> Tensor:
        return self.generator(self.draw(torch.randn, count, self.latent), label)

    def _train_discriminator(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor:
        real, fake = self._changed(real), self._changed(fake)
        on_real, on_fake = self._verdicts(real, fake, label)
        self.measured |= self.outlook(on_real.score.detach(), on_fake.score.detach())
        loss = self.game.discriminator(on_real.score, on_fake.score)
        if self.condition == "auxiliary":
            loss = loss + self._naming(on_real, label) + self._naming(on_fake, label)
        steps = self.trainer.global_step * self.n_critic + self.rounds
        if self.penalty != "none" and steps % self.penalty_every == 0:
            penalty = self._penalty(real, fake, label)
            self.measured["penalty"] = penalty.detach()
            loss = loss + self.penalty_weight * self.penalty_every * penalty
        self.collect(loss)
        return loss.detach()

    def _train_generator(self, fakes: Iterable[Tensor], label: Tensor | None) -> Tensor:
        total = torch.zeros((), device=self.device)
        with _held(self.discriminator):
            for fake in fakes:
                verdict = self.discriminator(self._changed(fake), label)
                loss = self.game.generator(verdict.score)
                if self.condition == "auxiliary":
                    loss = loss + self._naming(verdict, label)
                self.collect(loss)
                total += loss.detach() / self.accumulate
        return total

    def _changed(self, image: Tensor) -> Tensor:
        if not self.augment:
            return image
        return diff_augment(image.float(), self.draw(torch.rand, len(image), DRAWS), self.augment)

    def _verdicts(self, real: Tensor, fake: Tensor, label: Tensor | None) -> tuple[Verdict, Verdict]:
        """Of both at once, unless the discriminator's verdict on one picture depends on the others."""
        if self.mixes:
            return self.discriminator(real, label), self.discriminator(fake, label)
        twice = None if label is None else torch.cat([label, label])
        score, logits = self.discriminator(torch.cat([real, fake.to(real.dtype)]), twice)
        count = len(real)
        parts = slice(None, count), slice(count, None)
        return tuple(Verdict(score[part], None if logits is None else logits[part]) for part in parts)

    def _naming(self, verdict: Verdict, label: Tensor) -> Tensor:
        return self.auxiliary_weight * functional.cross_entropy(verdict.logits.float(), label)

    def _penalty(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor:
        def critic(image: Tensor) -> Tensor:
            return self.discriminator(image, label).score

        if self.penalty == "r1":
            return r1(critic, real)
        mix = self.draw(torch.rand, len(real), 1, 1, 1)
        if self.penalty == "gradient":
            return gradient_penalty(critic, real, fake, mix)
        return dragan(critic, real, mix, self.draw(torch.rand, *real.shape))

    def outlook(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """What scores (B,) of real and of generated pictures say about the state of the game."""
        if self.game.probability:
            real, fake = real.sigmoid(), fake.sigmoid()
        return {"d_real": real.float().mean(), "d_fake": fake.float().mean()}

    # Judging ---------------------------------------------------------------------------------------------------------

    def evaluate(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        """As many generated pictures as real ones, of noise that is the same in every epoch, on any devices."""
        real, label = self.scaled(batch["image"]), batch["label"] if self.condition else None
        prediction = self._make(batch, index, 0)
        scores = [v.score for v in self._verdicts(real, prediction.pop("picture"), label)]
        values = self.outlook(*scores) | {"discriminator_loss": self.game.discriminator(*scores)}
        self.log_dict({f"{stage}/{k}": v for k, v in values.items()}, batch_size=len(real), sync_dist=True)
        return prediction

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        prediction = self._make(batch, index, self.trainer.datamodule.seed)
        prediction.pop("picture")
        return prediction

    def _make(self, batch: Batch, index: int, seed: int) -> Prediction:
        """One picture for each sample of a batch, of noise that follows from its place in the data alone."""
        world, rank, count = self.trainer.world_size, self.trainer.global_rank, len(batch["id"])
        first = index * (self.trainer.datamodule.batch_size if self.trainer.datamodule else count)
        places = [(first + i) * world + rank for i in range(count)]
        noise = keyed_noise([(seed, place) for place in places], self.latent).to(self.device)
        label = None
        if self.condition:
            label = batch["label"] if "label" in batch else torch.tensor(places, device=self.device) % len(self.classes)
        picture = self.pictures(noise, label)
        bytes_ = ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return {"picture": picture, "generated": bytes_, "noise": noise} | ({"label": label} if self.condition else {})

    def train(self, mode: bool = True) -> "Adversarial":
        super().train(mode)
        if self.averaged is not None:
            self.averaged.eval()
        return self


@contextmanager
def _held(network: nn.Module) -> Iterator[None]:
    """Spares the gradients of a network that another one is trained through."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
