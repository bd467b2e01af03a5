"""What one camera, light, distance and codec allow: known movements planted into a recording, and found again.

``moments`` finds where nothing moves, ``trials`` plans what is planted there, ``footage`` tracks the face, ``run``
plants and analyses, ``psychometric`` fits the curve, ``outcome`` and ``page`` say it.
"""

from metst.calibrate.outcome import Summary, as_dict, summarise, write_calibration
from metst.calibrate.page import write_page
from metst.calibrate.run import CalibrateSettings, Calibration, calibrate

__all__ = [
    "CalibrateSettings",
    "Calibration",
    "Summary",
    "as_dict",
    "calibrate",
    "summarise",
    "write_calibration",
    "write_page",
]
