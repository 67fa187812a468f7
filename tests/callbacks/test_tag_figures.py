"""Figures, tables and files of images with several classes each."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from callbacks.collectors.tags import TagCollector, _caption
from callbacks.figures import cooccurrence as drawing
from callbacks.writers.base import Source
from callbacks.writers.tags import TagFile
from commands.serve.answers import Form, Meaning, answer
from modules.contracts.palette import palette
from tests.helpers.files import rows
from tests.helpers.small_task import Backbone

CLASSES = ["cat", "dog", "fish"]
TRUE = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=torch.uint8)
SCORES = torch.tensor([[0.9, 0.1, 0.1], [0.8, 0.7, 0.4], [0.1, 0.1, 0.1], [0.6, 0.1, 0.9]])
THRESHOLDS = torch.tensor([0.5, 0.5, 0.3])
TASK = SimpleNamespace(classes=CLASSES, thresholds=THRESHOLDS, backbone=Backbone())
FOUND = SCORES >= THRESHOLDS


def batch() -> dict:
    return {"image": torch.rand(4, 3, 8, 8), "tags": TRUE, "id": ["a.png", "b.png", "c.png", "d.png"]}


@pytest.fixture
def collected() -> TagCollector:
    collector = TagCollector(4)
    for part in (slice(0, 2), slice(2, 4)):
        rows = {key: value[part] for key, value in batch().items()}
        collector.update(rows, {"tags": FOUND[part], "scores": SCORES[part]}, TASK, part.start)
    collector.gather()
    return collector


def test_metrics_of_each_class_are_those_of_scikit_learn(collected):
    found = collected.per_class(TASK)
    expected = precision_recall_fscore_support(TRUE, FOUND, zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "count"), expected, strict=True):
        assert found[name] == pytest.approx(values, nan_ok=True)
    assert found["threshold"] == pytest.approx([0.5, 0.5, 0.3])


def test_the_worst_have_the_surest_wrong_class(collected):
    worst = collected.worst.kept()
    assert [name.tobytes()[:1] for name in worst["name"].numpy()] == [b"a", b"b"]  # dog at .1 missed, cat at .8 found


def test_classes_that_occur_together_are_counted_in_labels_and_predictions(collected, monkeypatch, blank_figures):
    monkeypatch.setattr("callbacks.collectors.tags.cooccurrence", lambda true, found, *_: (true, found))
    *_, (name, (true, found)) = collected.draw("test", TASK, None)
    assert name == "cooccurrence"
    assert true.tolist() == [[2, 1, 1], [1, 2, 0], [1, 0, 1]]
    assert found.tolist() == [[3, 1, 2], [1, 1, 1], [2, 1, 2]]


def test_matrices_of_many_classes_keep_the_most_frequent(monkeypatch):
    said = []
    monkeypatch.setattr(drawing, "titled", lambda width, height, title: said.append(title) or figure(width, height))

    def figure(width: int, height: int):
        from matplotlib.figure import Figure

        return Figure((width / 100, height / 100), dpi=100)

    counts = np.diag(np.arange(drawing.NAMED + 5))
    image = drawing.cooccurrence(counts, counts, [str(i) for i in range(len(counts))], "test")
    assert image.dtype == np.uint8 and f"{drawing.NAMED} most frequent of {len(counts)}" in said[0]


def test_captions_tell_right_wrong_and_missed_classes_apart():
    said = _caption([True, False, True], [True, True, False], [0.9, 0.6, 0.2], CLASSES, "a.png")
    assert said.split("\n") == ["✓ cat 90 %", "+ dog 60 %", "- fish 20 %", "a.png"]


def test_files_have_the_classes_found_and_true(tmp_path):
    run = SimpleNamespace(default_root_dir=tmp_path, global_rank=0, testing=True, predicting=False)
    writer = TagFile(Source(run, TASK, batch()))
    writer.add(batch(), {"tags": FOUND, "scores": SCORES})
    writer.close()
    writer.merge(1)
    found = [(row["path"], row["tags"], row["true"]) for row in rows(tmp_path / "predictions" / "test.csv")]
    assert found == [
        ("a.png", "cat", "cat|dog"),
        ("b.png", "cat|dog|fish", "dog"),
        ("c.png", "", ""),
        ("d.png", "cat|fish", "cat|fish"),
    ]


def test_served_answers_name_the_classes_found_and_the_best_scores():
    meaning = Meaning(CLASSES, palette(3), np.arange(3))
    found = answer({"tags": FOUND[3].numpy(), "scores": SCORES[3].numpy()}, meaning, Form(top=2))
    assert found["tags"] == ["cat", "fish"] and list(found["scores"]) == ["fish", "cat"]
