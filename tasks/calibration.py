"""Temperature of the probabilities of a task with one class per sample, chosen on val."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Prediction
from modules.decoding.temperature import fit_temperature, scaled
from modules.metrics.score_bank import ScoreBank
from tasks.evaluation import Evaluation

PROTOCOL = {"temperature": "by which test and predictions divide, of the least cross-entropy on val"}


class Calibrated(Evaluation):
    """Base of tasks with probabilities of one class per sample, which a temperature calibrates on request."""

    chosen: ClassVar[tuple[str, ...]] = ("temperature",)

    def configure_calibration(self, calibrate: bool, classes: int) -> dict[str, str]:
        """Set whether validation finds the temperature, of 1 without; returns its protocol."""
        self.calibrate, self.temperature, self.val_scores = calibrate, 1.0, ScoreBank(classes)
        return PROTOCOL if calibrate else {}

    def calibrated(self, prediction: Prediction) -> Prediction:
        """The prediction with probabilities of the temperature that validation chose."""
        return prediction | {"scores": scaled(prediction["scores"], self.temperature)}

    def collect(self, prediction: Prediction, label: Tensor) -> None:
        """Add the answers of a batch of val, int64 (B,) its classes."""
        if self.calibrate:
            self.val_scores.update(prediction["scores"], label)

    def choose_temperature(self) -> None:
        """Take the temperature of the collected answers, and log it."""
        if self.calibrate:
            scores, labels = self.val_scores.compute()
            self.temperature = fit_temperature(scores, labels) if len(labels) else 1.0
            self.log_metrics({"val/temperature": torch.tensor(self.temperature)})
            self.val_scores.reset()
