"""The graph of a video classifier, run by torch, answers as the task predicts."""

import pytest
import torch

from modules.export.preprocess import CenterCrop
from tasks import Video


@pytest.mark.parametrize("fusion", ["early", "slow", "gru"])
def test_a_graph_of_clips_answers_as_the_task(fusion):
    task = Video(backbone="test_resnet", classes=["a", "b", "c"], frames=4, fusion=fusion).eval()
    graph = task.graphs(CenterCrop(32))["model"]
    clips = torch.randint(256, (3, 4, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        label, scores = graph.module(clips)
        video = task.normalized(clips.permute(0, 4, 1, 2, 3))
        wanted = task.predict_step({"video": video, "id": ["x", "y", "z"]}, 0)
        wide, _ = graph.module(torch.cat([clips[:, :, :, :2], clips, clips[:, :, :, :2]], 3))
    torch.testing.assert_close(scores, wanted["scores"], rtol=0, atol=1e-6)
    assert torch.equal(label, wanted["label"]) and torch.equal(wide, label)  # the centered square
