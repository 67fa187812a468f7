"""Files are found under the names that lists from other machines give them."""

import unicodedata

import pytest

from datamodules.file_names import locate, spelled

NFC, NFD = (unicodedata.normalize(form, "é_ü ñ.jpg") for form in ("NFC", "NFD"))


@pytest.fixture
def folder(tmp_path):
    for name in ("images/train/001.JPG", "images/train/IMG 002 (1).jpg", f"Fotos/{NFD}"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("images/train/001.JPG", "images/train/001.JPG"),
        ("images/train/001.jpg", "images/train/001.JPG"),
        (r"images\train\001.JPG", "images/train/001.JPG"),
        (r"C:\data\images\train\001.jpg", "images/train/001.JPG"),
        ("/home/me/data/images/train/001.JPG", "images/train/001.JPG"),
        ("data/images/train/001.JPG", "images/train/001.JPG"),
        ("../images/train/001.JPG", "images/train/001.JPG"),
        ('"images/train/IMG 002 (1).jpg"', "images/train/IMG 002 (1).jpg"),
        (f"fotos/{NFC}", f"Fotos/{NFD}"),
        (f"fotos/{NFD.upper()}", f"Fotos/{NFD}"),
    ],
)
def test_spelled_otherwise_it_is_the_same_file(folder, name, found):
    assert locate(name, [folder]) == folder / found


@pytest.mark.parametrize("name", ["images/train/003.jpg", "", ".", "images/train", "a" * 5000, "\0", "Foto/é.jpg"])
def test_what_is_not_there_is_not_found(folder, name):
    assert locate(name, [folder]) is None


def test_the_exact_name_wins_and_two_alike_are_neither(tmp_path):
    for name in ("a.jpg", "A.jpg", "B.jpg", "b.JPG"):
        (tmp_path / name).touch()
    assert spelled(tmp_path, "A.jpg") == tmp_path / "A.jpg"
    assert spelled(tmp_path, "b.jpg") is None


def test_a_name_with_a_backslash_in_it_is_a_name_first(tmp_path):
    (tmp_path / r"a\b.jpg").touch()
    assert locate(r"a\b.jpg", [tmp_path]) == tmp_path / r"a\b.jpg"


def test_the_first_folder_wins(tmp_path):
    for name in ("one/a.jpg", "two/a.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert locate("a.jpg", [tmp_path / "two", tmp_path / "one"]) == tmp_path / "two/a.jpg"
