import numpy as np
import torch

from callbacks.figures.heat import heat_overlay
from commands.evaluate.maps import activation
from modules.backbones import Timm
from modules.insight.attention import attention


@torch.no_grad()
def test_attention_is_that_of_the_class_token_in_the_last_block():
    backbone = Timm("test_vit").eval()
    image, seen = torch.randn(2, 3, 96, 64), []
    last = backbone.net.blocks[-1].attn
    hook = last.qkv.register_forward_hook(lambda *args: seen.append(args[-1]))
    before = backbone(image)[-1]
    hook.remove()
    queries, keys, _ = seen[0].unflatten(2, (3, last.num_heads, -1)).permute(2, 0, 3, 1, 4)
    weights = (queries @ keys.transpose(-2, -1) * last.scale).softmax(-1)
    expected = weights[:, :, 0, 1:].mean(1).unflatten(1, (6, 4))
    assert torch.allclose(attention(backbone, image), expected, atol=1e-6)
    assert last.fused_attn and torch.allclose(backbone(image)[-1], before, atol=1e-5)  # all as it was


def test_networks_without_a_class_token_have_no_attention_of_it():
    assert attention(Timm("test_resnet"), torch.randn(1, 3, 64, 64)) is None


def test_activation_finds_the_cells_that_stand_out_on_the_coarsest_map_that_is_fine_enough():
    fine, middle, coarse = torch.zeros(2, 4, 16, 16), 0.01 * torch.randn(2, 8, 8, 8), torch.zeros(2, 16, 4, 4)
    middle[0, 3, 5, 2] = 9
    heat, level = activation([fine, middle, coarse])
    assert level == 1 and heat.shape == (2, 8, 8)
    assert heat.argmax().item() == 5 * 8 + 2
    assert activation([coarse])[1] == 0


def test_overlay_is_brightest_where_the_map_is_high():
    heat = torch.zeros(4, 4)
    heat[1, 2] = 1
    drawn = heat_overlay(np.full((16, 16, 3), 100, np.uint8), heat)
    assert drawn.shape == (16, 16, 3) and drawn.dtype == np.uint8
    row, column = np.unravel_index(drawn.sum(2).argmax(), (16, 16))
    assert 4 <= row < 8 and 8 <= column < 12
