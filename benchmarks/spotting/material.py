"""The pictures of a stretch before anything is planted: footage as it is, a quiet part, a portrait set in motion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from plan import ClipPlan, Stretch

from metst.errors import FaceError
from metst.face import FaceTracker
from metst.regions import OUTER_EYE_CORNERS
from metst.synthesis.events import PlantedEvent
from metst.synthesis.inject import HeadMotion, animate_portrait
from metst.synthesis.portrait import portrait
from metst.video import Frame, read_colour_stream, write_video

Image = npt.NDArray[np.uint8]

STRETCH_CRF = 12
"""Quality of the stretch that clips are made from: its own coding must not show beside theirs."""

PORTRAIT_WIDTH, PORTRAIT_HEIGHT, PORTRAIT_UNIT = 360, 450, 100.0
"""Size of a portrait clip, and distance of the outer eye corners in it, px."""


def write_stretch(path: Path, *, clip: ClipPlan, source: Path | None) -> None:
    """The video that a clip is planted into."""
    stretch = clip.stretch
    if stretch.kind in ("cut", "there-and-back"):
        assert source is not None
        images, times = _footage(source, stretch=stretch)
    else:
        picture = portrait() if source is None else face_crop(_read_picture(source))
        times = (np.arange(round(stretch.duration_s * stretch.rate_hz)) / stretch.rate_hz).tolist()
        images = iter([picture] * len(times)) if stretch.kind == "still" else _animated(picture, clip=clip, times=times)
    write_video(path, images, times_s=times, crf=STRETCH_CRF)


def _footage(source: Path, *, stretch: Stretch) -> tuple[Iterator[Image], list[float]]:
    frames = [
        frame
        for frame in read_colour_stream(source)
        if stretch.start_s <= frame.time_s and (stretch.end_s is None or frame.time_s < stretch.end_s)
    ]
    times = np.array([frame.time_s for frame in frames]) - frames[0].time_s
    images = [frame.rgb for frame in frames]
    if stretch.kind == "cut":
        return iter(images), times.tolist()
    frame_s = float(np.median(np.diff(times)))
    count = round(stretch.duration_s / frame_s)
    return islice(cycle([*images, *images[-2:0:-1]]), count), (np.arange(count) * frame_s).tolist()


def _read_picture(source: Path) -> Image:
    return np.asarray(cv2.imread(str(source), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def landmarks_of(picture: Image) -> npt.NDArray[np.float64]:
    """Landmarks (68, 2) of the one face in a picture, px."""
    grey = np.asarray(np.rint(picture @ [0.299, 0.587, 0.114]), dtype=np.uint8)
    found = FaceTracker().update(Frame(index=0, time_s=0.0, grey=grey))
    if found.face is None:
        raise FaceError(f"no face found in a picture of the benchmark: {found.reason}")
    return found.face.landmarks.astype(np.float64)


def face_crop(picture: Image) -> Image:
    """The face and what is around it, in the size of a portrait clip."""
    points = landmarks_of(picture)
    left, right = OUTER_EYE_CORNERS
    scale = PORTRAIT_UNIT / float(np.hypot(*(points[right] - points[left])))
    centre = points[27:31].mean(axis=0)
    place = np.array([[scale, 0.0, PORTRAIT_WIDTH / 2 - scale * centre[0]], [0.0, scale, 215.0 - scale * centre[1]]])
    # Shrinking by sampling alone would alias: the picture is smoothed first.
    smooth = cv2.GaussianBlur(picture, (0, 0), max(0.45 / scale, 1e-3)) if scale < 1 else picture
    size = (PORTRAIT_WIDTH, PORTRAIT_HEIGHT)
    cropped = cv2.warpAffine(smooth, place, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cropped, dtype=np.uint8)


def _animated(picture: Image, *, clip: ClipPlan, times: list[float]) -> Iterator[Image]:
    rng = np.random.default_rng([clip.stretch.seed, sum(map(ord, clip.act or ""))])
    time_s = np.array(times)
    head = HeadMotion(drift_px=7.0, roll_rad=0.05, period_s=1.0) if clip.act == "nodding" else HeadMotion()
    images = animate_portrait(
        picture, landmarks=landmarks_of(picture), time_s=time_s, events=acts(clip.act, rng=rng, end_s=times[-1]),
        rng=rng, head=head,
    )  # fmt: skip
    if clip.act != "flicker":
        return images
    light = 1 + 0.04 * np.sin(2 * np.pi * 3.1 * time_s) + 0.03 * (rng.random(len(time_s)) < 0.05)
    return (np.clip(image * gain, 0, 255).astype(np.uint8) for image, gain in zip(images, light, strict=True))


def acts(act: str | None, *, rng: np.random.Generator, end_s: float) -> list[PlantedEvent]:
    """Movements of the face that are no micro-expressions."""
    made: list[PlantedEvent] = []
    start = 0.4
    while act in ("blinks", "talking", "laughing"):
        if act == "blinks":
            length, gap = rng.uniform(0.15, 0.35), rng.uniform(0.8, 2.5)
            units = {"45": 1.0, "4": rng.uniform(0, 0.05), "7": rng.uniform(0, 0.1)}
        elif act == "talking":
            length, gap = rng.uniform(0.12, 0.3), rng.uniform(0.0, 0.12)
            opening = rng.uniform(0.1, 0.5)
            units = {"26": opening, "25": opening, "20": rng.uniform(0, 0.3), "10": rng.uniform(0, 0.2)}
        else:
            length, gap = rng.uniform(1.2, 3.0), rng.uniform(0.8, 2.0)
            units = {"12": rng.uniform(0.4, 0.9), "6": rng.uniform(0.2, 0.7), "25": rng.uniform(0.1, 0.6)}
        if start + length > end_s:
            break
        apex = start + length * rng.uniform(0.35, 0.55)
        made.append(PlantedEvent(start, apex, start + length, act, units))
        start += length + gap
    return made
