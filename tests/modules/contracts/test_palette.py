"""Pascal VOC's color map, against the values its development kit publishes."""

from modules.contracts.palette import palette


def test_classes_have_the_colors_of_pascal_voc():
    colors = palette(256)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: colors[index] for index in known} == known
    assert colors[255] == (224, 224, 192)


def test_all_256_colors_differ_and_few_classes_take_the_first():
    assert len(set(palette(256))) == 256
    assert palette(21) == palette(256)[:21]
    assert palette(0) == []
