"""Patches that activate a channel most: a planted pattern is cut out where it lies."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from commands.features.ascents import Ascent, read_direction
from commands.features.command import chosen
from commands.features.patches import Peaks, cut_out, peaks, selective, top_patches
from modules.contracts import ConfigError, DataError
from modules.insight.ascent import OptimizedImage
from modules.insight.maps_of import as_map
from tests.helpers.errors import refuses

CROSS = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]])
PLACES = {3: (20, 4), 5: (9, 13), 8: (0, 21)}


@pytest.fixture
def planted():
    """Noise with a cross in three images, at left and top of `PLACES`, and a network that looks for crosses."""
    images = torch.randint(0, 60, (10, 1, 24, 32), dtype=torch.uint8)
    for index, (left, top) in PLACES.items():
        images[index, 0, top : top + 3, left : left + 3] = (200 * CROSS).byte()
    network = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
    with torch.no_grad():
        network[0].weight[1, 0] = CROSS - 0.5
    subject = SimpleNamespace(images=images, task=network, enter=lambda x: x.to(torch.float32) / 255)
    subject.batches = lambda images: [subject.enter(part) for part in images.split(4)]
    return subject


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_planted_pattern_is_cut_out_where_it_lies(planted, weight):
    with torch.no_grad():
        planted.task[0].weight[0] *= weight
    found = peaks(planted, planted.task)
    patches = top_patches(planted, planted.task, found, [1], 3)[1]
    assert {patch.index for patch in patches} == set(PLACES)
    for patch in patches:
        x, y = PLACES[patch.index]
        left, top, right, bottom = patch.box
        assert left <= x and top <= y and x + 3 <= right and y + 3 <= bottom  # the whole cross
        assert right - left <= 4 and bottom - top <= 4  # and no more than the cell sees
        part = cut_out(planted.images[patch.index].movedim(0, -1).numpy(), patch)
        assert part.max() == 200 and part.shape[:2] == (bottom - top, right - left)
    assert sorted(selective(found, 2)) == ([0, 1] if weight else [1])  # a dead channel is not chosen


def test_a_cell_that_sees_everything_is_framed():
    image = np.zeros((8, 8, 3), np.uint8)
    found = Peaks(torch.ones(1, 1), torch.zeros(1, 1).long(), torch.ones(1, 1).long(), (2, 2))
    subject = SimpleNamespace(images=torch.zeros(1, 3, 8, 8), enter=lambda x: x)
    subject.task = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample(2), nn.Conv2d(3, 1, 1))
    ((patch,),) = top_patches(subject, subject.task, found, [0], 1).values()
    assert patch.box == (0, 0, 8, 8) and patch.cell == (4, 0, 8, 4)
    framed = cut_out(image, patch)
    assert framed[0, 4:, 0].tolist() == [255] * 4 and not framed[5:].any() and not image.any()


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 5, 4, 4), (2, 5, 4, 4)),
        ((6, 5, 4, 4), (2, 5, 4, 4)),
        ((2, 5, 3, 4, 4), (2, 5, 4, 4)),
        ((2, 4, 4, 5), (2, 5, 4, 4)),
        ((2, 17, 5), (2, 5, 4, 4)),
        ((2, 5), (2, 5, 1, 1)),
    ],
)
def test_outputs_of_any_kind_become_maps(shape, wanted):
    assert as_map(torch.zeros(shape), 2).shape == wanted
    tokens = torch.arange(17.0).view(1, 17, 1).expand(1, 17, 5)
    assert as_map(tokens, 1)[0, 0].flatten().tolist() == list(range(1, 17))


def test_tokens_of_an_oblong_image_become_its_grid():
    tokens = torch.arange(46.0).view(1, 46, 1)  # a class token and 5 x 9 cells
    cells = as_map(tokens, 1, (40, 72))
    assert cells.shape == (1, 1, 5, 9) and cells[0, 0, 1, 0] == 10
    assert as_map(torch.zeros(2, 5, 9, 3), 2, (40, 72)).shape == as_map(torch.zeros(2, 3, 5, 9), 2, (40, 72)).shape
    with refuses(ConfigError, "--layer", 119):
        as_map(torch.zeros(1, 119, 2), 1)


@pytest.mark.parametrize("typed", ["", ",", "3,,4", "-3", "1,-3", "x", "0", "5,5", "9,", "1.5"])
def test_channels_that_do_not_exist_are_refused(typed):
    with refuses(ConfigError, "--channels"):
        chosen(typed, Peaks(torch.rand(4, 9), *[torch.zeros(4, 9).long()] * 2, (1, 1)))


def test_a_number_with_a_comma_is_a_channel_and_without_how_many():
    found = Peaks(torch.rand(4, 9), *[torch.zeros(4, 9).long()] * 2, (1, 1))
    assert chosen("3,", found) == [3] and chosen("3, 7", found) == [3, 7]
    assert len(chosen("3", found)) == 3 and len(chosen("300", found)) == 9


def test_settings_of_ascent_fit_the_images_and_end_in_numbers():
    Ascent(jitter=7, blur=2).check_size(8, 20)
    with refuses(ConfigError, "--jitter", 8):
        Ascent(jitter=8).check_size(8, 20)
    with refuses(ConfigError, "--blur", 2.5):
        Ascent(blur=2.5).check_size(8, 20)
    with refuses(DataError, "--lr", "nan"):
        Ascent(steps=4).climb(OptimizedImage((1, 3, 8, 8)), lambda x: torch.nan * x.mean((1, 2, 3)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"numbers"])
def test_a_direction_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / "direction.npy").write_bytes(content)
    with refuses(DataError, "--direction", "direction.npy"):
        read_direction(str(tmp_path / "direction.npy"), 3)
