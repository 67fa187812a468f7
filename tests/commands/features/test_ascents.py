"""Gradient ascent through a generator: images begin at the class whose score is highest, and answer more in the end."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from commands.features.ascents import Ascent, by_direction


class Painter(nn.Module):
    """Generates images of one color by class: its channel is as bright as the first number of the noise is large."""

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        color = one_hot(label, 3) * noise[:, :1].sigmoid()
        return 2 * color[..., None, None].expand(-1, -1, 4, 4) - 1


def test_images_of_a_conditional_generator_begin_at_the_class_that_answers_most():
    generator = SimpleNamespace(
        averaged=None, generator=Painter(), condition="projection", classes=["red", "green", "blue"], latent=5
    )
    subject = SimpleNamespace(images=torch.zeros(1, 3, 8, 8), enter=lambda x: x)
    wanted = torch.eye(3)[[2, 0]]  # of blue and of red
    found = by_direction(subject, lambda x: x, wanted, ["b", "r"], Ascent(steps=12, jitter=0), generator)
    assert [caption.rpartition(" (as ")[2] for caption in found.captions] == ["blue)", "red)"]
    for image, channel, caption in zip(found.images, (2, 0), found.captions, strict=True):
        assert image.shape == (8, 8, 3) and image[..., channel].min() > 0
        after, before = (
            float(word.strip("()")) for word in caption.split() if word.strip("()").replace(".", "").isdigit()
        )
        assert after > before
