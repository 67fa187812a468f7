"""`python cli.py backbones`."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.errors import assert_named


def test_without_a_pattern_there_is_a_line_for_each_family(graft, capsys):
    assert graft("backbones") == (0, "")
    lines = capsys.readouterr().out.splitlines()
    resnet = next(line for line in lines if line.startswith("timm ") and " resnet " in line)
    assert "resnet18" in resnet
    assert any(line.startswith("torchvision") and "squeezenet1_0" in line for line in lines)
    assert "families" in lines[-2]


def test_a_pattern_lists_sizes_and_maps(graft, capsys):
    assert graft("backbones", "resnet1[48]")[0] == 0
    heading, *rows, note = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["name", "library"] and "maps depend on" in note
    (row,) = (line for line in rows if line.startswith("resnet18 "))
    wanted = "resnet18 timm 11.18 1.81 224 yes 2 4 8 16 32 64 64 128 256 512"
    assert row.split() == wanted.split()


@pytest.mark.parametrize("columns", [80, 120])
def test_families_fit_the_terminal(graft, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    graft("backbones")
    lines = capsys.readouterr().out.splitlines()
    assert columns - 20 < max(map(len, lines)) <= columns


def test_small_networks_have_numbers_too(graft, capsys):
    graft("backbones", "lenet5")
    assert "lenet5 graft 0.051 0.00064 32 no 1 2 4 6 16 120".split() == capsys.readouterr().out.splitlines()[1].split()


def test_part_of_a_name_is_a_pattern(graft, capsys):
    assert graft("backbones", "squeezenet1")[0] == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == ["squeezenet1_0", "squeezenet1_1"]


@pytest.mark.usefixtures("drawn_figures")
def test_describe_draws_the_pyramid_and_says_what_it_fits(graft, capsys, tmp_path):
    assert graft("backbones", "squeezenet1_1", "--describe", "--out", "drawn")[0] == 0
    said = capsys.readouterr().out
    assert_named(said, "segmentation", "detection", "--model.small_images true")
    image = np.asarray(Image.open(tmp_path / "drawn" / "squeezenet1_1.png"))
    assert image.shape[1:] == (1000, 3) and abs(len(image) - 460) <= 1  # matplotlib's versions round differently
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["renset18"], ["renset18", "resnet18"]),
        (["zzz*"], ["zzz*"]),
        (["resnet*", "--describe"], ["resnet*", "resnet50"]),
        (["--describe"], ["--describe", "NAME"]),
        (["a", "b"], ["b"]),
    ],
)
def test_what_does_not_exist_is_named_with_the_nearest(refused, argv, names):
    refused(2, ["backbones", *argv], *names)
