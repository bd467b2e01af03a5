"""Real people whose clips others published: the listing, and the clips that a folder holds of it."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from metst.config import Settings
from metst.errors import DataError, UsageError

Split = Literal["train", "development", "test"]


class PersonClip(Settings):
    """One clip of a real person: facts only, the pictures lie elsewhere."""

    file: str = Field(min_length=1, description="its name where it was published; another name will do")
    source: str = Field(pattern=r"^[^@:]+@[0-9a-f]+:.+$", description="repository@commit:path on GitHub")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = Field(min_length=1)
    person: str = Field(min_length=1)
    behaviour: str
    kind: Literal["rest", "talking", "singing", "laughing", "sentence"]
    split: Split
    duration_s: float = Field(gt=0)
    end_s: float | None = Field(None, gt=0, description="where the face is left; the clip's end when absent")

    @property
    def name(self) -> str:
        """What clips made of it are called."""
        return f"{self.person}-{Path(self.file).stem}"

    @property
    def url(self) -> str:
        """Where whoever can reach it may fetch it."""
        place, path = self.source.split(":", 1)
        repository, commit = place.split("@")
        return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def read_people(path: Path) -> list[object]:
    """The clips of a listing as written, for the plan to check."""
    return list(tomllib.loads(path.read_text(encoding="utf-8")).get("clip", []))


def chosen(people: Sequence[PersonClip], *, sentences: int) -> tuple[PersonClip, ...]:
    """The clips that are used: of each person at most so many sentences, in the order of the listing, and all else."""
    spoken: dict[str, int] = {}
    kept = []
    for each in people:
        spoken[each.person] = spoken.get(each.person, 0) + (each.kind == "sentence")
        if each.kind != "sentence" or spoken[each.person] <= sentences:
            kept.append(each)
    return tuple(kept)


def find_people(folder: Path, *, people: Sequence[PersonClip]) -> dict[str, Path]:
    """Where each clip lies in a folder, by its SHA-256; those that are not there are left out.

    Raises
    ------
    UsageError
        There is no such folder.
    DataError
        A file has the name of a clip that is missing, and is another one.
    """
    if not folder.is_dir():
        raise UsageError(f"--footage {folder} is no folder: give the one that holds the clips of people")
    wanted = {each.sha256 for each in people}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {path: hash_of(path) for path in files}
    found = {sha256: path for path, sha256 in reversed(content.items()) if sha256 in wanted}
    named = {path.name: path for path in files}
    for each in people:
        if each.sha256 not in found and (other := named.get(each.file)) is not None:
            raise DataError(
                f"{other} has SHA-256 {content[other]}, the listing expects {each.sha256}: fetch it again from"
                f" {each.url}, or move it away"
            )
    return found


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
