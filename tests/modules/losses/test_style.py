"""Losses of style transfer equal their closed forms."""

import pytest
import torch

from modules.losses.style import content_loss, gram, style_loss


def test_a_gram_matrix_is_divided_by_c_h_w():
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]], [[0.0, -1.0]]]])  # C 3, H 1, W 2
    wanted = torch.tensor([[[5.0, 11.0, -2.0], [11.0, 25.0, -4.0], [-2.0, -4.0, 1.0]]]) / 6
    torch.testing.assert_close(gram(maps), wanted)
    repeated = maps.repeat(1, 1, 5, 7)  # the same texture on a larger area
    torch.testing.assert_close(gram(repeated), wanted)


def test_the_style_loss_is_relative_to_the_norm_of_the_style_and_a_mean_over_levels():
    maps = [torch.rand(2, 4, 5, 6), torch.rand(2, 8, 3, 3)]
    targets = [gram(torch.rand(1, 4, 9, 9)), gram(torch.rand(1, 8, 2, 2))]
    ratios = [(gram(m) - t).flatten(1).norm(dim=1) ** 2 / t.norm() ** 2 for m, t in zip(maps, targets, strict=True)]
    torch.testing.assert_close(style_loss(maps, targets), torch.stack(ratios).mean(0))
    assert style_loss(maps, [gram(m) for m in maps]).tolist() == [0, 0]
    assert style_loss([torch.zeros_like(m) for m in maps], targets).tolist() == pytest.approx([1, 1])


def test_the_content_loss_is_relative_to_the_content():
    target = torch.rand(3, 4, 5, 6)
    assert content_loss(target, target).tolist() == [0, 0, 0]
    assert content_loss(1.5 * target, target).tolist() == pytest.approx([0.25] * 3)
