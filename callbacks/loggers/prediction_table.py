"""Tables of predictions with images for W&B, with boxes and maps as its own overlays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from callbacks.collectors.base import Collector, arrays, name_text, visible
from callbacks.collectors.text import TextCollector, decoded

MOST_BOXES = 50  # of an image


def prediction_table(collector: Collector, task: Any) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the sample that a collector has gathered, of any kind of prediction."""
    rows = list(_sentences(collector) if isinstance(collector, TextCollector) else _samples(collector, task))
    columns = list(rows[0]) if rows else ["id"]
    return columns, [[row[name] for name in columns] for row in rows]


def _sentences(collector: TextCollector) -> Iterator[dict[str, Any]]:
    import wandb

    for place in collector.chosen["predictions"]:
        one, image = collector.sentences[place], collector.inputs[place].image
        row: dict[str, Any] = {"id": one.id}
        row |= {"source": one.source} if image is None else {"image": wandb.Image(decoded(image))}
        yield row | {"prediction": one.said, "true": "\n".join(one.true), collector.metric: collector.scores[place]}


def _samples(collector: Collector, task: Any) -> Iterator[dict[str, Any]]:
    """Samples by the keys that collectors keep of them, see their `update`."""
    import wandb

    kept, classes = collector.sample.kept(), task.classes or []
    names, images = dict(enumerate(classes)), kept["image"] if "image" in kept else _middle(kept["video"])
    if images.is_floating_point():
        images = visible(images.to(task.backbone.mean.device), task.backbone)
    images = arrays(images)
    for i, (image, name) in enumerate(zip(images, kept["name"].numpy(), strict=True)):
        height, width = kept["inside"][i].tolist() if "inside" in kept else image.shape[:2]
        row: dict[str, Any] = {"id": name_text(name)}
        image = image[:height, :width]
        if "confidence" in kept:
            true, said = (classes[kept[key][i]] for key in ("true", "predicted"))
            row |= {"image": wandb.Image(image), "true": true, "prediction": said, "right": true == said}
            row["confidence"] = kept["confidence"][i].item()
        elif "found" in kept:
            parts = {"true": kept["true"][i], "prediction": kept["found"][i]}
            boxes = {key: _boxes(part, names, key == "prediction") for key, part in parts.items()}
            row["image"] = wandb.Image(image, boxes=boxes)
            row |= {key: len(value["box_data"]) for key, value in boxes.items()}
        elif "predicted" in kept:
            maps = {"true": kept["true"], "prediction": kept["predicted"]}
            masks = {key: _mask(value[i, :height, :width].numpy(), names) for key, value in maps.items()}
            row |= {"image": wandb.Image(image, masks=masks)}
            row |= {"mIoU": kept["iou"][i].item(), "pixel accuracy": kept["accuracy"][i].item()}
        else:
            row["image"] = wandb.Image(image)
        if "made" in kept:
            row |= {"prediction": wandb.Image(arrays(kept["made"])[i]), "error": kept["error"][i].item()}
        yield row


def _middle(clips: Tensor) -> Tensor:
    """Middle frames (B, C, H, W) of clips (B, C, T, H, W)."""
    return clips[:, :, clips.shape[2] // 2]


def _boxes(objects: Tensor, names: dict[int, str], scored: bool) -> dict[str, Any]:
    """Objects for wandb.Image; `objects` (N, 6) are box xyxy in pixels, class (-1 for none), and score if `scored`."""
    rows = [row for row in objects.tolist() if row[4] >= 0][:MOST_BOXES]
    keys = ("minX", "minY", "maxX", "maxY")
    data = [
        {
            "position": dict(zip(keys, row[:4], strict=True)),
            "domain": "pixel",
            "class_id": int(row[4]),
            "box_caption": f"{names[int(row[4])]} {row[5]:.2f}" if scored else names[int(row[4])],
            "scores": {"score": row[5] if scored else 1.0},
        }
        for row in rows
    ]
    return {"box_data": data, "class_labels": names}


def _mask(labels: np.ndarray, names: dict[int, str]) -> dict[str, Any]:
    return {"mask_data": labels, "class_labels": names | {255: "ignored"}}
