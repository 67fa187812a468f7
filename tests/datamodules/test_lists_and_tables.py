"""Lists and tables are read in the encodings, line ends and separators that other machines write."""

import pytest

from datamodules.text_files import Row, read_lines, read_rows, read_text
from modules.contracts import DataError
from tests.helpers.errors import refuses

NAMES = ["Prüfling 1", "école", "日本"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_unicode_is_read_with_any_line_end_and_mark(tmp_path, encoding, end):
    path = tmp_path / "list.txt"
    path.write_bytes(end.join(["a b.jpg", *NAMES, ""]).encode(encoding))
    assert read_lines(path) == ["a b.jpg", *NAMES]


def test_windows_1252_is_read(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("Prüfling – “1”\nécole €".encode("cp1252"))
    assert read_lines(path) == ["Prüfling – “1”", "école €"]


@pytest.mark.parametrize("data", [b"\x81\x8d\x90", b"\x89PNG\r\n\x1a\n\0\0\0\r", "あ".encode("shift_jis") + b"\x81"])
def test_other_bytes_are_refused_by_file_and_encoding(tmp_path, data):
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with refuses(DataError, path, "UTF-8"):
        read_text(path)


def test_an_empty_list_is_refused_unless_it_may_be(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n \n")
    assert read_lines(path, empty=True) == []
    with refuses(DataError, path):
        read_lines(path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_tables_have_any_separator(tmp_path, separator, encoding):
    path = tmp_path / "table.csv"
    rows = [["name", "x", "text"], ["ü.jpg", "1", f'"a{separator} ""b"""']]
    path.write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    assert [*read_rows(path)] == [Row(1, ["name", "x", "text"]), Row(2, ["ü.jpg", "1", f'a{separator} "b"'])]


def test_the_first_line_that_excel_reads_is_no_row(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sep=;\nname;x\na,b;1\n")
    assert [row.cells for row in read_rows(path)] == [["name", "x"], ["a,b", "1"]]


def test_a_quote_without_end_is_refused_by_line(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('name,x\n"a,1\n')
    with refuses(DataError, path, "line 2"):
        list(read_rows(path))
