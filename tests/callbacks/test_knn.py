import logging

import pytest
import torch
from torch.nn.functional import cosine_similarity

from callbacks.collectors.embedding import embed
from callbacks.knn import KNN, knn_predict
from modules.contracts import ConfigError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.small_task import Data, MemoryLogger, Pretraining, Task


@pytest.mark.parametrize("k, temperature", [(1, 0.1), (7, 0.07), (60, 1.0), (60, 0.01)])
def test_votes_as_a_loop_over_all_pairs_does(k, temperature):
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(count, 5, generator=generator) for count in (60, 40))
    labels = torch.randint(0, 4, (60,), generator=generator)
    expected = []
    for query in queries.double():
        similarities = [cosine_similarity(query, row, dim=0).item() for row in bank.double()]
        nearest = sorted(range(60), key=lambda i: -similarities[i])[:k]
        votes = [0.0] * 4
        for i in nearest:
            votes[labels[i]] += torch.tensor(similarities[i] / temperature, dtype=torch.float64).exp().item()
        expected.append(max(range(4), key=lambda c: votes[c]))
    assert knn_predict(bank, labels, queries, k, temperature, 4).tolist() == expected


def test_chunks_do_not_change_the_vote():
    bank, queries = torch.randn(4000, 3), torch.randn(9000, 3)  # 2**24 / 4000 < 9000: three chunks
    labels = torch.randint(0, 5, (4000,))
    parts = torch.cat([knn_predict(bank, labels, part, 5, 0.1, 5) for part in queries.split(1000)])
    assert (knn_predict(bank, labels, queries, 5, 0.1, 5) == parts).float().mean() > 0.999


def test_runs_before_training_every_few_epochs_and_at_the_end(trainer, tmp_path):
    probe, logger = KNN(k=5, every=2), MemoryLogger()
    trainer(probe, max_epochs=5, logger=logger).fit(Task(), datamodule=Data())
    assert [epochs for epochs, _ in probe.history] == [0, 2, 4, 5]
    assert [step for step, row in logger.rows if "val/knn" in row] == [0, 11, 23, 29]
    assert logger.values("val/knn") == pytest.approx([accuracy for _, accuracy in probe.history])
    assert probe.protocols.keys() == {"val/knn"}
    assert_named(probe.protocols["val/knn"], "k 5", "T 0.1", 48, "train", 21, "val")
    assert (tmp_path / "figures" / "knn.png").stat().st_size > 1000


def test_probes_the_last_step_when_steps_end_the_training(trainer):
    probe = KNN(k=5, every=5)
    trainer(probe, max_epochs=-1, max_steps=8).fit(Task(), datamodule=Data())
    assert [epochs for epochs, _ in probe.history] == [0, 2]  # Lightning counts the epoch that was cut short
    assert probe._step == 8


@pytest.mark.parametrize("task", [Task(), Pretraining()])
def test_validate_and_test_always_log(trainer, task):
    run = trainer(KNN(k=5, every=100))
    (validated,) = run.validate(task, datamodule=Data(), verbose=False)
    (tested,) = run.test(task, datamodule=Data(), verbose=False)
    assert validated["val/knn"] > 0.9  # the classes differ in color: any features will do
    assert tested["test/knn"] > 0.9


def test_training_does_not_notice_the_probe(trainer):
    finals = []
    for callbacks in ([], [KNN(k=5, every=1)]):
        torch.manual_seed(3)
        task = Task()
        trainer(*callbacks, max_epochs=2).fit(task, datamodule=Data())
        finals.append((torch.get_rng_state(), *task.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*finals, strict=True))


def test_embedding_restores_the_mode_of_each_module(trainer):
    task = Task()
    task.backbone.layers[1].eval()
    run = trainer()
    before = [module.training for module in task.modules()]
    features, labels = embed(Data().plain_dataloader("val"), run, task)
    assert [module.training for module in task.modules()] == before
    assert features.shape == (21, 8)
    assert labels.tolist() == [i % 3 for i in range(21)]


def test_a_resumed_run_has_the_same_history(trainer, tmp_path):
    whole, half, resumed = KNN(k=5, every=1), KNN(k=5, every=1), KNN(k=5, every=1)
    trainer(whole, max_epochs=4).fit(Task(), datamodule=Data())
    first = trainer(half, max_epochs=2)
    first.fit(Task(), datamodule=Data())
    first.save_checkpoint(tmp_path / "half.ckpt")
    run = trainer(resumed, max_epochs=4)
    run.fit(Task(), datamodule=Data(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert [epochs for epochs, _ in resumed.history] == [epochs for epochs, _ in whole.history]
    assert resumed.history[:3] == half.history


def test_testing_an_older_checkpoint_keeps_the_history(trainer, tmp_path):
    probe = KNN(k=5, every=1)
    run = trainer(probe, max_epochs=1)
    run.fit(Task(), datamodule=Data())
    run.save_checkpoint(tmp_path / "early.ckpt")
    probe.history.append((2, 0.5))
    run.test(Task(), datamodule=Data(), ckpt_path=tmp_path / "early.ckpt", weights_only=True, verbose=False)
    assert probe.history[-1] == (2, 0.5)


def test_more_neighbors_than_images_is_refused_before_the_first_step(trainer):
    with refuses(ConfigError, "KNN", 99, 48, "--trainer.callbacks.k 48"):
        trainer(KNN(k=99)).fit(Task(), datamodule=Data())


def test_features_of_a_network_that_a_file_answers_for_are_refused(trainer):
    task = Task()
    task.answered = True
    with refuses(ConfigError, "KNN", "--onnx", "--ckpt_path"):
        trainer(KNN(k=5)).test(task, datamodule=Data(), verbose=False)


def test_says_once_that_it_is_off_without_labels(trainer, caplog):
    probe = KNN()
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        trainer(probe, max_epochs=2).fit(Pretraining(), datamodule=Data(views=True, labeled=False))
    said = [record.message for record in caplog.records if "kNN" in record.message]
    assert len(said) == 1
    assert_named(said[0], "kNN", "val")
    assert probe.history == []
