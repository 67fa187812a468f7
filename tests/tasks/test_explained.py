"""Every family of tasks has a score of its targets with a gradient at the input, and maps of it."""

from functools import partial

import pytest
import torch

from modules.contracts import ConfigError
from modules.heads.detection import FCOS, FasterRCNN
from modules.insight.layers import differentiable, gradients, leaf
from modules.insight.methods import METHODS, Options, usual_methods
from modules.insight.subject import Subject
from tasks import GAN, AutoEncoder, Classification, Detection, SemanticSegmentation, SimCLR, Task, Video
from tests.helpers.errors import refuses

NAMED = {"backbone": "test_resnet", "classes": ["a", "b", "c"]}
INSIDE = torch.tensor([[64, 64], [48, 60]])
TASKS = {
    "classification": lambda: Classification(**NAMED),
    "two stages": lambda: Detection(**NAMED, head=partial(FasterRCNN, hidden=32, score_threshold=0.0)),
    "one stage": lambda: Detection(**NAMED, head=partial(FCOS, score_threshold=0.0)),
    "segmentation": lambda: SemanticSegmentation(**NAMED),
    "video": lambda: Video(**NAMED, frames=4),
    "contrastive": lambda: SimCLR(backbone="test_resnet"),
    "auto-encoder": lambda: AutoEncoder(backbone="test_resnet", image_size=64),
    "gan": lambda: GAN(image_size=64),
}


def seen(task: Task) -> dict:
    """Two images or clips, as the network sees them."""
    image = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    if isinstance(task, GAN):
        return task.network_input({"image": image})
    if isinstance(task, Video):
        return {"video": task.normalized(image[:, :, None].expand(-1, -1, 4, -1, -1))}
    return {"image": task.normalized(image), "inside": INSIDE}


def test_features_are_compared_with_the_image_of_a_file_a_sample_or_the_next_one():
    task, batch = TASKS["contrastive"]().eval(), {"image": torch.randn(3, 3, 64, 64), "id": ["a", "b", "c"]}
    with torch.no_grad():
        assert [one.name for one in task.targets(batch)] == ["b", "c", "a"]
        first, second, third = task.targets(batch, "1")
        given = task.targets(batch | {"reference": batch["image"][1:2].expand(3, -1, -1, -1)}, "b.png")
        scores = task.target_score(batch, given)
    assert second is None and first.name == third.name == "b"  # which is not compared with itself
    assert [one.name for one in given] == ["b.png"] * 3 and torch.allclose(given[0].features, first.features, atol=1e-5)
    assert scores[1].item() == pytest.approx(1, abs=1e-5) and scores[0] < 0.9999
    with refuses(ConfigError, "--target", "3"):
        task.targets(batch, "3")


@pytest.mark.parametrize("name", TASKS)
def test_the_score_of_a_target_has_a_gradient_in_inference_mode_too(name):
    task = TASKS[name]().eval()
    batch = seen(task)
    key = "video" if "video" in batch else "image"
    with torch.inference_mode(), differentiable(task):
        targets = task.targets(batch)
        at = leaf(batch[key])
        score = task.target_score(batch | {key: at}, targets)
        (slope,) = gradients(score, [at])
    assert score.shape == (2,) and slope.isfinite().all() and (slope[1] != 0).any()
    subject = Subject.of(task.target_score, batch, targets, task.explained)
    for method in ("saliency", "gradcam")[: 1 + (subject.backbone is not None)]:
        found = METHODS[method](subject, Options())
        assert len(found) == 2 and found.ndim == batch[key].ndim - 1 and found.isfinite().all()


@pytest.mark.parametrize(("name", "usual"), [("one stage", "layercam"), ("classification", "gradcam")])
def test_boxes_are_explained_by_layercam_of_the_finest_level_unless_another_is_named(name, usual):
    task = TASKS[name]().eval()
    batch = seen(task)
    with torch.no_grad():
        subject = Subject.of(task.target_score, batch, task.targets(batch), task.explained)
    assert usual_methods(subject) == [usual, "integrated_gradients", "occlusion"]
    finest, third, chosen = (METHODS["layercam"](subject, Options(layer)) for layer in ("0", "2", None))
    assert finest.shape == (2, 32, 32) and third.shape == (2, 8, 8)
    assert torch.equal(chosen, finest if usual == "layercam" else third)
    assert METHODS["gradcam"](subject, Options()).shape == third.shape
