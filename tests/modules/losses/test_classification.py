"""The asymmetric loss of several classes at once."""

import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch.nn.functional import binary_cross_entropy_with_logits

from modules.losses.classification import asymmetric_loss

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)) * 3
TAGS = (torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.3).float()


@pytest.mark.parametrize("gamma", [(0.0, 4.0), (1.0, 4.0)])
def test_asymmetric_loss_and_its_gradient_are_those_of_timm(gamma):
    peer = AsymmetricLossMultiLabel(
        gamma_pos=gamma[0], gamma_neg=gamma[1], clip=0.05, disable_torch_grad_focal_loss=True
    )
    found, expected = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    asymmetric_loss(found, TAGS, gamma).backward()
    (peer(expected, TAGS) / TAGS.shape[1]).backward()  # a sum over classes there
    assert asymmetric_loss(LOGITS, TAGS, gamma).item() == pytest.approx(peer(LOGITS, TAGS).item() / TAGS.shape[1])
    assert torch.allclose(found.grad, expected.grad, atol=1e-7)


def test_without_exponents_and_margin_it_is_binary_cross_entropy():
    expected = binary_cross_entropy_with_logits(LOGITS, TAGS)
    assert asymmetric_loss(LOGITS, TAGS, (0.0, 0.0), 0.0).item() == pytest.approx(expected.item(), rel=1e-5)
