"""Facts about backbones by name."""

import pytest

from commands.backbones.facts import Facts, has_weights, origin
from tests.helpers.errors import assert_named


@pytest.mark.parametrize(
    ("name", "millions", "giga"),
    [("resnet50", 23.508, 4.09), ("torchvision/resnet18", 11.177, 1.81), ("vgg16", 14.715, 15.35)],
)
def test_parameters_and_macs_are_those_of_the_papers(name, millions, giga):
    facts = Facts(name)
    assert facts.parameters / 1e6 == pytest.approx(millions, abs=1e-3)
    assert facts.macs / 1e9 == pytest.approx(giga, abs=0.01)  # without classifier


def test_a_network_that_computes_what_it_is_built_of_has_facts_too():
    assert Facts("regnet_y_400mf").backbone.features.strides == [2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("name", "smallest", "only"),
    [
        ("resnet18", 32, False),
        ("inception_v3", 75, False),
        ("vit_tiny_patch16_224", 16, False),
        ("mixer_s16_224", 224, True),
        ("torchvision/swin_t", 32, False),
    ],
)
def test_sizes_that_it_takes(name, smallest, only):
    facts = Facts(name)
    assert (facts.smallest, facts.fixed) == (smallest, only)


def test_a_network_that_computes_with_numbers_has_the_facts_that_shapes_tell():
    facts = Facts("gemma4_vit_167m")
    assert facts.macs is None and not facts.fixed
    assert_named(facts.tasks()[0], "768 x 768")


def test_maps_of_networks_without_padding_have_the_cells_that_are_left():
    assert Facts("lenet5").cells == [(28, 28), (10, 10), (1, 1)]
    assert Facts("resnet18").cells == [(side, side) for side in (112, 56, 28, 14, 7)]


def test_options_are_those_that_build():
    assert Facts("resnet18").options == [
        "--model.small_images true",
        "--model.drop_path 0.1",
        "--model.output_stride 16",
        "--model.output_stride 8",
    ]
    assert Facts("squeezenet1_1").options == ["--model.small_images true"]


@pytest.mark.parametrize(
    ("name", "sizes", "pyramid"),
    [
        ("resnet18", [32], False),
        ("vit_tiny_patch16_224", [16], True),
        ("mixer_s16_224", ["224 x 224", "image_size"], True),
    ],
)
def test_tasks_that_it_fits(name, sizes, pyramid):
    whole, dense, video = Facts(name).tasks()
    assert_named(whole, "classification", "pretraining", *sizes)
    assert_named(dense, "segmentation", "detection")
    assert ("ViTDet" in dense) == pyramid
    assert_named(video, "video")


def test_a_network_for_clips_fits_videos_alone():
    (line,) = Facts("r3d_18").tasks()
    assert_named(line, "tasks/video.yaml")


@pytest.mark.parametrize(
    ("name", "where", "weights"),
    [
        ("resnet18", ("timm", "resnet"), True),
        ("torchvision/resnet18", ("torchvision", "resnet"), True),
        ("squeezenet1_1", ("torchvision", "squeezenet"), True),
        ("resnetv2_18", ("timm", "resnetv2"), None),
        ("c3d", ("graft", "c3d"), False),
    ],
)
def test_where_it_comes_from(name, where, weights):
    assert origin(name) == where
    assert weights is None or has_weights(name) == weights
