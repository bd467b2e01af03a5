"""Everything that decides a training on simulated motion besides its seed, by name."""

from __future__ import annotations

from pydantic import Field

from metst.config import InputSettings, NetworkConfig, ScoringSettings, Settings
from metst.synthesis.trajectories import SimulationSettings


class SimulationRecipe(Settings):
    """All that decides a training besides its seed."""

    name: str = Field(description="name of the recipe")
    network: NetworkConfig
    input: InputSettings
    scoring: ScoringSettings
    simulation: SimulationSettings
    faces: int = Field(64, ge=1, description="number of simulated face shapes")
    after: str | None = Field(None, description="recipe whose training comes first and whose weights this one changes")
    backgrounds: int = Field(
        0, ge=0, description="rendered recordings that are measured and planted into; every fourth is kept to calibrate"
    )
    background_s: float = Field(17.0, gt=0, description="length of each, seconds")
    background_share: float = Field(0.5, ge=0, le=1, description="share of training recordings that are planted so")
    footage_share: float = Field(
        0.0, ge=0, le=1, description="share of training recordings planted into footage of people, where there is some"
    )
    footage_again: tuple[tuple[int, float], ...] = Field(
        (), description="what each clip of it is encoded with once more: H.264's crf, share of its width and height"
    )
    reversed_share: float = Field(0.0, ge=0, le=1, description="share of training recordings played backwards")
    steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(16, ge=1, description="recordings per step")
    clip_frames: int = Field(480, ge=1, description="frames per recording")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle schedule")
    mixed_precision: bool = Field(True, description="train in bfloat16 on a graphics processor that has it")
    class_weight: float = Field(0.3, ge=0, description="weight of the class loss beside the spotting loss")
    neutral_weight: float = Field(0.05, ge=0, description="weight of neutral frames in the class loss")
    validation_minutes: float = Field(200.0, gt=0, description="simulated minutes for threshold and calibration")
    false_alarms_per_min: float = Field(
        0.5, gt=0, description="false alarms per minute that the threshold lets through, where nothing is planted"
    )
    smooth_s: float = Field(0.1, ge=0, description="width of the moving average over the score, seconds")
    edge_fraction: float = Field(0.5, gt=0, lt=1, description="share of its peak at which an event ends")


# Then faces that talk, laugh, play and are lost at times, and measured motion of rendered ones, also backwards.
_HEADS = SimulationRecipe(
    name="heads",
    network=NetworkConfig(name="heads", in_channels=36, width=48, blocks=6, slow_fast=True, d_state=16),
    # Holding regions still whenever they are in doubt makes movements of its own: only lost ones are held.
    input=InputSettings(rate_hz=30.0, reference="leaky", baseline_s=1.0, scale=100.0, min_quality=0.1),
    scoring=ScoringSettings(mode="whole", lag=12),
    simulation=SimulationSettings(
        lively_share=0.35,
        laughs_per_min=1.5,
        covers_per_min=1.5,
        disturbed_share=0.5,
        background_gain=(0.3, 2.5),
    ),
    after="starter",
    backgrounds=96,
    background_share=0.75,
    reversed_share=0.5,
    steps=7000,
    learning_rate=1e-3,
    edge_fraction=0.4,
    # The recordings it is fitted on are livelier than footage: at half of this rate it misses more there.
    false_alarms_per_min=1.0,
)

RECIPES: dict[str, SimulationRecipe] = {
    "starter": SimulationRecipe(
        name="starter",
        network=NetworkConfig(name="starter", in_channels=36, width=48, blocks=6, slow_fast=True, d_state=16),
        input=InputSettings(rate_hz=30.0, reference="leaky", baseline_s=1.0, scale=100.0),
        scoring=ScoringSettings(mode="whole", lag=12),
        # Faces that mostly rest: what a network learns first.
        simulation=SimulationSettings(
            camera_rates_hz=(30.0,),
            speech_event_share=0.0,
            asymmetry=0.0,
            macros_per_min=4.0,
            lively_share=0.0,
            deformation=(1e-6, 1e-5),
            held_share=0.0,
            speech_share=0.3,
            beats_per_min=0.0,
        ),
        steps=2400,
    ),
    "heads": _HEADS,
    # At last people on video, and movements that differ from each other as measured ones do.
    "metst-event": _HEADS.model_copy(
        update={
            "name": "metst-event",
            "network": _HEADS.network.model_copy(update={"name": "metst-event"}),
            "after": "heads",
            "simulation": _HEADS.simulation.model_copy(
                update={"free_share": 0.3, "measured_share": 0.4, "background_gain": (0.4, 2.0)}
            ),
            # Recordings are also read from their end; live use reads forwards only, with settings of its own.
            "scoring": _HEADS.scoring.model_copy(update={"directions": "both", "pooling": "mean"}),
            "smooth_s": 0.2,  # keeps a few more candidates through one more encoding
            "backgrounds": 24,  # of heads that the stage before has seen 96 of
            "footage_share": 0.5,
            "footage_again": ((28, 1.0), (23, 0.5)),
            "steps": 2500,
            "learning_rate": 5e-4,
        }
    ),
}
