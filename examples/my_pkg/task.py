"""A task: regression."""

from typing import ClassVar

from my_pkg.head import MyHead
from torch import Tensor
from torch.nn import functional as F

from modules.contracts import Batch, HeadFactory, Prediction
from tasks import VisionTask
from tasks.base import Stage


class MyTask(VisionTask):
    """Regression: a number for each image.

    Args:
        head: pooled features to a number.
        beta: absolute error from which on the loss is linear; squared below (smooth L1).
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "number")
    monitor = "val/mae"
    mode = "min"
    protocols: ClassVar[dict[str, str]] = {
        "mae": "absolute error, mean over images",
        "loss": "smooth L1, as in training, mean over images",
    }

    def __init__(self, head: HeadFactory = MyHead, beta: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.head = self.attach(head, 1)
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
        return {"number": number}
