"""Pictures with captions: layouts, what is wrong with them, and what tasks get."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from datamodules import CaptionTable, COCOCaptions, Flickr8k
from datamodules.captions.caption_data import CaptionData
from modules.contracts import ConfigError, DataError
from modules.text.tokenizer import Tokenizer
from modules.text.tokens import BOS, EOS

SMALL = {"image_size": 16, "batch_size": 4, "workers": 0, "val_split": 0.0}
SAID = {f"{i:03d}.png": [f"A dog number {i} runs .", f"One dog , {i} .", f"Dog {i}"] for i in range(8)}
PARTS = {"train": list(SAID)[:5], "val": list(SAID)[5:6], "test": list(SAID)[6:]}


@pytest.fixture
def folder(picture_folder) -> Path:
    return picture_folder({"Images": 8})


def table(folder: Path, rows: list[str], header: str = "image,caption") -> str:
    path = folder / "captions.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def all_rows(said: dict[str, list[str]] = SAID) -> list[str]:
    return [f'{name},"{text}"' for name, texts in said.items() for text in texts]


def captions(data: CaptionData, split: str = "train") -> dict[str, list[str]]:
    data.setup()
    source, rows = data.splits[split]
    return {source.id(i): source.captions[i] for i in rows}


def of_table(folder: Path, rows: list[str], header: str = "image,caption", **settings) -> CaptionTable:
    return CaptionTable(table(folder, rows, header), images=str(folder / "Images"), **(SMALL | settings))


def flickr(folder: Path) -> Flickr8k:
    lines = [f"{name}#{n}\t{text}" for name, texts in SAID.items() for n, text in enumerate(texts)]
    (folder / "Flickr8k.token.txt").write_text("\n".join(lines))
    for split, part in (("train", "train"), ("val", "dev"), ("test", "test")):
        (folder / f"Flickr_8k.{part}Images.txt").write_text("\n".join(PARTS[split]) + "\n")
    return Flickr8k(str(folder), **SMALL)


def karpathy(folder: Path) -> COCOCaptions:
    split_of = {name: split for split, names in PARTS.items() for name in names} | {"000.png": "restval"}
    images = [
        {"filepath": "Images", "filename": name, "split": split_of[name], "sentences": [{"raw": t} for t in texts]}
        for name, texts in SAID.items()
    ]
    (folder / "dataset.json").write_text(json.dumps({"images": images}))
    return COCOCaptions(str(folder), "dataset.json", **SMALL)


def test_every_layout_gives_the_same(folder):
    rows = [f"{row},{split}" for split, names in PARTS.items() for row in all_rows({n: SAID[n] for n in names})]
    for split, names in PARTS.items():
        expected = {name: SAID[name] for name in names}
        assert captions(of_table(folder, rows, "image,caption,split"), split) == expected
        assert captions(flickr(folder), split) == expected
        assert captions(karpathy(folder), split) == {f"Images/{name}": texts for name, texts in expected.items()}


def own(folder: Path, year: str = "2017", text: bool = False) -> None:
    """COCO's own JSON of each split, its images in `train2017` and the like."""
    for split, names in PARTS.items():
        (folder / f"{split}{year}").mkdir()
        ids = {name: str(int(name[:3])) if text else int(name[:3]) for name in names}
        for name in names:
            (folder / "Images" / name).rename(folder / f"{split}{year}" / name)
        parts = {
            "images": [{"id": ids[name], "file_name": name} for name in names],
            "annotations": [{"image_id": ids[name], "caption": said} for name in names for said in SAID[name]],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"captions_{split}{year}.json").write_text(json.dumps(parts))


@pytest.mark.parametrize("text", [False, True])
def test_cocos_own_json_is_read_split_by_split(folder, text):
    own(folder, text=text)
    for split, names in PARTS.items():
        expected = {f"{split}2017/{name}": [" ".join(said.split()) for said in SAID[name]] for name in names}
        assert captions(COCOCaptions(str(folder), **SMALL), split) == expected


def test_one_of_cocos_own_files_can_be_named(folder):
    own(folder)
    data = COCOCaptions(str(folder), "annotations/captions_train2017.json", **SMALL)
    assert list(captions(data)) == [f"train2017/{name}" for name in PARTS["train"]]
    assert list(data.splits) == ["train"]


def test_cocos_own_json_is_refused_where_it_is_not_one(folder):
    own(folder)
    again = folder / "annotations" / "captions_train2014.json"
    again.write_text('{"images": [], "annotations": [{"image_id": 5, "caption": "a"}]}')
    with pytest.raises(DataError, match="are both for train"):
        COCOCaptions(str(folder), **SMALL).setup()
    with pytest.raises(DataError, match=r"annotations\[0\] is of image_id 5, which its images lack"):
        COCOCaptions(str(folder), str(again), **SMALL).setup()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    ("separator", "header"), [(";", "Filename;Comment"), ("|", "image_name|comment"), ("\t", "image\tcaption")]
)
def test_tables_of_other_separators_encodings_and_headers(folder, encoding, separator, header):
    path = folder / "captions.csv"
    rows = [header, *(f"{name.upper()}{separator}grüner Hund, {i}" for i, name in enumerate(SAID))]
    path.write_bytes("\r\n".join(rows).encode(encoding))
    found = captions(CaptionTable(str(path), images=str(folder / "Images"), **SMALL))
    assert found == {name: [f"grüner Hund, {i}"] for i, name in enumerate(SAID)}


def test_a_batch_is_what_tasks_expect(folder):
    data = flickr(folder)
    data.setup()
    (batch,) = data.train_dataloader()
    assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 16, 16), torch.uint8)
    assert batch["captions"] == [SAID[name] for name in batch["id"]]
    target = batch["target"]
    assert target.dtype == torch.int64
    assert (target[:, 0] == BOS).all()
    assert ((target == EOS).sum(1) == 1).all()
    for text, references in zip(data.tokenizers[0].decode(target[:, 1:].tolist()), batch["captions"], strict=True):
        assert text in [reference.lower() for reference in references]


def test_captions_are_drawn_by_seed_and_epoch_and_evaluation_takes_the_first(folder):
    data = flickr(folder)
    data.setup()
    train, plain = data.dataset("train", "train"), data.dataset("train", "evaluate")

    def drawn(epoch: int) -> list[str]:
        return data.tokenizers[0].decode([train[epoch, row]["target"].tolist() for row in range(5)])

    epochs = [drawn(epoch) for epoch in range(40)]
    assert [sorted(set(column)) for column in zip(*epochs, strict=True)] == [
        sorted(text.lower() for text in SAID[name]) for name in PARTS["train"]
    ]
    assert drawn(7) == epochs[7]
    assert epochs[0] != epochs[1]
    firsts = data.tokenizers[0].encode([SAID[name][0].lower() for name in PARTS["train"]])
    assert [plain[3, row]["target"].tolist() for row in range(5)] == firsts


def test_the_vocabulary_is_of_training_captions_or_of_a_checkpoint(folder):
    data = flickr(folder)
    unknown = data.tokenizers[0].encode(["dog 4", "dog 6"])
    assert [data.tokenizers[0].unknown([row]) for row in unknown] == [0, 1]
    given = Tokenizer.train(["a dog number runs one ,.1"], "characters", 40)
    other = flickr(folder)
    other.use(given)
    other.setup()
    assert other.tokenizers == (given,)
    said = other.describe()
    assert f"caption vocabulary: {len(given)} pieces, of the checkpoint" in said
    assert "the vocabulary lacks 12 of 195 pieces of train captions" in said  # digits but 1, three times a picture


def test_a_checkpoint_of_other_captions_or_of_sentence_pairs_is_refused(folder):
    strange = Tokenizer.train(["ein kleiner Hund"], "words", 20)
    data = flickr(folder)
    data.use(strange)
    with pytest.raises(DataError, match="vocabulary lacks 80 of 80 pieces of train captions: it was made for other"):
        data.setup()
    with pytest.raises(ConfigError, match="has 2 vocabularies, but the data is captions, which need 1"):
        flickr(folder).use(strange, strange)


def test_maps_that_are_stored_replace_the_pictures_until_one_of_them_changes(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []

    def encode(image: torch.Tensor) -> torch.Tensor:
        seen.append(len(image))
        return image[:, :, :2, :2].half()

    def stored() -> tuple[Flickr8k, str]:
        data = flickr(folder)
        data.setup()
        return data, data.store(encode, "weights")

    plain = flickr(folder)
    plain.setup()
    data, line = stored()
    assert seen == [4, 1] and "maps of 5 training pictures" in line and "computed in" in line
    for before, batch in zip(plain.train_dataloader(), data.train_dataloader(), strict=True):
        assert torch.equal(batch["map"].float(), before["image"][:, :, :2, :2].float())
        assert torch.equal(batch["target"], before["target"]) and batch["id"] == before["id"]
        assert "image" not in batch
    assert "image" in next(iter(data.val_dataloader()))
    assert "computed by an earlier run" in stored()[1] and len(seen) == 2
    Image.new("RGB", (20, 24)).save(folder / "Images" / "000.png")
    assert "computed in" in stored()[1] and len(seen) == 4


def test_maps_of_pictures_that_turn_out_broken_are_skipped_like_these(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = flickr(folder)
    data.on_error = "skip"
    data.setup()
    data.write_list = lambda *_: None  # there is no run directory
    (folder / "Images" / "001.png").write_bytes(b"")
    data.store(lambda image: image[:, :, :2, :2].half(), "weights")
    (batch,) = data.train_dataloader()
    assert data.skipped == ["001.png"]
    assert len(batch["id"]) + len(batch.get("skipped", [])) == 4
    assert "001.png" not in batch["id"] and batch["map"].isfinite().all()


@pytest.mark.parametrize("settings", [{"augment": "flip"}, {"crop": (0.5, 1.0)}])
def test_maps_of_augmented_pictures_are_not_stored(folder, settings):
    data = of_table(folder, all_rows(), **settings)
    data.setup()
    with pytest.raises(ConfigError, match=r"set --data\.augment none and --data\.crop null"):
        data.store(lambda image: image.half(), "weights")


def test_long_captions_are_cut_and_counted_but_references_stay(folder):
    data = of_table(folder, all_rows(), longest=3)
    assert captions(data) == SAID
    assert "train: 16 captions cut to 3 pieces (data.longest)" in data.describe()
    assert max(len(data.dataset("train", "train")[0, row]["target"]) for row in range(8)) == 3


def test_empty_captions_and_pictures_without_any_are_left_out_and_counted(folder):
    said = SAID | {"001.png": ["", "  ", "Dog"], "002.png": [""]}
    data = of_table(folder, all_rows(said))
    assert captions(data) == {n: ["Dog"] if n == "001.png" else t for n, t in SAID.items() if n != "002.png"}
    assert data.skipped == ["002.png has no caption"]
    assert data.dropped == ["001.png: empty caption"] * 2 + ["002.png: empty caption"]
    assert "dropped: 3 captions that are empty, listed in dropped.txt" in data.describe()


def test_pictures_without_captions_in_a_list(folder):
    flickr(folder)
    (folder / "Flickr_8k.devImages.txt").write_text("005.png\nnever.png\n")
    data = Flickr8k(str(folder), **SMALL)
    data.setup()
    assert data.skipped == ["never.png has no caption"]


def test_captions_of_missing_and_broken_pictures(folder):
    rows = [*all_rows(), "gone.png,A dog"]
    with pytest.raises(DataError, match=r"Images/gone\.png is not there: .*on_error skip"):
        of_table(folder, rows).setup()
    whole = (folder / "Images" / "003.png").read_bytes()
    (folder / "Images" / "003.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2 of 9 .*003\.png cannot be decoded; .*gone"):
        of_table(folder, rows).setup()
    data = of_table(folder, rows, on_error="skip")
    assert list(captions(data)) == [name for name in SAID if name != "003.png"]
    assert data.skipped == ["003.png", "gone.png"]


@pytest.mark.parametrize(
    ("header", "row", "sentence"),
    [
        ("picture,words", "000.png,dog", "has columns picture, words: it needs image and caption"),
        ("image,caption", "000.png,a dog, a cat", "line 2 has another number of fields"),
        ("image,caption", "000.png", "line 2 has another number of fields"),
        ("image,caption,split", "000.png,dog,dev", "line 2 has the split 'dev': it is train, val or test"),
        ("image,caption", '000.png,"a dog', "is no CSV after line 2: unexpected end"),
        ("image,caption", "000.png,", "not one picture in .* has a caption"),
    ],
)
def test_tables_that_are_none(folder, header, row, sentence):
    with pytest.raises(DataError, match=sentence):
        of_table(folder, [row], header).setup()


def test_files_of_another_format(folder):
    (folder / "x.json").write_text('{"images": [{"file": 1}]}')
    with pytest.raises(DataError, match=r"x\.json is in neither format, .*Karpathy.*COCO"):
        COCOCaptions(str(folder), "x.json").setup()
    with pytest.raises(DataError, match=r"has neither no\.json nor annotations/captions_train"):
        COCOCaptions(str(folder), "no.json").setup()
    flickr(folder)
    (folder / "Flickr8k.token.txt").write_bytes("000.png#0\tdog\n001.png#0 gr\u00fcn\n".encode())
    with pytest.raises(DataError, match=r"Flickr8k\.token\.txt line 2 has no tab"):
        Flickr8k(str(folder)).setup()
    (folder / "Flickr8k.token.txt").write_bytes(b"000.png#0\tgr\x81n\n")
    with pytest.raises(DataError, match=r"token\.txt is not UTF-8 \(byte 0x81 at offset 12\)"):
        Flickr8k(str(folder)).setup()


def test_the_most_frequent_caption_by_hand(folder):
    said = {"000.png": ["A dog runs in grass"] * 2, "001.png": ["a cat sits"], "002.png": ["A dog runs in sand"]}
    rows = [f"{row},{'test' if row.startswith('002') else 'train'}" for row in all_rows(said)]
    data = of_table(folder, rows, "image,caption,split")
    data.setup()
    # of "a dog runs in grass" 4 of 5 words, 3 of 4 pairs, 2 of 3 triples and 1 of 2 of four are right; equal length
    assert data.commonest("test") == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)


def test_flickr8k_is_as_published(data_root):
    root = data_root / "flickr8k_subset"
    if not root.is_dir():
        pytest.skip("no flickr8k_subset")
    data = Flickr8k(str(root), image_size=32, workers=0)
    data.setup()
    assert {split: len(data.dataset(split, "plain")) for split in data.splits} == {"train": 400, "val": 60, "test": 60}
    said = data.describe()
    assert said[0] == "train: 400 pictures with 2,000 captions, 5 to 5 each"
    assert not data.skipped
    assert data.commonest("test") < 0.35


def test_a_test_set_alone_needs_the_vocabulary_of_a_checkpoint(folder):
    rows = [f"{row},test" for row in all_rows()]
    with pytest.raises(DataError, match="no training captions to learn a vocabulary from: give a checkpoint"):
        of_table(folder, rows, "image,caption,split").setup()
    data = of_table(folder, rows, "image,caption,split")
    data.use(Tokenizer.train(["a dog number runs one , ."], "words", 20))
    data.setup()
    assert len(list(data.test_dataloader())) == 2
    assert data.describe()[0] == "test: 8 pictures with 24 captions, 3 to 3 each"
