"""Metrics of detection and instance segmentation over a whole set, from a few bytes per object."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from modules.contracts import ConfigError, Prediction
from modules.metrics import coco, matching
from modules.metrics.bootstrap import Statistic
from modules.metrics.bootstrap.matches import objects
from modules.metrics.bootstrap.records import means
from modules.metrics.detection_arrays import EMPTY, Image, Kind, pack, parts_of, unpack
from modules.metrics.threshold import USUAL, best_of_each, best_threshold

PREFIX: dict[Kind, str] = {"boxes": "", "masks": "mask_", "keypoints": "keypoint_"}
MEASURE: dict[Kind, str] = {"boxes": "IoU", "masks": "IoU", "keypoints": "OKS"}
MAX_KEYPOINTS = 20  # COCO's number of detections per class and image whose keypoints count


def protocols(most: int = 100, sigmas: str = "") -> dict[str, str]:
    """Protocol of each metric, in words.

    Args:
        most: detections per class and image that count.
        sigmas: those of the keypoints, in words; empty for none.
    """
    texts = {}
    for kind, prefix in PREFIX.items():
        for name, text in _words(most if kind != "keypoints" else MAX_KEYPOINTS).items():
            texts[prefix + name] = f"{kind}: {text.replace('IoU', MEASURE[kind])}"
    texts["keypoint_map"] += f"; {sigmas}, objects without a labeled keypoint ignored"
    return {name: text for name, text in texts.items() if sigmas or not name.startswith(PREFIX["keypoints"])}


def _words(most: int) -> dict[str, str]:
    return {
        "map": "AP, mean over IoU .50:.05:.95 and over classes with objects (COCO, 101 recalls, crowds ignored, "
        f"max_detections {most} per class and image)",
        "map50": "AP at IoU .50",
        "map75": "AP at IoU .75",
        "map_small": "as map, objects up to 32^2 pixels",
        "map_medium": "as map, objects of 32^2 to 96^2 pixels",
        "map_large": "as map, objects from 96^2 pixels on",
        **{
            f"mar_{count}": f"highest recall, averaged as map, max_detections {count} per class and image"
            for count in (1, 10, most)
        },
        "voc_ap50": "AP at IoU .50, area under the curve, mean over classes with objects (VOC 2010, continuous "
        "coordinates)",
        "voc07_ap50": "AP at IoU .50, 11 recalls, mean over classes with objects (VOC 2007, continuous coordinates)",
        "dsb2018": "mean over images of the mean over IoU .50:.05:.95 of TP / (TP + FP + FN), detections of score .5 "
        "and more (DSB 2018)",
    }


class Report(NamedTuple):
    """Per-class AP, precision-recall curves and error kinds, of boxes, masks or keypoints.

    Args:
        per_class: `objects` int64 (C,), `ap`, `ap50` and, if asked, `voc_ap50`, float64 (C,), nan without objects.
        curves: precision and score over recall, for each class, as `coco.Coco` says.
        errors: count, and share of all errors (nan when there are none), of each kind in `matching.ERRORS`; none
            when not asked.
        threshold: score of the highest F1 at IoU .5, mean over classes, in hundredths; .5 where nothing right is found.
            Errors are those of detections that reach it.
        has_best: true if something right is found, so that there is a highest F1.
        thresholds: that of the highest F1 of each class; `threshold` where nothing of it is found.
    """

    per_class: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]
    errors: dict[str, tuple[int, float]]
    threshold: float = USUAL
    has_best: bool = False
    thresholds: Sequence[float] = ()

    @property
    def choice(self) -> str:
        """Origin of the threshold, in words."""
        return "best F1" if self.has_best else "default, as nothing right is found"


class DetectionScores(Metric):
    """COCO metrics of boxes and, if asked, of masks or keypoints; also VOC's, the DSB 2018 score, and kinds of errors.

    `compute` gives the metrics of `protocols`, those of masks and keypoints with their prefix of `PREFIX`, in 0..1, and
    nan where there is no object to find, such as `map_large` without large ones. With another maximum, `mar_100` has
    its name. It leaves in `reports`, for each kind, a `Report` beyond single metrics; `reset` keeps it.

    An object costs some 30 bytes, and a mask those of its RLE; they wait on the CPU. Of several processes each
    computes the metrics of all, as one process would that had got the batches in turn from the first of each.

    Args:
        classes: number of classes C.
        masks: evaluate masks too.
        max_detections: detections that count of each class in each image, those with the highest scores.
        voc: also the average precision of Pascal VOC at IoU .5.
        dsb2018: also the score of the Data Science Bowl 2018.
        errors: also count errors by their kinds.
        confidence: lowest score, 0..1, of the detections that count in the DSB 2018 score.
        together: the metrics are of all processes; otherwise each has its own, and none waits for the others.
        items: `compute` also leaves in `statistics` what resampling the images takes.
        sigmas: of the keypoints, which are evaluated too (`modules.metrics.oks`); empty for none.

    Raises:
        ConfigError: max_detections is not positive.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(
        self,
        classes: int,
        masks: bool = False,
        max_detections: int = 100,
        voc: bool = False,
        dsb2018: bool = False,
        errors: bool = False,
        confidence: float = 0.5,
        together: bool = True,
        items: bool = False,
        sigmas: Sequence[float] = (),
    ):
        super().__init__(sync_on_compute=together)
        if max_detections < 1:
            raise ConfigError(f"max_detections is {max_detections}, but at least one detection must count")
        self.classes, self.max_detections, self.confidence = classes, max_detections, confidence
        self.voc, self.dsb2018, self.errors, self.items = voc, dsb2018, errors, items
        self.statistics: list[Statistic] = []
        self.sigmas = tuple(sigmas)
        asked: dict[Kind, bool] = {"boxes": True, "masks": masks, "keypoints": bool(sigmas)}
        self.kinds = [kind for kind, wanted in asked.items() if wanted]
        self.reports: dict[Kind, Report] = {}
        self.parts = parts_of(self.kinds)
        for part in self.parts:
            self.add_state(part, [], dist_reduce_fx="cat")

    def update(self, predictions: Prediction, truths: list[dict[str, Any]]) -> None:
        """Takes a batch, all in pixels of the original images.

        Args:
            predictions: lists over images: `boxes` (N, 4) xyxy, `scores` (N,), `labels` (N,), 0..C-1, and with
                masks `rle`, N compressed COCO RLE, with keypoints `keypoints` (N, K, 3) x, y, score.
            truths: a dict for each image: `boxes`, `labels`, `rle` and `keypoints` (x, y, visibility) likewise, `crowd`
                bool (M,), `area` (M,).

        Raises:
            ValueError: lengths do not fit, masks of an image differ in size, a label is not one of the classes, or
                a box or score is not finite.
        """
        packed = pack(predictions, truths, "masks" in self.kinds, "keypoints" in self.kinds)
        if packed:
            self._check(packed["found"][:, 5], packed["found"][:, :5], "predictions")
            self._check(packed["true"][:, 4], packed["true"][:, [0, 1, 2, 3, 6]], "truths")
        for part, tensor in packed.items():
            getattr(self, part).append(tensor)

    def compute(self) -> dict[str, Tensor]:
        """The metrics, scalars in float32."""
        images = unpack({part: self._whole(part) for part in self.parts}, self.sigmas)
        metrics = {}
        self.statistics = []
        for kind in self.kinds:
            most = MAX_KEYPOINTS if kind == "keypoints" else self.max_detections
            if self.items:
                self.statistics.append(objects(images, kind, most, self.voc, PREFIX[kind]))
            result = coco.evaluate(images, self.classes, kind, most)
            recall, precision, score = (result.curves[name] for name in ("recall", "precision50", "score50"))
            best = best_threshold(recall, precision, score)
            threshold = best.threshold if best else USUAL
            each = best_of_each(recall, precision, score, threshold)
            more, per_class, errors = self._beyond_coco(images, kind, threshold)
            self.reports[kind] = Report(
                result.per_class | per_class, result.curves, errors, threshold, best is not None, each
            )
            metrics |= {PREFIX[kind] + name: value for name, value in (result.metrics | more).items()}
        return {name: torch.tensor(value, device=self.device) for name, value in metrics.items()}

    def _check(self, labels: Tensor, numbers: Tensor, what: str) -> None:
        if not numbers.isfinite().all():
            raise ValueError(f"boxes, scores or areas of {what} are not finite; has the training diverged?")
        wrong = labels[(labels < 0) | (labels >= self.classes)]
        if len(wrong):
            raise ValueError(f"{what} have label {int(wrong[0])}, but there are {self.classes} classes from 0 on")

    def _beyond_coco(self, images: list[Image], kind: Kind, threshold: float) -> tuple[dict, dict, dict]:
        """Metrics, metrics of each class, and errors of detections from `threshold` on."""
        hits, scores, counts = [], [], np.zeros(len(matching.ERRORS), np.int64)
        for one in images if self.voc or self.dsb2018 or self.errors else ():
            overlap, image = one.overlaps(kind), one._replace(crowd=one.ignored(kind))
            if self.voc:
                hits.append(matching.voc_hits(image, overlap))
            if self.dsb2018:
                scores.append(matching.dsb2018_score(image, overlap, self.confidence))
            if self.errors:
                counts += matching.errors(image, overlap, threshold)
        metrics, per_class, errors = {}, {}, {}
        if self.voc:
            per_class["voc_ap50"], eleven = matching.voc(images, hits, self.classes)
            metrics |= {"voc_ap50": coco.mean(per_class["voc_ap50"]), "voc07_ap50": coco.mean(eleven)}
        if self.dsb2018:
            metrics["dsb2018"] = coco.mean(np.array(scores))
            if self.items:
                self.statistics += means({f"{PREFIX[kind]}dsb2018": np.array([(s, not np.isnan(s)) for s in scores])})
        if self.errors:
            shares = counts / counts.sum() if counts.any() else np.full(len(counts), np.nan)
            errors = dict(zip(matching.ERRORS, zip(counts.tolist(), shares.tolist(), strict=True), strict=True))
        return metrics, per_class, errors

    def _whole(self, part: str) -> Tensor:
        return torch.cat([EMPTY[part], *(tensor.cpu() for tensor in getattr(self, part))])

    def _sync_dist(self, dist_sync_fn: Any = gather_all_tensors, process_group: Any = None) -> None:
        """Puts the states of all processes together, on the CPU; torchmetrics' own cannot, nor knows empty ones."""
        for part in self.parts:
            here = self._whole(part)
            if part == "images":
                sizes = torch.tensor([len(batch) for batch in self.images], dtype=torch.int64)
                here[:, 0] = torch.arange(len(sizes)).repeat_interleave(sizes)  # processes take whole batches in turn
            gathered = dist_sync_fn(here.to(self.device), group=process_group or self.process_group)
            setattr(self, part, [tensor.cpu() for tensor in gathered])
