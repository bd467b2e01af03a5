"""What comes in from outside, one function per door: bytes go in, and nothing but the door's own errors may come out.

The bytes stand for a file.  Where a door takes several kinds of file, the first byte chooses which.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from helpers.analyses import make_analysis
from metst.datasets.sheets import find_table, read_sheets, sheet_names
from metst.datasets.types import Journal
from metst.errors import CheckpointError, DataError, MetstError, UsageError, VideoError
from metst.evaluation.plan import read_grid, read_plan
from metst.formats.conversion import FORMATS, READERS
from metst.formats.landmarks import read_landmarks
from metst.formats.megc import name_results
from metst.metrics import score_tables
from metst.metrics.interval_tables import read_videos_csv
from metst.models.checkpoint import load_model
from metst.models.convert import convert_released
from metst.motion.cache import MotionCache, open_cache
from metst.reproduction.unpickle import read_pickle
from metst.results import overview_of, read_analysis, read_overview, write_analysis, write_overview
from metst.results.motion_file import name_in, read_motion_file
from metst.review.desk import Desk
from metst.review.gate import Address
from metst.review.library import Library
from metst.review.server import create_app
from metst.sensitivity.many import read_figures
from metst.storage import fingerprint
from metst.synthesis.recipe import read_recipe
from metst.timeline import TimeGrid
from metst.training import published_recipe
from metst.video import probe_video, read_colour_frames, read_frames, write_video
from metst.video.folder import IMAGE_SUFFIXES, read_image

CORPUS = Path(__file__).with_name("corpus")
"""A folder per door: small files of its kind that were made here, and every input that ever broke it."""

_FRAMES = 8
"""Frames of a video that are looked at: what breaks a decoder mostly does so at once."""
IMAGES = sorted(IMAGE_SUFFIXES)
_SHEETS = (".xlsx", ".xls", ".csv", ".tsv", ".txt")
RESULT_FILES = ("analysis.json", "events.csv", "frames.csv", "face.csv", "motion.csv", "overview.json")
CACHE_KEY = "0" * 32
"""Of the entry in the cache."""
_COLUMNS = ("subject", "video", "onset", "offset", "emotion")


@cache
def _folder() -> Path:
    """One for all inputs of a process: what a door reads lies there."""
    return Path(tempfile.mkdtemp(prefix="metst-fuzz-"))


def clean_up() -> None:
    """Take away what the doors of this process left."""
    shutil.rmtree(_folder(), ignore_errors=True)
    _folder.cache_clear()
    _review.cache_clear()
    whole_results.cache_clear()


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@cache
def whole_results() -> dict[str, bytes]:
    """Files of a folder of results without fault, by their names."""
    folder = _folder() / "whole"
    analysis = make_analysis(duration_s=0.4, events=0)
    write_analysis(analysis, folder)
    write_overview(overview_of(analysis, outputs={}), folder)
    return {name: (folder / name).read_bytes() for name in RESULT_FILES}


def _chosen(data: bytes, names: tuple[str, ...] | list[str]) -> tuple[str, bytes]:
    return names[data[0] % len(names) if data else 0], data[1:]


def fuzz_video(data: bytes) -> None:
    """A video file: its header, its first frames in grey and one in colour."""
    path = _file("video.mp4", data)
    info = probe_video(path)
    for _ in islice(read_frames(path), _FRAMES):
        pass
    read_colour_frames(path, times_s=[0.1 * (info.duration_s or 0)])


def fuzz_images(data: bytes) -> None:
    """A picture in a folder of frames."""
    suffix, content = _chosen(data, IMAGES)
    path = _file(f"frame{suffix}", content)
    read_image(path, colour=bool(content and content[-1] & 1))


def fuzz_sheets(data: bytes) -> None:
    """A label sheet: a workbook of either kind, or text."""
    suffix, content = _chosen(data, _SHEETS)
    for sheet in read_sheets(_file(f"labels{suffix}", content)):
        sheet_names(sheet)
        for row in find_table(sheet, columns=_COLUMNS, optional=("apex",), journal=Journal()) or ():
            row.text("subject")


def fuzz_score_tables(data: bytes) -> None:
    """Predictions against a truth, a truth against itself, a list of videos."""
    which, content = _chosen(data, ["predictions", "truth", "videos"])
    path = _file("table.csv", content)
    truth = _file("truth.csv", (CORPUS / "score_tables" / "1").read_bytes()[1:])
    if which == "videos":
        read_videos_csv(path)
        return
    predictions = path if which == "predictions" else truth
    truth = truth if which == "predictions" else path
    score_tables(predictions, truth, scorer="strict", iou=0.5, classes=("negative", "positive"), bootstrap=0)


def fuzz_pickles(data: bytes) -> None:
    """A pickle of arrays, or a released checkpoint."""
    which, content = _chosen(data, ["arrays", "checkpoint"])
    path = _file("file.pkl", content)
    if which == "arrays":
        read_pickle(path)
    else:
        convert_released(path, _folder() / "converted", overwrite=True)


def fuzz_safetensors(data: bytes) -> None:
    """A file of motion, or the weights of a checkpoint."""
    which, content = _chosen(data, ["motion", "weights"])
    if which == "motion":
        path = _file("motion.safetensors", content)
        name_in(path)
        read_motion_file(path, remedy="measure again")
    else:
        told = json.loads((CORPUS / "settings" / "model.json").read_bytes()[1:])
        _file("model/model.json", json.dumps(told | {"weights_sha256": fingerprint(content)}).encode())
        _file("model/weights.safetensors", content)
        model = load_model(str(_folder() / "model"))
        _ = model.engine


def fuzz_settings(data: bytes) -> None:
    """JSON and TOML: a checkpoint's, a grid, a recipe of a clip, a plan, figures of a calibration."""
    which, content = _chosen(data, ["model", "grid", "recipe", "plan", "figures"])
    if which == "model":
        _file("settings/model.json", content)
        _file("settings/weights.safetensors", (CORPUS / "safetensors" / "weights").read_bytes()[1:])
        load_model(str(_folder() / "settings"))
    elif which == "grid":
        read_grid(_file("grid.toml", content), recipe=published_recipe("metst-plus"), strategy=1)
    elif which == "recipe":
        read_recipe(_file("recipe.json", content))
    elif which == "plan":
        read_plan(_file("run/run.json", content).parent)
    else:
        read_figures(_file("figures/calibration.json", content).parent)


def fuzz_results(data: bytes) -> None:
    """A folder of results in which one file is another."""
    which, content = _chosen(data, RESULT_FILES)
    for name, whole in whole_results().items():
        _file(f"results/{name}", content if name == which else whole)
    folder = _folder() / "results"
    if which == "overview.json":
        read_overview(folder)
    else:
        with suppress(DataError):  # nearly all are another file than the hashes say; what lies behind is tried as well
            read_analysis(folder)
        read_analysis(folder, check=False)


def cache_of_doors() -> MotionCache:
    """Where the entry is looked for."""
    return open_cache(_folder() / "cache")


def fuzz_cache(data: bytes) -> None:
    """An entry of the cache: damaged, it counts as absent."""
    kept = cache_of_doors()
    _file(f"cache/{CACHE_KEY}.motion.safetensors", data)
    kept.entries()
    kept.read(CACHE_KEY, name="clip.mp4")


def fuzz_formats(data: bytes) -> None:
    """The table of names of a challenge submission."""
    name_results([Path("s1_1"), Path("s2_1")], names=_file("names.csv", data))


CODING_FILES = [(name, each.suffix) for name, each in FORMATS.items()] + [("boris", ".tsv"), ("megc", ".csv")]
"""Formats of files that other programs write, and their endings."""
CODED_VIDEO, CODED_FRAMES = "v.mp4", TimeGrid(np.array([0.0, 0.033, 0.067, 0.1, 0.2, 0.233, 0.267, 0.3, 0.4, 0.5]))
"""The recording that they are of."""


def fuzz_codings(data: bytes) -> None:
    """A file of another program."""
    kind, content = (data[0] % len(CODING_FILES), data[1:]) if data else (0, data)
    name, suffix = CODING_FILES[kind]
    READERS[name](_file(f"coded{suffix}", content), video=CODED_VIDEO, grid=CODED_FRAMES)  # type: ignore[index]


LANDMARKED_FRAMES, LANDMARKED_SIZE = 6, 64  # frames, and pixels of a side
"""The recording that tables of landmarks are of."""


@cache
def _landmarked() -> Path:
    path = _folder() / "landmarked.mp4"
    picture = np.zeros((LANDMARKED_SIZE, LANDMARKED_SIZE, 3), np.uint8)
    write_video(path, (picture for _ in range(LANDMARKED_FRAMES)), rate_hz=25)
    return path


def fuzz_landmarks(data: bytes) -> None:
    """A table of landmarks of another program."""
    read_landmarks(_file("points.csv", data), video=_landmarked())


REVIEWED = b"RID"
"""Stands in requests for the recording under review."""
_TOKEN = "token-of-the-door"


@cache
def _review() -> tuple[Any, bytes]:
    """The review application over results of its own, and the id of the recording."""
    folder = _folder() / "reviewed" / "clip"
    write_analysis(make_analysis(duration_s=0.4, events=1), folder)
    library = Library(videos=())
    recording = library.add(folder)
    desk = Desk("anna", library, Address("127.0.0.1", 1), token=_TOKEN)  # no uploads: each would start a process
    return create_app(desk), recording.id.encode()


async def _answer(app: Any, request: bytes) -> tuple[int, bytes]:
    """Status and body of what an application answers (ASGI)."""
    head, _, body = request.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    pairs = [line.partition(b":")[::2] for line in lines]
    own = [(b"host", b"127.0.0.1:1"), (b"authorization", f"Bearer {_TOKEN}".encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
        "method": method.decode("latin-1").upper() or "GET", "path": unquote("/" + path.decode("latin-1").lstrip("/")),
        "raw_path": path, "query_string": query, "client": ("127.0.0.1", 2), "server": ("127.0.0.1", 1),
        "headers": [(name.strip().lower(), value.strip()) for name, value in pairs] + own,
    }  # fmt: skip
    parts = [{"type": "http.request", "body": body, "more_body": False}]
    answer = bytearray()
    status = 0

    async def receive() -> dict[str, Any]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        answer.extend(message.get("body", b""))

    await app(scope, receive, send)
    return status, bytes(answer)


def fuzz_http(data: bytes) -> None:
    """A request to the review application by somebody who has the token: whatever it asks, the answer is one."""
    app, rid = _review()
    status, body = asyncio.run(_answer(app, data.replace(REVIEWED, rid)))
    assert 200 <= status < 500, (status, body[:200])
    if status >= 400:
        assert json.loads(body)["detail"]


Door = Callable[[bytes], None]

DOORS: dict[Door, tuple[type[MetstError], ...]] = {
    fuzz_video: (VideoError, UsageError),
    fuzz_images: (VideoError,),
    fuzz_sheets: (DataError,),
    fuzz_score_tables: (DataError, UsageError),
    fuzz_pickles: (DataError, CheckpointError),
    fuzz_safetensors: (DataError, CheckpointError),
    fuzz_settings: (DataError, CheckpointError, UsageError),
    fuzz_results: (DataError,),
    fuzz_cache: (),
    fuzz_formats: (DataError, UsageError),
    fuzz_codings: (DataError,),
    fuzz_landmarks: (DataError,),
    fuzz_http: (),
}
"""What each door may answer with."""


def name_of(door: Door) -> str:
    """Of its folder in the corpus."""
    return door.__name__.removeprefix("fuzz_")


def through(door: Door, data: bytes) -> None:
    """Send bytes through a door; the errors that it may answer with are an answer."""
    try:
        door(data)
    except DOORS[door]:
        pass
