"""Every setting of the product, with its default, its range and what it means.

Unknown keys are errors.  The resolved settings travel with each result and checkpoint.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metst.errors import UsageError

Rule = Literal["fixed", "extensible"]
"""Published decoding rules: intervals of one length (ME-TST, ME-TST+), or extensible ones (BoostingVRME)."""

Strategy = Literal[0, 1, 2]
"""Published synergy of spotting and recognition: 0 none, 1 recognition mainly, 2 spotting mainly."""

DEFAULT_STRATEGY: Final[Strategy] = 1
"""The one that the published results use."""

DEFAULT_SEED: Final = 100
"""Of a training, where none is given; set by hand."""

Pathways = Literal["shared", "separate"]
"""Whether spotting and recognition read the same features, or each its own."""

TimeStepStart = Literal["spread", "zero"]
"""Where the biases of Mamba's time steps start: spread over short and long ones as in Mamba, or at 0."""

DropPathRow = Literal["pathway", "stage"]
"""What the share of skipped blocks rises over, from 0: all blocks of a pathway, or those of each stage anew."""

STAGES: Final = 3
"""Stages of the slow-fast networks; between two the fast pathway is added to the slow one."""
Codec = Literal["h264", "hevc", "mpeg4"]
"""Names of the codecs that videos are written with, as FFmpeg has them."""

OperatingPoint = Literal["quiet", "balanced", "sensitive"]
"""Names of thresholds of one model, from few candidates to many."""

DEFAULT_POINT: Final[OperatingPoint] = "balanced"
"""The threshold that a model's ``peak_threshold`` is, where no other was chosen."""

FALSE_ALARM_FACTORS: Final[dict[OperatingPoint, float]] = {"quiet": 0.3, "balanced": 1.0, "sensitive": 3.0}
"""Candidates of recordings without a micro-expression at each operating point, over those of ``balanced``: about a
third, or three times as many.  Set by hand; from few to many, which is the order of the names."""

EXPECTED_PER_MIN: Final = 1.0
"""Micro-expressions per minute that confidences are given for, where nobody says another rate.

Labelled long videos, all of them videos and all their minutes, those without a micro-expression too:

- SAMM Long Videos: 159 in 147 videos of 35.5 s on average, 87 min: 1.83 a minute (counts: arXiv 1911.01519; the mean
  length as the grand challenge of 2020 has it, not counted here).  Its 79 videos with any hold about six a minute.
- CAS(ME)²: 57 in 98 videos of 148 s on average, 242 min: 0.24 a minute (lengths from the same challenge).
- CAS(ME)³: 1,109; of more than 8 million frames at 30 a second more than 4 million are not labelled (its abstract, doi
  10.1109/TPAMI.2022.3174895), so some 2,200 min are: 0.50 a minute.

The three have a mean of 0.86 and hold 0.52 in all their minutes together; people were shown what moves them and told to
keep still faces.  One a minute is the mean, rounded to what is easy to reckon with: odds go in proportion to the rate.
"""

_MOST_PER_MIN = 600.0
"""Micro-expressions per minute, each a tenth of a second (``min_duration_s``): more would not fit."""


class Settings(BaseModel):
    """Base: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FaceSettings(Settings):
    """Stage 2, the face track."""

    landmark_interval_s: float = Field(
        0.2,
        ge=0,
        description="seconds between two runs of the landmark model while the face moves; three times as long at rest",
    )
    detect_interval_s: float = Field(
        1.0, gt=0, description="seconds between two runs of the face detector while tracking"
    )
    min_score: float = Field(0.5, gt=0, lt=1, description="lowest face presence that counts as a face")
    min_eye_distance_px: float = Field(
        30.0, gt=0, description="distance between the outer eye corners under which a face is too small to measure"
    )
    max_yaw_deg: float = Field(45.0, gt=0, le=90, description="head turn beyond which a face counts as a profile view")


class MotionSettings(Settings):
    """Stage 3, ROI motion in trajectory mode."""

    anchor_interval_s: float = Field(8.0, gt=0, description="seconds after which the anchor is placed anew")
    template_memory_s: float = Field(2.0, gt=0, description="seconds over which the anchor's picture follows the face")


class DecodeSettings(Settings):
    """Stage 5, the product's rule; fitted values are stored in the checkpoint."""

    model_config = ConfigDict(allow_inf_nan=False)

    peak_threshold: float = Field(0.5, gt=0, lt=1, description="absolute score a peak must reach to be an event")
    operating_points: dict[OperatingPoint, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict,
        description="peak_threshold at each operating point; empty: there is one threshold only, balanced",
    )
    operating_point: OperatingPoint = Field(
        DEFAULT_POINT, description="which of the operating points peak_threshold is"
    )
    edge_fraction: float = Field(
        0.5, gt=0, lt=1, description="an event ends where the score falls under this share of its peak"
    )
    smooth_s: float = Field(0.1, ge=0, description="width of the moving average over the score, seconds")
    merge_fraction: float = Field(
        0.7, gt=0, lt=1, description="two peaks are one event unless the valley falls under this share of both"
    )
    min_duration_s: float = Field(0.1, ge=0, description="shortest event, seconds")
    max_duration_s: float = Field(1.0, gt=0, description="longest event, seconds")
    confidence_slope: float = Field(1.0, gt=0, description="slope of the logistic calibration of the peak's log-odds")
    confidence_offset: float = Field(0.0, description="offset of the logistic calibration of the peak's log-odds")
    calibrated_per_min: float | None = Field(
        None,
        gt=0,
        description="micro-expressions per minute in what the confidence was fitted on, which it takes for granted",
    )
    expected_per_min: float | None = Field(
        None,
        gt=0,
        le=_MOST_PER_MIN,
        description="micro-expressions per minute that are to be expected; null: as calibrated",
    )

    @model_validator(mode="after")
    def _durations_leave_room(self) -> Self:
        if self.min_duration_s > self.max_duration_s:
            raise ValueError(f"min_duration_s {self.min_duration_s} is above max_duration_s {self.max_duration_s}")
        return self

    @model_validator(mode="after")
    def _points_are_in_order(self) -> Self:
        if not self.operating_points:
            if self.operating_point != DEFAULT_POINT:
                raise ValueError(
                    f"operating_point {self.operating_point} is not among operating_points: there are none"
                )
            return self
        if missing := [name for name in FALSE_ALARM_FACTORS if name not in self.operating_points]:
            raise ValueError(f"operating_points lack {', '.join(missing)}: give all of them or none")
        heights = [self.operating_points[name] for name in FALSE_ALARM_FACTORS]
        if heights != sorted(heights, reverse=True):
            raise ValueError(f"operating_points must not rise from {' to '.join(FALSE_ALARM_FACTORS)}, got {heights}")
        if self.peak_threshold != self.operating_points[self.operating_point]:
            raise ValueError(
                f"peak_threshold {self.peak_threshold} is not the one of operating point {self.operating_point},"
                f" {self.operating_points[self.operating_point]}"
            )
        return self

    @model_validator(mode="after")
    def _expected_is_adjustable(self) -> Self:
        if self.expected_per_min is not None and self.calibrated_per_min is None:
            raise ValueError("expected_per_min needs calibrated_per_min: without it confidences cannot be adjusted")
        return self

    def expecting(self, per_min: float) -> DecodeSettings:
        """The same events, with confidences for recordings that hold so many micro-expressions per minute.

        The odds that a candidate is one go with how many there are to find, as long as false alarms are as frequent
        as before (Saerens, Latinne and Decaestecker, Neural Computation 14, 2002, equation 4).

        Raises
        ------
        UsageError
            Not a rate above 0, or it is not known for which rate the confidence was fitted.
        """
        if not 0 < per_min <= _MOST_PER_MIN:
            raise UsageError(
                f"micro-expressions expected per minute: a number above 0, at most {_MOST_PER_MIN:g}, got {per_min}"
            )
        if self.calibrated_per_min is None:
            raise UsageError(
                "this model does not say how many micro-expressions per minute its confidence takes for granted"
                " (decode.calibrated_per_min): it cannot be adjusted to another rate"
            )
        return self.model_copy(update={"expected_per_min": float(per_min)})

    def at(self, point: OperatingPoint) -> DecodeSettings:
        """The same rule at another operating point; ``balanced`` is the threshold of settings that have no points.

        Raises
        ------
        UsageError
            There is no such point.
        """
        if point == self.operating_point:
            return self
        if point not in self.operating_points:
            has = ", ".join(self.operating_points) or f"{DEFAULT_POINT} only, its own threshold {self.peak_threshold}"
            raise UsageError(f"no operating point {point!r}: this model has {has}")
        return self.model_copy(update={"peak_threshold": self.operating_points[point], "operating_point": point})

    def at_usual_rate(self) -> DecodeSettings:
        """The same with confidences for :data:`EXPECTED_PER_MIN`, where no rate was told and they can be adjusted."""
        if self.expected_per_min is not None or self.calibrated_per_min is None:
            return self
        return self.expecting(EXPECTED_PER_MIN)

    @property
    def granted_per_min(self) -> float | None:
        """Micro-expressions per minute that the confidences are given for; None: nobody knows."""
        return self.expected_per_min or self.calibrated_per_min

    @property
    def offset(self) -> float:
        """Offset of the calibration for the rate that is expected."""
        if self.expected_per_min is None:
            return self.confidence_offset
        assert self.calibrated_per_min is not None
        return self.confidence_offset + math.log(self.expected_per_min) - math.log(self.calibrated_per_min)


class InputSettings(Settings):
    """Stage 4, how ROI motion becomes the input of a network."""

    rate_hz: float = Field(30.0, gt=0, description="frames per second the network reads")
    regions: tuple[Annotated[int, Field(ge=1, le=18)], ...] = Field(
        tuple(range(1, 19)), min_length=1, description="regions of interest that are read, by number, in channel order"
    )
    reference: Literal["leaky", "window"] = Field(
        "leaky",
        description="what a displacement is measured against: a leaking baseline, or the first frame of the window",
    )
    baseline_s: float = Field(1.0, gt=0, description="time constant of the leaking baseline, seconds")
    scale: float = Field(1.0, gt=0, description="network units per face unit (the distance of the outer eye corners)")
    sampling: Literal["mean", "latest"] = Field(
        "mean",
        description="what a frame of the network is of the video's frames: their mean around it, or the last one up to"
        " it, which is every n-th of a faster video (published)",
    )
    gaps: Literal["restart", "still"] = Field(
        "restart",
        description="without a face the network starts afresh, or all regions stand still and it goes on (published:"
        " there are no gaps)",
    )
    min_segment_s: float = Field(0.2, ge=0, description="shortest stretch with a face that is scored, seconds")
    min_quality: float = Field(
        0.5, ge=0, le=1, description="a region measured with less quality is taken to stand still"
    )


class ScoringSettings(Settings):
    """Stage 4, whether a network runs over the whole video with carried state or restarts for each window."""

    mode: Literal["whole", "windows"] = Field("whole", description="one pass with carried state, or windows")
    window: int = Field(30, ge=1, description="frames per window (windows only)")
    hop: int = Field(15, ge=1, description="frames from one window to the next (windows only)")
    remainder: Literal["scored", "dropped"] = Field(
        "scored",
        description="frames behind the last window that fits: one more window ends with the last of them, or they have"
        " no score (published; windows only)",
    )
    lag: int = Field(
        0, ge=0, description="frames by which the network answers late: it has then seen what follows (whole only)"
    )
    directions: Literal["forward", "both"] = Field(
        "forward",
        description="both: recordings are also read from their end; live use reads forwards only (whole only)",
    )
    pooling: Literal["lower", "mean"] = Field(
        "lower",
        description="what counts of the scores of both directions: the lower one, or the mean of their log-odds",
    )

    @model_validator(mode="after")
    def _windows_fit(self) -> ScoringSettings:
        if self.hop > self.window:
            raise ValueError(f"hop {self.hop} must not exceed window {self.window}: frames would be left out")
        if self.mode == "windows" and self.lag:
            raise ValueError(f"lag {self.lag} is for mode whole only: a window ends before the late answers")
        if self.mode == "windows" and self.directions == "both":
            raise ValueError("reading in both directions is for mode whole only: windows have no direction")
        if self.mode == "whole" and self.remainder == "dropped":
            raise ValueError("a dropped remainder is for mode windows only: one pass leaves none")
        return self


class NetworkConfig(Settings):
    """Stage 4, one member of the family of networks."""

    name: str = Field(description="what the network is called")
    in_channels: int = Field(ge=1, description="motion channels, two per region")
    width: int = Field(ge=1, description="channels of the stem and of the full-rate pathway")
    blocks: int = Field(12, ge=1, description="Mamba blocks in a row; a multiple of 3 with slow_fast")
    slow_fast: bool = Field(description="add a pathway at half rate and twice the width")
    pathways: Pathways = Field("shared", description="spotting and recognition read the same pathway, or each its own")
    d_state: int = Field(64, ge=1, description="state size of a Mamba block")
    d_conv: int = Field(4, ge=1, description="kernel of the causal convolution of a Mamba block, frames")
    expand: int = Field(2, ge=1, description="inner width of a Mamba block over its outer width")
    time_step_start: TimeStepStart = Field(
        "spread", description="biases of the time steps before training: spread as in Mamba, or all 0 (published)"
    )
    drop_path_row: DropPathRow = Field(
        "pathway", description="the share of skipped blocks rises over a whole pathway, or over each stage (published)"
    )
    trunk_per_head: bool = Field(
        False, description="in training a shared pathway runs once per head, each time with other blocks skipped"
    )
    classes: int = Field(5, ge=1, description="classes of the recognition head")

    @property
    def pathway_count(self) -> int:
        """Pathways between the stem and the heads."""
        return 1 if self.pathways == "shared" else 2

    @property
    def features(self) -> int:
        """Channels that the heads read: of the full rate, and twice as many of the half rate beside them."""
        return self.width * (3 if self.slow_fast else 1)

    def dt_rank(self, width: int) -> int:
        """Rank of the map to the step sizes of a Mamba block of this width, as Mamba has it (arXiv 2312.00752)."""
        return math.ceil(width / 16)

    @model_validator(mode="after")
    def _equal_stages(self) -> NetworkConfig:
        if self.slow_fast and self.blocks % STAGES:
            raise ValueError(f"slow-fast has three equal stages: blocks {self.blocks} must be a multiple of {STAGES}")
        return self


class PublishedDecodeSettings(Settings):
    """Stage 5, a published rule, for released checkpoints."""

    rule: Rule = Field(description="intervals of one length, or extensible ones")
    k_p: int = Field(ge=1, description="half the typical length of a micro-expression, frames of the network")
    strategy: Strategy = Field(DEFAULT_STRATEGY, description="synergy: 0 none, 1 recognition mainly, 2 spotting mainly")
    neutral_by_sign: bool = Field(
        False, description="the neutral logit is taken for 0: neutral where the logits of all emotions are negative"
    )


class ModelInfo(Settings):
    """A trained model: what the ``model.json`` of a checkpoint says."""

    format: Literal[1] = Field(1, description="version of this file's layout")
    network: NetworkConfig = Field(description="shape of the network")
    classes: tuple[str, ...] = Field(min_length=1, description="class names in the order of the logits")
    input: InputSettings = Field(description="how ROI motion becomes the network's input")
    scoring: ScoringSettings = Field(description="whole video with carried state, or windows")
    decode: PublishedDecodeSettings | DecodeSettings = Field(description="how scores become intervals")
    live_decode: DecodeSettings | None = Field(
        None, description="the same for live use, which reads forwards only; null: as decode"
    )
    decode_fitted_on: str = Field("", description="the split the decode settings were fitted on")
    training_subjects: tuple[str, ...] | None = Field(
        None, description="subjects seen in training, not to be scored; null when unknown"
    )
    trained_on: str = Field(description="the training data, for people")
    provenance: dict[str, str] = Field(default_factory=dict, description="where the weights come from")
    metst_version: str = Field("", description="version of metst that wrote the folder")
    weights_sha256: str = Field("", description="SHA-256 of the weights file")

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.network.name

    def reading(self, directions: Literal["forward", "both"]) -> ModelInfo:
        """The same network, reading recordings in other directions."""
        return self.model_copy(update={"scoring": self.scoring.model_copy(update={"directions": directions})})

    def as_live(self) -> ModelInfo:
        """The same network as it runs live: forwards only, with the decoding for that."""
        return self.reading("forward").model_copy(update={"decode": self.decode_live, "live_decode": None})

    def expecting(self, per_min: float) -> ModelInfo:
        """The same network, with confidences for so many micro-expressions per minute.

        Raises
        ------
        UsageError
            Not a rate above 0, or the confidence cannot be adjusted: see :meth:`DecodeSettings.expecting`.
        """
        if isinstance(self.decode, PublishedDecodeSettings):
            raise UsageError(
                f"model {self.name} decodes by a published rule: its confidence is no probability that another rate"
                " of micro-expressions would change"
            )
        live = self.live_decode and self.live_decode.expecting(per_min)
        return self.model_copy(update={"decode": self.decode.expecting(per_min), "live_decode": live})

    def at(self, point: OperatingPoint) -> ModelInfo:
        """The same network at another operating point, offline and live.

        Raises
        ------
        UsageError
            The model has no such point; one that decodes by a published rule has ``balanced`` alone, its own rule.
        """
        if isinstance(self.decode, PublishedDecodeSettings):
            if point == DEFAULT_POINT:
                return self
            raise UsageError(
                f"no operating point {point!r}: model {self.name} decodes by the published {self.decode.rule} rule,"
                f" whose threshold goes with each video, and has {DEFAULT_POINT} only"
            )
        live = self.live_decode and self.live_decode.at(point)
        return self.model_copy(update={"decode": self.decode.at(point), "live_decode": live})

    def as_used(self, *, point: OperatingPoint | None = None, expected_per_min: float | None = None) -> ModelInfo:
        """The model as an analysis uses it.

        Parameters
        ----------
        point : {"quiet", "balanced", "sensitive"}, optional
            Operating point; absent: the one the model stands at.
        expected_per_min : float, optional
            Micro-expressions per minute that are to be expected; absent: what the model was told before, and else
            :data:`EXPECTED_PER_MIN` where it says what its confidence was fitted on.

        Raises
        ------
        UsageError
            As :meth:`at` and :meth:`expecting`.
        """
        info = self if point is None else self.at(point)
        if expected_per_min is not None:
            return info.expecting(expected_per_min)
        if isinstance(info.decode, PublishedDecodeSettings):
            return info
        live = info.live_decode and info.live_decode.at_usual_rate()
        return info.model_copy(update={"decode": info.decode.at_usual_rate(), "live_decode": live})

    @property
    def decode_live(self) -> PublishedDecodeSettings | DecodeSettings:
        """How scores become intervals while they come."""
        return self.live_decode or self.decode

    @model_validator(mode="after")
    def _parts_fit(self) -> ModelInfo:
        if len(self.classes) != self.network.classes:
            raise ValueError(f"{len(self.classes)} class names for a head of {self.network.classes} classes")
        if self.network.in_channels != 2 * len(self.input.regions):
            raise ValueError(
                f"{len(self.input.regions)} regions make {2 * len(self.input.regions)} channels,"
                f" but the network reads {self.network.in_channels}"
            )
        if self.input.reference == "window" and self.scoring.mode != "windows":
            raise ValueError("motion relative to a window's first frame needs scoring in windows")
        return self


class AnalyzeSettings(Settings):
    """All settings of one analysis."""

    face: FaceSettings = FaceSettings()
    motion: MotionSettings = MotionSettings()
