"""Set loss of mask queries: equal to transformers' Mask2Former on the same tensors, and to closed forms."""

import math

import pytest
import torch
from torch import Tensor

from modules.heads.queries import Queries
from modules.heads.queries.losses import SetLoss, at, mask_losses, pairwise_costs, uncertain_points

CLASSES, POINTS = 4, 50


def make_targets(*counts: int, ignore: bool = False) -> list[dict[str, Tensor]]:
    """Random segments, so many of each image."""
    found = [{"labels": torch.randint(CLASSES, (n,)), "masks": torch.rand(n, 20, 28) > 0.5} for n in counts]
    return [one | {"ignore": torch.zeros(20, 28, dtype=torch.bool)} for one in found] if ignore else found


def make_answers(images: int = 3, queries: int = 6) -> Queries:
    return Queries(torch.randn(images, queries, CLASSES + 1), 3 * torch.randn(images, queries, 10, 14))


@pytest.mark.parametrize("counts", [(3, 1, 5), (2, 0, 4), (8, 1, 0)], ids=["objects", "an empty image", "too many"])
def test_losses_are_those_of_transformers(counts):
    peer = pytest.importorskip(
        "transformers.models.mask2former.modeling_mask2former", reason="transformers, the peer, is not installed"
    )
    from transformers import Mask2FormerConfig

    torch.manual_seed(0)
    answers, targets = make_answers(), make_targets(*counts)
    config = Mask2FormerConfig(num_labels=CLASSES, train_num_points=POINTS)
    masks, labels = [one["masks"].float() for one in targets], [one["labels"] for one in targets]
    torch.manual_seed(1)
    theirs = peer.Mask2FormerLoss(config, {})(answers.masks, answers.classes, masks, labels)
    torch.manual_seed(1)
    ours = SetLoss(points=POINTS).compute([answers], targets)
    for name, key, weight in (("class", "cross_entropy", 2), ("mask", "mask", 5), ("dice", "dice", 5)):
        torch.testing.assert_close(ours[name], weight * theirs[f"loss_{key}"], atol=1e-5, rtol=1e-5)


def test_losses_are_the_sums_over_the_layers():
    answers, targets = [make_answers() for _ in range(2)], make_targets(3, 1, 5)
    torch.manual_seed(1)
    each = [SetLoss().compute([one], targets) for one in answers]
    torch.manual_seed(1)
    both = SetLoss().compute(answers, targets)
    for name, value in both.items():
        torch.testing.assert_close(value, each[0][name] + each[1][name])


def test_right_answers_are_matched_to_their_segments():
    targets = make_targets(3, 2)
    for target in targets:
        target["masks"] = target["masks"][:, :5, :7].repeat_interleave(4, 1).repeat_interleave(4, 2)
    order = torch.tensor([4, 1, 2])
    classes, masks = torch.zeros(2, 5, CLASSES + 1), torch.full((2, 5, 20, 28), -50.0)
    classes[..., -1] = 50.0
    for image, target in enumerate(targets):
        which = order[: len(target["labels"])]
        masks[image, which] = 100.0 * target["masks"] - 50
        classes[image, which] = 50 * torch.nn.functional.one_hot(target["labels"], CLASSES + 1).float()
    losses, none = (SetLoss().compute([Queries(classes, each)], targets) for each in (masks, torch.zeros_like(masks)))
    assert losses["class"] < 1e-5
    assert losses["dice"] < none["dice"] / 2


def test_certain_and_wrong_costs_more_than_uncertain():
    wanted, weights = torch.ones(1, 4), torch.ones(1, 4)
    bce, dice = mask_losses(torch.zeros(1, 4), wanted, weights)
    assert bce.item() == pytest.approx(math.log(2)) and dice.item() == pytest.approx(1 - 5 / 7)
    worse = mask_losses(torch.full((1, 4), -10.0), wanted, weights)
    assert worse[0] > bce and worse[1] > dice


def test_costs_of_a_pair_are_its_losses():
    logits, wanted = torch.randn(3, 40), (torch.rand(2, 40) > 0.5).float()
    weights = (torch.rand(40) > 0.3).float()
    bce, dice = pairwise_costs(logits, wanted, weights)
    for query in range(3):
        for segment in range(2):
            losses = mask_losses(logits[query][None], wanted[segment][None], weights[None])
            torch.testing.assert_close(torch.stack(losses), torch.stack([bce[query, segment], dice[query, segment]]))


def test_ignored_pixels_change_nothing():
    torch.manual_seed(0)
    answers, targets = make_answers(2), make_targets(3, 2, ignore=True)
    for target in targets:
        target["ignore"][:, 14:] = True
    changed = [one | {"masks": one["masks"].clone()} for one in targets]
    for one in changed:
        one["masks"][..., 15:] = ~one["masks"][..., 15:]  # the column before is seen by points next to it
    found = []
    for each in (targets, changed):
        torch.manual_seed(1)
        found.append(SetLoss(points=POINTS).compute([answers], each))
    assert found[0] == found[1]


@pytest.mark.parametrize("ignore", [False, True])
def test_a_batch_without_segments_teaches_that_there_are_none(ignore):
    answers = Queries(*(values.requires_grad_() for values in make_answers(2)))
    losses = SetLoss().compute([answers], make_targets(0, 0, ignore=ignore))
    assert losses["mask"] == losses["dice"] == 0 and losses["class"] > 0
    sum(losses.values()).backward()
    assert answers.masks.grad is not None and answers.classes.grad.isfinite().all()


def test_points_are_mostly_where_the_mask_is_uncertain():
    masks = (torch.arange(40.0) - 19.5).expand(1, 40, 40)
    places = uncertain_points(masks, 100)
    assert places.shape == (1, 100, 2) and places.min() >= 0 and places.max() <= 1
    near = ((places[0, :75, 0] - 0.5).abs() < 0.25).float().mean()
    assert near == 1
    torch.testing.assert_close(at(masks[None], torch.tensor([[[0.5, 0.5]]])).item(), 0.0)
