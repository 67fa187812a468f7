"""Attribution maps equal captum's, and closed forms where captum has none."""

import numpy as np
import pytest
import torch
from torch import nn

from modules.backbones import Timm
from modules.contracts import ConfigError
from modules.insight.attention import attention, rolled_out, rollout
from modules.insight.cams import CAMS, at_layer, cam, eigencam, gradcam_plus_plus
from modules.insight.gradients import gradient, gradient_x_input, integrated_gradients, saliency, smoothgrad
from modules.insight.perturbation import occlusion, random_masks, rise
from modules.insight.subject import Subject
from tests.helpers.errors import refuses

attr = pytest.importorskip("captum.attr", reason="captum is a peer of development")
TARGETS = torch.tensor([2, 0])


class Small(nn.Module):
    """Two convolutions and a classifier of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, stride=2), nn.Conv2d(6, 8, 3)
        self.fc = nn.Linear(8, 3)

    def forward(self, image):
        return self.fc(self.second(self.first(image).relu()).relu().mean((2, 3)))


@pytest.fixture
def network() -> nn.Module:
    return Small().eval()


@pytest.fixture
def subject(network) -> Subject:
    def score(inputs, rows):
        return network(inputs).gather(1, TARGETS[rows][:, None])[:, 0]

    return Subject(torch.randn(2, 3, 20, 24), score, network, at_once=5)


def close(ours, theirs) -> bool:
    return torch.allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_gradients_equal_captum(network, subject):
    image = subject.inputs
    assert close(saliency(subject), attr.Saliency(network).attribute(image, TARGETS).amax(1))
    assert close(gradient_x_input(subject), attr.InputXGradient(network).attribute(image.clone(), TARGETS))
    assert close(
        integrated_gradients(subject, 20),
        attr.IntegratedGradients(network).attribute(image, target=TARGETS, n_steps=20),
    )


def test_integrated_gradients_add_up_to_the_difference_of_the_scores(subject):
    found = integrated_gradients(subject, 200).flatten(1).sum(1)
    scores = [subject.scores(inputs, subject.rows) for inputs in (subject.inputs, torch.zeros_like(subject.inputs))]
    assert torch.allclose(found, scores[0] - scores[1], atol=1e-3)


def test_smoothgrad_without_noise_is_saliency(subject):
    assert torch.allclose(smoothgrad(subject, 2, 0.0), saliency(subject), atol=1e-6)
    assert torch.equal(smoothgrad(subject, 3), smoothgrad(subject, 3))


@pytest.mark.parametrize("layer", ["first", "second"])
def test_class_activation_maps_equal_captum(network, subject, layer):
    module = getattr(network, layer)
    theirs = attr.LayerGradCam(network, module).attribute(subject.inputs, TARGETS, relu_attributions=True)
    assert close(cam(subject, CAMS["gradcam"], layer), theirs[:, 0])
    product = attr.LayerGradientXActivation(network, module).attribute(subject.inputs, TARGETS)
    activation = attr.LayerActivation(network, module).attribute(subject.inputs)
    expected = ((product / activation).relu() * activation).sum(1).relu()
    assert close(cam(subject, CAMS["layercam"], layer), expected)


def test_gradcam_plus_plus_of_one_channel_and_eigencam_of_one_direction():
    activation, gradient = torch.rand(1, 1, 2, 2), torch.rand(1, 1, 2, 2) - 0.3
    alpha = gradient**2 / (2 * gradient**2 + activation.sum() * gradient**3)
    weight = (alpha * gradient.clamp(min=0)).sum()
    assert torch.allclose(gradcam_plus_plus(activation, gradient), (weight * activation[:, 0]).relu())
    strength, direction = torch.rand(1, 3, 4), torch.rand(5)
    found = eigencam(strength[:, None] * direction.view(1, 5, 1, 1))
    assert torch.allclose(found, strength * direction.norm(), atol=1e-4)


@pytest.mark.parametrize(("patch", "stride"), [((4, 4), (4, 4)), ((5, 7), (3, 4)), ((20, 24), (1, 1))])
def test_occlusion_equals_captum(network, subject, patch, stride):
    theirs = attr.Occlusion(network).attribute(
        subject.inputs, (3, *patch), strides=(3, *stride), target=TARGETS, perturbations_per_eval=1
    )
    assert close(occlusion(subject, patch, stride), theirs[:, 0])


def test_windows_that_do_not_fit_are_refused(subject):
    with refuses(ConfigError, "--patch", "25", "24"):
        occlusion(subject, (4, 25), (4, 4))
    with refuses(ConfigError, "--stride", "5", "4"):
        occlusion(subject, (4, 4), (4, 5))


def test_rise_finds_the_pixels_that_a_score_adds_up():
    def score(inputs, rows):
        return inputs[:, :, 2:6, 12:16].mean((1, 2, 3))

    found = rise(Subject(torch.ones(1, 3, 16, 16), score), masks=400)
    row, column = np.unravel_index(int(found[0].argmax()), (16, 16))
    assert 1 <= row < 7 and column >= 11
    masks = random_masks(200, (16, 17), 7, 0.5, torch.Generator().manual_seed(0))
    assert masks.shape == (200, 16, 17) and masks.min() >= 0 and masks.max() <= 1
    assert abs(float(masks.mean()) - 0.5) < 0.03


def test_rollout_equals_a_case_by_hand():
    first = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    second = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    # halves with the identity: [[.75 .25] [0 1]] and [[.6 .4] [.5 .5]]; their product, the second on the left
    expected = torch.tensor([[0.45, 0.55], [0.375, 0.625]])
    heads = torch.stack([first, first])[None], torch.stack([second + 0.1, second - 0.1])[None]
    assert torch.allclose(rolled_out(heads)[0], expected)


@torch.no_grad()
def test_rollout_of_a_network_is_that_of_its_class_token():
    backbone, image = Timm("test_vit").eval(), torch.randn(2, 3, 64, 32)
    found = rollout(backbone, image)
    assert found.shape == attention(backbone, image).shape == (2, 4, 2)
    assert (found > 0).all() and (found.sum((1, 2)) < 1).all()


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "test_mambaout"])
def test_a_level_of_every_kind_of_backbone_has_a_gradient(name):
    backbone = Timm(name).eval()
    head = nn.Linear(backbone.features.pooled, 3)
    network = nn.ModuleDict({"backbone": backbone, "head": head})

    def score(inputs, rows):
        return head(backbone.pool(backbone(inputs)))[:, 1]

    subject = Subject(torch.randn(2, 3, 64, 96), score, network, backbone)
    for layer in ("-1", None):
        activation, slope = at_layer(subject, layer)
        assert activation.shape == slope.shape and (slope != 0).any()
    level = backbone(subject.inputs)[-1]
    assert at_layer(subject, "-1")[0].shape[2:] == level.shape[2:]
    with refuses(ConfigError, "--layer", "7"):
        at_layer(subject, "7")


def test_methods_on_feature_maps_say_what_a_network_lacks(subject):
    with refuses(ConfigError, "Small", "--layer"):
        at_layer(subject)
    with refuses(ConfigError, "--layer", "fc", "no map"):
        at_layer(subject, "fc")
    with torch.inference_mode():
        assert (gradient(subject) != 0).any()
