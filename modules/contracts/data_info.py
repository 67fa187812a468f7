"""Facts about the data that tasks train by, handed over by the data module."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from torch import Tensor

from modules.contracts.errors import ConfigError
from modules.contracts.keypoints import KeypointLayout
from modules.contracts.preprocessing import Preprocessing


def class_names(given: Sequence | np.ndarray | None, option: str) -> list[str] | None:
    """Class names as a list of texts; null for null.

    Args:
        given: names or numbers, in order of their index.
        option: that they come from.

    Raises:
        ConfigError: a single text, or no list.
    """
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise ConfigError(f"{option} is {given!r}, but must be a list of the names of all classes")
    return [str(name) for name in given]


def _none() -> None:
    """Return null: data without such a thing."""


@dataclass(frozen=True)
class DataInfo:
    """Facts about the data for tasks; `DataModule.data_info` gives them, and `Task.on_data` takes them.

    What is costly is a function without arguments, which tasks call only where a setting needs it; it returns null for
    data without such a thing. Tests and other programs build one by hand from the fields that a task needs.

    Args:
        name: of the data module's class, for messages.
        classes: class names in order of their index; null without classes.
        seed: of the run.
        batch_size: samples per device and step; null if unknown.
        per_step: the same, or tokens for data that is batched by tokens; null if unknown.
        masks: instance masks come with the boxes; null if unknown.
        keypoints: layout of the keypoints that come with the boxes; null without.
        things: names of the classes whose objects are told apart in panoptic segmentation; null without such.
        proposals: region proposals come with the images.
        preprocessing: evaluation transform of the images; null if unknown.
        class_counts: gives the training samples of each class, int64 (C,).
        class_pixels: gives the training pixels of each class, int64 (C,), and the labeled pixels of the images that
            show it, int64 (C,).
        box_sizes: gives width and height of the training objects in pixels that the network sees, float64 (N, 2).
        object_counts: gives the objects of each training image, int64 (N,).
        references: gives all reference texts of each training sample.
        normalization: gives `mean` and `std` (C,) of images of 0..1 for a network of C channels, and `mean_image`
            (C, H, W) if that is subtracted; null leaves the choice to the network.
        images: gives that many plain training images uint8 (N, C, H, W), or clips, drawn by the seed; fewer where there
            are not as many.
        cache_features: caches the feature map of every training image and lets training read these, by
            `cache_features(encode, key)`: `encode` takes uint8 (B, 3, H, W) to float16 (B, C, h, w) on the host, `key`
            is a digest of all that it depends on. Returns a line for the startup summary. Null for data that cannot.
    """

    name: str = "the data"
    classes: list[str] | None = None
    seed: int = 0
    batch_size: int | None = None
    per_step: int | None = None
    masks: bool | None = None
    keypoints: KeypointLayout | None = None
    things: list[str] | None = None
    proposals: bool = False
    preprocessing: Preprocessing | None = None
    class_counts: Callable[[], np.ndarray | None] = _none
    class_pixels: Callable[[], tuple[np.ndarray, np.ndarray] | None] = _none
    box_sizes: Callable[[], np.ndarray | None] = _none
    object_counts: Callable[[], np.ndarray | None] = _none
    references: Callable[[], list[list[str]] | None] = _none
    normalization: Callable[[int], dict[str, Tensor] | None] = lambda channels: None
    images: Callable[[int], Tensor | None] = lambda count: None
    cache_features: Callable[[Callable[[Tensor], Tensor], str], str] | None = None

    def check_classes(self, classes: list[str]) -> None:
        """Check that a task's classes are those of the data, in the same order; unknown ones fit.

        Raises:
            ConfigError: they are not.
        """
        if self.classes is None or list(classes) == list(self.classes):
            return
        pairs = enumerate(zip_longest(classes, self.classes))
        index, (own, theirs) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
        raise ConfigError(
            f"model.classes has {len(classes)} names and {self.name} {len(self.classes)}; number {index} is {own!r} in "
            f"place of {theirs!r}: give the names of the data, in its order"
        )

    def __deepcopy__(self, memo: dict) -> "DataInfo":
        """Return this one: copies of a task, such as its EMA, share the data."""
        return self
