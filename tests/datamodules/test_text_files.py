"""Files of sentences: every flaw is found, with file and line, before the first step."""

import gzip
from pathlib import Path

import pytest

from datamodules import Multi30k, ParallelText, TextFile
from datamodules.text.lines import read_lines
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import assert_named, line_naming, refuses

EN = [f"the {word} dog number {i} runs ." for i, word in enumerate(["red", "old", "big", "sad", "wet"] * 4)]
DE = [f"der {word} Hund Nummer {i} rennt ." for i, word in enumerate(["rote", "alte", "dicke", "arme", "nasse"] * 4)]


def write(path: Path, lines: list[str] | bytes) -> str:
    data = lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return {"source": write(tmp_path / "train.en", EN), "target": write(tmp_path / "train.de", DE)}


def pairs(*splits: str, **settings) -> ParallelText:
    data = ParallelText(workers=0, batch_size=4, **({"val_split": 0.0} | settings))
    data.setup()
    assert set(data.splits) == set(splits or ("train",))
    return data


def texts(data: ParallelText, split: str = "train") -> list[tuple[str, str]]:
    return list(zip(data.encoded[split].texts("source"), data.encoded[split].texts("target"), strict=True))


def test_two_files_match_line_by_line(files):
    data = pairs(**files)
    assert texts(data) == list(zip(EN, DE, strict=True))
    assert data.encoded["train"][0, [3]]["id"] == ["train.en:4"]


def test_gzip_and_tables_hold_the_same(tmp_path, files):
    zipped = {side: write(tmp_path / f"x.{side}.gz", lines) for side, lines in (("source", EN), ("target", DE))}
    table = write(tmp_path / "t.tsv", [f"{a}\t{b}\tfurther" for a, b in zip(EN, DE, strict=True)])
    assert texts(pairs(**files)) == texts(pairs(**zipped)) == texts(pairs(source=table))


def test_windows_ends_and_marks_and_a_missing_last_end_change_nothing(tmp_path, files):
    data = b"\xef\xbb\xbf" + "\r\n".join(EN).encode()
    assert texts(pairs(source=write(tmp_path / "w.en", data), target=files["target"])) == texts(pairs(**files))


def test_only_line_feeds_end_lines(tmp_path):
    assert read_lines(Path(write(tmp_path / "x", "a\u2028b\x85c\x0bd\ne\n".encode()))).texts == [
        "a\u2028b\x85c\x0bd",
        "e",
    ]


def test_files_of_different_lengths(tmp_path, files):
    short = write(tmp_path / "short.de", DE[:-3])
    with refuses(DataError, files["source"], 20, short, 17, "line 18"):
        pairs(source=files["source"], target=short)


def test_lines_without_text_are_left_out_and_named(tmp_path, files):
    target = list(DE)
    target[2], target[5], target[7] = "", "@@", " \u00a0 "
    data = pairs(source=files["source"], target=write(tmp_path / "gaps.de", target))
    assert texts(data) == [(a, b) for i, (a, b) in enumerate(zip(EN, DE, strict=True)) if i not in (2, 5, 7)]
    for line, names in zip(data.skipped, (["line 3"], ["line 6", "'@@'"], ["line 8"]), strict=True):
        assert_named(line, tmp_path / "gaps.de", *names)
    assert line_naming(data.describe(), 3, "skipped.txt")


def test_not_one_line_with_text(tmp_path, files):
    none = write(tmp_path / "none.de", ["@@"] * 20)
    with refuses(DataError, none, "line 1", "'@@'"):
        pairs(source=files["source"], target=none)


def test_other_blanks_are_normalized_and_counted(tmp_path, files):
    source = [EN[0].replace(" ", "\u00a0"), EN[1] + "  ", "\t" + EN[2], *EN[3:]]
    data = pairs(source=write(tmp_path / "blank.en", source), target=files["target"])
    assert texts(data) == list(zip(EN, DE, strict=True))
    assert line_naming(data.describe(), "blanks", 3)


def test_a_line_with_a_nul_character_is_named(tmp_path, files):
    target = write(tmp_path / "nul.de", [DE[0], f"ein\0{DE[1]}", *DE[2:]])
    with refuses(DataError, target, "line 2", "NUL", "--data.on_error skip"):
        pairs(source=files["source"], target=target)


def test_wrong_encoding_names_the_byte(tmp_path, files):
    good = "".join(f"{line}\n" for line in DE[:2]).encode()
    bad = good + "gr\u00fcn ist der Hund\n".encode("latin-1") + "".join(f"{line}\n" for line in DE[3:]).encode()
    target = write(tmp_path / "latin.de", bad)
    with refuses(DataError, target, "line 3", "0xfc", f"offset {len(good) + 2}", "UTF-8", "--data.on_error skip"):
        pairs(source=files["source"], target=target)
    data = pairs(source=files["source"], target=target, on_error="skip")
    assert texts(data) == [(a, b) for i, (a, b) in enumerate(zip(EN, DE, strict=True)) if i != 2]
    assert data.skipped == ["train.en:3"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("\n".join(DE).encode("utf-16")[:-1], ["UTF-16"]),
        (gzip.compress("\n".join(DE).encode())[:-12], ["gzip"]),
        (b"", []),
        (b"\n\n", []),
    ],
    ids=["UTF-16", "cut gzip", "empty", "blank"],  # gzip writes the time into the file, and names must not change
)
def test_files_that_are_no_text(tmp_path, files, content, names):
    target = write(tmp_path / "bad.de", content)
    with refuses(DataError, target, *names):
        pairs(source=files["source"], target=target)


def test_missing_files(tmp_path, files):
    with refuses(DataError, tmp_path / "no.de"):
        pairs(source=files["source"], target=str(tmp_path / "no.de"))
    with refuses(ConfigError, "data.val_target", "data.val_source"):
        ParallelText(**files, val_target="x")


def test_a_table_without_a_tab(tmp_path):
    table = write(tmp_path / "t.tsv", ["a dog\tein Hund", "a cat eine Katze"])
    with refuses(DataError, table, "line 2"):
        pairs(source=table)


def test_the_same_file_twice(files):
    with refuses(DataError, files["source"]):
        pairs(source=files["source"], target=files["source"])


def test_many_equal_lines_are_a_warning_and_no_refusal(tmp_path, files):
    """Normalization of spelling leaves most lines as they are."""
    source = write(tmp_path / "noisy.en", [line.replace("dog", "dogg") if i < 5 else line for i, line in enumerate(EN)])
    data = pairs(source=source, target=files["source"])
    assert len(texts(data)) == 20
    assert line_naming(data.describe(), "warning", 15, 20)
    assert not any("warning" in line for line in pairs(**files).describe())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_other_unicode_encodings_are_read(tmp_path, files, encoding):
    target = write(tmp_path / "train.u.de", "\r\n".join(DE).encode(encoding))
    assert texts(pairs(source=files["source"], target=target)) == list(zip(EN, DE, strict=True))


def test_bytes_of_windows_1252_are_named_as_such(tmp_path, files):
    lines = [line.encode() for line in DE]
    lines[2] = "ein grüner Hund".encode("cp1252")
    target = write(tmp_path / "old.de", b"\n".join(lines))
    with refuses(DataError, target, "line 3", "0xfc", "Windows-1252", "'ein grüner Hund'", "--data.on_error skip"):
        pairs(source=files["source"], target=target)


@pytest.mark.parametrize("fault", ["swapped", "pieces", "vocabulary"])
def test_what_only_looks_wrong_can_be_taken_as_it_is(tmp_path, files, fault):
    if fault == "swapped":
        settings = {**files, "val_source": files["target"], "val_target": files["source"]}
    elif fault == "pieces":
        source = write(tmp_path / "bpe.en", [line.replace("number", "num@@ ber") for line in EN])
        settings = {"source": source, "target": files["target"]}
    else:
        settings = {
            name: write(
                tmp_path / f"{name}.zh",
                [f"日本語 中文 {'字' * (i + 1)}" for i in range(20)][:: 1 - 2 * (name == "target")],
            )
            for name in files
        }
    trained = pairs(**files).tokenizers if fault == "vocabulary" else None

    def read(**more) -> ParallelText:
        data = ParallelText(**settings, workers=0, val_split=0.0, tokenizer="words", **more)
        if trained:
            data.use(*trained)
        data.setup()
        return data

    with refuses(DataError, "--data.strict false"):
        read()
    assert any("warning: " in line for line in read(strict=False).describe())


def test_swapped_files(files):
    with refuses(DataError, files["target"], files["source"], "--data.strict false"):
        pairs("train", "val", **files, val_source=files["target"], val_target=files["source"])
    assert pairs("train", "val", **files, val_source=files["source"], val_target=files["target"])


def test_text_in_pieces(tmp_path, files):
    source = write(tmp_path / "bpe.en", [line.replace("number", "num@@ ber") for line in EN])
    with refuses(DataError, source, "@@", "line 1", "--data.strict false"):
        pairs(source=source, target=files["target"])


def test_sentences_keep_their_order_and_empty_lines(tmp_path, files):
    trained = pairs(**files).tokenizers
    data = TextFile(write(tmp_path / "new.en", [EN[4], "", EN[1] + " " + EN[2], "@@", EN[0]]), workers=0, batch_size=2)
    data.use(*trained)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [text for batch in batches for text in batch["source_text"]] == [EN[4], "", f"{EN[1]} {EN[2]}", "@@", EN[0]]
    assert [i for batch in batches for i in batch["id"]] == [f"new.en:{n}" for n in range(1, 6)]
    assert all("target" not in batch for batch in batches)
    assert_named(data.describe()[0], "test", 5)


def test_sentences_from_the_standard_input(monkeypatch, files):
    class Standard:
        class buffer:
            read = staticmethod(lambda: "ein Hund\nGrün\n".encode())

    monkeypatch.setattr("sys.stdin", Standard)
    data = TextFile("-", workers=0)
    data.use(*pairs(**files).tokenizers)
    data.setup("predict")
    assert data.encoded["test"].texts("source") == ["ein Hund", "Grün"]


def test_sentences_need_a_vocabulary(tmp_path):
    data = TextFile(write(tmp_path / "new.en", EN))
    with refuses(DataError, "TextFile", "--ckpt_path"):
        data.setup()


def test_multi30k_finds_its_files_or_says_what_there_is(tmp_path):
    for part in ("train", "val", "test_2016_flickr"):
        write(tmp_path / f"{part}.en", EN)
        write(tmp_path / f"{part}.de.gz", DE)
    data = Multi30k(str(tmp_path), workers=0)
    data.setup()
    assert [len(data.encoded[split]) for split in ("train", "val", "test")] == [20, 20, 20]
    swapped = Multi30k(str(tmp_path), source="de", target="en")
    swapped.setup()
    assert swapped.encoded["test"].texts("source") == DE
    settings = (f"data.{name}" for name in ("root", "source", "target", "test"))
    with refuses(DataError, tmp_path, "train.fr", "test_2016_flickr.de", "train.en", *settings):
        Multi30k(str(tmp_path), target="fr").setup()
    with refuses(ConfigError, "data.source", "data.target", "'de'"):
        Multi30k(str(tmp_path), source="de")
    with refuses(DataError, "data.root", tmp_path / "no"):
        Multi30k(str(tmp_path / "no")).setup()
