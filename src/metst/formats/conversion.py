"""Results become files of other programs, and such files become layers of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from metst.coding.layers import MACHINE, Coding, Layer, edited_name
from metst.coding.layers_folder import (
    read_coding,
    read_layers_header,
    recording_in,
    write_layers,
)
from metst.errors import DataError, UsageError
from metst.formats.bids import read_bids, write_bids
from metst.formats.boris import read_boris, write_boris
from metst.formats.elan import read_elan, write_elan
from metst.formats.files import Found
from metst.formats.label_studio import read_label_studio, write_label_studio
from metst.formats.megc import read_submission
from metst.formats.names import FormatName, ImportName
from metst.formats.tables import existing, read_csv, read_xlsx, write_csv, write_tsv, write_xlsx
from metst.formats.textgrid import read_textgrid, write_textgrid
from metst.formats.webvtt import read_webvtt, write_webvtt
from metst.results.analysis_folder import FILES, HEADER_FILE, LAYERS_FOLDER, REVIEW_FILE
from metst.storage.locks import only_writer
from metst.timeline import TimeGrid

if TYPE_CHECKING:
    from metst.arrays import OnProgress


class Reader(Protocol):
    """Reads the layers of a file, as :func:`metst.formats.elan.read_elan` does."""

    def __call__(self, path: Path, *, video: str, grid: TimeGrid) -> Found:
        """Layers of a file, of the recording of that name with these timestamps."""


@dataclass(frozen=True)
class Format:
    """How a format is written and read, how its files are called where many are written, and what stands beside one."""

    write: Callable[[Coding, Path], None]
    read: Reader
    suffix: str
    beside: str = ""


FORMATS: dict[FormatName, Format] = {
    "elan": Format(write_elan, read_elan, ".eaf"),
    "textgrid": Format(write_textgrid, read_textgrid, ".TextGrid"),
    "csv": Format(write_csv, read_csv, ".csv"),
    "tsv": Format(write_tsv, read_csv, ".tsv"),
    "xlsx": Format(write_xlsx, read_xlsx, ".xlsx"),
    "boris": Format(write_boris, read_boris, ".boris"),
    "label-studio": Format(write_label_studio, read_label_studio, ".json"),
    "bids": Format(write_bids, read_bids, "_events.tsv", beside=".json"),
    "webvtt": Format(write_webvtt, read_webvtt, ".vtt"),
}
"""All that are written and read."""
READERS: dict[ImportName, Reader] = {name: each.read for name, each in FORMATS.items()} | {"megc": read_submission}
"""All that are read."""


def export_results(
    folder: Path, output: Path, *, to: FormatName, overwrite: bool = False, check: bool = True
) -> Coding:
    """Write the layers of a folder of results as a file of another program.

    Parameters
    ----------
    folder : Path
        Of ``metst analyze`` or ``metst import``.
    output : Path
        The file.
    to : str
        Name of the format.
    overwrite : bool
        Replace a file that is there.
    check : bool
        Refuse tables that are not those that were written.

    Returns
    -------
    Coding
        What was written.

    Raises
    ------
    UsageError
        The file, or one that is written beside it, is there already, or is one of the results themselves.
    DataError
        The folder holds no results that can be read.
    OutputError
        The file cannot be written.
    """
    own = FORMATS[to]
    if own.beside and output.suffix == own.beside:
        raise UsageError(f"{output}: a file {own.beside} is written beside the {to} file; name that, as *{own.suffix}")
    for path in [output, output.with_suffix(own.beside)] if own.beside else [output]:
        if path.is_dir() or (path.exists() and not overwrite):
            raise UsageError(f"{path} is there already: give another file, or ask to overwrite it")
        if _is_of_results(path, folder=folder):
            raise UsageError(f"{path} is one of the results that are exported: give another file")
    coding = read_coding(folder, check=check)
    own.write(coding, output)
    return coding


def _is_of_results(path: Path, *, folder: Path) -> bool:
    """Whether a file is one that the results in a folder are read from."""
    own, above = folder.resolve(), path.resolve().parent
    return above == own / LAYERS_FOLDER or (above == own and path.name in {*FILES, HEADER_FILE, REVIEW_FILE})


@dataclass(frozen=True)
class Imported:
    """What an import put into a folder of results: the layers that are new, and notes for people."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...]


def import_file(
    path: Path,
    folder: Path,
    *,
    of: ImportName,
    video: Path,
    rate_hz: float | None = None,
    coders: Sequence[str] = (),
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> Imported:
    """Read a file of another program and put its layers into a folder of results.

    Parameters
    ----------
    path : Path
        The file.
    folder : Path
        Of results: a new one, or one that holds an analysis or layers of the same recording, which stay.
    of : str
        Name of the format.
    video : Path
        The recording: its timestamps tell which frames are meant.
    rate_hz : float, optional
        Frame rate of a frame folder.
    coders : sequence of str
        The layers that are wanted; all by default.
    overwrite : bool
        Replace layers of the same coders.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)`` while the recording is read.

    Raises
    ------
    UsageError
        There is no such file or video, no such layer in it, or the folder is of another recording or has such layers.
    VideoError, DataError
        The recording cannot be read; the file is none of that format, or not of this recording.
    OutputError
        The folder cannot be written to.
    """
    existing(path)
    with only_writer(folder):  # from here on: what another import adds meanwhile would be lost
        return _import(
            path, folder, of=of, video=video, rate_hz=rate_hz, coders=coders, overwrite=overwrite,
            on_progress=on_progress,
        )  # fmt: skip


def _import(
    path: Path,
    folder: Path,
    *,
    of: ImportName,
    video: Path,
    rate_hz: float | None,
    coders: Sequence[str],
    overwrite: bool,
    on_progress: OnProgress | None,
) -> Imported:
    before = _recording(video, folder=folder, rate_hz=rate_hz, on_progress=on_progress)
    found = _read(path, of=of, video=video, grid=before.grid)
    layers, notes = _wanted(found.layers, coders=coders, path=path), found.notes
    if analysed := (folder / HEADER_FILE).exists():
        layers, more = _beside_analysis(layers, before=before)
        notes += more
    if not layers:
        return Imported((), (*notes, f"nothing to add to {folder}"))
    old = {layer.coder: layer for layer in before.layers if layer.coder != MACHINE or not analysed}
    new = {layer.coder: layer for layer in layers}
    if (both := old.keys() & new.keys()) and not overwrite:
        raise UsageError(f"{folder} holds layers of {', '.join(sorted(both))} already: ask to overwrite them")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    coding = replace(before, layers=tuple((old | new).values()), created=now)
    origin = _origins(folder) | dict.fromkeys(new, (path.name, of))
    write_layers(coding, folder, origin=origin, version=version("metst"), custody=recording_in(folder)[1])
    return Imported(layers, notes)


def _read(path: Path, *, of: ImportName, video: Path, grid: TimeGrid) -> Found:
    """What a file holds; errors name it."""
    try:
        return READERS[of](path, video=video.name, grid=grid)
    except DataError as error:
        raise DataError(str(error) if path.name in str(error) else f"{path}: {error}") from error


def _recording(video: Path, *, folder: Path, rate_hz: float | None, on_progress: OnProgress | None) -> Coding:
    """The recording and what the folder already holds of it; its timestamps are read where nobody did that before."""
    from metst.results.recording import source_of
    from metst.video import content_hash, probe_video, read_frames

    info, content = probe_video(video, rate_hz=rate_hz), content_hash(video)
    there, _ = recording_in(folder)
    if there and there != content:
        raise UsageError(f"{folder} holds results of another recording than {video}: give another folder")
    if there:
        return read_coding(folder, reviews=False)
    if (folder / HEADER_FILE).exists():
        raise UsageError(
            f"{folder} does not say which recording it is of: analyse {video} anew, or give another folder"
        )
    times_s = []
    for frame in read_frames(video, rate_hz=rate_hz):
        times_s.append(frame.time_s)
        if on_progress is not None:
            on_progress("reading timestamps", len(times_s), info.frame_count)
    if content_hash(video) != content:
        raise DataError(f"{video} was changed while it was read: import again when it is whole")
    grid = TimeGrid(np.array(times_s))
    return Coding(source_of(video, info=info, grid=grid, content=content), grid, (), "")


def _wanted(layers: Sequence[Layer], *, coders: Sequence[str], path: Path) -> tuple[Layer, ...]:
    """Those of the coders that are asked for, or all."""
    there = {layer.coder: layer for layer in layers}
    if missing := [coder for coder in coders if coder not in there]:
        raise UsageError(
            f"{path.name} has no layer {', '.join(map(repr, missing))}: it has {', '.join(there) or 'none at all'}"
        )
    return tuple(there[coder] for coder in dict.fromkeys(coders)) or tuple(layers)


def _beside_analysis(layers: Sequence[Layer], *, before: Coding) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Layers without that of the analysis, if it is as it was; one that was changed has a name of its own."""
    found, notes = [], []
    machine = next(layer for layer in before.layers if layer.coder == MACHINE)
    for layer in layers:
        if layer.coder == MACHINE and _frames(layer) == _frames(machine):
            notes.append(f"the layer {MACHINE} is that of the analysis: it is left out")
        elif layer.coder == MACHINE:
            name = edited_name({each.coder for each in layers})
            notes.append(f"the layer {MACHINE} is not that of the analysis any more: it is called {name!r}")
            found.append(Layer(name, layer.events))
        else:
            found.append(layer)
    return tuple(found), tuple(notes)


def _frames(layer: Layer) -> list[tuple[int, int, str]]:
    return [(event.onset, event.offset, event.label) for event in layer.events]


def _origins(folder: Path) -> dict[str, tuple[str, str]]:
    with suppress(DataError):
        header = read_layers_header(folder / LAYERS_FOLDER)
        return {each.coder: (each.imported_from, each.format) for each in header.layers}
    return {}
