"""A task: regression."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from modules.contracts import Batch, Features, Prediction
from modules.heads.base import Head, HeadFactory
from tasks import VisionTask
from tasks.base import Stage


class Number(Head):
    """A linear layer on pooled features: a number for each image.

    Args:
        features: of the backbone.
        outputs: numbers per image.
    """

    pools = True

    def __init__(self, features: Features, outputs: int):
        super().__init__()
        self.linear = nn.Linear(features.pooled, outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, features.pooled) to (B, outputs)."""
        return self.linear(pooled)


class MyTask(VisionTask):
    """Regression: a number for each image.

    Args:
        head: from the backbone to the number.
        beta: absolute error from which on the loss is linear; squared below (smooth L1).
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "number")
    monitor = "val/mae"
    mode = "min"
    protocols: ClassVar[dict[str, str]] = {
        "mae": "absolute error, mean over images",
        "loss": "smooth L1, as in training, mean over images",
    }

    def __init__(self, head: HeadFactory[Number] = Number, beta: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.head = self.attach(Number, head, 1)
        self.beta = beta

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to numbers (B,)."""
        return self.answer(self.head, image)[:, 0]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = F.smooth_l1_loss(self(batch["image"]), batch["number"], beta=self.beta)
        self.log_step({"loss": loss})
        return loss

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return {"number": self(batch["image"])}

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> Prediction:
        number, truth = self(batch["image"]), batch["number"]
        loss = F.smooth_l1_loss(number, truth, beta=self.beta)
        self.log_mean(stage, {"mae": F.l1_loss(number, truth), "loss": loss}, len(truth))
        self.records.add(stage, mae=(number - truth).abs())  # the test's 95 % interval of it
        return {"number": number}
