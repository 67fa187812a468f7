"""QueryMasks: masked attention, its annealing, any pyramid, memorizing, empty images, resumed draws."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, Features
from modules.heads.queries import QueryMasks
from modules.heads.queries.attention import Annealing, Attention, outside
from modules.heads.queries.surplus import Surplus
from tests.helpers.errors import refuses

FEATURES = Features([8, 16, 24], [4, 8, 16])
SMALL = {"queries": 6, "width": 32, "layers": 2}


class See(nn.Module):
    """A pyramid of three maps by one convolution each."""

    def __init__(self, features: Features = FEATURES):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, c, s, s) for c, s in zip(*features, strict=True))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [layer(image) for layer in self.layers]


def targets(*counts: int) -> list[dict[str, Tensor]]:
    return [{"labels": torch.randint(3, (n,)), "masks": torch.rand(n, 32, 48) > 0.5} for n in counts]


@pytest.mark.parametrize("features", [FEATURES, Features([8], [16]), Features([8, 8, 8, 8, 8], [2, 4, 8, 16, 32])])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_any_pyramid_gets_answers_in_float32(features, half):
    head = QueryMasks(features, 3, **SMALL).eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=half), torch.inference_mode():
        answers, losses = head(torch.randn(2, 3, 64, 96), See(features))
    stride = 16 if len(features.strides) == 1 else 4
    assert answers.classes.shape == (2, 6, 4) and answers.masks.shape == (2, 6, 64 // stride, 96 // stride)
    assert answers.classes.dtype == answers.masks.dtype == torch.float32 and losses == {}


def test_a_query_never_attends_to_nothing():
    masks = torch.full((1, 3, 8, 8), -5.0)
    masks[0, 1, :4] = 5.0
    blocked = outside(masks, (4, 4))
    assert blocked.shape == (1, 3, 16)
    assert not blocked[0, 0].any() and not blocked[0, 2].any()
    assert blocked[0, 1].tolist() == [False] * 8 + [True] * 8
    found = Attention(8, 2)(torch.randn(1, 3, 8), *[torch.randn(1, 16, 8)] * 2, blocked)
    assert found.isfinite().all()


def test_a_query_sees_nothing_of_what_is_blocked():
    attention, query, memory = Attention(8, 2), torch.randn(1, 2, 8), torch.randn(1, 6, 8)
    blocked = torch.zeros(1, 2, 6, dtype=torch.bool)
    blocked[0, 0, 3:] = True
    other = torch.cat([memory[:, :3], torch.randn(1, 3, 8)], 1)
    before, after = (attention(query, x, x, blocked) for x in (memory, other))
    torch.testing.assert_close(before[0, 0], after[0, 0])
    assert (before[0, 1] - after[0, 1]).abs().max() > 1e-3


def test_masking_fades_layer_after_layer_and_is_off_in_the_end():
    masking, masks = Annealing(3), torch.full((1, 1000, 4, 4), -1.0)
    masks[..., 0, 0] = 1.0
    seen = []
    for progress in (0.0, 0.2, 0.3, 0.5, 0.8, 1.0):
        masking.set_progress(progress)
        seen.append(masking.probability.tolist())
    assert seen[0] == seen[1] == [1, 1, 1] and seen[2] == pytest.approx([0.5**0.9, 1, 1])
    assert seen[3] == pytest.approx([0, 0.5**0.9, 1]) and seen[4] == seen[5] == [0, 0, 0]
    masking.set_progress(0.3)
    share = masking(0, masks, (4, 4)).any(2).float().mean().item()
    assert share == pytest.approx(0.5**0.9, abs=0.06)
    assert masking.eval()(0, masks, (4, 4)).any(2).all()  # above 0.5
    assert masking.active(0) and masking.train().active(0)
    masking.set_progress(0.35)
    assert masking.active(0) and not masking.eval().active(0)
    fixed = Annealing(3, anneal=False)
    fixed.set_progress(1.0)
    assert fixed.probability.tolist() == [1, 1, 1]


def test_the_progress_of_masking_is_in_the_weights():
    head, other = QueryMasks(FEATURES, 3, **SMALL), QueryMasks(FEATURES, 3, **SMALL)
    head.set_progress(0.4)
    other.load_state_dict(head.state_dict())
    assert other.masking.known == pytest.approx(head.masking.known) and head.masking.known[0] < 1


@pytest.mark.parametrize("counts", [(2, 0), (0, 0), (9, 1)], ids=["an empty image", "an empty batch", "too many"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_losses_are_finite_and_no_parameter_is_left_out(counts, half):
    head, see = QueryMasks(FEATURES, 3, **SMALL), See()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        _, losses = head(torch.randn(2, 3, 32, 48), see, targets(*counts))
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    assert [name for name, value in head.named_parameters() if value.grad is None] == []
    assert all(value.grad.isfinite().all() for value in head.parameters())


def test_more_segments_than_queries_are_counted_once():
    head, see = QueryMasks(FEATURES, 3, **SMALL), See()
    with pytest.warns(UserWarning, match="9 objects.* 6: 3 of them"):
        head(torch.randn(2, 3, 32, 48), see, targets(9, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head(torch.randn(2, 3, 32, 48), see, targets(8, 1))
    assert Surplus(6).line(np.array([2, 6])) is None
    line = Surplus(6).line(np.array([2, 9, 6])) or ""
    assert "1 training image of 3" in line and "3 of 17 objects" in line


def test_draws_follow_from_the_random_state():
    head, see, image, truth = QueryMasks(FEATURES, 3, **SMALL), See(), torch.randn(2, 3, 32, 48), targets(2, 3)
    head.set_progress(0.4)
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        found.append(sum(head(image, see, truth)[1].values()))
    assert torch.equal(*found)


@pytest.mark.parametrize("anneal", [True, False])
def test_two_images_are_memorized(anneal):
    torch.manual_seed(0)
    image, truth = torch.zeros(2, 3, 32, 48), targets(2, 1)
    places = iter([(0, 0, 16, 16), (8, 24, 28, 44), (12, 8, 32, 24)])
    for shown, target in zip(image, truth, strict=True):
        target["labels"], target["masks"] = torch.arange(len(target["labels"])), torch.zeros_like(target["masks"])
        for label, mask in zip(target["labels"], target["masks"], strict=True):
            top, left, bottom, right = next(places)
            shown[label, top:bottom, left:right], mask[top:bottom, left:right] = 1.0, True
    head, see, steps = QueryMasks(FEATURES, 3, points=200, anneal=anneal, **SMALL), See(), 120
    optimizer = torch.optim.AdamW([*see.parameters(), *head.parameters()], 3e-3)
    for step in range(steps):
        head.set_progress(step / steps)
        loss = sum(head(image, see, truth)[1].values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    answers, _ = head.eval()(image, see)
    for classes, masks, target in zip(*answers, truth, strict=True):
        best = classes.softmax(1)[:, target["labels"]].max(0)
        assert best.values.min() > 0.5
        drawn = nn.functional.interpolate(masks[best.indices][None], (32, 48), mode="bilinear")[0] > 0
        overlap = (drawn & target["masks"]).sum((1, 2)) / (drawn | target["masks"]).sum((1, 2))
        assert overlap.min() > 0.6


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"width": 30}, ("head.width", 30)),
        ({"queries": 0}, ("head.queries", 0)),
        ({"points": 0}, ("head.points", 0)),
        ({"no_object": 2.0}, ("head.no_object", 2)),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, names):
    with refuses(ConfigError, *names):
        partial(QueryMasks, **SMALL | settings)(FEATURES, 3)
