"""Feature extractors of generative metrics (FID, KID, IS): features and class probabilities of images."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, pad

from modules.backbones import by_name
from modules.contracts import Backbone, ConfigError
from modules.training.optim import Optim
from modules.training.transfer import load_backbone, read_checkpoint

BACKBONE = "test_resnet"  # of classifiers trained here: small, since each new data set trains one
STEPS, BATCH, SHIFT = 300, 128, 2  # of that training; pixels that images are moved by
LARGEST = 64  # pixels, largest image side of such a classifier


class Extractor(nn.Module):
    """Images to features and class probabilities.

    Attributes: `suffix` goes behind the names of scores by these features: "" for FID itself alone; `about` describes
    them in words; `classes` names the columns of the probabilities, null where they mean nothing to the data.
    """

    suffix: str
    about: str
    classes: list[str] | None = None

    def add_note(self, note: str) -> None:
        """Add a few words to `about`."""
        self.about = f"{self.about}, {note}"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) to features float32 (B, D) and probabilities (B, K)."""
        raise NotImplementedError


class Classifier(Extractor):
    """A backbone and the linear layer of the task `Classification`; features are the input of that layer.

    Args:
        backbone: whose pooled features are taken.
        classes: names of the K classes.
        about: further description, in words.
        side: larger images are first shrunk to this side, bilinear with antialiasing; null takes them as they are.
    """

    def __init__(self, backbone: Backbone, classes: list[str], about: str = "", side: int | None = None):
        super().__init__()
        self.backbone, self.classes, self.side = backbone, classes, side
        self.fc = nn.Linear(backbone.features.pooled, len(classes))
        self.suffix = f"-{backbone.name}"
        self.about = f"{backbone.features.pooled} features of {backbone.name}{about and f', {about}'}"
        self.to(memory_format=backbone.memory_format)

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) to features (B, D) and logits (B, K)."""
        image, channels = image.float(), len(self.backbone.mean)
        if self.side and max(image.shape[-2:]) > self.side:
            image = interpolate(image, (self.side, self.side), mode="bilinear", antialias=True)
        if image.shape[1] != channels:  # one gray channel
            image = image.expand(-1, channels, -1, -1)
        image = image.div(255).clamp_(0, 1)  # rounding may exceed white
        image = self.backbone.normalize(image.contiguous(memory_format=self.backbone.memory_format))
        features = self.backbone.pool(self.backbone(image))
        return features, self.fc(features)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.logits(image)
        return features.float(), logits.float().softmax(1)


class Inception(Extractor):
    """The network of the published FID, KID and inception scores.

    Inception v3 as TensorFlow had it in 2015, from the library torch-fidelity. Nothing is downloaded.

    Args:
        weights: torch-fidelity's own file of weights.

    Raises:
        ConfigError: library or file are not there.
    """

    FILE: ClassVar[str] = "weights-inception-2015-12-05-6726825d.pth"
    SOURCE: ClassVar[str] = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"

    def __init__(self) -> None:
        super().__init__()
        if reason := self.missing():
            raise ConfigError(f"extractor inception: {reason}")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        outputs, path = ["2048", "logits_unbiased"], str(self.path())
        self.net = FeatureExtractorInceptionV3("inception-v3-compat", outputs, feature_extractor_weights_path=path)
        self.suffix, self.about = "", "2048 features of Inception v3 of 2015, images brought to 299 px as TF 1 does"

    @classmethod
    def path(cls) -> Path:
        """Path of the file of weights."""
        return Path(torch.hub.get_dir()) / "checkpoints" / cls.FILE

    @classmethod
    def missing(cls) -> str:
        """Missing library or file of weights, with the remedy; "" when nothing is missing."""
        if find_spec("torch_fidelity") is None:
            return "torch-fidelity is not installed: pip install torch-fidelity"
        return "" if cls.path().is_file() else f"put {cls.SOURCE} into {cls.path().parent}"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.net(image.expand(-1, 3, -1, -1))
        return features.float(), logits.float().softmax(1)


def from_checkpoint(path: Path) -> Classifier:
    """The classifier in a checkpoint of the task `Classification`.

    Raises:
        DataError: no checkpoint.
        ConfigError: one of another task, or with a head or backbone that cannot be rebuilt from its name.
    """
    checkpoint = read_checkpoint(path)
    tensors, about = checkpoint["state_dict"], checkpoint.get("backbone", {})
    classes = checkpoint.get("hyper_parameters", {}).get("classes")
    if (
        checkpoint.get("task") != "Classification"
        or not classes
        or not {"head.fc.weight", "head.fc.bias"} <= tensors.keys()
    ):
        raise ConfigError(
            f"{path} is a checkpoint of {checkpoint.get('task', 'another program')}: an extractor is a checkpoint of "
            f"Classification with the head Linear"
        )
    backbone = by_name(about.get("name", ""), about.get("small_images", False))
    load_backbone(backbone, str(path))
    model = Classifier(backbone, classes, f"from {path}")
    model.fc.load_state_dict({name: tensors[f"head.fc.{name}"] for name in ("weight", "bias")})
    return model.eval()


def untrained(classes: list[str], side: int) -> Classifier:
    """The classifier that `train` trains, for images of that side."""
    small = min(side, LARGEST) < 16  # otherwise the stem with stride 2, four times faster, leaves enough to see
    seen = f"images of {side} px " + (f"shrunk to {LARGEST} px" if side > LARGEST else "as they are")
    return Classifier(by_name(BACKBONE, small), classes, seen, LARGEST)


@torch.enable_grad()
def train(model: Classifier, image: Tensor, label: Tensor, seed: int = 0) -> Mapping[str, Tensor]:
    """Train a classifier in place, by the same recipe for any data; leaves it in evaluation mode.

    Args:
        model: on its device.
        image: uint8 (N, C, H, W), on the CPU.
        label: int64 (N,).
        seed: of order and shifts.

    Returns:
        its tensors.
    """
    generator, device = torch.Generator().manual_seed(seed), model.fc.weight.device
    optimizer, schedule = Optim(lr=0.003, weight_decay=0.05, warmup=0.2).build(model, None, STEPS)
    batch, rows = min(BATCH, len(image)), torch.empty(0, dtype=torch.int64)
    model.train()
    for _ in range(STEPS):
        if len(rows) < batch:
            rows = torch.randperm(len(image), generator=generator)
        chosen, rows = rows[:batch], rows[batch:]
        seen = _shifted(image[chosen], generator).to(device)
        loss = cross_entropy(model.logits(seen)[1].float(), label[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval().state_dict()


def _shifted(image: Tensor, generator: torch.Generator) -> Tensor:
    """A batch moved by up to SHIFT pixels, all images alike; edges are repeated."""
    height, width = image.shape[-2:]
    top, left = torch.randint(2 * SHIFT + 1, (2,), generator=generator).tolist()
    return pad(image, (SHIFT,) * 4, mode="replicate")[..., top : top + height, left : left + width]
