"""Stage 6: what an analysis found, and the files it becomes.

One folder per video: ``events.csv``, ``frames.csv``, ``face.csv``, ``motion.csv`` (or
``motion.safetensors``) and ``analysis.json``, which holds the hashes of the others.  Frame
numbers in these files count from 1 and intervals include both ends; every time is the
timestamp of the frame beside it.  :func:`read_analysis` gives back what :func:`write_analysis`
was given.  What people coded of the same recording stands beside: see
:mod:`metst.coding`.
"""

from metst.results.analysis import Analysis, Custody, Gap, Source
from metst.results.analysis_folder import (
    AnalysisHeader,
    Tables,
    check_files,
    discard,
    read_analysis,
    read_header,
    read_motion,
    read_tables,
    write_analysis,
)
from metst.results.flags import Condition, Flags, face_conditions, in_words
from metst.results.motion import FACE_CHANNELS, Measured, Motion
from metst.results.overview import Overview, overview_of, read_overview, write_overview
from metst.results.tables import Block, event_table, table_of
from metst.results.usable import usable_problem

__all__ = [
    "FACE_CHANNELS",
    "Analysis",
    "AnalysisHeader",
    "Block",
    "Condition",
    "Custody",
    "Flags",
    "Gap",
    "Measured",
    "Motion",
    "Overview",
    "Source",
    "Tables",
    "check_files",
    "discard",
    "event_table",
    "face_conditions",
    "in_words",
    "overview_of",
    "read_analysis",
    "read_header",
    "read_motion",
    "read_overview",
    "read_tables",
    "table_of",
    "usable_problem",
    "write_analysis",
    "write_overview",
]
