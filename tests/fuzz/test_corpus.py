"""All of the corpus, every input that ever broke a door among it, goes through its door."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("openpyxl")

from fuzz.doors import (
    CACHE_KEY,
    CORPUS,
    DOORS,
    Door,
    cache_of_doors,
    clean_up,
    fuzz_cache,
    fuzz_video,
    name_of,
    through,
)
from metst.errors import MetstError

FILES = [(door, path) for door in DOORS for path in sorted((CORPUS / name_of(door)).iterdir())]

WITH_FAULTS = {"settings/plan", "settings/recipe", "pickles/tensors-0", "pickles/tensors-1"}
"""Files that were made for the corpus and are refused for what they lack."""

_FLIPS = 12
"""Inputs with a damage of its own that each file gives, on every run the same."""


@pytest.fixture(scope="module", autouse=True)
def _no_trace() -> Iterator[None]:
    yield
    clean_up()


def _id(value: object) -> str:
    return value.name if isinstance(value, Path) else name_of(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("door", "path"), FILES, ids=_id)
def test_every_file_of_the_corpus_is_answered(door: Door, path: Path) -> None:
    data = path.read_bytes()
    through(door, data)
    if not path.name.startswith("found-") and f"{name_of(door)}/{path.name}" not in WITH_FAULTS:
        door(data)  # what was made for the corpus is read without any error: it reaches what lies behind the checks


@pytest.mark.parametrize(("door", "path"), FILES, ids=_id)
def test_damage_is_answered(door: Door, path: Path) -> None:
    data, rng = path.read_bytes(), np.random.default_rng(len(path.name))
    for _ in range(_FLIPS if door is not fuzz_video else 2):
        damaged = bytearray(data)
        for place in rng.integers(1, max(len(data), 2), 4):
            damaged[min(place, len(data) - 1)] ^= 1 << int(rng.integers(8))
        through(door, bytes(damaged[: int(rng.integers(1, len(data) + 1))] if rng.random() < 0.3 else damaged))


def test_a_whole_entry_of_the_cache_is_found_and_a_cut_one_is_not() -> None:
    data = (CORPUS / "cache" / "entry").read_bytes()
    fuzz_cache(data)
    assert cache_of_doors().read(CACHE_KEY, name="clip.mp4") is not None
    fuzz_cache(data[:-1])
    assert cache_of_doors().read(CACHE_KEY, name="clip.mp4") is None


def test_an_error_of_another_kind_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(data: bytes) -> None:
        raise LookupError(data)

    monkeypatch.setitem(DOORS, breaking, (MetstError,))
    with pytest.raises(LookupError):
        through(breaking, b"x")
    assert DOORS[fuzz_cache] == ()
