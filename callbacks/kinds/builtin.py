"""Registration of the kinds of prediction of this project's own tasks."""

from callbacks.collectors.classification import ClassificationCollector, draw_views
from callbacks.collectors.detection import DetectionCollector, draw_boxes
from callbacks.collectors.panoptic import PanopticCollector, draw_panoptic
from callbacks.collectors.reconstruction import ReconstructionCollector
from callbacks.collectors.segmentation import SegmentationCollector, draw_masks
from callbacks.collectors.stylized import StylizedCollector
from callbacks.collectors.tags import TagCollector, draw_tagged
from callbacks.collectors.text import TextCollector, draw_captioned, draw_pairs
from callbacks.collectors.video import VideoCollector, draw_clips
from callbacks.kinds.registry import register
from callbacks.writers.detections import DetectionFiles
from callbacks.writers.features import FeatureFile
from callbacks.writers.labels import LabelFile
from callbacks.writers.masks import MaskFiles
from callbacks.writers.panoptic import PanopticFiles
from callbacks.writers.samples import SampleFiles
from callbacks.writers.sentences import TextFiles
from callbacks.writers.stylized import StylizedFiles
from callbacks.writers.tags import TagFile

register("images", draw=draw_views)  # any training batch that no kind below draws
register("features", prediction=["features"], write=FeatureFile)
register("reconstruction", prediction=["reconstruction", "code"], truth=["image"], collect=ReconstructionCollector)
register("generated", prediction=["generated"], write=SampleFiles)
register("style_loss", prediction=["style_loss"], truth=["image"], collect=StylizedCollector)
register("styles", prediction=["styles", "generated"], write=StylizedFiles)
register(
    "labels",
    prediction=["label", "scores"],
    truth=["label"],
    collect=ClassificationCollector,
    write=LabelFile,
)
register(
    "tags",
    prediction=["tags", "scores"],
    truth=["tags"],
    batch=["tags"],
    collect=TagCollector,
    write=TagFile,
    draw=draw_tagged,
)
register(
    "video",
    prediction=["label", "scores"],
    truth=["label", "video"],
    batch=["video"],
    collect=VideoCollector,
    write=LabelFile,
    draw=draw_clips,
)
register(
    "boxes",
    prediction=["boxes", "labels", "scores"],
    truth=["truth"],
    batch=["boxes"],
    collect=DetectionCollector,
    write=DetectionFiles,
    draw=draw_boxes,
)
register(
    "mask",
    prediction=["mask"],
    truth=["mask"],
    batch=["mask"],
    collect=SegmentationCollector,
    write=MaskFiles,
    draw=draw_masks,
)
register(
    "panoptic",
    prediction=["segments", "labels", "scores"],
    truth=["segments", "truth"],
    batch=["segments"],
    collect=PanopticCollector,
    write=PanopticFiles,
    draw=draw_panoptic,
)
register(
    "translation",
    prediction=["text"],
    truth=["target_text"],
    batch=["source_text"],
    collect=TextCollector,
    write=TextFiles,
    draw=draw_pairs,
)
register(
    "captions",
    prediction=["text"],
    truth=["captions"],
    batch=["captions"],
    collect=TextCollector,
    write=TextFiles,
    draw=draw_captioned,
)
