"""Keypoints of objects: how often each is labeled, and where they lie outside of their boxes."""

from commands.check.findings import splits_of
from commands.page import Section, Table
from datamodules.detection.box_statistics import places
from datamodules.detection.formats.coco_keypoints import beyond_box
from datamodules.detection.object_data import ObjectDataModule
from modules.contracts import counted
from modules.contracts.keypoints import ABSENT, OCCLUDED, VISIBLE, KeypointLayout

FLAGS = {"visible": VISIBLE, "occluded": OCCLUDED, "not labeled": ABSENT}


def check_keypoints(section: Section, data: ObjectDataModule, layout: KeypointLayout) -> None:
    """Add a table of the visibility of each keypoint, and the objects with keypoints outside of their boxes."""
    rows, beyond = [], []
    for split, (source, indices) in splits_of(data).items():
        images, chosen = places(source, indices)
        images, chosen = images[~source.crowd[chosen]], chosen[~source.crowd[chosen]]
        points = source.keypoints[chosen]
        for k, name in enumerate(layout.names):
            rows.append((split, name, *(f"{(points[:, k, 2] == flag).sum():,}" for flag in FLAGS.values())))
        for image, out in zip(images, beyond_box(points, source.boxes[chosen]), strict=True):
            if out.any():
                names = ", ".join(name for name, far in zip(layout.names, out, strict=True) if far)
                beyond.append(f"{source.id(image)}: {names}")
    section.tables.append(Table(("split", "keypoint", *FLAGS), rows))
    if beyond:
        section.note(f"{counted(len(beyond), 'objects')} with keypoints outside of their boxes", beyond)
