"""What a folder holds of the benchmark: the list of its clips, and where the files of each lie."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plan import ClipPlan, Plan

from metst.config import AnalyzeSettings
from metst.errors import DataError, UsageError
from metst.motion import Motion
from metst.motion.measured import measure_motion
from metst.storage import csv_bytes, fingerprint, json_key, write_whole
from metst.video import content_hash, probe_video

COLUMNS = ("subject", "video", "file", "split", "frames", "rate_hz", "tags")
"""Of ``clips.csv``, which tells systems of others what there is; the truth is no part of it."""


@dataclass(frozen=True)
class Listing:
    """``build.json``: each clip that was built, with the hashes of its plan and of its content."""

    clips: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: Path) -> Listing:
        """That of a build.

        Raises
        ------
        UsageError
            The folder holds none.
        """
        path = folder / "build.json"
        if not path.is_file():
            raise UsageError(f"{folder} holds no build of the benchmark: run with --build {folder} first")
        try:
            return cls({each["name"]: each for each in json.loads(path.read_text(encoding="utf-8"))["clips"]})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no list of a build: delete it, and run with --build {folder} again") from error

    @property
    def plans(self) -> dict[str, str]:
        """Hash of the plan of each clip."""
        return {name: each["plan"] for name, each in self.clips.items()}

    def contents(self, names: Iterable[str]) -> str:
        """One hash of the content of clips: two tables compare when theirs agree."""
        return fingerprint(json_key({name: self.clips[name]["content"] for name in names}))

    def write(self, folder: Path, *, plan: Plan) -> None:
        """Those that the plan still has, in its order, as ``build.json`` and as ``clips.csv``."""
        kept = [clip for clip in plan.clips() if self.plans.get(clip.name) == clip.digest]
        about = {"plan": plan.digest, "version": plan.version, "clips": [self.clips[clip.name] for clip in kept]}
        write_whole(folder / "build.json", json.dumps(about, indent=1).encode())
        rows = [
            (
                clip.person, clip.name, video_of(clip, folder=folder).relative_to(folder).as_posix(), clip.split,
                self.clips[clip.name]["frames"], self.clips[clip.name]["rate_hz"], " ".join(clip.tags),
            )
            for clip in kept
        ]  # fmt: skip
        write_whole(folder / "clips.csv", csv_bytes(COLUMNS, rows))


def entry_of(clip: ClipPlan, *, folder: Path) -> dict[str, Any]:
    """What the list says of a clip; its motion is measured and kept."""
    video = video_of(clip, folder=folder)
    grid = measured(video, folder=folder).displacement.grid
    return {
        "name": clip.name, "plan": clip.digest, "content": content_hash(video), "frames": len(grid),
        "rate_hz": round(1 / grid.frame_s, 3),
    }  # fmt: skip


def video_of(clip: ClipPlan, *, folder: Path) -> Path:
    """The clip's video: what was written, or a copy of the file that it is."""
    name = f"raw{Path(clip.footage.file).suffix}" if clip.raw else "planted.mp4"
    return folder / "clips" / clip.name / name


def measured(video: Path, *, folder: Path) -> Motion:
    """Motion of a clip, from the build's cache or measured now, as an analysis would."""
    return measure_motion(
        probe_video(video), settings=AnalyzeSettings(), content=content_hash(video), rate_hz=None, landmarks=None,
        cache=folder / "motion", on_progress=None,
    ).motion  # fmt: skip
