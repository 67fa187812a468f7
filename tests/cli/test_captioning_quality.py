"""Quality of captioning: the shipped configuration, and real photographs."""

import csv
from pathlib import Path

import pytest

from tests.helpers.commands import values

FIT = "fit --config tasks/captioning.yaml --data CaptionTable --data.image_size 64 --data.batch_size 20".split()
FIT += "--data.val_split 0 --data.workers 0 --model.label_smoothing 0 --model.search.num_beams 1".split()
FIT += "--model.decoder.dropout 0 --trainer.max_epochs 150 --trainer.logger false".split()
FIT += "--checkpoint.every_n_steps 0 --run_dir run".split()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_captioning_as_shipped_is_far_above_the_most_frequent_caption(graft, capsys):
    assert graft("fit", "--config", "tasks/captioning.yaml", "--run_dir", "run")[0] == 0
    said = capsys.readouterr().out
    baseline = float(said.partition("the most frequent caption has BLEU-4 ")[2].split()[0])
    assert baseline < 0.35
    assert values("run")["test/bleu_4"] >= 0.80


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_photographs_are_memorized_word_for_word(graft, data_root):
    root = data_root / "flickr8k_subset"
    if not root.is_dir():
        pytest.skip("no flickr8k_subset")
    names = (root / "Flickr_8k.trainImages.txt").read_text().split()[:20]
    said = [line.split("\t") for line in (root / "Flickr8k.token.txt").read_text("utf-8").splitlines()]
    with Path("twenty.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        for split in ("train", "test"):
            writer.writerows([n[:-2], text, split] for n, text in said if n[:-2] in names)
    assert graft(*FIT, "--data.root", "twenty.csv", "--data.images", str(root / "Images"))[0] == 0
    found = values("run")
    assert found["test/exact_match"] == 1  # one of the five captions of its image
    assert found["test/bleu_4"] == pytest.approx(1, abs=1e-3)
