"""Instance segmentation: boxes, classes and masks."""

from typing import ClassVar

from modules.contracts import ConfigError
from modules.contracts.data_info import DataInfo
from modules.heads.detection import DetectorFactory, MaskRCNN
from tasks.detection import Detection


class InstanceSegmentation(Detection):
    """Instance segmentation: a box, class, score and mask per object, in pixels of the original image.

    The data gives masks with `--data.masks true`. The head is a MaskRCNN if none is chosen.
    """

    monitor = "val/mask_map"
    masks: ClassVar[bool] = True
    detector: ClassVar[DetectorFactory] = MaskRCNN

    def on_data(self, data: DataInfo, stage: str) -> None:
        if stage != "predict" and data.masks is False:
            raise ConfigError(
                "instance segmentation needs masks: set --data.masks true, or choose --config tasks/detection.yaml"
            )
        super().on_data(data, stage)
