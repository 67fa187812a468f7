"""Registry of the kinds of prediction, with a kind of another package."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from callbacks import KNN, Figures, Predictions
from callbacks.collectors.base import Collector, name_bytes, summed
from callbacks.kinds import register
from callbacks.kinds.registry import KINDS, collected, drawn, written
from callbacks.results.metrics import told
from callbacks.writers.base import Writer
from callbacks.writers.tables import Table
from modules.contracts import ConfigError
from tests.helpers.errors import refuses
from tests.helpers.small_task import Data, Samples, Task


class Angles(Collector):
    """Collect predicted angles of images with an `angle`."""

    def __init__(self, keep):
        super().__init__(keep)
        self.error = None  # sum and number

    def update(self, batch, outputs, task, first):
        error = (outputs["angle"] - batch["angle"]).abs()
        counted = torch.stack([error.sum(), torch.tensor(float(len(error)))])
        self.error = counted if self.error is None else self.error + counted
        self.keep({"error": error, "name": name_bytes(batch["id"])}, error, first)

    def gather(self):
        super().gather()
        self.error = summed(self.error)

    def draw(self, stage, task, data):
        yield "angles", np.full((8, 8, 3), len(self.worst.kept()["error"]), np.uint8)

    def summarize(self, stage, task):
        yield f"{stage}: {int(self.error[1])} angles"


class AngleFile(Table):
    """Write predicted angles as CSV."""

    def __init__(self, source):
        super().__init__(source.folder / f"{source.stage}_angles.csv", source.rank, ["path", "angle"])

    def add(self, batch, prediction):
        self.write(zip(batch["id"], prediction["angle"].tolist(), strict=True))


def draw_angles(batch, samples, backbone, data):
    return np.full((8, 8, 3), len(batch["angle"][:samples]), np.uint8)


@pytest.fixture(autouse=True)
def angles() -> Iterator[None]:
    known = dict(KINDS)
    parts = {"collect": Angles, "write": AngleFile, "draw": draw_angles}
    register("angle", prediction=["angle"], truth=["angle"], batch=["angle"], **parts)
    yield
    KINDS.clear()
    KINDS.update(known)


class Turned(Samples):
    def __getitem__(self, index):
        return super().__getitem__(index) | {"angle": float(index)}


class TurnedData(Data):
    def plain_dataloader(self, split):
        return self.in_order(Turned(*self.sizes[split]))

    def train_dataloader(self):
        return self.plain_dataloader("train")


class Turning(Task):
    def validation_step(self, batch, batch_idx):
        return {"angle": self.features(batch["image"]).mean(1)}

    test_step = predict_step = validation_step


def test_a_kind_of_another_package_is_collected_drawn_written_and_summarized(trainer, tmp_path):
    running = trainer(Figures(samples=5), Predictions())
    running.fit(Turning(), datamodule=TurnedData())
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"train_batch", "val_angles"}
    assert list(told(running, "report_lines")) == [["val: 21 angles"], []]
    running.test(Turning(), datamodule=TurnedData(), verbose=False)
    assert (tmp_path / "figures" / "test_angles.png").is_file()
    assert (tmp_path / "predictions" / "test_angles.csv").read_text().startswith("path,angle\n0/000.png,")
    assert list(told(running, "report_lines")) == [
        ["test: 20 angles"],
        [f"predictions: {tmp_path / 'predictions' / 'test_angles.csv'}"],
    ]


def test_of_several_kinds_that_fit_the_last_is_taken():
    prediction = {"angle": 0, "label": 0, "scores": 0}
    batch = {"angle": 0, "label": 0, "video": 0}
    assert [kind.name for kind in (collected(prediction, batch), written(prediction), drawn(batch))] == ["angle"] * 3
    register("labels", prediction=["label", "scores"], truth=["label"], collect=Angles)
    assert (collected(prediction, batch).name, written(prediction).name) == ("labels", "angle")


def test_ground_truth_is_needed_to_collect_and_not_to_write():
    prediction = {"label": 0, "scores": 0}
    assert collected(prediction, {"image": 0}) is None
    assert written(prediction) is not None


def test_parts_without_keys_of_a_prediction_are_refused():
    with pytest.raises(ValueError, match="angles"):
        register("angles", collect=Angles)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"collect": 3}, "collect"),
        ({"collect": Table}, "Collector"),
        ({"collect": Collector}, "update"),
        ({"write": "x"}, "write"),
        ({"write": object}, "Writer"),
        ({"write": Writer}, "add"),
        ({"draw": 3}, "draw"),
    ],
)
def test_parts_that_cannot_work_are_refused(part, named):
    with refuses(ValueError, "angles", named):
        register("angles", prediction=["angle"], **part)
    assert "angles" not in KINDS


@pytest.mark.parametrize("callback", [Figures, KNN])
def test_plain_loaders_are_refused_by_callbacks_that_need_a_data_module(trainer, callback):
    with refuses(ConfigError, callback.__name__, "FromDataset"):
        trainer(callback()).fit(Task(), Data().train_dataloader())


def test_samples_without_a_name_are_refused(trainer):
    batch = {"image": torch.rand(2, 3, 16, 16)}
    with refuses(ConfigError, "Predictions", "id"):
        trainer(Predictions()).predict(Task(), DataLoader([batch], batch_size=None))
