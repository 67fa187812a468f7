"""Style transfer: network of several styles, colors, loss network, optimization, built-in styles."""

import numpy as np
import pytest
import torch
from PIL import Image

from modules.backbones import UNetEncoder, by_name
from modules.contracts import ConfigError, DataError
from modules.style import StyleFeatures, StyleNorm, StyleWeights, TransformerNet, keep_color, stylize
from modules.style.builtin import BUILT_IN, read_style
from modules.style.color import YIQ, match_colors, match_luminance
from tests.helpers.errors import refuses


def tiny() -> UNetEncoder:
    torch.manual_seed(0)
    return UNetEncoder(channels=(8, 12, 16), norm=False).eval().requires_grad_(False)


def test_the_network_has_the_papers_parameters_and_keeps_any_size():
    assert sum(p.numel() for p in TransformerNet().parameters()) == 1_679_235
    net = TransformerNet(2, width=4, blocks=1).eval()
    for size in ((16, 20), (21, 33)):
        image = torch.rand(1, 3, *size)
        made = net(image, torch.tensor([[0.5, 0.5]]))
        assert made.shape == image.shape and made.min() >= 0 and made.max() <= 1


def test_a_mixture_of_styles_mixes_scales_and_shifts():
    norm, x = StyleNorm(4, 2), torch.rand(3, 4, 5, 5)
    torch.nn.init.normal_(norm.scale)
    torch.nn.init.normal_(norm.shift)
    first, second, half = (norm(x, torch.tensor(share).expand(3, 2)) for share in ([1.0, 0], [0, 1.0], [0.5, 0.5]))
    torch.testing.assert_close(half, (first + second) / 2)
    torch.testing.assert_close(first.mean((2, 3)), norm.shift[0].expand(3, 4), atol=1e-4, rtol=0)


def test_instance_norm_looks_at_each_image_alone_and_batch_norm_does_not():
    x = torch.rand(2, 4, 5, 5)
    for norm, alone in (("instance", True), ("batch", False)):
        layer, mix = StyleNorm(4, 1, norm).train(), torch.ones(2, 1)
        assert torch.allclose(layer(x, mix)[:1], layer(x[:1], mix[:1]), atol=1e-5) == alone


def test_colors_of_the_content_are_kept():
    torch.manual_seed(0)
    style, content = torch.rand(1, 3, 30, 40) ** 2, 0.3 + 0.4 * torch.rand(1, 3, 20, 20)
    moved = match_colors(style, content).flatten(2)[0]
    torch.testing.assert_close(moved.mean(1), content.flatten(2)[0].mean(1), atol=2e-3, rtol=0)
    torch.testing.assert_close(moved.cov(), content.flatten(2)[0].cov(), atol=2e-3, rtol=0)
    table = torch.tensor(YIQ)
    made = keep_color(content * 0.9, content)
    luminance, chroma = (torch.einsum("ij,bjhw->bihw", table, one) for one in (made, content))
    torch.testing.assert_close(luminance[:, 1:], chroma[:, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(luminance[:, 0], 0.9 * chroma[:, 0], atol=1e-5, rtol=0)
    gray = match_luminance(style, content)
    assert gray.shape == style.shape and gray[:, 0].mean().item() == pytest.approx(chroma[:, 0].mean().item(), abs=0.02)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_an_image_takes_on_a_style_in_inference_mode_too(solver):
    features, content = StyleFeatures(tiny()), torch.rand(1, 3, 24, 32)
    style = features.style(torch.rand(1, 3, 20, 20) * torch.tensor([1.0, 0.5, 0.1]).view(1, 3, 1, 1))
    losses = []
    with torch.inference_mode():
        made = stylize(
            features, content.clone(), style, StyleWeights(), steps=80, solver=solver, lr=0.05,
            each=lambda step, found, image: losses.append(found["style"]),
        )  # fmt: skip
    assert len(losses) == 80 and losses[-1] < losses[0] / (100 if solver == "lbfgs" else 20)
    assert made.shape == content.shape and made.min() >= 0 and made.max() <= 1
    last = features.losses(made, style, features.content(content))["style"].item()
    assert last == pytest.approx(losses[-1], rel=0.5)  # clipping at the end takes nothing away


def test_levels_that_a_backbone_lacks_are_named():
    for levels, content in (([0, 3], None), (None, 7), ([], None)):
        with refuses(ConfigError, "level"):
            StyleFeatures(tiny(), levels, content)
    with refuses(ConfigError, "r3d_18"):
        StyleFeatures(by_name("r3d_18"))


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_styles_are_the_same_each_time(name):
    one = read_style(name, 48)
    assert one.shape == (48, 48, 3) and one.std() > 30
    assert np.array_equal(one, read_style(name, 48))


def test_a_style_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    for path in (tmp_path / "text.jpg", tmp_path / "cut.png", tmp_path / "missing.jpg", tmp_path, "strokse"):
        with refuses(DataError, "model.styles", path):
            read_style(str(path), 32)
