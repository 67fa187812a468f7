import csv

import numpy as np
import pytest
import torch

from callbacks.predictions import Predictions
from callbacks.writers.tables import Arrays, Table
from modules.contracts import DataError
from tests.helpers.errors import refuses
from tests.helpers.files import rows
from tests.helpers.small_task import CLASSES, Data, Pretraining, Task


def test_a_test_writes_truth_prediction_and_probabilities(trainer, tmp_path):
    task, callback = Task(), Predictions()
    trainer(callback).test(task, datamodule=Data(), verbose=False)
    written = rows(tmp_path / "predictions" / "test.csv")
    batches = list(Data().test_dataloader())
    task.eval()
    with torch.no_grad():
        expected = torch.cat(
            [task.head(task.features(task.backbone.normalize(b["image"]))).softmax(1) for b in batches]
        )
    found = np.array([[float(row[f"p({name})"]) for name in CLASSES] for row in written])
    assert np.allclose(found, expected.numpy(), atol=1e-5)
    assert [row["path"] for row in written] == [name for batch in batches for name in batch["id"]]
    assert [row["label"] for row in written] == [CLASSES[i] for i in expected.argmax(1)]
    assert [row["true"] for row in written] == [CLASSES[i % 3] for i in range(20)]
    assert callback.files == [tmp_path / "predictions" / "test.csv"]


def test_predict_without_labels_has_no_column_for_the_truth(trainer, tmp_path):
    trainer(Predictions()).predict(Task(), datamodule=Data(labeled=False))
    (first, *_), names = rows(tmp_path / "predictions" / "predict.csv"), [path.name for path in tmp_path.rglob("*.*")]
    assert list(first) == ["path", "label", *(f"p({name})" for name in CLASSES)]
    assert names == ["predict.csv"]


def test_features_go_to_an_npz_that_loads_without_pickle(trainer, tmp_path):
    callback = Predictions()
    trainer(callback).predict(Pretraining(), datamodule=Data())
    arrays = np.load(tmp_path / "predictions" / "features.npz")
    assert arrays["features"].shape == (20, 8)
    assert arrays["features"].dtype == np.float32
    assert arrays["ids"][:2].tolist() == ["0/000.png", "1/001.png"]
    assert arrays["labels"].tolist() == [i % 3 for i in range(20)]
    assert callback.files == [tmp_path / "predictions" / "features.npz"]


def test_an_interrupted_run_leaves_no_file(trainer, tmp_path):
    class Breaking(Task):
        def test_step(self, batch, batch_idx):
            if batch_idx == 2:
                raise RuntimeError("cable pulled")
            return super().test_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="cable pulled"):
        trainer(Predictions()).test(Breaking(), datamodule=Data(), verbose=False)
    assert not list((tmp_path / "predictions").iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(trainer, tmp_path):
    (tmp_path / "predictions").write_text("a file where the folder should be")
    with refuses(DataError, tmp_path / "predictions" / "test.csv", "--run_dir"):
        trainer(Predictions()).test(Task(), datamodule=Data(), verbose=False)


@pytest.mark.parametrize("count", [6, 7, 8])
def test_parts_of_three_processes_join_in_the_order_of_the_data(tmp_path, count):
    names = [f"ü, {i}.png\udcff" for i in range(count)]  # file names that CSV and UTF-8 must survive
    scores = torch.eye(3)[torch.arange(count) % 3]
    tables = [Table(tmp_path / "test.csv", rank, ["path", "score"]) for rank in range(3)]
    arrays = [Arrays(tmp_path / "features.npz", rank) for rank in range(3)]
    for turn in range(-(-count // 2)):  # batches of two
        batch = slice(2 * turn, 2 * turn + 2)
        table, array = tables[turn % 3], arrays[turn % 3]
        table.turn = array.turn = turn
        table.write([name, str(i)] for i, name in enumerate(names[batch], batch.start))
        array.write([name.strip("\udcff") for name in names[batch]], scores[batch], None)
    for part in (*tables, *arrays):
        part.close()
    tables[0].merge(3)
    arrays[0].merge(3)
    with (tmp_path / "test.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        written = list(csv.DictReader(file))
    assert [(row["path"], row["score"]) for row in written] == [(name, str(i)) for i, name in enumerate(names)]
    assert np.load(tmp_path / "features.npz")["ids"].tolist() == [f"ü, {i}.png" for i in range(count)]
    assert {path.name for path in tmp_path.iterdir()} == {"test.csv", "features.npz"}
