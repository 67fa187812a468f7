"""Class weights of a loss against class imbalance."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from modules.contracts import DataError

Balance = Literal["auto", "median_frequency", "enet"]


def class_weights(pixels: np.ndarray, present: np.ndarray, kind: Balance) -> Tensor:
    """Class weights against imbalance: higher for rare classes, 0 for a class that never occurs.

    `median_frequency` (Eigen and Fergus 2015): a class's frequency is its share of the labeled pixels in the images
    that show it; the weight is the median frequency of the classes that occur, divided by the class's own.
    `enet` (Paszke et al. 2016): 1 / ln(1.02 + p), p the class's share of all labeled pixels: between 1.4 and 50.5.

    Args:
        pixels: int64 (C,), training pixels of each class; of a classifier training samples.
        present: int64 (C,), labeled pixels of the training images that show the class; of a classifier all samples.
        kind: the rule; `auto` is `median_frequency`.

    Returns:
        float32 (C,).

    Raises:
        DataError: no pixel has a class.
    """
    occurs = pixels > 0
    if not occurs.any():
        raise DataError(
            f"class_weights {kind} needs labeled training data, but no training pixel or sample has a class: set "
            "class_weights to null"
        )
    if kind == "enet":
        weights = 1 / np.log(1.02 + pixels / pixels.sum())
    else:
        frequency = pixels / np.maximum(present, 1)
        weights = np.median(frequency[occurs]) / np.where(occurs, frequency, 1)
    return torch.from_numpy(np.where(occurs, weights, 0)).float()
