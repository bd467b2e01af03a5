"""What tells one recording from another: a hash of its content, whatever it is called and wherever it lies."""

from __future__ import annotations

from pathlib import Path

import xxhash

from metst.errors import UsageError, VideoError
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
