"""DeepDream: the rule of the gradient, growth of a layer, sizes and refusals."""

import pytest
import torch

from modules.backbones import UNetEncoder, by_name
from modules.contracts import ConfigError
from modules.insight.dream import Activation, Dream, dream, film, sizes, zoomed
from tests.helpers.errors import refuses


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return UNetEncoder(channels=(8, 12, 16), norm=False).eval()


def test_the_gradient_at_the_layer_is_the_activation_itself(backbone):
    image = torch.rand(1, 3, 24, 24)
    found = Activation(backbone, "1")
    with torch.inference_mode():  # as in predict
        gradient, score = found.gradient(image)
    at = image.clone().requires_grad_()
    half = found(at).square().sum() / 2
    torch.testing.assert_close(gradient, torch.autograd.grad(half, at)[0])
    assert score == pytest.approx(found(image).square().mean().item()) and gradient.abs().max() > 0


@pytest.mark.parametrize(("layer", "channel"), [(None, None), ("2.0", None), ("backbone.net.1", 3)])
def test_a_layer_sees_more_of_what_it_sees(backbone, layer, channel):
    image, found = 0.4 + 0.2 * torch.rand(1, 3, 40, 48), Activation(backbone, layer, channel)
    before = found.gradient(image)[1]
    made = dream(found, image, Dream(octaves=2, steps=4, jitter=4), smallest=16)
    assert made.shape == image.shape and made.min() >= 0 and made.max() <= 1
    assert found.gradient(made)[1] > 1.5 * before


def test_a_film_goes_on_from_frame_to_frame(backbone):
    frames = list(film(Activation(backbone), torch.rand(1, 3, 24, 24), 3, 1.1, Dream(1, steps=1)))
    assert len(frames) == 3 and all(frame.shape == (1, 3, 24, 24) for frame in frames)
    assert not torch.equal(frames[0], frames[1])


def test_octaves_end_at_the_image_and_begin_where_the_network_can_see():
    assert sizes((100, 200), Dream(octaves=3, octave_scale=2), 30) == [(50, 100), (100, 200)]
    assert sizes((20, 20), Dream(), 32) == [(20, 20)]
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 2:6, 2:6] = 1
    assert zoomed(edge, 2).min() == 1 and torch.equal(zoomed(edge, 1), edge)


def test_layers_and_channels_that_do_not_exist_are_named(backbone):
    with refuses(ConfigError, "layr1", "layer1"):
        Activation(by_name("test_resnet"), "layr1")
    with refuses(ConfigError, "--channel", "15"):
        Activation(backbone, "2", 16)(torch.rand(1, 3, 16, 16))
    with refuses(ConfigError, "r3d_18"):
        Activation(by_name("r3d_18"))
