"""Captioning data: layouts, faulty files, and batches for the tasks."""

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
from tests.helpers.errors import assert_named, line_naming, refuses

SMALL = {"image_size": 16, "batch_size": 4, "workers": 0, "val_split": 0.0}
SAID = {f"{i:03d}.png": [f"A dog number {i} runs .", f"One dog , {i} .", f"Dog {i}"] for i in range(8)}
PARTS = {"train": list(SAID)[:5], "val": list(SAID)[5:6], "test": list(SAID)[6:]}


@pytest.fixture
def folder(image_folder) -> Path:
    return image_folder({"Images": 8})


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
    own_json, again = (folder / "annotations" / f"captions_train{year}.json" for year in (2017, 2014))
    again.write_text('{"images": [], "annotations": [{"image_id": 5, "caption": "a"}]}')
    with refuses(DataError, own_json, again, "data.file"):
        COCOCaptions(str(folder), **SMALL).setup()
    with refuses(DataError, again, "annotations[0]", "image_id 5"):
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
    assert line_naming(said, len(given), "checkpoint")
    assert line_naming(said, "train", 12, 195)  # digits but 1, three times an image


def test_a_checkpoint_of_other_captions_or_of_sentence_pairs_is_refused(folder):
    strange = Tokenizer.train(["ein kleiner Hund"], "words", 20)
    data = flickr(folder)
    data.use(strange)
    with refuses(DataError, "train", 80, "--data.strict false"):
        data.setup()
    with refuses(ConfigError, 2, 1, "--data", "--ckpt_path"):
        flickr(folder).use(strange, strange)


def test_maps_that_are_stored_replace_the_images_until_one_of_them_changes(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []

    def encode(image: torch.Tensor) -> torch.Tensor:
        seen.append(len(image))
        return image[:, :, :2, :2].half()

    def cached() -> tuple[Flickr8k, str]:
        data = flickr(folder)
        data.setup()
        return data, data.cache_features(encode, "weights")

    plain = flickr(folder)
    plain.setup()
    data, line = cached()
    assert seen == [4, 1]
    assert_named(line, 5)
    for before, batch in zip(plain.train_dataloader(), data.train_dataloader(), strict=True):
        assert torch.equal(batch["map"].float(), before["image"][:, :, :2, :2].float())
        assert torch.equal(batch["target"], before["target"]) and batch["id"] == before["id"]
        assert "image" not in batch
    assert "image" in next(iter(data.val_dataloader()))
    cached()
    assert len(seen) == 2
    Image.new("RGB", (20, 24)).save(folder / "Images" / "000.png")
    cached()
    assert len(seen) == 4


def test_maps_of_images_that_turn_out_broken_are_skipped_like_these(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = flickr(folder)
    data.on_error = "skip"
    data.setup()
    data.write_list = lambda *_: None  # there is no run directory
    (folder / "Images" / "001.png").write_bytes(b"")
    data.cache_features(lambda image: image[:, :, :2, :2].half(), "weights")
    (batch,) = data.train_dataloader()
    assert data.skipped == ["001.png"]
    assert len(batch["id"]) + len(batch.get("skipped", [])) == 4
    assert "001.png" not in batch["id"] and batch["map"].isfinite().all()


@pytest.mark.parametrize("settings", [{"augment": "flip"}, {"crop": (0.5, 1.0)}])
def test_maps_of_augmented_images_are_not_stored(folder, settings):
    data = of_table(folder, all_rows(), **settings)
    data.setup()
    with refuses(ConfigError, "model.cache_features", "--data.augment none", "--data.crop null"):
        data.cache_features(lambda image: image.half(), "weights")


def test_long_captions_are_cut_and_counted_but_references_stay(folder):
    data = of_table(folder, all_rows(), max_length=3)
    assert captions(data) == SAID
    assert line_naming(data.describe(), "train", 16, 3, "data.max_length")
    assert max(len(data.dataset("train", "train")[0, row]["target"]) for row in range(8)) == 3


def test_empty_captions_and_images_without_any_are_left_out_and_counted(folder):
    said = SAID | {"001.png": ["", "  ", "Dog"], "002.png": [""]}
    data = of_table(folder, all_rows(said))
    assert captions(data) == {n: ["Dog"] if n == "001.png" else t for n, t in SAID.items() if n != "002.png"}
    (skipped,) = data.skipped
    assert_named(skipped, "002.png")
    for line, name in zip(data.dropped, ("001.png", "001.png", "002.png"), strict=True):
        assert_named(line, name)
    assert line_naming(data.describe(), 3, "dropped.txt")


def test_images_without_captions_in_a_list(folder):
    flickr(folder)
    (folder / "Flickr_8k.devImages.txt").write_text("005.png\nnever.png\n")
    data = Flickr8k(str(folder), **SMALL)
    data.setup()
    (skipped,) = data.skipped
    assert_named(skipped, "never.png")


def test_captions_of_missing_and_broken_images(folder):
    rows = [*all_rows(), "gone.png,A dog"]
    with refuses(DataError, 1, 9, folder / "Images" / "gone.png", "--data.on_error skip"):
        of_table(folder, rows).setup()
    whole = (folder / "Images" / "003.png").read_bytes()
    (folder / "Images" / "003.png").write_bytes(whole[: len(whole) // 2])
    both = (folder / "Images" / name for name in ("003.png", "gone.png"))
    with refuses(DataError, "2 of 9", *both, "--data.on_error skip"):
        of_table(folder, rows).setup()
    data = of_table(folder, rows, on_error="skip")
    assert list(captions(data)) == [name for name in SAID if name != "003.png"]
    assert data.skipped == ["003.png", "gone.png"]


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ("image,words", "000.png,dog", ["captions.csv", "image", "words", "image", "caption"]),
        ("image,caption", "000.png,a dog, a cat", ["captions.csv", "line 2"]),
        ("image,caption", "000.png", ["captions.csv", "line 2"]),
        ("image,caption,split", "000.png,dog,dev", ["captions.csv", "line 2", "'dev'", "train", "val", "test"]),
        ("image,caption", '000.png,"a dog', ["captions.csv", "line 2"]),
        ("image,caption", "000.png,", ["Images", "000.png"]),
    ],
)
def test_tables_that_are_none(folder, header, row, names):
    with refuses(DataError, *names):
        of_table(folder, [row], header).setup()


def test_files_of_another_format(folder):
    (folder / "x.json").write_text('{"images": [{"file": 1}]}')
    with refuses(DataError, folder / "x.json", "Karpathy", "COCO"):
        COCOCaptions(str(folder), "x.json").setup()
    with refuses(DataError, folder, "no.json", "annotations/captions_train*.json", "data.file", "data.root"):
        COCOCaptions(str(folder), "no.json").setup()
    flickr(folder)
    (folder / "Flickr8k.token.txt").write_bytes("000.png#0\tdog\n001.png#0 gr\u00fcn\n".encode())
    with refuses(DataError, folder / "Flickr8k.token.txt", "line 2"):
        Flickr8k(str(folder)).setup()
    (folder / "Flickr8k.token.txt").write_bytes(b"000.png#0\tgr\x81n\n")
    with refuses(DataError, folder / "Flickr8k.token.txt", "UTF-8", "0x81", "offset 12"):
        Flickr8k(str(folder)).setup()


def test_the_most_frequent_caption_by_hand(folder):
    said = {"000.png": ["A dog runs in grass"] * 2, "001.png": ["a cat sits"], "002.png": ["A dog runs in sand"]}
    rows = [f"{row},{'test' if row.startswith('002') else 'train'}" for row in all_rows(said)]
    data = of_table(folder, rows, "image,caption,split")
    data.setup()
    # matches of "a dog runs in grass": 4 of 5 words, 3 of 4 pairs, 2 of 3 triples and 1 of 2 of four; equal length
    assert data.commonest("test") == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)


def test_flickr8k_is_as_published(data_root):
    root = data_root / "flickr8k_subset"
    if not root.is_dir():
        pytest.skip("no flickr8k_subset")
    data = Flickr8k(str(root), image_size=32, workers=0)
    data.setup()
    assert {split: len(data.dataset(split, "plain")) for split in data.splits} == {"train": 400, "val": 60, "test": 60}
    said = data.describe()
    assert_named(said[0], "train", 400, "2,000", 5)
    assert not data.skipped
    assert data.commonest("test") < 0.35


def test_a_test_set_alone_needs_the_vocabulary_of_a_checkpoint(folder):
    rows = [f"{row},test" for row in all_rows()]
    with refuses(DataError, "CaptionTable", "--ckpt_path"):
        of_table(folder, rows, "image,caption,split").setup()
    data = of_table(folder, rows, "image,caption,split")
    data.use(Tokenizer.train(["a dog number runs one , ."], "words", 20))
    data.setup()
    assert len(list(data.test_dataloader())) == 2
    assert_named(data.describe()[0], "test", 8, 24, 3)
