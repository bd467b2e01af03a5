"""Every setting of the product, with its default, its range and what it means.

Unknown keys are errors.  The resolved settings travel with each result and checkpoint.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FaceSettings(Settings):
    """Stage 2, the face track."""

    landmark_interval_s: float = Field(0.2, ge=0, description="seconds between two runs of the landmark model")
    detect_interval_s: float = Field(1.0, gt=0, description="seconds between two runs of the face detector while tracking")
    min_score: float = Field(0.5, gt=0, lt=1, description="lowest face presence that counts as a face")


class MotionSettings(Settings):
    """Stage 3, ROI motion in trajectory mode."""

    anchor_interval_s: float = Field(0.5, gt=0, description="seconds after which the anchor frame is renewed")


class DecodeSettings(Settings):
    """Stage 5, the product's rule; fitted values are stored in the checkpoint."""

    peak_threshold: float = Field(0.5, gt=0, lt=1, description="absolute score a peak must reach to be an event")
    edge_fraction: float = Field(0.5, gt=0, lt=1, description="an event ends where the score falls under this share of its peak")
    smooth_s: float = Field(0.1, ge=0, description="width of the moving average over the score, seconds")
    min_duration_s: float = Field(0.1, ge=0, description="shortest event, seconds")
    max_duration_s: float = Field(1.0, gt=0, description="longest event, seconds")
    confidence_slope: float = Field(1.0, gt=0, description="slope of the logistic calibration of the peak's log-odds")
    confidence_offset: float = Field(0.0, description="offset of the logistic calibration of the peak's log-odds")


class AnalyzeSettings(Settings):
    """All settings of one analysis."""

    face: FaceSettings = FaceSettings()
    motion: MotionSettings = MotionSettings()
