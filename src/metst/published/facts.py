"""What was published, as numbers: data sets, networks, rules, training and results, each fact once.

The systems are ME-TST (arXiv 2409.09707), ME-TST+ (arXiv 2508.08082) and BoostingVRME (arXiv 2508.18834).  Where no
other source is named, a number is that of the authors' programs, which say more than the papers.

Needs the standard library only: the command line reads the names from here before anything else is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from metst.regions import AXES, CROP_PX, METST_REGIONS, REGIONS

if TYPE_CHECKING:
    from metst.config import DropPathRow, Pathways, Rule, TimeStepStart
    from metst.labels import Statistic

Kind = Literal[
    "samm-lv", "casme3", "casme2", "smic-hs", "smic-vis", "smic-nir", "casme-ii", "samm", "dfme", "megc", "manifest"
]
"""Data sets that are read; ``casme2`` is CAS(ME)2, ``casme-ii`` is CASME II; a manifest describes any other."""

TrainedOn = Literal["samm-lv", "casme3"]
"""Data sets that the published networks were trained on."""

HalfDuration = Literal["published", "train"]
"""Where ``k_p`` comes from: the published number, over all subjects, or all subjects but the tested one."""

Follow = Literal["description", "code"]
"""What counts where the papers and the authors' programs differ."""


@dataclass(frozen=True)
class DataSetFacts:
    """How the published networks read one data set.

    Parameters
    ----------
    title : str
        What people call it.
    video_rate_hz : float
        Frames per second of its videos.
    step : int
        Every so many frames of a video one is taken: a frame of the network.
    window : int
        Frames of the network in one window, even; windows overlap by half.
    batch_size : int
        Windows per step of training, and per batch of scoring in the authors' program.
    neutral_ratio : float
        Neutral windows per window with a micro-expression in training.
    k_p : mapping of rule to int
        Half of a typical micro-expression in frames of the network, by the rule that decodes; over all subjects.
    """

    title: str
    video_rate_hz: float
    step: int
    window: int
    batch_size: int
    neutral_ratio: float
    k_p: Mapping[Rule, int]

    @property
    def rate_hz(self) -> float:
        """Frames per second that the network reads."""
        return self.video_rate_hz / self.step


DATA_SETS: Final[dict[TrainedOn, DataSetFacts]] = {
    "samm-lv": DataSetFacts(
        "SAMM Long Videos",
        video_rate_hz=200.0,
        step=7,
        window=30,
        batch_size=32,
        neutral_ratio=0.5,
        k_p={"fixed": 5, "extensible": 6},
    ),
    "casme3": DataSetFacts(
        "CAS(ME)3",
        video_rate_hz=30.0,
        step=1,
        window=50,
        batch_size=256,
        neutral_ratio=4.0,
        k_p={"fixed": 17, "extensible": 11},
    ),
}
"""Of the data sets that the published networks were trained on."""


@dataclass(frozen=True)
class NetworkFacts:
    """One published network and its training.

    Parameters
    ----------
    title, paper : str
        What its authors call it, and where it stands.
    regions : tuple of int
        Indices into :data:`metst.regions.REGIONS` of what it reads.
    width : int
        Channels of the stem and of the full-rate pathway.
    slow_fast : bool
        With a second pathway at half rate and twice the width.
    pathways : {"shared", "separate"}
        Spotting and recognition read the same pathway, or each its own.
    rule : {"fixed", "extensible"}
        Published rule that decodes its scores.
    learning_rate : float
        Peak of the one-cycle schedule.
    epochs : int
        Times that every chosen window is seen.
    neutral_by_sign : bool
        Under strategy 1 the authors' program sets the neutral logit to 0 before it takes the highest one: a frame is
        neutral only if the logits of all emotions are negative.
    trunk_per_head : bool
        The authors' program runs the shared pathway once per head, so that in training each skips blocks of its own.
    """

    title: str
    paper: str
    regions: tuple[int, ...]
    width: int
    slow_fast: bool
    pathways: Pathways
    rule: Rule
    learning_rate: float
    epochs: int
    neutral_by_sign: bool = False
    trunk_per_head: bool = False

    @property
    def in_channels(self) -> int:
        """Motion channels, one per region and axis."""
        return len(AXES) * len(self.regions)


# What ME-TST+ and BoostingVRME read; ME-TST reads five.
_ALL_REGIONS: Final = tuple(range(len(REGIONS)))

NETWORKS: Final[dict[str, NetworkFacts]] = {
    "metst": NetworkFacts(
        "ME-TST, of twice the width as the code of ME-TST+ has it",
        "arXiv 2508.08082",
        regions=METST_REGIONS,
        width=128,
        slow_fast=False,
        pathways="shared",
        rule="fixed",
        learning_rate=3e-4,
        epochs=50,
        trunk_per_head=True,
    ),
    "metst-2024": NetworkFacts(
        "ME-TST",
        "arXiv 2409.09707",
        regions=METST_REGIONS,
        width=64,
        slow_fast=False,
        pathways="shared",
        rule="fixed",
        learning_rate=1e-4,
        epochs=30,
        trunk_per_head=True,
    ),
    "metst-plus": NetworkFacts(
        "ME-TST+",
        "arXiv 2508.08082",
        regions=_ALL_REGIONS,
        width=128,
        slow_fast=True,
        pathways="separate",
        rule="fixed",
        learning_rate=3e-4,
        epochs=50,
        neutral_by_sign=True,
    ),
    "boosting-vrme": NetworkFacts(
        "BoostingVRME",
        "arXiv 2508.18834",
        regions=_ALL_REGIONS,
        width=128,
        slow_fast=True,
        pathways="shared",
        rule="extensible",
        learning_rate=3e-4,
        epochs=50,
        neutral_by_sign=True,
    ),
}
"""The four published networks, by the name they have here."""

REGIONS_READ: Final = {
    len(AXES) * len(places): tuple(REGIONS[place].number for place in places)
    for places in (_ALL_REGIONS, METST_REGIONS)
}
"""Numbers of the regions that the published networks read, by their number of channels."""


@dataclass(frozen=True)
class StartFacts:
    """How all four networks start and skip blocks; what is not named starts as PyTorch has it.

    Parameters
    ----------
    linear_std : float
        Standard deviation of the weights of linear maps.
    out_proj_layers : int
        The last map of a Mamba block is divided by the root of this, as if each network were four blocks deep.
    time_step : {"spread", "zero"}
        Biases of Mamba's time steps: the authors' programs set them to 0, over what Mamba had drawn.
    dt_min, dt_max, dt_floor : float
        What Mamba draws, frames: between the first two, the logarithm evenly, and never under the third
        (arXiv 2312.00752).  No published network keeps it; the product's own do.
    drop_path_max : float
        Share of samples that skip a block: the end of the ramp over a row of blocks.
    drop_path_row : {"pathway", "stage"}
        What a row is: the blocks of a stage, of which the networks without a second rate have one.
    """

    linear_std: float
    out_proj_layers: int
    time_step: TimeStepStart
    dt_min: float
    dt_max: float
    dt_floor: float
    drop_path_max: float
    drop_path_row: DropPathRow


START: Final = StartFacts(
    linear_std=0.02,
    out_proj_layers=4,
    time_step="zero",
    dt_min=1e-3,
    dt_max=1e-1,
    dt_floor=1e-4,
    drop_path_max=0.2,
    drop_path_row="stage",
)
"""Numbers of the authors' programs, ``dt_...`` those of Mamba."""


@dataclass(frozen=True)
class TrainingFacts:
    """What all published trainings share.

    Parameters
    ----------
    spotting_weight, recognition_weight : float
        Weights of the squared error of the score and of the cross-entropy of the class in the joint loss.
    neutral_factor : float
        Times the balanced weight of the neutral class; under strategy 0 the weight is 0 instead.
    gain : tuple of float
        The lowest and the highest factor that a window is multiplied by; it is drawn in hundredths.
    neutral_spared : int
        Neutral windows that are left out where there are no more than wanted.
    """

    spotting_weight: float
    recognition_weight: float
    neutral_factor: float
    gain: tuple[float, float]
    neutral_spared: int


TRAINING: Final = TrainingFacts(
    spotting_weight=0.9, recognition_weight=0.1, neutral_factor=6.0, gain=(0.9, 1.1), neutral_spared=2
)
"""Numbers of the authors' programs."""


@dataclass(frozen=True)
class RuleFacts:
    """What a published rule takes for an event.

    Parameters
    ----------
    statistic : {"mean", "median"}
        What a typical duration is for ``k_p``.
    smoothing : int
        Width of the moving average over the score, in ``k_p``.
    peak_share : float
        Share of the way from the mean of the smoothed curve to its maximum that a peak must reach.
    """

    statistic: Statistic
    smoothing: int = 2
    peak_share: float = 0.55


RULES: Final[dict[Rule, RuleFacts]] = {"fixed": RuleFacts("mean"), "extensible": RuleFacts("median")}
"""Fixed: ME-TST and ME-TST+; extensible: BoostingVRME."""


@dataclass(frozen=True)
class ExtensionFacts:
    """How the extensible rule finds the ends of an event on the raw curve.

    Parameters
    ----------
    rise_divisor : float
        A rise begins an event where the score is above the mean of the video divided by this.
    reach : int
        Farthest end from the peak, in ``k_p``.
    same_event_iou : float
        Of two events that overlap so much, by plain lengths, the first stays.
    """

    rise_divisor: float
    reach: int
    same_event_iou: float


EXTENSION: Final = ExtensionFacts(rise_divisor=1.5, reach=5, same_event_iou=0.2)
"""Numbers of BoostingVRME's program."""

BOX_REACH: Final = {"up": 3.5, "down": 5.5, "sideways": 4.5}
"""How far the published face box reaches from the middle of the inner eye corners, in half their distance."""

_OUTER_OVER_INNER: Final = 2.6
"""Distance of the outer eye corners over that of the inner ones, in adults about; no published number."""

SCALE: Final = round(CROP_PX / BOX_REACH["sideways"] * _OUTER_OVER_INNER, 1)
"""Pixels of the published crop per face unit (the distance of the outer eye corners).

The crop is 4.5 distances of the inner corners wide: as often half of it to each side.
"""


@dataclass(frozen=True)
class ReleasedCounts:
    """What released checkpoints gave: of which stage, hits, false alarms, misses."""

    stage: str
    tp: int
    fp: int
    fn: int


RELEASED_COUNTS: Final[dict[tuple[TrainedOn, str], tuple[ReleasedCounts, ...]]] = {
    ("samm-lv", "metst-plus"): (ReleasedCounts("raw", 53, 184, 106), ReleasedCounts("after_strategy", 52, 171, 107)),
    ("casme3", "metst-plus"): (ReleasedCounts("raw", 81, 912, 777),),
    ("samm-lv", "boosting-vrme"): (ReleasedCounts("not stated", 51, 141, 108),),
}
"""By data set and network; strategy 1, scorer ``greedy``."""

# What is counted, where the name is needed twice.
SUBJECTS: Final = "subjects with micro-expressions"
MICRO_VIDEOS: Final = "videos with micro-expressions"
VIDEOS: Final = "videos"

COUNTS: Final[Mapping[Kind, Mapping[str, tuple[int, int]]]] = {
    "samm-lv": {
        SUBJECTS: (29, 29),
        MICRO_VIDEOS: (79, 79),
        VIDEOS: (147, 147),
        "macro-expressions": (343, 343),
        "micro-expressions": (159, 159),
        "micro-expressions, negative": (92, 92),
        "micro-expressions, positive": (26, 26),
        "micro-expressions, surprise": (15, 15),
        "micro-expressions, others": (26, 26),
    },
    "casme3": {
        SUBJECTS: (94, 94),
        MICRO_VIDEOS: (462, 463),
        "micro-expressions": (853, 860),
        "macro-expressions": (3346, 3346),
        "blinks": (841, 841),
    },
    "casme2": {"macro-expressions": (300, 300), "micro-expressions": (57, 57)},
    "smic-hs": {"micro-expressions": (157, 157)},
    "smic-vis": {"micro-expressions": (71, 71)},
    "smic-nir": {"micro-expressions": (71, 71)},
    "casme-ii": {"micro-expressions": (255, 255)},
    "samm": {"micro-expressions": (159, 159)},
    "dfme": {"micro-expressions": (1856, 1856)},
    "megc": {"videos at 200 frames per second": (10, 10), "videos at 30 frames per second": (20, 20)},
    "manifest": {},
}
"""Per data set, lowest and highest count in print (they differ where protocols read faulty rows differently)."""

REMARKS: Final[Mapping[Kind, str]] = {
    "casme3": (
        "the sheet has 860 rows; protocols in print use 853 to 858, as they read the faulty ones differently "
        "(the code of ME-TST drops rows with onset 0 and takes the others as written)"
    ),
    "dfme": "1856 are the rows of the training sheet; the sheets of the test sets add theirs where they name emotions",
}
"""What to know of the counts."""
