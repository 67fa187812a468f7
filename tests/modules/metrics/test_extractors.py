"""Features of classifiers: those of a checkpoint are the task's own, those trained on the spot know their images."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from modules.contracts import ConfigError, DataError
from modules.metrics import extractors
from modules.metrics.extractors import from_checkpoint, train, untrained
from tasks import Classification, SimCLR
from tests.helpers.errors import assert_named, refuses


def saved(task: L.LightningModule, batch: dict, path):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_steps=1, accelerator="cpu", **quiet)
    trainer.fit(task, DataLoader([batch], batch_size=None, collate_fn=dict))
    trainer.save_checkpoint(path, weights_only=False)
    return task.eval()


def colored(count: int, size: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose brightest channel is their class."""
    label = torch.arange(count) % 3
    noise = torch.randint(0, 120, (count, 3, size, size))
    return (noise + 135 * torch.nn.functional.one_hot(label, 3)[:, :, None, None]).to(torch.uint8), label


@pytest.mark.parametrize("small", [False, True])
def test_the_extractor_of_a_checkpoint_sees_what_its_task_does(tmp_path, small):
    task = Classification(classes=["a", "b", "c"], backbone="test_resnet", small_images=small)
    image, label = colored(8, 32)
    saved(task, {"image": image.clone(), "label": label}, tmp_path / "task.ckpt")
    model = from_checkpoint(tmp_path / "task.ckpt")
    features, probabilities = model(image)
    normalized = task.backbone.normalize(image)
    torch.testing.assert_close(features, task.features(normalized))
    torch.testing.assert_close(probabilities, task(normalized).softmax(1))
    assert model.classes == ["a", "b", "c"] and model.suffix == "-test_resnet"


def test_checkpoints_of_other_tasks_and_other_files_are_refused(tmp_path):
    views = [torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8) for _ in range(2)]
    saved(SimCLR(backbone="test_resnet"), {"views": views}, tmp_path / "simclr.ckpt")
    with refuses(ConfigError, tmp_path / "simclr.ckpt", "SimCLR", "Classification", "Linear"):
        from_checkpoint(tmp_path / "simclr.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with refuses(DataError, tmp_path / "text.ckpt"):
        from_checkpoint(tmp_path / "text.ckpt")


def test_a_classifier_that_is_trained_here_knows_images_it_has_not_seen(monkeypatch):
    monkeypatch.setattr(extractors, "STEPS", 30)
    torch.manual_seed(0)
    model = untrained(["red", "green", "blue"], 20)
    train(model, *colored(90))
    image, label = colored(30)
    assert not model.training
    assert (model(image)[1].argmax(1) == label).float().mean() > 0.9


def test_training_is_the_same_every_time_and_leaves_the_global_generator_alone(monkeypatch):
    monkeypatch.setattr(extractors, "STEPS", 3)
    image, label = colored(20)
    results = []
    for noise in (1, 2):
        torch.manual_seed(0)
        model = untrained(["red", "green", "blue"], 20)
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        results.append({k: v.clone() for k, v in train(model, image, label).items()})
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_large_images_are_shrunk_and_gray_ones_get_three_channels():
    torch.manual_seed(0)
    model = untrained(["a", "b"], 100).eval()
    assert_named(model.about, "100 px", "64 px")
    smooth = torch.linspace(0, 255, 128).view(1, 1, 128, 1).expand(2, 1, 128, 128).to(torch.uint8)
    features, probabilities = model(smooth)
    assert features.shape == (2, 96) and torch.allclose(probabilities.sum(1), torch.ones(2))
    torch.testing.assert_close(features, model(smooth.expand(-1, 3, -1, -1))[0])
    smaller = torch.nn.functional.interpolate(smooth.float(), (64, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(model(smaller.round().to(torch.uint8))[0], features, atol=0.05, rtol=0.05)


def test_inception_is_torch_fidelity_s_with_its_own_weights_and_resizing(monkeypatch, tmp_path):
    network = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="pip install torch-fidelity")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(network.nn.Module, "load_state_dict", lambda *_, **__: None)
    monkeypatch.setattr(network, "load_state_dict_from_url", lambda *_, **__: {})
    outputs = ["2048", "logits_unbiased"]
    plain = network.FeatureExtractorInceptionV3("inception-v3-compat", outputs).eval()
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = extractors.Inception.path()
    path.parent.mkdir(parents=True)
    torch.save(plain.state_dict(), path)
    model, gray = extractors.Inception().eval(), colored(2, 32)[0][:, :1]
    features, probabilities = model(gray)
    expected = plain(gray.expand(-1, 3, -1, -1))
    torch.testing.assert_close(features, expected[0])
    torch.testing.assert_close(probabilities, expected[1].softmax(1))
    assert features.shape == (2, 2048) and model.suffix == "" and extractors.Inception.missing() == ""
