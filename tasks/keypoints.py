"""Keypoints: boxes, classes, and named points of each object."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from modules.contracts import ConfigError, Features
from modules.contracts.data_info import DataInfo
from modules.contracts.keypoints import layout
from modules.decoding.boxes import Detection as Found
from modules.decoding.boxes import mirrored, rescaled
from modules.heads.base import HeadFactory
from modules.heads.detection import Detector, KeypointHead, KeypointRCNN
from modules.metrics.oks import sigmas_of
from tasks.detection import Detection


class Keypoints(Detection):
    """Keypoint detection (pose estimation): a box, class, score and named points per object, in original pixels.

    The data gives keypoints with `--data.keypoints true`, and their names, skeleton and pairs.

    Args:
        head: head for keypoints; null is a KeypointRCNN.
        keypoints: names of the keypoints in order of their index; null takes the data's.
        skeleton: pairs of names that figures join by lines; null takes the data's.
        flip_pairs: pairs of names that a horizontal flip swaps, for `tta.flip`; null takes the data's.
        sigmas: of each keypoint for the object keypoint similarity (OKS), in units of the root of the object's area;
            null is COCO's for its 17 keypoints of persons, else 0.05 for all.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image", "boxes", "labels", "keypoints")
    monitor = "val/keypoint_map"
    kind: ClassVar[type[Detector]] = KeypointHead

    def __init__(
        self,
        # null: filled-in arguments would stay when another class is chosen
        head: HeadFactory[KeypointHead] | None = None,
        keypoints: list[str] | None = None,
        skeleton: list[list[str]] | None = None,
        flip_pairs: list[list[str]] | None = None,
        sigmas: list[float] | None = None,
        **kwargs,
    ):
        if not keypoints:
            raise ConfigError(
                "the task Keypoints needs their names: from data with --data.keypoints true, or as --model.keypoints; "
                "boxes alone are found by --config tasks/detection.yaml"
            )
        if kwargs.get("extra_metrics"):
            raise ConfigError("model.extra_metrics are of boxes and masks, not of keypoints: leave it out")
        points = layout(keypoints, skeleton or (), flip_pairs)
        self.layout = points  # for the head, which is made in what follows
        self.sigmas, self.sigmas_in_words = sigmas_of(points.names, sigmas)
        settings: dict[str, Any] = {"head": head or KeypointRCNN}
        super().__init__(**settings, **kwargs)
        self.register_buffer("flipped", torch.from_numpy(points.flipped), persistent=False)

    def make_head(self, kind: type, head: HeadFactory[Any], features: Features, outputs: int) -> Any:
        def with_keypoints(features: Features, outputs: int) -> KeypointHead:
            made = kind.build(head, features, outputs)
            made.make_keypoints(len(self.layout.names))
            return made

        return super().make_head(kind, with_keypoints, features, outputs)

    def on_data(self, data: DataInfo, stage: str) -> None:
        own = self.layout.names
        if data.keypoints is not None and data.keypoints.names != own:
            raise ConfigError(
                f"model.keypoints are {list(own)}, but the data has {list(data.keypoints.names)}: give data with the "
                f"model's keypoints in its order"
            )
        super().on_data(data, stage)

    def mirror(self, found: Found, width: float) -> Found:
        """Horizontal flip of detections, left and right swapped."""
        turned = mirrored(found, width)
        return {**turned, "keypoints": turned["keypoints"][:, self.flipped]}

    def original(self, found: Found, inside: Tensor, size: Tensor) -> dict[str, Any]:
        points = rescaled(found, (size / inside).flip(0).float())["keypoints"]
        return super().original(found, inside, size) | {"keypoints": points}
