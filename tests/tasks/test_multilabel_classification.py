"""Classification with several classes per image: thresholds, mixed tags, refusals."""

from functools import partial

import pytest
import torch

from datamodules import ShapesTags
from modules.contracts import ConfigError
from modules.heads import Linear
from modules.metrics.multilabel import best_thresholds
from tasks import MultilabelClassification
from tests.helpers.errors import refuses
from tests.helpers.training import quiet

CLASSES = ["cat", "dog", "fish"]


def task(**settings) -> MultilabelClassification:
    return MultilabelClassification(**{"backbone": "test_resnet", "classes": CLASSES} | settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained task with its data and checkpoint."""
    torch.manual_seed(0)
    data = ShapesTags(train=32, val=24, test=16, image_size=32, batch_size=8, workers=0)
    made = task(classes=data.classes)
    fitted = quiet(default_root_dir=tmp_path_factory.mktemp("run"), max_epochs=1)
    fitted.fit(made, datamodule=data)
    path = tmp_path_factory.mktemp("saved") / "last.ckpt"
    fitted.save_checkpoint(path)
    return made, data, path


def test_thresholds_are_those_of_the_best_f1_on_val_and_are_in_the_checkpoint(trained):
    made, data, path = trained
    loaded = MultilabelClassification.load_from_checkpoint(path).eval()
    assert torch.equal(loaded.thresholds, made.thresholds)
    scores, tags = [], []
    with torch.inference_mode():
        for batch in data.plain_dataloader("val"):
            found = loaded.predict_step({"image": loaded.backbone.normalize(batch["image"])}, 0)
            assert torch.equal(found["tags"], found["scores"] >= made.thresholds)
            scores.append(found["scores"])
            tags.append(batch["tags"])
    expected = best_thresholds(torch.cat(scores).numpy(), torch.cat(tags).numpy())
    assert made.thresholds.tolist() == pytest.approx(expected.tolist(), abs=0.02)  # rounding of other batches


def test_choices_of_validation_come_with_the_weights_of_their_checkpoint():
    made = task()
    made.take_chosen({"thresholds": torch.tensor([0.1, 0.2, 0.3])})
    assert made.thresholds.tolist() == pytest.approx([0.1, 0.2, 0.3])
    made.take_chosen({})  # of an older version
    assert made.thresholds.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_test_keeps_the_thresholds_of_validation(trained, tmp_path):
    made, data, _ = trained
    before = made.thresholds.clone()
    (found,) = quiet(default_root_dir=tmp_path).test(made, datamodule=data)
    assert torch.equal(made.thresholds, before)
    assert 0 <= found["test/f1"] <= 1 and found["test/map"] == found["test/map"]


def test_tags_are_mixed_as_shares():
    made = task(mixup=1.0)
    tags = torch.tensor([[1, 1, 0], [0, 0, 1]], dtype=torch.uint8)
    mixed = made.mixer.draw((0, 0, 0), lambda image: image)
    mixed.on_input(torch.rand(2, 3, 32, 32))
    labels = mixed.labels(made.true({"tags": tags}), 3)
    share = labels[0, 0].item()
    assert 0 < share < 1 and labels.tolist() == [
        pytest.approx([share, share, 1 - share]),
        pytest.approx([1 - share, 1 - share, share]),
    ]


@pytest.mark.parametrize("loss", ["binary", "asymmetric"])
def test_every_loss_of_several_classes_falls(loss):
    torch.manual_seed(0)
    made = task(head=partial(Linear, loss=loss))
    image, tags = torch.rand(8, 3, 32, 32), torch.randint(0, 2, (8, 3))
    optimizer = torch.optim.Adam(made.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        losses.append(made.head.loss(made(made.backbone.normalize(image)), tags.float()))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_losses_of_one_class_are_refused():
    with refuses(ConfigError, "model.head.loss", "cross_entropy", "binary"):
        task(head=Linear)
    with refuses(ConfigError, "asymmetric", "class_weights"):
        task(head=partial(Linear, loss="asymmetric", class_weights="auto"))
