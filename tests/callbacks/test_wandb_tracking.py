"""Lineage of weights from anywhere, and tables of predictions of each kind."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from callbacks.collectors.base import name_bytes
from callbacks.collectors.text import FigureInput, Sentence, TextCollector
from callbacks.loggers.prediction_table import prediction_table
from callbacks.loggers.wandb_tracking import WandbTracking, _use
from modules.contracts import ConfigError
from tests.helpers.errors import line_naming, refuses
from tests.helpers.small_task import Task

IMAGE = torch.randint(0, 256, (2, 3, 8, 10), dtype=torch.uint8)
NAMES = name_bytes(["a.png", "b.png"])
INSIDE = torch.tensor([[8, 10], [4, 5]])
OBJECTS = torch.tensor([[[1.0, 1, 4, 4, 2, 0.9], [0, 0, 0, 0, -1, 0]]] * 2)


class Run(SimpleNamespace):
    """Offline run that keeps its artifacts."""

    offline, id = True, "me"

    def _log_artifact(self, artifact, **how):
        self.sent.append((artifact, how))


def logger_in(folder):
    run = Run(sent=[], settings=SimpleNamespace(sync_dir=str(folder / "wandb")))
    return SimpleNamespace(experiment=run), run.sent


@pytest.mark.integration  # W&B asks git and the shell
def test_weights_of_a_run_are_its_artifact_and_those_of_a_file_a_reference(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").write_bytes(b"x")
    (run / "backbone.safetensors").write_bytes(b"y")
    (run / ".wandb_id").write_text("abc")
    (tmp_path / "resnet.pth").write_bytes(b"z")
    logger, sent = logger_in(tmp_path)
    for source in (run, run / "checkpoints" / "best.ckpt", run / "backbone.safetensors", tmp_path / "resnet.pth"):
        _use(logger, str(source))
    _use(logger, "pretrained")
    assert [artifact.name for artifact, _ in sent] == ["backbone-abc"] * 3 + ["weights-resnet"]
    assert len({artifact.digest for artifact, _ in sent[:3]}) == 1
    assert all(how == {"is_user_created": True, "use_after_commit": True} for _, how in sent)
    (entry,) = sent[3][0].manifest.entries.values()
    assert entry.ref == (tmp_path / "resnet.pth").as_uri() and entry.local_path is None


@pytest.mark.integration  # W&B asks git and the shell
def test_an_artifact_stays_as_it_was_when_a_resumed_run_writes_another(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".wandb_id").write_text("abc")
    (run / "backbone.safetensors").write_bytes(b"first")
    logger, sent = logger_in(tmp_path)
    _use(logger, str(run))
    (run / "new").write_bytes(b"second")
    (run / "new").replace(run / "backbone.safetensors")
    (entry,) = sent[0][0].manifest.entries.values()
    with open(entry.local_path, "rb") as file:  # noqa: PTH123
        assert file.read() == b"first"


@pytest.mark.integration  # W&B asks git and the shell
def test_weights_that_are_gone_or_that_the_server_refuses_end_nothing(tmp_path, capsys):
    logger, sent = logger_in(tmp_path)
    _use(logger, str(tmp_path / "gone"))
    assert not sent
    line_naming(capsys.readouterr().out.splitlines(), "W&B", str(tmp_path / "gone"))


def test_a_negative_table_is_refused():
    with refuses(ConfigError, "wandb.table", "-1"):
        WandbTracking(table=-1)


@pytest.mark.parametrize(
    ("kept", "columns"),
    [
        (
            {
                "image": torch.randn(2, 3, 8, 10),
                "true": torch.tensor([0, 1]),
                "predicted": torch.tensor([0, 2]),
                "confidence": torch.tensor([0.9, 0.5]),
            },
            ["id", "image", "true", "prediction", "right", "confidence"],
        ),
        (
            {
                "video": IMAGE[:, :, None].repeat(1, 1, 4, 1, 1),
                "true": torch.tensor([0, 1]),
                "predicted": torch.tensor([0, 2]),
                "confidence": torch.tensor([0.9, 0.5]),
            },
            ["id", "image", "true", "prediction", "right", "confidence"],
        ),
        ({"image": IMAGE, "inside": INSIDE, "true": OBJECTS, "found": OBJECTS}, ["id", "image", "true", "prediction"]),
        (
            {
                "image": IMAGE,
                "inside": INSIDE,
                "true": torch.ones(2, 8, 10, dtype=torch.uint8),
                "predicted": torch.ones(2, 8, 10, dtype=torch.uint8),
                "iou": torch.ones(2),
                "accuracy": torch.ones(2),
            },
            ["id", "image", "mIoU", "pixel accuracy"],
        ),
        ({"image": IMAGE, "made": IMAGE, "error": torch.zeros(2)}, ["id", "image", "prediction", "error"]),
    ],
    ids=["labels", "video", "boxes", "mask", "reconstruction"],
)
def test_each_kind_of_prediction_has_its_columns(kept, columns):
    collector = SimpleNamespace(sample=SimpleNamespace(kept=lambda: kept | {"name": NAMES}))
    found, rows = prediction_table(collector, Task())
    assert found == columns and [row[0] for row in rows] == ["a.png", "b.png"]
    image = rows[1][1]
    assert image.image.size == ((5, 4) if "inside" in kept else (10, 8))
    if "found" in kept:
        captions = [box["box_caption"] for overlay in image._boxes.values() for box in overlay._val]
        assert captions == ["triangle", "triangle 0.90"] and rows[1][2:] == [1, 1]


def test_sentences_have_source_hypothesis_and_reference():
    collector = TextCollector(2)
    collector.sentences = [Sentence("1", "a dog", "ein Hund", ["ein Hund"]), Sentence("2", "a cat", "", ["eine Katze"])]
    collector.inputs, collector.scores = [FigureInput(None, None, (), ())] * 2, [100.0, 0.0]
    collector.chosen = {"predictions": [1, 0]}
    columns, rows = prediction_table(collector, Task())
    assert columns == ["id", "source", "prediction", "true", "sentence BLEU"]
    assert rows == [["2", "a cat", "", "eine Katze", 0.0], ["1", "a dog", "ein Hund", "ein Hund", 100.0]]
    assert np.isfinite(rows[0][-1])
