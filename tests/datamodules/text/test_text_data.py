"""Machine translation data: batches of token ids, vocabularies of checkpoints, and resuming."""

import re
from itertools import chain
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules import Multi30k, ParallelText, ShapesSentences, TextFile
from modules.contracts import ConfigError, DataError
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import BOS, EOS, PAD
from tests.helpers.errors import assert_named, line_naming, refuses

QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def shapes(**settings) -> ShapesSentences:
    data = ShapesSentences(**({"train": 300, "val": 40, "test": 50, "workers": 0, "batch_tokens": 400} | settings))
    data.setup()
    return data


def test_a_batch_is_what_tasks_expect():
    data = shapes()
    for batch in data.train_dataloader():
        source, target = batch["source"], batch["target"]
        assert source.dtype == target.dtype == torch.int64
        assert (target[:, 0] == BOS).all()
        assert not (source == BOS).any()
        for ids in (source, target[:, 1:]):
            assert ids.shape[0] * ids.shape[1] <= 400
            ends = (ids == EOS).int()
            assert (ends.sum(1) == 1).all()
            behind = ends.cumsum(1) - ends
            assert ((ids == PAD) == behind.bool()).all()
            assert behind[:, -1].min() == 0  # no column of padding only
        for side, tokenizer in zip(("source", "target"), data.tokenizers, strict=True):
            ids = batch[side].tolist()
            assert tokenizer.decode([row[row[0] == BOS :] for row in ids]) == batch[f"{side}_text"]
        assert batch["id"] == [f"train.en:{row + 1}" for row in batch["row"].tolist()]


def test_evaluation_has_every_pair_once_and_says_where_it_belongs():
    data = shapes(batch_size=16)
    batches = list(data.test_dataloader())
    rows = list(chain(*(batch["row"].tolist() for batch in batches)))
    texts = list(chain(*(batch["target_text"] for batch in batches)))
    assert max(map(len, (batch["id"] for batch in batches))) == 16
    assert [texts[rows.index(i)] for i in range(50)] == data.encoded["test"].texts("target")
    lengths = [len(batch["source"][0]) + len(batch["target"][0]) for batch in batches]
    assert lengths[0] < lengths[-1]
    (plain,) = shapes(batch_size=64).plain_dataloader("test")
    assert plain["row"].tolist() == list(range(50))


@pytest.mark.integration
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(workers):
    one, many = ([batch["target"] for batch in shapes(workers=n).train_dataloader()] for n in (0, workers))
    assert all(map(torch.equal, one, many))
    assert len(one) == len(many)


def test_vocabularies_are_joint_or_apart():
    shared, apart = (
        shapes(shared_vocab=True, tokenizer="bpe", vocab_size=150).tokenizers,
        shapes(shared_vocab=False).tokenizers,
    )
    assert shared.source is shared.target
    assert shared.target.unknown(shared.target.encode(["A ring", "Ein Ring"])) == 0
    assert apart.target.unknown(apart.target.encode(["Ein Ring."])) == 0
    assert apart.target.unknown(apart.target.encode(["A circle."])) == 2


def test_a_vocabulary_larger_than_the_texts_give_is_said():
    data = shapes(vocab_size=5000, shared_vocab=True)
    assert line_naming(data.describe(), "vocabulary", len(data.tokenizers.source), "5,000")
    said = shapes(vocab_size=30).describe()
    for side in ("source", "target"):
        assert re.findall(r"\d+", line_naming(said, side, "vocabulary")) == ["30"]


def test_the_vocabulary_is_trained_once_for_the_same_pairs(monkeypatch, own_cache):
    first = shapes().tokenizers
    assert len(list(own_cache.glob("tokenizer-*.json"))) == 2
    trained = []
    monkeypatch.setattr(Tokenizer, "train", lambda *args: trained.append(args))
    assert shapes().tokenizers == first
    assert shapes(batch_tokens=200, val=10).tokenizers == first
    assert not trained
    with pytest.raises(AttributeError):
        shapes(train=299)  # other pairs: what is trained here is nothing
    assert len(trained) == 1


def test_the_vocabulary_can_be_had_before_setup_and_sees_training_pairs_only(tmp_path):
    lines = [f"word{i}\tWort{i}" for i in range(50)]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    data = ParallelText(str(tmp_path / "t.tsv"), tokenizer="words", val_split=0.2, workers=0)
    assert len(data.tokenizers.source) == 4 + 2 * 40
    data.setup()
    assert len(data.encoded["val"]) == 10
    assert line_naming(set(data.describe()), "val", 10, tmp_path / "t.tsv")  # once for either side


def test_labels_take_a_share_of_the_training_pairs():
    few = shapes(label_fraction=0.1)
    assert (len(few.encoded["train"]), len(few.encoded["val"])) == (30, 40)


@pytest.mark.parametrize("overflow", ["drop", "cut"])
def test_long_sentences(overflow):
    whole, data = shapes(), shapes(max_length=12, overflow=overflow)
    sides = zip(whole.encoded["train"].source, whole.encoded["train"].target, strict=True)
    long = [i for i, (source, target) in enumerate(sides) if max(len(source), len(target)) > 12]
    assert 0 < len(long) < 300
    train, test = data.encoded["train"], data.encoded["test"]
    assert train.lengths.max() == test.lengths.max() == 13
    assert len(test) == 50
    assert test.texts("target") == whole.encoded["test"].texts("target")  # judged by the whole reference
    if overflow == "drop":
        assert len(train) == 300 - len(long)
        for line, i in zip(data.skipped, long, strict=True):
            assert_named(line, f"train.en:{i + 1}", 12)
    else:
        assert len(train) == 300
        assert line_naming(data.describe(), "train", len(long), 12, "data.max_length")


def test_settings_that_cannot_be():
    with refuses(ConfigError, "data.max_length", 128, "data.batch_tokens", 100, 129):
        ShapesSentences(batch_tokens=100)
    with refuses(ConfigError, "data.max_length", 3):
        shapes(max_length=3)
    with refuses(ConfigError, "data.vocab_size", 4):
        shapes(vocab_size=4)


def test_other_text_than_the_checkpoints(tmp_path):
    (tmp_path / "x.txt").write_text("\u732b\u304c\u597d\u304d \u65e5\u672c\n")
    data = TextFile(str(tmp_path / "x.txt"))
    data.use(*shapes().tokenizers)
    with refuses(DataError, 2, tmp_path / "x.txt", "--data.strict false"):
        data.setup()


def test_given_tokenizers_are_used():
    given = shapes(tokenizer="characters").tokenizers
    data = ShapesSentences(train=300, val=40, test=50, workers=0)
    data.use(*given)
    data.setup()
    assert data.tokenizers == given
    assert_named(data.describe()[3], "checkpoint")
    assert (
        "".join(given.source.pieces(data.encoded["val"].source[0].tolist())) == data.encoded["val"].texts("source")[0]
    )
    with refuses(RuntimeError, "setup"):
        data.use(*given)


class Recorder(L.LightningModule):
    """Model that records the ids of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(1, 1), []

    def training_step(self, batch: dict, index: int) -> Tensor:
        self.seen.append((self.current_epoch, batch["id"]))
        return self.layer(torch.ones(1, 1)).mean()

    def validation_step(self, batch: dict, index: int) -> None:
        pass

    def predict_step(self, batch: dict, index: int) -> list[str]:
        return batch["id"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_run_that_was_stopped_goes_on_with_the_pairs_it_has_not_seen(tmp_path):
    def run(folder: str, path: Path | None = None) -> list:
        task, data = Recorder(), ShapesSentences(train=100, val=10, test=0, workers=0, batch_tokens=200)
        keep = ModelCheckpoint(tmp_path / folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        settings = QUIET | {"enable_checkpointing": True, "callbacks": [keep], "default_root_dir": tmp_path}
        trainer = L.Trainer(max_steps=30, max_epochs=-1, accelerator="cpu", devices=1, **settings)
        trainer.fit(task, datamodule=data, ckpt_path=path)
        return task.seen

    whole = run("whole")
    first = sum(epoch == 0 for epoch, _ in whole)
    assert 4 < first < 12
    for stop in (4, first, first + 1):  # within an epoch, at its end, and in the next
        assert run(f"from {stop}", tmp_path / "whole" / f"step={stop}.ckpt") == whole[stop:]


def test_the_trainer_predicts_in_order(tmp_path):
    trainer = L.Trainer(accelerator="cpu", devices=1, default_root_dir=tmp_path, **QUIET)
    data = ShapesSentences(train=100, val=10, test=30, workers=0, batch_size=8)
    assert list(chain(*trainer.predict(Recorder(), datamodule=data))) == [f"test.en:{i + 1}" for i in range(30)]


def test_what_was_left_out_is_listed_in_the_run_directory(tmp_path):
    data = ShapesSentences(train=100, val=10, test=10, workers=0, max_length=12)
    assert data.tokenizers  # set up before there was a run
    trainer = L.Trainer(max_steps=1, accelerator="cpu", devices=1, default_root_dir=tmp_path, **QUIET)
    trainer.fit(Recorder(), datamodule=data)
    assert (tmp_path / "skipped.txt").read_text().splitlines() == data.skipped
    assert data.skipped


def test_multi30k_is_as_published(data_root):
    if not (data_root / "multi30k_en_de").is_dir():
        pytest.skip("no multi30k_en_de")
    data = Multi30k(str(data_root / "multi30k_en_de"), tokenizer="words", vocab_size=8000, workers=0)
    data.setup()
    assert {split: len(found) for split, found in data.encoded.items()} == {"train": 28_998, "val": 1014, "test": 1000}
    for line, number in zip(data.skipped, ("16,510", "16,664"), strict=True):
        assert_named(line, "train.de.gz", f"line {number}", "'@@'")
    said = data.describe()
    assert line_naming(said, "train", 1, "val", "source")
    assert data.encoded["test"].texts("target")[0] == "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."
    batches = [batch["target"].shape for batch in data.train_dataloader()]
    assert sum(size for size, _ in batches) == 28_998
    assert max(size * (length - 1) for size, length in batches) <= 2048
    assert float(re.search(r"\d+\.\d+", line_naming(said, "copying", "val"))[0]) < 2
    assert line_naming(said, "BLEU", "13a")
