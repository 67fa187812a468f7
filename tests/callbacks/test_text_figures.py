import random
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.collectors.text import Sentence, TextCollector, choose, decoded
from callbacks.figures.log import log_table
from callbacks.figures.sentences import alignments, attention_maps, captioned, fitted, lines, lit, sentence_table
from callbacks.figures_callback import Figures
from modules.metrics.captions import cider, tokens
from modules.metrics.translation import sentence_bleu
from tests.helpers.files import figures, rows
from tests.helpers.forks import in_group
from tests.helpers.small_text import Captioner, Captions, Pairs, Translator, said_of


@pytest.mark.parametrize(("task", "data"), [(Translator, Pairs), (Captioner, Captions)])
def test_sentences_leave_their_batch_predictions_best_worst_and_attention(task, data, trainer, tmp_path):
    kinds = {"predictions", "best", "mistakes", "attention"}
    run = trainer(Figures(samples=5))
    run.fit(task(), datamodule=data())
    assert figures(tmp_path) == {"train_batch", *(f"val_{kind}" for kind in kinds)}
    run.test(task(), datamodule=data(), verbose=False)
    assert {f"test_{kind}" for kind in kinds} <= figures(tmp_path)
    for path in (tmp_path / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert np.asarray(image).std() > 5, path


def test_the_table_of_translations_has_every_sentence_by_its_bleu(trainer, tmp_path):
    data = Pairs()
    trainer(Figures(samples=2)).test(Translator(), datamodule=data, verbose=False)
    samples = {str(i + 1): (said_of(i, data.sample(i)["truth"]), data.sample(i)) for i in range(20)}
    table = rows(tmp_path / "predictions" / "test_sentences.csv")
    assert list(table[0]) == ["id", "sentence BLEU", "source", "hypothesis", "reference"]
    assert {row["id"] for row in table} == samples.keys()
    for row in table:
        said, sample = samples[row["id"]]
        assert (row["hypothesis"], row["source"]) == (said, sample["source_text"])
        assert float(row["sentence BLEU"]) == pytest.approx(sentence_bleu([said], [sample["truth"]])[0], abs=1e-4)
    assert [float(row["sentence BLEU"]) for row in table] == sorted(float(row["sentence BLEU"]) for row in table)


def test_the_table_of_captions_has_every_image_by_its_cider(trainer, tmp_path):
    data = Captions()
    trainer(Figures(samples=2)).test(Captioner(), datamodule=data, verbose=False)
    true = [[tokens(text) for text in data.sample(i)["captions"]] for i in range(20)]
    expected = cider([tokens(said_of(i, data.sample(i)["truth"])) for i in range(20)], true)
    table = {row["id"]: row for row in rows(tmp_path / "predictions" / "test_sentences.csv")}
    found = [float(table[f"{i:03}.jpg"]["CIDEr-D"]) for i in range(20)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_sentence_of_no_words_is_named_in_tables():
    collector = TextCollector(1)
    collector.scores, collector.chosen = [0.0], {"predictions": [0]}
    collector.sentences = [Sentence("1", "ein Hund", "", ["a dog"])]
    ((_, _, rows),) = collector.tables("val")
    assert rows == [["1", "ein Hund", "(empty)", "a dog", 0.0]]


def test_best_worst_and_sample_are_what_their_names_say():
    said = [Sentence(str(i), "x", "a b" if i in (3, 4) else "a", ["a  b"]) for i in range(50)]
    scores = [100.0 if i in (3, 4) else float(i % 25) for i in range(50)]
    chosen = choose(said, scores, 4)
    assert {3, 4} == set(chosen["best"][:2])
    assert [scores[i] for i in chosen["mistakes"]] == [0, 0, 1, 1]
    assert not {3, 4} & set(choose(said, scores, 50)["mistakes"])
    sample = sorted(chosen["predictions"])
    assert all(later - earlier > 5 for earlier, later in pairwise(sample))


def test_images_are_kept_as_the_network_saw_them_without_padding():
    task, data, kept = Captioner(), Captions(4), TextCollector(4)
    batch = next(iter(data.loader()))
    image = torch.nn.functional.pad(batch["image"], (0, 552, 0, 268))  # 600 by 300
    inside = torch.tensor([[32, 48]] * 4)
    shown = batch | {"image": task.backbone.normalize(image), "inside": inside}
    kept.update(shown, {"text": ["a"] * 4}, task, 0)
    kept.gather()
    assert {decoded(one.image).shape for one in kept.inputs.values()} == {(16, 24, 3)}
    red = decoded(kept.inputs[0].image).astype(int)
    assert red[..., 0].mean() - red[..., 1].mean() == pytest.approx(100, abs=5)


def collected(count: int, rank: int, world: int) -> TextCollector:
    """Collector of one process: sentences dealt round-robin in batches of one, attention equal to their number."""
    draw, kept = random.Random(0), TextCollector(3)
    for i in range(count):
        true = " ".join(draw.choices("abcdefg", k=8))
        said = true[: draw.randint(0, 15)]
        if i % world == rank:
            batch = {"id": [str(i)], "source_text": [true.upper()], "target_text": [true]}
            answer = {"text": [said], "attention": [torch.full((1, 1), float(i))]}
            kept.update(batch, answer, None, i)
    return kept


def told(kept: TextCollector) -> dict:
    weights = {str(place): one.attention.item() for place, one in sorted(kept.inputs.items())}
    return {"chosen": kept.chosen, "scores": kept.scores, "weights": weights, "ids": [s.id for s in kept.sentences]}


def gathered(rank: int, world: int) -> dict:
    kept = collected(11, rank, world)
    kept.gather()
    return told(kept)


@pytest.mark.integration
def test_two_processes_draw_what_one_would(tmp_path):
    expected = gathered(0, 1)
    assert expected["ids"] == [str(i) for i in range(11)]
    assert all(int(place) == weight for place, weight in expected["weights"].items())
    assert len(expected["weights"]) == len({i for places in expected["chosen"].values() for i in places}) > 5
    assert in_group(lambda rank: gathered(rank, 2), tmp_path) == [expected] * 2


def test_tables_go_to_the_loggers_that_take_them(tmp_path):
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    class Board(TensorBoardLogger):
        experiment = SimpleNamespace(add_text=lambda *told: said.append(told))

    class Wandb(WandbLogger):
        def __init__(self):
            pass

        def log_table(self, key, columns, data, step):
            said.append((key, columns, data, step))

    said = []
    columns, data = ["id", "hypothesis"], [["1", "a|b"], ["2", "two\nlines"]]
    trainer = SimpleNamespace(loggers=[Board(tmp_path), Wandb()], is_global_zero=True, global_step=7)
    log_table(trainer, "val_predictions", columns, data)
    (name, markdown, step), table = said
    assert (name, step) == ("tables/val_predictions", 7)
    assert markdown.split("\n") == ["| id | hypothesis |", "| --- | --- |", "| 1 | a\\|b |", "| 2 | two<br>lines |"]
    assert table == ("tables/val_predictions", columns, data, 7)
    log_table(SimpleNamespace(loggers=[Wandb()], is_global_zero=False, global_step=7), "x", columns, data)
    assert len(said) == 2


def test_attention_lights_up_what_was_looked_at():
    image, weights = np.full((40, 60, 3), 200, np.uint8), np.zeros((4, 6), np.float16)
    weights[1, 4] = 0.25  # rows 10 to 20, columns 40 to 50
    shown = lit(image, weights)
    assert shown[15, 45, 0] > 180
    assert shown[35, 5, 0] == 30
    assert lit(image, np.zeros((2, 2))).max() == 30


def test_a_map_of_words_is_dark_where_the_weights_are():
    source, target = ["the", "red", "dog"], ["der", "rote", "Hund", "."]
    shown = [alignments([weights], [source], [target], "x") for weights in (np.eye(4, 3), np.eye(4, 3)[:, ::-1])]
    assert shown[0].shape == shown[1].shape
    assert (shown[0] != shown[1]).any()
    dark = (shown[0][..., 2].astype(int) - shown[0][..., 0] > 60).sum()  # Blues at its darkest
    assert dark == pytest.approx(3 * 19 * 19, rel=0.15)


def test_images_keep_their_shape_on_their_canvas():
    shown = fitted(np.zeros((10, 40, 3), np.uint8), (200, 300))
    black = (shown == 0).all(2)
    assert black.any(0).sum() == 300
    assert black.any(1).sum() == 75


def test_long_sentences_are_broken_and_cut():
    assert lines("a b " * 3, 7) == "a b a b\na b"
    assert lines("word " * 100, 20).count("\n") == 5
    assert lines("word " * 100, 20).endswith("…")


def test_nothing_to_draw_is_a_title_alone():
    assert sentence_table([], ["a"], "x", [10]).shape == (60, 600, 3)
    assert alignments([], [], [], "x").shape == (60, 600, 3)
    assert captioned([], [], "x").shape == (60, 600, 3)
    assert attention_maps([], [], [], "x").shape == (60, 600, 3)
