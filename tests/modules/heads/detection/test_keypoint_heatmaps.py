"""Objects as points: heat maps by hand, and decoding of what the targets ask for."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from modules.contracts import Features
from modules.heads.detection import KeypointHeatmaps
from modules.heads.detection.keypoint_heatmaps import focal_loss, gaussians, peaks, snapped

STRIDE, SIZE = 4, 64
MAPS = [torch.zeros(1, 8, SIZE // STRIDE, SIZE // STRIDE)]
INSIDE = torch.tensor([[SIZE, SIZE]])


def head(classes: int = 2, count: int = 3) -> KeypointHeatmaps:
    made = KeypointHeatmaps(Features([8], [STRIDE]), classes, channels=8)
    made.make_keypoints(count)
    return made


def target() -> dict[str, Tensor]:
    boxes = torch.tensor([[5.0, 6.0, 30.0, 41.0], [33.0, 20.0, 61.0, 50.0]])
    points = [[[6, 7, 2], [29, 30.5, 1], [0, 0, 0]], [[40, 21, 2], [60, 45, 2], [35.2, 49, 1]]]
    return {"boxes": boxes, "labels": torch.tensor([1, 0]), "keypoints": torch.tensor(points)}


class Fixed(nn.Module):
    """A branch that says the same of every image."""

    def __init__(self, maps: Tensor):
        super().__init__()
        self.maps = nn.Parameter(maps)

    def forward(self, _: Tensor) -> Tensor:
        return self.maps[None]


def perfect() -> KeypointHeatmaps:
    """A head whose branches have learned one image by heart."""
    made = head()
    for name, outputs in {"center": 2, "heat": 3, "box": 4, "offset": 6, "refine": 2}.items():
        setattr(made, name, Fixed(torch.zeros(outputs, *MAPS[0].shape[2:])))
    optimizer = torch.optim.Adam(made.parameters(), 0.3)
    for _ in range(150):
        _, losses = made(torch.zeros(1, 3, SIZE, SIZE), MAPS, INSIDE, [target()])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.98
    return made.eval()


def test_objects_and_keypoints_that_are_learned_by_heart_are_found():
    found = perfect()(torch.zeros(1, 3, SIZE, SIZE), MAPS, INSIDE)[0][0]
    expected = target()
    sure = found["scores"] > 0.5
    assert sure.sum() == 2
    order = found["labels"][sure].argsort(descending=True)
    assert found["labels"][sure][order].tolist() == [1, 0]
    torch.testing.assert_close(found["boxes"][sure][order], expected["boxes"], atol=0.5, rtol=0)
    labeled = expected["keypoints"][..., 2] > 0
    points = found["keypoints"][sure][order]
    torch.testing.assert_close(points[labeled][:, :2], expected["keypoints"][labeled][:, :2], atol=0.5, rtol=0)
    assert (points[labeled][:, 2] > 0.5).all()


def test_losses_are_five_and_finite_without_objects():
    none = {key: value[:0] for key, value in target().items()}
    found, losses = head()(torch.zeros(1, 3, SIZE, SIZE), MAPS, INSIDE, [none])
    assert found == [] and set(losses) == {"center", "keypoint", "box", "keypoint_offset", "refine"}
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["box"] == losses["refine"] == 0


def test_a_heat_map_is_one_at_its_points_falls_around_and_keeps_the_highest_of_two():
    cells, sigma = torch.tensor([[3, 2], [5, 2], [1, 1]]), torch.ones(3, 2)
    heat = gaussians(cells, sigma, torch.tensor([0, 0, 1]), torch.zeros(2, 6, 8))
    assert heat[0, 2, 3] == heat[0, 2, 5] == heat[1, 1, 1] == 1
    assert heat[0, 2, 4].item() == pytest.approx(torch.tensor(-0.5).exp().item())
    assert all(a > b for a, b in pairwise(heat[1, 1, 1:].tolist()))


def test_the_focal_loss_is_that_of_the_paper():
    logits, heat = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.5]])
    p = logits.sigmoid()[0]
    expected = -((1 - p[0]) ** 2 * p[0].log() + 0.5**4 * p[1] ** 2 * (1 - p[1]).log())
    torch.testing.assert_close(focal_loss(logits, heat), expected)


def test_peaks_are_the_highest_of_their_neighbors():
    heat = torch.zeros(2, 5, 5)
    heat[1, 2, 3], heat[1, 2, 2], heat[0, 0, 0] = 0.9, 0.8, 0.5
    scores, cells, channels = peaks(heat, 2)
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.5]))
    assert cells.tolist() == [[3, 2], [0, 0]] and channels.tolist() == [1, 0]


def test_a_keypoint_moves_to_a_near_peak_and_stays_where_none_is():
    heat, refine = torch.full((1, 8, 8), 0.01), torch.full((2, 8, 8), 0.25)
    heat[0, 2, 3] = 0.9
    points = torch.tensor([[[3.9, 2.9]], [[7.5, 7.5]]])
    found = snapped(points, heat, refine, torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(found, torch.tensor([[[3.25, 2.25, 0.9]], [[7.5, 7.5, 0.01]]]))


def test_padding_finds_nothing():
    made = perfect()
    found = made(torch.zeros(1, 3, SIZE, SIZE), MAPS, torch.tensor([[SIZE, 32]]))[0][0]
    sure = found["scores"] > 0.5
    assert found["labels"][sure].tolist() == [1] and (found["boxes"][:, 2] <= 32).all()
