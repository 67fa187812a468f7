"""A linear probe beside the training: it learns, is resumed, and leaves the network alone."""

import logging

import pytest
import torch

from callbacks import FeatureMonitor, OnlineProbe
from callbacks.collectors.embedding import embed
from modules.contracts import ConfigError
from modules.metrics.representation import rankme
from tests.helpers.errors import assert_named, refuses
from tests.helpers.small_task import Data, MemoryLogger, Pretraining, Task


def test_learns_classes_that_a_line_separates_from_features_that_do_not_change(trainer):
    probe, logger = OnlineProbe(lr=0.05, every=4), MemoryLogger()
    task = Task(lr=0.0)
    run = trainer(probe, max_epochs=8, logger=logger)
    run.fit(task, datamodule=Data())
    assert [step for step, row in logger.rows if "val/probe" in row] == [23, 47]
    assert logger.values("val/probe")[-1] > 0.9
    losses = logger.values("train/probe_loss")
    assert losses[0] == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-5)  # all classes alike
    assert losses[-1] < 0.5 * losses[0]
    features, labels = embed(Data().plain_dataloader("val"), run, task)
    right = probe.probe(features).argmax(1) == labels
    assert logger.values("val/probe")[-1] == pytest.approx(right.float().mean().item())
    assert_named(probe.protocol_lines(run)["val/probe"], 21, "0.05")


def test_the_training_does_not_notice_the_probe(trainer):
    finals = []
    for callbacks in ([], [OnlineProbe()]):
        torch.manual_seed(3)
        task = Pretraining()
        data = Data(views=True)
        trainer(*callbacks, max_epochs=2, limit_val_batches=0).fit(task, datamodule=data)
        finals.append((torch.get_rng_state(), *task.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*finals, strict=True))


def test_a_resumed_probe_is_the_one_that_was_saved(trainer, tmp_path):
    def run(epochs: int, ckpt: str | None = None) -> tuple[OnlineProbe, list[float]]:
        torch.manual_seed(0)
        probe, logger = OnlineProbe(lr=0.01), MemoryLogger()
        data = Data()
        data.train_dataloader = lambda: data.plain_dataloader("train")  # in order
        fitted = trainer(probe, max_epochs=epochs, logger=logger)
        fitted.fit(Task(lr=0.0), datamodule=data, ckpt_path=ckpt, weights_only=True)
        fitted.save_checkpoint(tmp_path / "saved.ckpt")
        return probe, logger.values("train/probe_loss")

    (whole, losses), (_, first) = run(4), run(2)
    resumed, second = run(4, str(tmp_path / "saved.ckpt"))
    assert first + second == pytest.approx(losses)
    for name in ("weight", "norm"):
        torch.testing.assert_close(resumed.probe.state_dict()[name], whole.probe.state_dict()[name])


def test_the_probe_of_a_checkpoint_is_tested(trainer, tmp_path):
    data, task = Data(), Task(lr=0.0)
    fitted = trainer(OnlineProbe(lr=0.05), max_epochs=6)
    fitted.fit(task, datamodule=data)
    fitted.save_checkpoint(tmp_path / "saved.ckpt")
    (found,) = trainer(OnlineProbe()).test(
        Task(), datamodule=data, ckpt_path=tmp_path / "saved.ckpt", verbose=False, weights_only=True
    )
    assert found["test/probe"] > 0.9


def test_without_labels_it_is_off_and_says_so(trainer, caplog):
    logger = MemoryLogger()
    with caplog.at_level(logging.INFO):
        trainer(OnlineProbe(), logger=logger).fit(Pretraining(), datamodule=Data(views=True, labeled=False))
    assert "labels" in caplog.text
    assert not logger.values("train/probe_loss") and not logger.values("val/probe")


@pytest.mark.parametrize("name, value", [("lr", 0), ("every", 0)])
def test_a_value_out_of_range_is_refused(name, value):
    with refuses(ConfigError, f"OnlineProbe.{name}", value):
        OnlineProbe(**{name: value})


class Clips(Data):
    """Two clips of three frames of each video, in every split."""

    def in_order(self, samples, collate=None):
        def clips(chosen):
            videos = torch.stack([sample["image"] for sample in chosen for _ in range(2)])
            videos = videos[:, :, None].expand(-1, -1, 3, -1, -1)
            rest = {"label": torch.tensor([s["label"] for s in chosen]), "id": [s["id"] for s in chosen]}
            return {"video": videos, **rest}

        return super().in_order(samples, clips)

    def train_dataloader(self):
        return self.plain_dataloader("train")


class Video(Task):
    required_keys = ("video", "label")

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch | {"video": self.backbone.normalize(batch["video"])}

    def features(self, image):
        return super().features(image.mean(2))

    def training_step(self, batch, batch_idx):
        return self.features(batch["video"]).square().mean()

    def validation_step(self, batch, batch_idx):
        return {"features": self.features(batch["video"]).unflatten(0, (-1, 2)).mean(1)}


def test_videos_are_probed_and_monitored_by_the_mean_of_their_clips(trainer):
    probe, monitor, logger = OnlineProbe(lr=0.05), FeatureMonitor(), MemoryLogger()
    task, data = Video(lr=0.0), Clips()
    run = trainer(probe, monitor, max_epochs=8, logger=logger)
    run.fit(task, datamodule=data)
    assert logger.values("val/probe")[-1] > 0.9
    features, _ = embed(data.plain_dataloader("val"), run, task)
    assert len(features) == 21
    assert logger.values("val/rankme")[-1] == pytest.approx(rankme(features), rel=1e-5)


def test_classes_without_one_label_each_turn_it_off_and_it_says_so(trainer, caplog):
    class Boxes(Pretraining):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return super().on_after_batch_transfer({key: batch[key] for key in batch if key != "label"}, 0)

    data = Data(views=True, labeled=False)
    data.classes = ["circle", "square"]
    with caplog.at_level(logging.INFO):
        trainer(OnlineProbe()).fit(Boxes(), datamodule=data)
    assert caplog.text.count("labels") == 1


def test_a_task_without_features_of_its_own_is_refused(trainer):
    class Blind(Pretraining):
        features = property()

    answered = Task()
    answered.answered = True
    for task in (Blind(), answered):
        with refuses(ConfigError, "OnlineProbe"):
            trainer(OnlineProbe()).fit(task, datamodule=Data())
    with refuses(ConfigError, "FeatureMonitor", "--onnx"):
        trainer(FeatureMonitor()).validate(answered, datamodule=Data(), verbose=False)
