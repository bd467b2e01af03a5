"""Stage 6: what an analysis found, and the files it becomes.

One folder per video: ``events.csv``, ``frames.csv``, ``face.csv``, ``motion.csv`` (or
``motion.safetensors``) and ``analysis.json``.  Frame numbers in these files count from 1 and
intervals include both ends; every time is the timestamp of the frame beside it.
:func:`read_analysis` gives back what :func:`write_analysis` was given.
"""

from metst.results.analysis import FACE_CHANNELS, Analysis, Gap, Source
from metst.results.files import read_analysis, write_analysis, write_whole
from metst.results.tables import event_table

__all__ = [
    "FACE_CHANNELS",
    "Analysis",
    "Gap",
    "Source",
    "event_table",
    "read_analysis",
    "write_analysis",
    "write_whole",
]
