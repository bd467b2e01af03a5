"""Interface: what is handed on: files of other programs, and how far two layers agree."""

from __future__ import annotations

import io
import zipfile
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response

from metst.formats.names import FormatName
from metst.metrics.agreement import MATCH_IOU
from metst.review.answers import bytes_answer
from metst.review.desk import AtDesk
from metst.review.uploads import safe_name
from metst.storage import finite, temporary_folder

router = APIRouter(prefix="/api/recordings/{rid}", tags=["exports"])


@router.get("/agreement")
def get_agreement(
    desk: AtDesk,
    rid: str,
    a: str,
    b: str,
    iou: Annotated[float, Query(gt=0, le=1, description="lowest overlap at which two events are one")] = MATCH_IOU,
) -> dict[str, Any]:
    """How well two layers agree, as ``metst agree --json`` tells it."""
    from metst.coding.comparing import Compared, layers_agreement

    recording = desk.recording(rid)
    if desk.coder in (a, b):
        desk.coders.have_begun(recording, desk.coder)
    one, other = desk.coders.layer(recording, a), desk.coders.layer(recording, b)
    found = layers_agreement([Compared(one, other, recording.grid)], iou=iou) | {"notes": []}
    return dict(finite(found))


@router.get("/export", response_class=Response)
def get_export(
    desk: AtDesk,
    request: Request,
    rid: str,
    format: FormatName,
    layer: Annotated[list[str] | None, Query(description="the own one when absent; again for more")] = None,
) -> Response:
    """Layers as a file of another program; of a format that writes two files, an archive with both."""
    from metst.formats.conversion import FORMATS

    recording, form = desk.recording(rid), FORMATS[format]
    names = list(dict.fromkeys(layer or [desk.coder]))
    if desk.coder in names:
        desk.coders.have_begun(recording, desk.coder)
    coding = desk.coders.coding(recording, names)
    stem = safe_name(recording.source.name).rpartition(".")[0] or safe_name(recording.source.name)
    with temporary_folder() as folder:
        form.write(coding, folder / f"{stem}{form.suffix}")
        files = sorted(folder.iterdir())
        name = files[0].name if len(files) == 1 else f"{stem}.zip"
        data = files[0].read_bytes()
        if len(files) > 1:
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as together:
                for file in files:
                    together.write(file, file.name)
            data = archive.getvalue()
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return bytes_answer(data, request, media_type="application/octet-stream", headers=headers)
