"""Average precision and recall of resampled images, from the matches of their detections."""

from collections.abc import Iterator

import numpy as np

from modules.metrics.bootstrap.statistic import Statistic

RECALLS = np.linspace(0, 1, 101)  # COCO's own: some differ from hundredths in their last digit
AREAS = ("", "_small", "_medium", "_large")
IOU50, IOU75 = 0, 5  # of .50:.05:.95
COLUMNS = 32  # resamples at once, whose weights stay in the processor's cache


class Objects(Statistic):
    """COCO's metrics, and Pascal VOC's if asked, of N images with D detections and G true objects.

    A detection of an image that occurs several times counts as often, as if that image stood in the set several times.
    The results are those of an evaluation of such a set, but detections of equal scores in different images keep their
    order. T are the IoU .50:.05:.95, A all areas and COCO's small, medium and large.

    Args:
        prefix: before the names of the metrics.
        limits: of detections per class and image, ascending; the last is that of AP.
        image: int64 (D,), the item of each detection; within an image those of higher scores come first.
        label: int64 (D,).
        score: float64 (D,).
        rank: int64 (D,), number of detections of its class and image with higher scores.
        inside: bool (D, A), whether the detection's own area counts.
        close: int64 (M,), detections that match an object in some way; `hits` are theirs.
        hits: int8 (M, A, T): 1 matched, 0 not, -1 matched with a crowd or an object of another area.
        true_image: int64 (G,).
        true_label: int64 (G,).
        true_inside: bool (G, A), objects to be found.
        voc: int8 (D,), as `matching.voc_hits` says; empty when not asked.
    """

    kind = "objects"

    def __init__(self, prefix: str, limits: list[int], **arrays: np.ndarray):
        self.prefix, self.limits, self.held = prefix, limits, arrays

    def arrays(self) -> dict[str, np.ndarray]:
        return {"prefix": np.array(self.prefix), "limits": np.array(self.limits), **self.held}

    @classmethod
    def of(cls, **arrays: np.ndarray) -> "Objects":
        return cls(str(arrays.pop("prefix")), arrays.pop("limits").tolist(), **arrays)

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        blocks = range(0, len(counts), COLUMNS)
        parts = [self._values(np.ascontiguousarray(counts[i : i + COLUMNS].T, dtype=np.float64)) for i in blocks]
        return {self.prefix + name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _values(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Metrics (R,) of images that count with weights (N, R)."""
        found = [self._of_class(*part, weights) for part in self._classes()]
        if not found:
            return {}
        precision, recall, voc = (np.stack(part) for part in zip(*found, strict=True))  # (K, A, T, R), (K, L, T, R), ..
        with np.errstate(invalid="ignore"):
            areas = {f"map{area}": _mean(precision[:, i]) for i, area in enumerate(AREAS)}
            values = areas | {"map50": _mean(precision[:, 0, IOU50]), "map75": _mean(precision[:, 0, IOU75])}
            values |= {f"mar_{limit}": _mean(recall[:, i]) for i, limit in enumerate(self.limits)}
            if len(self.held["voc"]):
                values |= {"voc_ap50": _mean(voc[:, 0]), "voc07_ap50": _mean(voc[:, 1])}
        return values

    def _classes(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each class with true objects its detections, by falling scores, and its true objects."""
        held = self.held
        places = np.full(len(held["label"]), -1)
        places[held["close"]] = np.arange(len(held["close"]))
        for label in np.unique(held["true_label"]):
            found = np.flatnonzero(held["label"] == label)
            found = found[np.argsort(-held["score"][found], kind="stable")]
            yield found, places[found], np.flatnonzero(held["true_label"] == label)

    def _of_class(
        self, found: np.ndarray, places: np.ndarray, true: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """AP (A, T, R), highest recall (L, T, R), VOC's two AP (2, R) of one class; nan without objects to find."""
        held = self.held
        every, objects = weights[held["image"][found]], weights[held["true_image"][true]]
        wanted = held["true_inside"][true].T.astype(np.float64) @ objects  # (A, R)
        voc = self._voc(found, every, wanted[0])
        ranks = held["rank"][found]
        counted = ranks < self.limits[-1]
        found, places, ranks, every = (part[counted] for part in (found, places, ranks, every))
        close = np.flatnonzero(places >= 0)
        hits, inside = held["hits"][places[close]], held["inside"][found]
        precision = np.zeros((*hits.shape[1:], weights.shape[1]))
        for area in range(len(precision)):
            total = np.cumsum(every * inside[:, area, None], 0)[close]
            for iou in range(hits.shape[2]):
                matched = np.flatnonzero(hits[:, area, iou])  # few of many
                hit = hits[matched, area, iou] == 1
                if hit.any():
                    near, of = every[close[matched]], total[matched]
                    change = hit.astype(np.int8) - inside[close[matched], area]  # what counts, beside the area's own
                    if change.any():
                        of = of + np.cumsum(near * change[:, None], 0)
                    precision[area, iou] = interpolated(*_curve(near[hit], of[hit], wanted[area]), RECALLS)
        precision = np.where(wanted[:, None] > 0, precision, np.nan)
        first = ranks[close] < np.array(self.limits)[:, None]  # (L, M)
        right = (first[:, None] & (hits[:, 0].T == 1)).astype(np.float64) @ every[close]
        return precision, np.where(wanted[0] > 0, right / np.maximum(wanted[0], 1), np.nan), voc

    def _voc(self, found: np.ndarray, every: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        if not len(self.held["voc"]):
            return np.zeros((2, every.shape[1]))
        hit = self.held["voc"][found]
        right, total = np.flatnonzero(hit == 1), np.cumsum(every * (hit >= 0)[:, None], 0)
        if not right.size:
            return np.where(wanted > 0, np.zeros((2, 1)), np.nan)
        recall, precision = _curve(every[right], total[right], wanted)
        area = (np.diff(recall, prepend=0, axis=0) * precision).sum(0)
        return np.where(wanted > 0, [area, interpolated(recall, precision, np.arange(11) / 10)], np.nan)


def _curve(weights: np.ndarray, total: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall, and the highest precision from there on, (H, R), at each of H hits.

    Args:
        weights: (H, R), of the hits by falling scores.
        total: (H, R), weight of all detections down to that hit.
        wanted: (R,), weight of the true objects.
    """
    right = np.cumsum(weights, 0)
    precision = right / np.maximum(total, 1)
    return right / np.maximum(wanted, 1), np.maximum.accumulate(precision[::-1], 0)[::-1]


def interpolated(recall: np.ndarray, precision: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Mean (R,) of the precision at given recalls, (H, R) both as `_curve` gives them; 0 where it is not reached.

    Args:
        recall: ascending.
        precision: at these.
        recalls: P + 1 of them, 0 to 1, at equal distances.
    """
    reached = np.floor((len(recalls) - 1) * recall + 1e-6).astype(np.int16)
    reached -= recalls[reached] > recall  # number of recalls above 0 that each hit reaches
    return (np.diff(reached, prepend=-1, axis=0) * precision).sum(0) / len(recalls)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over all axes but the last of what is a number; nan where nothing is."""
    flat = values.reshape(-1, values.shape[-1])
    known = np.isfinite(flat)
    return np.where(known, flat, 0).sum(0) / known.sum(0)
