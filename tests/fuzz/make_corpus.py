"""Make the first files of the corpus: small, and all made here.  ``python tests/fuzz/make_corpus.py``."""

from __future__ import annotations

import io
import pickle
import tempfile
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import torch
import xlwt

from fuzz.doors import (
    CODED_FRAMES,
    CODED_VIDEO,
    CODING_FILES,
    CORPUS,
    IMAGES,
    LANDMARKED_FRAMES,
    LANDMARKED_SIZE,
    RESULT_FILES,
    REVIEWED,
    whole_results,
)
from helpers.analyses import make_analysis
from metst.arrays import UInt8Array
from metst.coding.layers import Coding, Layer, LayerEvent
from metst.formats.conversion import FORMATS
from metst.models.checkpoint import load_model, save_model
from metst.models.networks import build_network, without_weights
from metst.regions import LANDMARK_COUNT
from metst.results import Source
from metst.results.motion_file import motion_bytes
from metst.video import write_video

ROWS = [["subject", "video", "onset", "apex", "offset", "emotion"], ["1", "a", 10, 14, 20, "negative"],
        ["1", "a", 40, 44, 52, "surprise"], ["2", "b", 5, 9, 19, "positive"]]  # fmt: skip
TEXT = "\n".join(",".join(map(str, row)) for row in ROWS).encode() + b"\n"
GRID = b'[[variant]]\nname = "slow"\nlearning_rate = 1e-4\n\n[[variant]]\nname = "wide"\n"network.width" = 16\n'
FIGURES = b'{"source": {"rate_hz": 30.0, "content_hash": "0"}, "model": {}, "found_9_in_10": []}'
RECIPE = b'{"format": 1, "footage": null, "seed": 3, "events": []}'


def _keep(door: str, name: str, data: bytes, *, kind: int | None = None) -> None:
    path = CORPUS / door / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((b"" if kind is None else bytes([kind])) + data)


def _videos(work: Path) -> None:
    picture = _pattern(64, 64)
    for codec in ("h264", "mpeg4"):
        write_video(work / "clip.mp4", [np.roll(picture, k, axis=1) for k in range(6)], rate_hz=30, codec=codec)
        _keep("video", f"{codec}.mp4", (work / "clip.mp4").read_bytes())


def _pattern(width: int, height: int) -> UInt8Array:
    """Coloured waves: nobody's picture is kept with the tests."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [np.sin(x / (2 + channel)) + np.cos(y / (3 + channel)) for channel in range(3)]
    return np.asarray(128 + 60 * np.stack(waves, axis=-1), np.uint8)


def _pictures() -> None:
    picture = _pattern(24, 16)
    for kind, suffix in enumerate(IMAGES):
        _keep("images", suffix[1:], cv2.imencode(suffix, picture)[1].tobytes(), kind=kind)
    deep = picture.astype(np.uint16) * 16
    _keep("images", "deep", cv2.imencode(".png", deep)[1].tobytes(), kind=IMAGES.index(".png"))


def _sheets() -> None:
    book, old = openpyxl.Workbook(), xlwt.Workbook()
    sheet = old.add_sheet("labels")
    for number, row in enumerate(ROWS):
        book.active.append(row)
        for place, cell in enumerate(row):
            sheet.write(number, place, cell)
    book.active.merge_cells("A6:B7")
    new, ancient = io.BytesIO(), io.BytesIO()
    book.save(new)
    old.save(ancient)
    texts = [TEXT, TEXT.replace(b",", b"\t"), "\ufeffsep=;\n".encode() + TEXT.replace(b",", b";")]
    for kind, data in enumerate([new.getvalue(), ancient.getvalue(), *texts]):
        _keep("sheets", f"{kind}", data, kind=kind)
    _keep("sheets", "utf-16", TEXT.decode().encode("utf-16"), kind=2)


def _tables() -> None:
    for kind in range(3):
        _keep("score_tables", f"{kind}", TEXT, kind=kind)


def _pickles() -> None:
    nested = [[np.arange(6, dtype=np.float32).reshape(2, 3)], [(1, 2.5, "a", np.int64(3))]]
    for protocol in (0, 2, 4, 5):
        _keep("pickles", f"arrays-{protocol}", pickle.dumps(nested, protocol), kind=0)
    tensors = {"module.block1.0.norm1.weight": torch.zeros(3), "module.x": torch.ones(2, 2)}
    for as_zip in (True, False):
        data = io.BytesIO()
        torch.save(tensors, data, _use_new_zipfile_serialization=as_zip)
        _keep("pickles", f"tensors-{int(as_zip)}", data.getvalue(), kind=1)


def _checkpoint(work: Path) -> None:
    info = load_model("starter").info
    network = info.network.model_copy(update={"width": 4, "blocks": 3, "d_state": 2})
    shapes = without_weights(network).state_dict()
    weights = {name: torch.zeros(each.shape, dtype=each.dtype) for name, each in shapes.items()}
    small = info.model_copy(update={"network": network})
    save_model(work / "model", network=build_network(network, weights, where="corpus"), info=small)
    _keep("settings", "model.json", (work / "model" / "model.json").read_bytes(), kind=0)
    _keep("safetensors", "weights", (work / "model" / "weights.safetensors").read_bytes(), kind=1)
    for kind, (name, data) in enumerate({"grid": GRID, "recipe": RECIPE, "plan": b"{}", "figures": FIGURES}.items(), 1):
        _keep("settings", name, data, kind=kind)


def _results() -> None:
    for kind, name in enumerate(RESULT_FILES):
        _keep("results", name, whole_results()[name], kind=kind)
    analysis = make_analysis(duration_s=0.2, events=0)
    motion = motion_bytes(analysis.motion, name="clip.mp4", problems=["clip.mp4: a problem"])
    _keep("safetensors", "motion", motion, kind=0)
    _keep("cache", "entry", motion)


def _codings(work: Path) -> None:
    events = (
        LayerEvent(0, 3, "negative", apex=2, confidence=0.75, action_units=("AU4", "AU7")),
        LayerEvent(2, 5, "positive", note="mouth <corners> & lips"),
        LayerEvent(8, 10, "surprise", apex=9),
    )
    frames = len(CODED_FRAMES)
    source = Source(CODED_VIDEO, CODED_VIDEO, 64, 48, frames, CODED_FRAMES.duration_s, 25.0, "h264")
    layers = (Layer("anna", events), Layer("ben", events[:1]))
    coding = Coding(source, CODED_FRAMES, layers, "2026-11-25T10:00:00+00:00", ("negative", "positive"))
    for kind, (name, suffix) in enumerate(CODING_FILES):
        path = work / f"coded{suffix}"
        if name == "megc":
            path.write_bytes(b"subject,video,onset,offset,emotion\n1,v,2,4,negative\n")
        else:
            FORMATS[name].write(coding, path)  # type: ignore[index]
        _keep("codings", f"{name}{suffix}", path.read_bytes(), kind=kind)


def _landmarks() -> None:
    """Two faces in the last frame, and none in the first."""
    turns = np.linspace(0, 2 * np.pi, LANDMARK_COUNT, endpoint=False)
    face = LANDMARKED_SIZE / 2 + LANDMARKED_SIZE / 4 * np.concatenate([np.cos(turns), np.sin(turns)])
    names = [f"{axis}_{number}" for axis in "xy" for number in range(LANDMARK_COUNT)]
    rows = [(frame, frame > 0, face + 0.1 * frame) for frame in range(LANDMARKED_FRAMES)]
    rows.append((LANDMARKED_FRAMES - 1, True, face / 2))
    openface = [["frame", "timestamp", "success", *names]]
    openface += [[frame + 1, frame / 25, int(found), *np.round(points, 1)] for frame, found, points in rows]
    pyfeat = [["FaceRectX", "FaceScore", *names, "frame"]]
    pyfeat += [
        [1.0, 0.9, *np.round(points, 1), frame] if found else [""] * 138 + [frame] for frame, found, points in rows
    ]
    for name, table, between in (("openface", openface, ", "), ("py-feat", pyfeat, ",")):
        _keep("landmarks", name, "".join(between.join(map(str, row)) + "\n" for row in table).encode())


def _requests() -> None:
    change = (
        '{"key": "m1", "revision": 0, "after": {"onset_frame": 2, "apex_frame": 4, "offset_frame": 9,'
        ' "label": "positive", "confidence": null, "action_units": ["L4B"], "note": "n", "verdict": "accepted"}}'
    )
    own = f"/api/recordings/{REVIEWED.decode()}"
    asked = {
        "session": "GET /api/session",
        "recordings": "GET /api/recordings",
        "recording": f"GET {own}",
        "series": f"GET {own}/series/spot_score",
        "layers": f"GET {own}/layers",
        "review": f"GET {own}/review",
        "edit": f"POST {own}/edits\ncontent-type: application/json\n\n"
        f'{{"id": "1", "what": "w", "changes": [{change}]}}',
        "undo": f'POST {own}/undo\ncontent-type: application/json\n\n{{"id": "2"}}',
        "history": f"GET {own}/history?layer=anna",
        "page": "GET /?token=x",
        "description": "GET /api/openapi.json",
        "faces": 'POST /api/session/unlock\ncontent-type: application/json\n\n{"faces": "blurred"}',
    }
    for name, text in asked.items():
        _keep("http", name, text.encode())


def main() -> None:
    """Make them all."""
    with tempfile.TemporaryDirectory() as folder:
        _videos(Path(folder))
        _pictures()
        _sheets()
        _tables()
        _pickles()
        _checkpoint(Path(folder))
        _results()
        _codings(Path(folder))
    _landmarks()
    _requests()
    _keep("formats", "names", b"input,subject,video\ns1_1,s1,1\ns2_1,s2,1\n")


if __name__ == "__main__":
    main()
