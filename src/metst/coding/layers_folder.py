"""The folder ``layers`` of results: what coders said of a recording, beside an analysis of it or without one.

``layers.json`` says whose layers and of which recording, with the hashes of the tables: one per coder, and
``frames.csv`` with the timestamps.  The folder is replaced as a whole.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from metst.coding.journal import check_recording, read_journal, recording_of
from metst.coding.layers import (
    MACHINE,
    Coding,
    Layer,
    LayerEvent,
    action_units_of,
    edited_name,
    frames_of,
    free_name,
    label_of,
    machine_layer,
    note_of,
    row_of,
)
from metst.coding.unfolding import Review, unfold
from metst.errors import DataError
from metst.results.analysis import Custody, Source
from metst.results.analysis_folder import (
    HEADER_FILE,
    LAYERS_FILE,
    LAYERS_FOLDER,
    REVIEW_FILE,
    Tables,
    content_in,
    header_in,
    read_analysis,
    read_header,
)
from metst.results.tables import table_in
from metst.spelling.formulas import as_meant
from metst.storage import csv_bytes, fingerprint, sealed, whole_folder, write_whole
from metst.storage.locks import only_writer
from metst.timeline import TimeGrid, frame_for_people

_SCHEMA = 1
"""Version of the layout of the folder."""
_FRAMES_FILE = "frames.csv"
"""Timestamps of the recording, where there is no analysis beside the layers."""
_COLUMNS = ("onset_frame", "apex_frame", "offset_frame", "label", "confidence", "action_units", "note")
"""Of a layer's table; frames count from 1, both ends included, and what nobody said is empty."""
_IMPORTED = "imported"
"""Behind the name of an imported layer whose coder has a review."""
_NOT_IN_FILES = re.compile(r"[^\w-]+")  # replaced in the name of a table


class LayerFile(BaseModel):
    """One layer: whose, in which table, and where it came from."""

    model_config = ConfigDict(frozen=True)

    coder: str
    file: str
    imported_from: str = ""
    format: str = ""


class LayersHeader(BaseModel):
    """``layers.json``."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_version: int = Field(alias="schema")
    version: str
    created: str
    source: Source
    layers: tuple[LayerFile, ...]
    classes: tuple[str, ...] = ()
    custody: Custody = Custody()
    sha256: dict[str, str]


def write_layers(
    coding: Coding, folder: Path, *, origin: Mapping[str, tuple[str, str]], version: str, custody: Custody
) -> None:
    """Write layers into a folder of results, in the place of those that are there.

    Parameters
    ----------
    coding : Coding
        The layers, and the recording.
    folder : Path
        Of results; made as needed.
    origin : mapping of str to (str, str)
        By coder, name of the file that a layer was read from, and its format.
    version : str
        Of the product.
    custody : Custody
        Whose recording it is, and until when.

    Raises
    ------
    OutputError
        They cannot be written; those that are there stay.
    """
    times = [(int(frame_for_people(k)), repr(time_s)) for k, time_s in enumerate(coding.grid.time_s.tolist())]
    tables = {_FRAMES_FILE: csv_bytes(("frame", "time_s"), times)}
    files = []
    for number, layer in enumerate(coding.layers, start=1):
        name = f"{number}_{_NOT_IN_FILES.sub('_', layer.coder)[:40]}.csv"
        tables[name] = csv_bytes(_COLUMNS, map(row_of, layer.events))
        imported_from, form = origin.get(layer.coder, ("", ""))
        files.append(LayerFile(coder=layer.coder, file=name, imported_from=imported_from, format=form))
    header = LayersHeader(
        schema=_SCHEMA,
        version=version,
        created=coding.created,
        source=coding.source,
        layers=tuple(files),
        classes=coding.classes,
        custody=custody,
        sha256={name: fingerprint(data) for name, data in tables.items()},
    )
    with only_writer(folder), whole_folder(folder / LAYERS_FOLDER) as new:
        for name, data in tables.items():
            write_whole(new / name, data)
        write_whole(new / LAYERS_FILE, sealed(header.model_dump_json(indent=2)))


def read_layers_header(folder: Path) -> LayersHeader:
    """Read ``layers.json`` of a folder of layers.

    Raises
    ------
    DataError
        It is missing, damaged, not the one that was written, or comes from a newer version.
    """
    path = folder / LAYERS_FILE
    return header_in(path, LayersHeader, schema=_SCHEMA, writer="metst import", again="import the layers again")


def read_layers(folder: Path, *, check: bool = True) -> Coding:
    """Read what :func:`write_layers` wrote into a folder of results.

    Parameters
    ----------
    folder : Path
        Of results.
    check : bool
        Refuse tables that are not those that were written.

    Raises
    ------
    DataError
        A file is missing, damaged or not the one that was written.
    """
    folder = folder / LAYERS_FOLDER
    header = read_layers_header(folder)

    def read(name: str) -> bytes:
        path = folder / name
        if Path(name).name != name:
            raise DataError(f"{folder / LAYERS_FILE} names a file elsewhere, {name!r}: import the layers again")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): import the layers again") from error
        if check and fingerprint(data) != header.sha256.get(name):
            raise DataError(
                f"{path} is not the one that {LAYERS_FILE} was written with (changed by hand, damaged or half-written):"
                " import the layers again, or read it as it is with --unchecked (in Python: check=False)"
            )
        return data

    frames = table_in(read(_FRAMES_FILE), path=folder / _FRAMES_FILE, columns=["time_s"])
    layers = tuple(Layer(each.coder, _events(read(each.file), path=folder / each.file)) for each in header.layers)
    return Coding(header.source, TimeGrid(frames.numbers["time_s"]), layers, header.created, header.classes)


def _events(data: bytes, *, path: Path) -> tuple[LayerEvent, ...]:
    try:
        rows = csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)
        return tuple(event_in({name: as_meant(row[name]) for name in _COLUMNS}) for row in rows)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is not as it was written ({error}): import the layers again") from error
    except DataError as error:
        raise DataError(f"{path}: {error}; import the layers again") from error


def event_in(row: Mapping[str, str]) -> LayerEvent:
    """The event of a row of :func:`metst.coding.layers.row_of`, by column; all behind the label may be empty, and apex.

    Raises
    ------
    ValueError
        A cell is no number where one is expected.
    DataError
        The numbers do not fit each other.
    """
    apex, confidence = row.get("apex_frame", ""), row.get("confidence", "")
    frames = frames_of(int(row["onset_frame"]), int(row["offset_frame"]), int(apex) if apex else None)
    return LayerEvent(
        *frames[:2],
        label_of(row.get("label", "")),
        apex=frames[2],
        confidence=float(confidence) if confidence else None,
        note=note_of(row.get("note", "")),
        action_units=action_units_of(row.get("action_units", "")),
    )


def read_coding(
    folder: str | Path, *, check: bool = True, reviews: bool = True, tables: Tables | None = None
) -> Coding:
    """All layers in a folder of results: that of its analysis, those that were imported, and those of its reviews.

    Of a review it is what the coder accepted.  An imported layer that is called as a review is has another name.

    Parameters
    ----------
    folder : str or Path
        Of ``metst analyze``, ``metst import`` or both.
    check : bool
        Refuse tables that are not those that were written.
    reviews : bool
        Also those of reviews.
    tables : Tables, optional
        Of the analysis, where somebody has read them: its other files are not looked at then.

    Raises
    ------
    DataError
        It holds none, a file of it is damaged, or they are of different recordings.
    """
    folder = Path(folder)
    coding = _read_given(folder, check=check, tables=tables)
    if not reviews or not (folder / REVIEW_FILE).exists():
        return coding
    found = reviews_in(folder, source=coding.source)
    taken = {*found, *(layer.coder for layer in coding.layers)}
    given = tuple(
        replace(layer, coder=free_name(f"{layer.coder} {_IMPORTED}", taken)) if layer.coder in found else layer
        for layer in coding.layers
    )
    return replace(coding, layers=(*given, *(each.accepted for each in found.values())))


def reviews_in(folder: Path, *, source: Source) -> dict[str, Review]:
    """The reviews in a folder of results as its log tells, by the names of their layers; the log stays closed.

    Raises
    ------
    DataError
        There is no log, or it is damaged, newer or of another recording than ``source``.
    """
    written = read_journal(folder)
    check_recording(folder / REVIEW_FILE, written.recording, expected=recording_of(source))
    return unfold(written.entries)


def _read_given(folder: Path, *, check: bool, tables: Tables | None) -> Coding:
    """What reviews begin from."""
    imported = read_layers(folder, check=check) if (folder / LAYERS_FOLDER / LAYERS_FILE).exists() else None
    if imported is not None and has_layers_only(folder):
        return imported
    analysis = tables or read_analysis(folder, check=check)
    machine, layers = machine_layer(analysis), () if imported is None else _not_the_machines(imported.layers)
    if imported is not None and imported.source.content_hash != analysis.source.content_hash:
        raise DataError(f"{folder}: its layers are of another recording than its analysis: import them again")
    classes = tuple(dict.fromkeys(map(label_of, analysis.events.classes)))
    return Coding(analysis.source, analysis.grid, (machine, *layers), analysis.created, classes)


def _not_the_machines(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Layers that were imported before there was an analysis: one of a machine keeps its events and gets a name."""
    name = edited_name({layer.coder for layer in layers})
    return tuple(replace(layer, coder=name) if layer.coder == MACHINE else layer for layer in layers)


def has_layers_only(folder: Path) -> bool:
    """Whether a folder of results holds layers, and no analysis."""
    return (folder / LAYERS_FOLDER / LAYERS_FILE).exists() and not (folder / HEADER_FILE).exists()


def recording_in(folder: Path) -> tuple[str, Custody]:
    """Content of the recording that a folder of results is of (empty where it holds none), and whose it is.

    Raises
    ------
    DataError
        Its files are damaged.
    """
    if (folder / HEADER_FILE).exists():
        return content_in(folder), read_header(folder).custody
    if (folder / LAYERS_FOLDER / LAYERS_FILE).exists():
        header = read_layers_header(folder / LAYERS_FOLDER)
        return header.source.content_hash, header.custody
    return "", Custody()
