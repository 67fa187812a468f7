"""Vision Transformers for clips: learning of motion."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modules.backbones import VideoViT


def moving_squares(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips (count, 3, 4, 32, 32) of a square that leaves on one side and enters on the other; 1 is to the right.

    It starts anywhere, so that no single frame tells the class.
    """
    direction = torch.randint(0, 2, (count,), generator=generator)
    start = 32 * torch.rand(2, count, 1, generator=generator)
    column = start[0] + 3 * torch.arange(4) * (2 * direction[:, None] - 1)
    pixels = torch.arange(32)
    across, down = (
        ((pixels - place[..., None] + 16) % 32 - 16).abs() < 5 for place in (column, start[1].expand(-1, 4))
    )
    frames = 2.0 * (across[:, :, None] & down[..., None])
    return frames[:, None].expand(-1, 3, -1, -1, -1), direction


@pytest.mark.slow
def test_motion_that_no_frame_tells_is_learned_from_scratch():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network, classifier = VideoViT("test_vit", 32, options={"patch_size": 8}).net, nn.Linear(64, 2)
    optimizer = torch.optim.AdamW([*network.parameters(), *classifier.parameters()], lr=0.002)
    for _ in range(100):
        video, direction = moving_squares(32, generator)
        loss = cross_entropy(classifier(network(video).mean(1)), direction)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    video, direction = moving_squares(200, generator)
    with torch.no_grad():
        assert (classifier(network(video).mean(1)).argmax(1) == direction).float().mean() > 0.9
