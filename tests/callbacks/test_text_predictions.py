import pytest

from callbacks.predictions import Predictions
from callbacks.writers.base import Source
from callbacks.writers.sentences import TextFiles
from tests.helpers.errors import assert_named
from tests.helpers.files import rows
from tests.helpers.small_text import Captioner, Captions, Pairs, Translator, said_of


def test_a_test_leaves_hypotheses_references_and_sources_in_the_order_of_the_data(trainer, tmp_path):
    callback, data = Predictions(), Pairs()
    trainer(callback).test(Translator(), datamodule=data, verbose=False)
    folder, samples = tmp_path / "predictions", [data.sample(i) for i in range(20)]
    said = [said_of(i, sample["truth"]) for i, sample in enumerate(samples)]
    assert (folder / "test.txt").read_text(encoding="utf-8") == "".join(f"{text}\n" for text in said)
    assert (folder / "test.source.txt").read_text().splitlines() == [one["source_text"] for one in samples]
    references = (folder / "test.reference.txt").read_text(encoding="utf-8").splitlines()
    assert references == [one["target_text"] for one in samples]
    table = rows(folder / "test.csv")
    assert list(table[0]) == ["id", "source", "text", "reference"]
    assert [row["id"] for row in table] == [str(i + 1) for i in range(20)]
    assert [row["text"] for row in table] == said
    names = ["test.csv", "test.txt", "test.source.txt", "test.reference.txt"]
    assert callback.files == [folder / name for name in names]
    assert {path.name for path in folder.iterdir()} == set(names)


def test_predict_without_references_has_no_files_of_them(trainer, tmp_path):
    trainer(Predictions()).predict(Translator(), datamodule=Pairs(known=False))
    folder = tmp_path / "predictions"
    assert {path.name for path in folder.iterdir()} == {"predict.csv", "predict.txt", "predict.source.txt"}
    assert list(rows(folder / "predict.csv")[0]) == ["id", "source", "text"]


def test_what_was_cut_is_named_in_a_column_and_in_a_line(trainer, tmp_path):
    class Cut(Translator):
        def predict_step(self, batch, batch_idx):
            return super().predict_step(batch, batch_idx) | {"finished": [name != "7" for name in batch["id"]]}

    class Long(Pairs):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            return batch | {"cut": [name in ("3", "7") for name in batch["id"]]}

    callback = Predictions()
    trainer(callback).predict(Cut(), datamodule=Long(known=False))
    table = rows(tmp_path / "predictions" / "predict.csv")
    assert {row["id"]: row["cut"] for row in table if row["cut"]} == {"3": "source", "7": "source and text"}
    sources, texts = callback.notes
    assert_named(sources, "3, 7")
    assert_named(texts, "1 of 20")


def test_captions_have_all_references_in_one_cell(trainer, tmp_path):
    data = Captions()
    trainer(Predictions()).test(Captioner(), datamodule=data, verbose=False)
    table = rows(tmp_path / "predictions" / "test.csv")
    assert list(table[0]) == ["id", "text", "references"]
    assert [row["references"].split("\n") for row in table] == [data.sample(i)["captions"] for i in range(20)]
    assert {path.name for path in (tmp_path / "predictions").iterdir()} == {"test.csv", "test.txt"}


@pytest.mark.parametrize("sentence", ["two\nlines", "two\r\nlines", "two\u2028lines", "two\x0blines"])
def test_a_sentence_is_one_line_whatever_it_holds(sentence, trainer, tmp_path):
    class Odd(Translator):
        def predict_step(self, batch, batch_idx):
            return {"text": [sentence, *["", 'a "quoted", word', *["plain"] * 3][: len(batch["id"]) - 1]]}

    callback = Predictions()
    trainer(callback).predict(Odd(), datamodule=Pairs(6, known=False))
    path = tmp_path / "predictions" / "predict.txt"
    text = path.read_bytes().decode()
    assert callback.excerpts == {path: ["two lines", "", 'a "quoted", word', "plain", "plain"]}
    assert text.split("\n") == ["two lines", "", 'a "quoted", word', "plain", "plain", "plain", ""]
    assert rows(tmp_path / "predictions" / "predict.csv")[0]["text"] == sentence


@pytest.mark.parametrize("count", [4, 5])
def test_parts_of_two_processes_join_in_the_order_of_the_data(tmp_path, count):
    data = Pairs(count)
    batches = [[data.sample(i) for i in part] for part in (range(3), range(3, count))]
    parts = []
    for rank, samples in enumerate(batches):
        batch = {key: [sample[key] for sample in samples] for key in samples[0]}
        files = TextFiles(Source(type("Run", (), run_settings(tmp_path, rank)), Translator(), batch))
        files.begin_batch(rank)
        files.add(batch, {"text": [f"said {sample['id']}" for sample in samples]})
        files.close()
        parts.append(files)
    parts[0].merge(2)
    lines = (tmp_path / "predictions" / "predict.txt").read_text().splitlines()
    assert lines == [f"said {i + 1}" for i in range(count)]


def run_settings(folder, rank):
    return {"default_root_dir": folder, "testing": False, "predicting": True, "global_rank": rank}
