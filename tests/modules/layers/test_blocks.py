"""Convolution blocks against the plain torch operations that they stand for."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from modules.layers.blocks import (
    BatchNorm,
    ConvNormReLU,
    Deformable,
    FusedResizeJoin,
    ResizeJoin,
    TransposedJoin,
    UpBlock,
    convolution,
)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_batch_norm_is_torchs_where_there_are_several_values():
    ours, reference, x = BatchNorm(4), nn.BatchNorm2d(4), torch.randn(1, 4, 1, 2)
    torch.testing.assert_close(ours(x), reference(x))
    torch.testing.assert_close(ours.state_dict(), reference.state_dict())
    torch.testing.assert_close(ours.eval()(x), reference.eval()(x))


def test_batch_norm_of_one_value_takes_its_running_statistics_and_leaves_them():
    norm, x = BatchNorm(3), torch.tensor([3.0, 5.0, 1.0]).view(1, 3, 1, 1)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([1.0, 2.0, 0.0]), atol=1e-5, rtol=0)
    assert norm.running_mean.tolist() == [1.0] * 3
    assert norm.running_var.tolist() == [4.0] * 3


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_a_fresh_deformable_convolution_is_a_plain_one(dilation, bias):
    layer, plain = Deformable(3, 5, dilation=dilation, bias=bias), nn.Conv2d(3, 5, 3, 1, dilation, dilation, bias=bias)
    layer.conv.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 9, 7)
    torch.testing.assert_close(layer(x), plain(x), atol=1e-5, rtol=1e-5)


def test_a_deformable_convolution_learns_where_to_look():
    """Offsets of one pixel to the right make it the plain convolution of the image moved by one to the left."""
    layer, x = Deformable(2, 3), torch.randn(1, 2, 8, 8)
    before = layer(x)
    layer(x).square().sum().backward()
    assert layer.where.weight.grad.abs().sum() > 0
    with torch.no_grad():
        layer.where.bias[1 : 2 * layer.taps : 2] = 1.0  # offsets lie as y, x, y, x, ...
    torch.testing.assert_close(layer(x)[..., :-2], before[..., 1:-1], atol=1e-5, rtol=1e-5)


def test_a_separable_convolution_filters_each_channel_and_mixes_them():
    layer, x = convolution(4, 6, dilation=2, kind="separable"), torch.randn(2, 4, 9, 9)
    each, mix = (part.weight for part in layer)
    kernel = mix.flatten(1)[:, :, None, None] * each.transpose(0, 1)
    torch.testing.assert_close(layer(x), functional.conv2d(x, kernel, padding=2, dilation=2), atol=1e-5, rtol=1e-5)
    assert parameters(layer) == 4 * 9 + 4 * 6


@pytest.mark.parametrize("kind", ["plain", "separable", "deformable"])
@pytest.mark.parametrize(("norm", "bias"), [(True, False), (False, True)])
def test_a_bias_stands_in_for_a_missing_norm(kind, norm, bias):
    block = ConvNormReLU(4, 6, kind=kind, norm=norm)
    keys = [key for key in block.state_dict() if key.startswith("0.") and "where" not in key]
    assert any(key.endswith("bias") for key in keys) == bias
    assert any(isinstance(m, BatchNorm) for m in block) == norm
    assert (block(torch.randn(2, 4, 7, 5)) >= 0).all()


@pytest.mark.parametrize("kernel", [1, 3])
def test_activations_keep_their_scale_through_many_layers_without_norm(kernel):
    x = torch.randn(2, 64, 32, 32)
    deep = nn.Sequential(*[ConvNormReLU(64, 64, kernel, norm=False) for _ in range(10)])
    assert 0.2 < deep(x).square().mean() < 5  # torch's own initialization leaves 1e-8


@pytest.mark.parametrize("finer", [0, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(8, 12), (7, 11), (5, 7)], ids=["double", "odd", "cut"])
def test_the_fused_join_is_resize_cat_and_convolution_with_its_gradients(finer, bias, size):
    def results(join: nn.Module) -> list[torch.Tensor]:
        join.load_state_dict(start)
        inputs = [x.clone().requires_grad_() for x in (coarse, *[fine] * bool(finer))]
        out = join(*inputs) if finer else join(*inputs, None)
        (out * torch.linspace(-1, 1, out.numel()).double().view_as(out)).sum().backward()
        return [out, *(x.grad for x in inputs), *(p.grad for p in join.parameters())]

    coarse, fine = torch.randn(2, 5, 4, 6).double(), torch.randn(2, 3, *size).double()
    fused = FusedResizeJoin(5, finer, 4, 2, bias).double()
    plain, start = ResizeJoin(5, finer, 4, 2, "plain", bias).double(), fused.state_dict()
    for ours, expected in zip(results(fused), results(plain), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_resize_join_repeats_pixels(factor):
    join, x = ResizeJoin(2, 0, 3, factor, "plain", bias=False), torch.randn(1, 2, 3, 5)
    repeated = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    torch.testing.assert_close(join(x, None), functional.conv2d(repeated, join.conv.weight, padding=1))


@pytest.mark.parametrize("size", [(8, 12), (7, 11), (9, 13)], ids=["double", "smaller", "larger"])
def test_a_transposed_join_keeps_the_top_left_corner_in_place(size):
    join, x, finer = TransposedJoin(2, 1, 3, 2, "plain", bias=True), torch.randn(1, 2, 4, 6), torch.zeros(1, 1, *size)
    enlarged = torch.zeros(1, 3, 9, 13)
    enlarged[..., :8, :12] = functional.conv_transpose2d(x, join.enlarge.weight, join.enlarge.bias, stride=2)
    expected = join.conv(torch.cat([enlarged[..., : size[0], : size[1]], finer], 1))
    torch.testing.assert_close(join(x, finer), expected)


@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
@pytest.mark.parametrize("kind", ["plain", "separable", "deformable"])
def test_an_up_block_trains_in_bfloat16(upsampling, kind):
    block = UpBlock(8, 4, 6, upsampling=upsampling, kind=kind).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        out = block(torch.randn(1, 8, 4, 6), torch.randn(1, 4, 8, 12))
    assert out.shape == (1, 6, 8, 12)
    out.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())
