"""Operations written otherwise for onnxruntime give torch's own numbers, and leave what they do not cover."""

import pytest
import torch
from torch.nn.functional import conv_transpose2d

from modules.export import decompositions


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (2, 2, 0), (3, 3, 1), (6, 2, 2)])
def test_a_transposed_convolution_by_its_phases(kernel, stride, padding):
    image, weight, bias = torch.randn(2, 5, 7, 6), torch.randn(5, 3, kernel, kernel), torch.randn(3)
    typed = (image, weight, bias, (stride, stride), (padding, padding))
    assert torch.allclose(decompositions.conv_transpose2d(*typed), conv_transpose2d(*typed), atol=1e-4)


def test_other_operations_stay_as_they_are():
    image, weight = torch.randn(1, 2, 4, 4), torch.randn(2, 2, 3, 3)
    assert decompositions.conv_transpose2d(image, weight, None, (2, 2)) is NotImplemented  # 3 is no multiple of 2
    assert decompositions.conv_transpose2d(image, weight) is NotImplemented
    assert decompositions.softmax(image, -1) is NotImplemented
    assert torch.allclose(decompositions.softmax(image, 1), image.softmax(1), atol=1e-6)
