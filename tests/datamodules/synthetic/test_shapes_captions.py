"""The built-in captions: true, several an image, the same everywhere."""

import re

import numpy as np
import pytest

from datamodules import ShapesCaptions
from datamodules.synthetic.render import render
from datamodules.synthetic.shapes import FIRST
from datamodules.synthetic.shapes_captions import SLANTED, drawn_at, said
from datamodules.synthetic.world import COLORS, SHAPES

THING = r"an? (\w+) (\w+)"
PLAIN = re.compile(rf"{THING} lies ([\w ]+?) {THING}\.")
TURNED = re.compile(rf"([\w ]+?) {THING} there is {THING}\.")


def read(caption: str) -> tuple[tuple[str, str], str, tuple[str, str]]:
    """Parse a caption to (thing, place, other thing), independently of the code that writes captions."""
    text = caption[0].lower() + caption[1:]
    if found := PLAIN.fullmatch(text):
        *thing, word, color, shape = found.groups()
        return tuple(thing), word, (color, shape)
    word, color, shape, *thing = TURNED.fullmatch(text).groups()
    return tuple(thing), word, (color, shape)


def small(**settings) -> ShapesCaptions:
    return ShapesCaptions(**{"train": 30, "val": 10, "test": 10, "workers": 0, "batch_size": 10} | settings)


def test_captions_agree_with_the_pixels():
    for index in range(40):
        drawn = drawn_at(index)
        _, ids = render(drawn, 96)
        middles = {}
        for number, thing in enumerate(drawn.things, 1):
            rows, columns = np.nonzero(ids == number)
            middles[list(COLORS)[thing.color], SHAPES[thing.shape]] = (columns.mean(), rows.mean())
        captions = said(drawn)
        assert len(set(captions)) == len(captions) >= 4
        for caption in captions:
            thing, word, other = read(caption)
            right, down = (here - there for here, there in zip(middles[thing], middles[other], strict=True))
            along, across = {
                "right of": (right, down),
                "left of": (-right, down),
                "below": (down, right),
                "above": (-down, right),
            }[word]
            # the visible part of a thing has another middle than all of it
            assert along > -4 and along * SLANTED > abs(across) - 20, (index, caption)


def test_every_image_has_four_captions_or_eight_and_splits_share_no_image():
    data = small()
    data.setup()
    counts = {len(captions) for split in data.splits for captions in data.references(split)}
    assert counts == {4, 8}
    images = [image.tobytes() for source, _ in data.splits.values() for image in source.images]
    assert len(set(images)) == 50


def test_no_thing_is_cut_off():
    data = small()
    data.setup()
    shown = [drawn_at(FIRST["train"] + i) for i in range(200)]
    whole = [s for s in shown if all(0.4 * t.size <= min(t.x, 1 - t.x, t.y, 1 - t.y) for t in s.things)]
    assert len(whole) < len(shown)
    expected = np.stack([render(s, 64)[0] for s in whole[:30]])
    assert np.array_equal(data.splits["train"][0].images, expected)


def test_more_training_images_change_neither_the_first_nor_other_splits():
    few, many = small(), small(train=40)
    few.setup()
    many.setup()
    for split in ("train", "val", "test"):
        count = len(few.references(split))
        assert few.references(split) == many.references(split)[:count]
        assert np.array_equal(few.splits[split][0].images, many.splits[split][0].images[:count])


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_the_number_of_workers(workers):
    one, other = small(), small(workers=workers)
    one.setup()
    other.setup()
    for before, after in zip(one.train_dataloader(), other.train_dataloader(), strict=True):
        assert before["id"] == after["id"] and before["image"].equal(after["image"])
        assert before["target"].equal(after["target"])


def test_the_most_frequent_caption_is_no_good_caption():
    data = ShapesCaptions(workers=0)
    data.image_size = 8  # captions are the same
    data.setup()
    assert all(0.1 < data.commonest(split) < 0.35 for split in ("val", "test"))
