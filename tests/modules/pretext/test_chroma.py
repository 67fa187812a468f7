import numpy as np
import pytest
import torch

from modules.backbones import by_name
from modules.backbones.stem import see_gray
from modules.pretext.chroma import COLORS, LEVELS, chroma, chroma_counts


def pixels(*values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values).T.reshape(1, 3, 1, len(values))


def test_brightness_changes_no_color_of_gray_and_the_corners_of_the_cube_differ():
    gray = chroma(pixels((0, 0, 0), (0.3, 0.3, 0.3), (1, 1, 1), (0.5, 0.52, 0.49)))
    assert (gray == LEVELS // 2 * LEVELS + LEVELS // 2).all()
    vivid = chroma(pixels((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)))
    assert len(set(vivid.flatten().tolist())) == 6
    assert chroma(torch.rand(2, 3, 9, 9)).max() < COLORS


@pytest.mark.parametrize("cells", [(2, 2), (3, 2), (1, 1)])
def test_counts_are_those_of_a_loop(cells):
    colors = chroma(torch.rand(2, 3, 7, 8, generator=torch.Generator().manual_seed(0)))
    counts = chroma_counts(colors, cells)
    expected = np.zeros((2, COLORS, *cells))
    for image, row, column in np.ndindex(2, 7, 8):
        color = int(colors[image, row, column])
        expected[image, color, row * cells[0] // 7, column * cells[1] // 8] += 1
    np.testing.assert_array_equal(counts.numpy(), expected)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_byobnet"])
def test_a_network_that_sees_gray_does_with_gray_what_it_did(name):
    torch.manual_seed(0)
    net = by_name(name, False, 0.0, 32).eval()
    size = net.net.default_cfg["input_size"][-1]
    image = torch.randn(2, 3, size, size)
    gray = image.mean(1, keepdim=True).expand_as(image)
    with torch.no_grad():
        before = net(gray)[-1]
        assert not torch.allclose(net(image)[-1], before, atol=1e-3)
        see_gray(net)
        torch.testing.assert_close(net(gray)[-1], before, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(net(image)[-1], before, rtol=1e-3, atol=1e-3)
