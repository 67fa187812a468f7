"""`predict --onnx` on its own: images that go together."""

from pathlib import Path

import pytest

from commands.export.predict import BATCH, together

SIDE = 5000


@pytest.mark.parametrize(
    ("shapes", "counts"),
    [
        ([(40, 30)] * (BATCH + 1), [BATCH, 1]),
        ([(1, SIDE), (SIDE, 1)] * 2, [2, 2]),  # padded to a square each time
        ([(3000, 4000)] * 6, [5, 1]),
        ([(10_000, 10_000), (1, 1), (1, 1)], [1, 2]),
    ],
)
def test_images_go_together_as_far_as_they_have_room(shapes, counts):
    images = [Path(f"{i}.png") for i in range(len(shapes))]
    parts = list(together(images, shapes))
    assert [len(part) for part in parts] == counts
    assert [path for part in parts for path in part] == images
