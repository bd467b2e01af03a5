"""What light, codec, camera and things before a face that rests do to it must not read as motion, nor crash."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.codec.context import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from metst.analyze import analyze
from metst.report.overlay import recent_displacement
from metst.results import Analysis, Condition
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.video import write_video

Image = npt.NDArray[np.uint8]
LANDMARKS = portrait_landmarks()

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
    moved = np.linalg.norm(recent_displacement(analysis.motion.displacement), axis=-1)
    moved[analysis.motion.quality < 0.5] = np.nan
    assert np.nanpercentile(moved, 99.9) < _AT_REST
    assert not (analysis.motion.conditions & (Condition.SPEECH | Condition.BLINK)).any()


@pytest.mark.parametrize(
    ("rate_hz", "mains_hz", "banded"),
    [
        (25.0, 59.9, True),
        (30.0, 50.0, False),
        pytest.param(25.0, 59.9, False, marks=pytest.mark.slow),
        pytest.param(30.0, 50.0, True, marks=pytest.mark.slow),
    ],
)
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
    analysis = analyze(tmp_path / "photo.mp4", cache=False)
    assert len(analysis.events) == 0


def moved(picture: Image, *, x: float = 0.0, y: float = 0.0, scale: float = 1.0, turn_deg: float = 0.0) -> Image:
    """The picture shifted by pixels, turned and resized about its middle, before a plain background."""
    height, width = picture.shape[:2]
    warp = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, scale)
    warp[:, 2] += x, y
    return np.asarray(cv2.warpAffine(picture, warp, (width, height), borderValue=(120, 120, 120)), np.uint8)


def turned(picture: Image, deg: float) -> Image:
    """The head as a cylinder that turns about the vertical."""
    middle, radius = float(LANDMARKS[30, 0]), 85.0
    off = np.arange(picture.shape[1]) - middle
    angle = np.arcsin(np.clip(off / radius, -1, 1)) - np.deg2rad(deg)
    seen = (np.abs(off) < radius) & (np.abs(angle) < np.pi / 2)
    columns = np.where(seen, middle + radius * np.sin(angle), -9).astype(np.float32)
    rows = np.arange(picture.shape[0], dtype=np.float32)
    x, y = np.meshgrid(columns, rows)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderValue=(120, 120, 120)), np.uint8)


def masked(picture: Image) -> Image:
    """A plain mask over mouth and nose."""
    outline = cv2.convexHull(LANDMARKS[[*range(1, 16), 29]].astype(np.int32))
    return np.asarray(cv2.fillConvexPoly(picture.copy(), outline, (170, 190, 210)), np.uint8)


def hand(picture: Image, x: float) -> Image:
    """A striped patch, from the mouth down, whose left edge lies at ``x``."""
    result, left = picture.copy(), round(x)
    stripes = 150 + 40 * np.sin(np.arange(picture.shape[0]) / 6.0)
    part = result[200:, max(left, 0) : max(left + 110, 0)]
    part[:] = (stripes[200:, None, None] * np.array([1, 0.85, 0.75])).astype(np.uint8)
    return result


def glare(picture: Image, *, right: float = 0.0, share: float = 1.0) -> Image:
    """Glasses with a bright spot before each eye."""
    result, (rows, columns) = picture.astype(np.float32), np.indices(picture.shape[:2])
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = LANDMARKS[eye].mean(axis=0)
        spot = share * np.exp(-(((columns - x - right) / 9) ** 4) - ((rows - y - right / 2) / 6) ** 4)
        result += spot[..., None] * (255 - result)
        cv2.ellipse(result, (round(x), round(y)), (24, 16), 0, 0, 360, (20, 20, 20), 2)
    return np.clip(result, 0, 255).astype(np.uint8)


def black(picture: Image) -> Image:
    return np.zeros_like(picture)


def lit(picture: Image, share: float | npt.NDArray[np.floating]) -> Image:
    return np.clip(picture * share, 0, 255).astype(np.uint8)


def shows(*parts: tuple[int, Callable[[Image], Image]]) -> list[Image]:
    """The portrait, each way for so many frames."""
    return [change(portrait()) for count, change in parts for _ in range(count)]


def over(count: int, change: Callable[[Image, int], Image]) -> list[Image]:
    return [change(portrait(), frame) for frame in range(count)]


def as_is(picture: Image) -> Image:
    return picture


@dataclass(frozen=True)
class Scene:
    """What is filmed, what is said of it, and what share of the frames can be used at least and at most."""

    pictures: Callable[[], list[Image]]
    reasons: frozenset[str] = frozenset()
    condition: Condition | None = None
    usable: tuple[float, float] = (1.0, 1.0)


SIDE_LIGHT = np.linspace(0.4, 1.2, 360)[None, :, None]
SCENES = {
    "small face": Scene(lambda: over(60, lambda p, k: moved(p, scale=0.5, x=0.2 * k))),
    "face too small": Scene(
        lambda: over(60, lambda p, k: moved(p, scale=0.5 - 0.006 * k)), frozenset({"face too small"}), usable=(0.3, 0.9)
    ),
    "head turns to profile": Scene(
        lambda: over(75, lambda p, k: turned(p, 80 * np.sin(np.pi * np.clip((k - 20) / 30, 0, 1)))),
        frozenset({"profile view", "face jumped", "face lost", "no face", "motion lost", "another person"}),
        usable=(0.3, 0.95),
    ),
    "squeezed": Scene(lambda: over(45, lambda p, _: cv2.resize(p, None, fx=0.6, fy=1, interpolation=cv2.INTER_AREA))),
    "mask worn": Scene(lambda: shows((60, masked))),
    "mask put on": Scene(lambda: shows((40, as_is), (40, masked)), condition=Condition.OCCLUDED),
    "mask taken off": Scene(lambda: shows((40, masked), (40, as_is)), condition=Condition.OCCLUDED),
    "hand passes": Scene(lambda: over(80, lambda p, k: hand(p, 12 * (k - 30) - 120)), condition=Condition.OCCLUDED),
    "hand stays": Scene(
        lambda: over(80, lambda p, k: hand(p, min(20 * (k - 30) - 120, 120))), condition=Condition.OCCLUDED
    ),
    "glare flashes": Scene(
        lambda: over(80, lambda p, k: glare(p, right=8 * np.sin(0.35 * k), share=float(40 <= k < 52))),
        condition=Condition.GLARE,
    ),
    "glare sweeps": Scene(
        lambda: over(80, lambda p, k: glare(p, right=k - 45, share=np.clip(1.5 - abs(k - 45) / 10, 0, 1))),
        condition=Condition.GLARE,
    ),
    # There from the first frame on, it belongs to the look of the face: where it trembles, that reads as blinks.
    "glare trembles": Scene(
        lambda: over(80, lambda p, k: glare(p, right=8 * np.sin(0.35 * k))),
        condition=Condition.GLARE | Condition.BLINK,
    ),
    "leaves and returns": Scene(
        lambda: over(130, lambda p, k: moved(p, x=float(np.clip(14 * (25 - abs(k - 65)), 0, 360)))),
        frozenset({"face jumped", "face cut off", "face lost", "motion lost"}),
        usable=(0.4, 0.8),
    ),
    "black frames": Scene(
        lambda: shows((35, as_is), (10, black), (35, as_is)), frozenset({"black frame"}), usable=(0.8, 0.9)
    ),
    "fade": Scene(
        lambda: over(90, lambda p, k: lit(p, float(np.clip(abs(k - 45) / 20, 0, 1)))),
        frozenset({"black frame", "face lost"}),
        usable=(0.8, 0.99),
    ),
    "white frames": Scene(
        lambda: shows((35, as_is), (2, lambda p: lit(p + 1, 255.0)), (35, as_is)),
        frozenset({"scene cut", "face lost", "no face"}),
        usable=(0.9, 0.99),
    ),
    "flash of a camera": Scene(lambda: shows((35, as_is), (2, lambda p: lit(p, 1.6)), (35, as_is))),
    "light switched": Scene(lambda: shows((35, as_is), (35, lambda p: lit(p, 0.6)))),
    "light from one side": Scene(lambda: shows((35, as_is), (35, lambda p: lit(p, SIDE_LIGHT)))),
    "scene cuts": Scene(
        lambda: shows((35, as_is), (20, lambda p: moved(p[:, ::-1], scale=1.5)), (35, as_is)),
        frozenset({"scene cut", "face lost", "another person", "face jumped", "motion lost"}),
        usable=(0.4, 0.99),
    ),
    "jump cut": Scene(lambda: shows((35, as_is), (35, lambda p: moved(p, x=3, y=1))), usable=(0.9, 1.0)),
    "shaking camera": Scene(lambda: over(80, lambda p, k: moved(p, x=4 * np.sin(1.3 * k), y=2 * np.cos(1.7 * k)))),
}


def with_noise(pictures: Iterable[Image]) -> Iterator[Image]:
    rng, drawn = np.random.default_rng(0), np.empty((1000, 1000), np.int16)
    drawn[:] = np.rint(rng.normal(0, 1.5, drawn.shape))
    for picture in pictures:
        height, width = picture.shape[:2]
        top, left = rng.integers(0, np.array(drawn.shape) - (height, width))
        noise = np.repeat(drawn[top : top + height, left : left + width, None], 3, axis=2)
        yield np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)


LONGER = ("glare flashes", "glare sweeps")
"""Kinds of a thing that another scene shows, too: they run with the slow tests."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONGER)) for name in SCENES])
def test_what_is_no_facial_movement_is_no_event(tmp_path: Path, name: str) -> None:
    scene = SCENES[name]
    write_video(tmp_path / "scene.mp4", with_noise(scene.pictures()), rate_hz=30, preset="superfast")
    analysis = analyze(tmp_path / "scene.mp4", cache=False)
    assert len(analysis.events) == 0
    least, most = scene.usable
    assert least <= analysis.usable.mean() <= most
    assert set(analysis.motion.reason) - {""} <= scene.reasons
    assert bool(set(analysis.motion.reason) - {""}) == bool(scene.reasons) or least < 1 == most
    seen = (analysis.motion.conditions & (scene.condition or 0)) > 0
    assert seen.any() == bool(scene.condition)
    if scene.condition:
        noticed = seen & analysis.usable[:, None]
        assert analysis.motion.quality[noticed].min() < 0.2, "what hides a region lowers its quality"


def encode_colour(path: Path, pictures: Iterable[Image], *, codec: str = "libx264", **options: str) -> list[int]:
    """Times in ticks of the packets, in order."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        for index, picture in enumerate(pictures):
            if not index:
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
                stream.bit_rate = 8_000_000
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return []


def drifting(count: int, *, px: float = 0.4) -> list[Image]:
    return [moved(portrait(), x=px * k) for k in range(count)]


def test_a_change_of_resolution_is_a_gap_and_no_motion(tmp_path: Path) -> None:
    parts = []
    for number, scale in enumerate((1.0, 1.5, 1.0)):
        path = tmp_path / f"{number}.ts"
        size = (round(360 * scale), round(450 * scale))
        encode_colour(path, with_noise(cv2.resize(p, size) for p in drifting(35)), codec="mpeg2video")
        parts.append(path.read_bytes())
    (tmp_path / "glued.ts").write_bytes(b"".join(parts))
    analysis = analyze(tmp_path / "glued.ts", cache=False)
    assert len(analysis.events) == 0
    assert analysis.motion.reason.count("change of resolution") == 2
    assert any("on pictures are 540x675" in problem or "540x676" in problem for problem in analysis.problems)
    assert analysis.usable.mean() > 0.7


def test_frames_out_of_order_are_told_and_no_motion(tmp_path: Path) -> None:
    encode_colour(tmp_path / "a.mkv", with_noise(drifting(75)), bf="0", crf="20", preset="veryfast")
    with av.open(str(tmp_path / "a.mkv")) as reading, av.open(str(tmp_path / "b.mkv"), "w") as writing:
        packets = [packet for packet in reading.demux(video=0) if packet.dts is not None]
        stream = writing.add_stream_from_template(reading.streams.video[0])
        ticks = [packet.pts for packet in packets]
        for number, packet in enumerate(packets):
            swapped = number + 1 if number in (20, 40, 60) else number - 1 if number in (21, 41, 61) else number
            packet.dts, packet.pts, packet.stream = ticks[number] - 200, ticks[swapped], stream
            writing.mux(packet)
    analysis = analyze(tmp_path / "b.mkv", cache=False)
    assert len(analysis.events) == 0
    assert sum("is not later than the one before" in problem for problem in analysis.problems) == 3
    assert (np.diff(analysis.grid.time_s) > 0).all()


def test_interlaced_video_of_a_moving_head_is_told_and_no_motion(tmp_path: Path) -> None:
    moments = [*with_noise(moved(portrait(), x=0.4 * k, turn_deg=np.sin(0.1 * k)) for k in range(150))]
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 448, 360, "yuv420p", 8_000_000
        stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        for index, (even, odd) in enumerate(zip(moments[::2], moments[1::2], strict=True)):
            woven = np.where(np.arange(448)[:, None, None] % 2, odd[:448], even[:448])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(woven), format="rgb24").reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    analysis = analyze(tmp_path / "a.ts", cache=False)
    assert any("is interlaced" in problem for problem in analysis.problems)
    assert_at_rest(analysis)


def pq(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """SMPTE ST 2084: relative light to signal, white at 203 cd/m2 (ITU-R BT.2408)."""
    power = (light * 203 / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375, np.float32)


def hlg(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """ITU-R BT.2100 hybrid log-gamma: relative light to signal, white at 0.75."""
    scene = light * 0.265
    curve = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), curve), np.float32)


@pytest.mark.parametrize(("signal", "transfer"), [(pq, ColorTrc.SMPTE2084), (hlg, ColorTrc.ARIB_STD_B67)])
def test_ten_bit_hdr_is_measured_as_it_is_stored(
    tmp_path: Path, signal: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]], transfer: ColorTrc
) -> None:
    with av.open(str(tmp_path / "hdr.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "14", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = 450, 360, "yuv420p10le"
        context = stream.codec_context
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.BT2020
        context.color_primaries, context.color_trc = ColorPrimaries.BT2020, transfer
        for index, picture in enumerate(with_noise(drifting(60, px=0.3))):
            stored = np.rint(65535 * signal((picture.astype(np.float32) / 255) ** np.float32(2.2))).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(stored, format="rgb48le").reformat(format="yuv420p10le")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    analysis = analyze(tmp_path / "hdr.mkv", cache=False)
    assert analysis.problems == ()
    assert_at_rest(analysis)


def test_a_frozen_picture_is_told_and_the_step_after_it_is_no_motion(tmp_path: Path) -> None:
    pictures = [*with_noise(moved(portrait(), x=10 * np.sin(0.1 * k)) for k in range(110))]
    pictures[40:56] = [pictures[40]] * 16
    write_video(tmp_path / "a.mp4", pictures, rate_hz=30, crf=0, preset="ultrafast")
    analysis = analyze(tmp_path / "a.mp4", cache=False)
    assert len(analysis.events) == 0
    assert [k for k, reason in enumerate(analysis.motion.reason) if reason == "frozen picture"] == [*range(45, 57)]
    assert any("freezes 1 time(s)" in problem for problem in analysis.problems)
