"""The hash that tells recordings apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import xxhash

from metst.errors import MetstError, UsageError, VideoError
from metst.video import content_hash


def test_a_file_hashes_to_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one chunk, and no whole number of them
    (tmp_path / "a.mp4").write_bytes(data)
    (tmp_path / "b.mkv").write_bytes(data)
    assert content_hash(tmp_path / "a.mp4") == xxhash.xxh3_128_hexdigest(data)
    assert content_hash(tmp_path / "b.mkv") == content_hash(str(tmp_path / "a.mp4"))
    (tmp_path / "b.mkv").write_bytes(data[:-1] + b"\0")
    assert content_hash(tmp_path / "b.mkv") != content_hash(tmp_path / "a.mp4")


def _folder(folder: Path, **images: bytes) -> str:
    folder.mkdir()
    for name, content in images.items():
        (folder / f"{name}.png").write_bytes(content)
    return content_hash(folder)


def test_a_folder_hashes_names_and_contents_of_its_images(tmp_path: Path) -> None:
    first = _folder(tmp_path / "a", f1=b"one", f2=b"two")
    assert _folder(tmp_path / "other name", f2=b"two", f1=b"one") == first
    different = {
        _folder(tmp_path / "swapped", f1=b"two", f2=b"one"),
        _folder(tmp_path / "renumbered", f1=b"one", f3=b"two"),
        _folder(tmp_path / "fewer", f1=b"one"),
        _folder(tmp_path / "bytes moved", f1=b"onet", f2=b"wo"),
    }
    assert len(different) == 4
    assert first not in different


def test_what_is_no_image_does_not_count(tmp_path: Path) -> None:
    first = _folder(tmp_path / "a", f1=b"one")
    (tmp_path / "a" / "notes.txt").write_text("seen")
    (tmp_path / "a" / ".hidden.png").write_bytes(b"x")
    assert content_hash(tmp_path / "a") == first


@pytest.mark.parametrize(("name", "error"), [("missing.mp4", UsageError), ("empty folder", VideoError)])
def test_nothing_to_hash_is_refused(tmp_path: Path, name: str, error: type[MetstError]) -> None:
    (tmp_path / "empty folder").mkdir()
    with pytest.raises(error, match=name):
        content_hash(tmp_path / name)
