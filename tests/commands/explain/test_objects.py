"""Objects that the maps of explanations are held against."""

import numpy as np
import torch

from commands.explain.images import Explained, neighbors_of
from commands.explain.samples import Samples
from commands.explain.scores import judge
from modules.insight.methods import Options
from modules.insight.subject import Subject
from modules.insight.targets import Box

SPACE = (12, 16)


def explained() -> Explained:
    """Two boxes: one with a neighbor that it overlaps a little, one alone."""
    targets = [Box(torch.tensor([0.0, 0, 8, 8]), 0, 0.9), Box(torch.tensor([8.0, 4, 16, 12]), 1, 0.8)]
    boxes = [torch.tensor([[0.0, 0, 8, 9], [6, 0, 16, 8]]), torch.tensor([[8.0, 4, 16, 12]])]
    subject = Subject(torch.ones(2, 3, *SPACE), lambda inputs, rows: inputs.mean((1, 2, 3)))
    samples = Samples("test", ["a", "b"], {"boxes": boxes}, [np.zeros((*SPACE, 3), np.uint8)] * 2, [])
    return Explained(samples, targets, ["cat", "dog"], subject, {}, Options(), [])


def test_neighbors_of_a_box_are_the_other_objects_without_it():
    first, second = neighbors_of(explained())
    assert second is None and first is not None
    assert first.sum() == 8 * 8 and first[:8, 8:].all()


def test_energy_in_neighbors_is_of_the_samples_that_have_some():
    found = explained()
    maps = torch.zeros(2, *SPACE)
    maps[0, 0, 6:10] = 1  # half in the box, half beside it
    objects = {"": [None, torch.ones(SPACE, dtype=torch.bool)], "neighbor_": neighbors_of(found)}
    measured = judge(found.subject, {"saliency": maps}, objects, lambda name: maps, 0, 0)
    values = measured.values["saliency"]
    assert values["neighbor_energy"].tolist() == [0.5]
    assert values["neighbor_energy_ratio"].tolist() == [1.5]  # a third of the area
    assert measured.known["neighbor_energy"] == [0] and measured.known["energy"] == [1]
    rows = {row.metric: row.value for row in measured.results("test", ["a", "b"])}
    assert rows["test/saliency_neighbor_energy"] == 0.5 and "test/center_neighbor_energy" not in rows
