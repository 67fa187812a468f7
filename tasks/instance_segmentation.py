"""Instance segmentation: boxes, classes and masks."""

from typing import ClassVar

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.heads.base import HeadFactory
from modules.heads.detection import Detector, InstanceHead, MaskRCNN
from tasks.detection import Detection


class InstanceSegmentation(Detection):
    """Instance segmentation: a box, class, score and mask per object, in pixels of the original image.

    The data gives masks with `--data.masks true`.

    Args:
        head: instance segmentation head; null is a MaskRCNN.
    """

    monitor = "val/mask_map"
    masks: ClassVar[bool] = True
    kind: ClassVar[type[Detector]] = InstanceHead

    # null: filled-in arguments would stay when another class is chosen
    def __init__(self, head: HeadFactory[InstanceHead] | None = None, **kwargs):
        super().__init__(head=head or MaskRCNN, **kwargs)

    def on_data(self, data: DataInfo, stage: str) -> None:
        if stage != "predict" and data.masks is False:
            raise ConfigError(
                "instance segmentation needs masks: set --data.masks true, or choose --config tasks/detection.yaml"
            )
        super().on_data(data, stage)
