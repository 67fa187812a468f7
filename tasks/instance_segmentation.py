"""Instance segmentation: boxes, classes and masks."""

from typing import ClassVar

from modules.contracts import ConfigError, NeckFactory
from modules.contracts.data_info import DataInfo
from modules.heads.base import HeadFactory
from modules.heads.detection import Detector, InstanceHead, MaskRCNN
from modules.heads.queries import MaskQueryHead, QueryInstances, instances
from tasks.detection import Detection


class InstanceSegmentation(Detection):
    """Instance segmentation: a box, class, score and mask per object, in pixels of the original image.

    The data gives masks with `--data.masks true`.

    Args:
        head: instance segmentation head, or mask queries; null is a MaskRCNN.
        neck: as for detection; mask queries have a pyramid of their own, and `NoNeck` gives them the backbone's maps.
    """

    monitor = "val/mask_map"
    masks: ClassVar[bool] = True
    kind: ClassVar[type[Detector]] = Detector

    def __init__(
        self,
        # null: filled-in arguments would stay when another class is chosen
        head: HeadFactory[InstanceHead | MaskQueryHead] | None = None,
        neck: NeckFactory | None = None,
        **kwargs,
    ):
        super().__init__(head=instances(head or MaskRCNN), neck=neck, **kwargs)
        if isinstance(self.head, QueryInstances):
            self.neck = self.head.join(self.backbone, self.neck, neck is not None)

    def on_data(self, data: DataInfo, stage: str) -> None:
        if stage != "predict" and data.masks is False:
            raise ConfigError(
                "instance segmentation needs masks: set --data.masks true, or choose --config tasks/detection.yaml"
            )
        super().on_data(data, stage)
