"""Files are whole or absent; a full disk and a read-only folder are said in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lesioncore.errors import LesionError
from lesioncore.files import (
    atomic_path,
    read_json,
    read_table,
    sha256_bytes,
    sha256_file,
    sha256_json,
    write_json,
    write_text,
)


def test_failed_write_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "said"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot write")]
)
def test_disk_trouble_is_an_error_in_words(tmp_path: Path, code: int, said: str) -> None:
    with pytest.raises(LesionError, match=said), atomic_path(tmp_path / "a.txt"):
        raise OSError(code, os.strerror(code))
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_should_be_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with pytest.raises(LesionError, match=r"cannot write .*(?s:.)*choose another --out"):
            write_text(target, "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_json_round_trip_and_broken_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"path": Path("x"), "한글": 1})
    assert read_json(file) == {"path": "x", "한글": 1}
    file.write_text("{")
    with pytest.raises(LesionError, match=r"a\.json"):
        read_json(file)
    with pytest.raises(LesionError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_broken_table_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    file.write_text("no parquet")
    with pytest.raises(LesionError, match=r"t\.parquet"):
        read_table(file)


def test_hashes(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(file) == sha256_bytes(b"abc") == known
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
