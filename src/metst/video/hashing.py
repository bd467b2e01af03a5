"""What tells one recording from another: a hash of its content, whatever it is called and wherever it lies.

A recording may be written to while it is read.  Who keeps or tells what was found in one takes its stamp first, reads
it, and then compares both stamp and hash: what was hashed is then what was read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import xxhash

from metst.errors import UsageError, VideoError
from metst.spelling.names import given_name
from metst.video.folder import image_files

_CHUNK_BYTES = 1 << 20
"""Read at once; set by hand."""


def content_hash(path: Path | str) -> str:
    """Hash the bytes of a video file, or the names and bytes of the images of a folder.

    XXH3 with 128 bits (Collet, xxHash): it runs at the speed of memory, so that reading the file
    is all it costs.  It tells recordings apart; it is no protection against forgery.

    Parameters
    ----------
    path : path
        Video file or folder of images.  The name of a file, or of the folder, does not count;
        the names of the images within a folder do, since they hold the numbers of the frames.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    UsageError
        Nothing at ``path``.
    VideoError
        It cannot be read, or a folder holds no images.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"no such file or folder: {path}")
    if not path.is_dir():
        return _file_digest(path).hex()
    digest = xxhash.xxh3_128()
    for file in sorted(image_files(path)):
        # Digests have one length, names end at a byte no name can hold: no two folders run into one.
        digest.update(file.name.encode("utf-8", "surrogateescape") + b"\0" + _file_digest(file))
    return digest.hexdigest()


Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Of each file of a recording its name, size in bytes, time of the last change in nanoseconds, number on its disk."""


def content_stamp(path: Path | str) -> Stamp:
    """What the system says of a recording's files, without reading them; it changes when somebody writes to one.

    Parameters
    ----------
    path : path
        Video file or folder of images.  One that cannot be looked at has no files.
    """
    path = Path(path)
    try:
        files = sorted(image_files(path)) if path.is_dir() else [path]
        return tuple((each.name, *_status(each)) for each in files)
    except (OSError, VideoError):
        return ()


def _status(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def is_unchanged(path: Path | str, *, stamp: Stamp, content: str) -> bool:
    """Whether a recording is what it was: the same files, untouched since, with the same bytes.

    The hash is taken again in any case: a program may set the time of a file back, and a disk may have coarse times.

    Parameters
    ----------
    path : path
        Video file or folder of images.
    stamp : Stamp
        What :func:`content_stamp` said before it was read.
    content : str
        What :func:`content_hash` said before that.
    """
    try:
        return content_stamp(path) == stamp and content_hash(path) == content
    except (UsageError, VideoError):
        return False


def check_untouched(path: Path, *, stamp: Stamp, during: str) -> None:
    """Make sure, without reading it, that nobody wrote to a recording.

    Raises
    ------
    VideoError
        Somebody did.
    """
    if content_stamp(path) != stamp:
        raise VideoError(
            f"{given_name(path)}: the recording was changed while {during}: run again when nobody writes to it"
        )


def _file_digest(file: Path) -> bytes:
    digest = xxhash.xxh3_128()
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    try:
        with file.open("rb", buffering=0) as handle:
            while count := handle.readinto(buffer):
                digest.update(view[:count])
    except OSError as error:
        raise VideoError(f"{file} cannot be read: {error.strerror}") from error
    return digest.digest()
