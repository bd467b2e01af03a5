"""One way to grey: the same pixels are the same picture, whatever file they come in."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from metst.video import read_frames

Image = npt.NDArray[np.uint8]
COUNT, RATE_HZ = 6, 25
_ROUNDED = 1  # grey levels: the writer's conversion to luma rounds once


def colours() -> list[Image]:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (COUNT, 12, 16, 3), np.uint8)
    return [cv2.resize(each, (96, 72), interpolation=cv2.INTER_CUBIC) for each in coarse]


def greys() -> list[Image]:
    return [np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), np.uint8) for each in colours()]


def video(path: Path, pictures: list[Image], *, codec: str, pix_fmt: str, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, options=options)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pix_fmt
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def folder(path: Path, pictures: list[Image], *, suffix: str) -> Path:
    path.mkdir()
    for index, picture in enumerate(pictures):
        stored = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(path / f"{index:03d}{suffix}"), stored)
    return path


def read(path: Path) -> Image:
    return np.stack([frame.grey for frame in read_frames(path, rate_hz=RATE_HZ)])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("coloured", [True, False])
def test_still_images_are_the_same(tmp_path: Path, suffix: str, coloured: bool) -> None:
    pictures = colours() if coloured else greys()
    np.testing.assert_array_equal(read(folder(tmp_path / "a", pictures, suffix=suffix)), np.stack(greys()))


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "coloured"),
    [
        ("ffv1", "bgr0", True),
        ("ffv1", "gray", False),
        ("libx264rgb", "rgb24", True),
        ("png", "rgb24", True),
        ("png", "gray", False),
    ],
)
def test_lossless_video_is_the_same(tmp_path: Path, codec: str, pix_fmt: str, coloured: bool) -> None:
    options = {"qp": "0"} if codec == "libx264rgb" else {}
    pictures = colours() if coloured else greys()
    path = video(tmp_path / ("a.mov" if codec == "png" else "a.mkv"), pictures, codec=codec, pix_fmt=pix_fmt, **options)
    np.testing.assert_array_equal(read(path), np.stack(greys()))


@pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "yuv444p"), ("libx264", "yuv444p"), ("libx264", "yuv420p")])
def test_luma_of_video_range_differs_by_its_writers_rounding(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    options = {"qp": "0"} if codec == "libx264" else {}
    luma = read(video(tmp_path / "a.mkv", colours(), codec=codec, pix_fmt=pix_fmt, **options)).astype(float)
    np.testing.assert_allclose(luma, 16 + np.stack(greys()).astype(float) * 219 / 255, atol=_ROUNDED + 0.5)
