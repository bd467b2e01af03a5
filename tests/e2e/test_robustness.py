"""What light, codec and camera do to a face that rests must not read as motion."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from metst.analyze import analyze
from metst.report.overlay import recent_displacement
from metst.results import Analysis, Condition
from metst.synthesis.portrait import portrait
from metst.video import write_video

# A planted movement of a quarter of full contraction moves its regions by 0.02 face units and more.
_AT_REST = 0.004


def noisy(light: np.ndarray, *, sigma: float = 1.5) -> Iterator[np.ndarray]:
    """The portrait under a light per frame ``(T,)`` or per frame and row ``(T, rows)``, with sensor noise."""
    rng, picture = np.random.default_rng(0), portrait().astype(np.float32)
    for share in light.astype(np.float32):
        lit = picture * share.reshape(-1, 1, 1)
        yield np.clip(np.rint(lit + rng.normal(0, sigma, picture.shape[:2])[..., None]), 0, 255).astype(np.uint8)


def assert_at_rest(analysis: Analysis) -> None:
    assert analysis.usable.all()
    assert len(analysis.events) == 0
    moved = np.linalg.norm(recent_displacement(analysis.motion), axis=-1)
    moved[analysis.motion_quality < 0.5] = np.nan
    assert np.nanpercentile(moved, 99.9) < _AT_REST
    assert not (analysis.conditions & (Condition.SPEECH | Condition.BLINK)).any()


@pytest.mark.parametrize(("rate_hz", "mains_hz"), [(25.0, 59.9), (30.0, 50.0)])
@pytest.mark.parametrize("banded", [False, True])
def test_flicker_of_artificial_light_is_no_motion(
    tmp_path: Path, rate_hz: float, mains_hz: float, banded: bool
) -> None:
    """5 % at twice the mains: 119.8 Hz is seen as 5.2 Hz at 25 frames/s, 100 Hz as 10 Hz at 30 frames/s."""
    time_s = np.arange(round(5 * rate_hz)) / rate_hz
    rows = np.linspace(0, 0.9 / rate_hz, portrait().shape[0]) if banded else np.zeros(1)  # a rolling shutter
    light = 1 + 0.05 * np.sin(2 * np.pi * 2 * mains_hz * (time_s[:, None] + rows))
    write_video(tmp_path / "flicker.mp4", noisy(0.9 * light), rate_hz=rate_hz)
    assert_at_rest(analyze(tmp_path / "flicker.mp4", cache=False))


def test_key_frames_of_strong_compression_are_no_motion(tmp_path: Path) -> None:
    path = tmp_path / "keys.mp4"
    with av.open(str(path), "w") as container:
        options = {"crf": "30", "preset": "fast", "g": "12", "keyint_min": "12", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=Fraction(30), options=options)
        stream.height, stream.width = portrait().shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in noisy(np.ones(180), sigma=3.0):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        keys = [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.is_keyframe]
    np.testing.assert_allclose(np.diff(np.array(keys, float)), 0.4)
    assert_at_rest(analyze(path, cache=False))


@pytest.mark.slow
def test_a_photograph_played_for_a_minute_has_no_event(tmp_path: Path) -> None:
    write_video(tmp_path / "photo.mp4", noisy(np.ones(1800)), rate_hz=30, preset="veryfast")
    assert_at_rest(analyze(tmp_path / "photo.mp4", cache=False))


def test_a_photograph_without_any_noise_has_no_event(tmp_path: Path) -> None:
    write_video(tmp_path / "photo.mp4", (portrait() for _ in range(300)), rate_hz=30, preset="veryfast")
    assert len(analyze(tmp_path / "photo.mp4", cache=False).events) == 0
