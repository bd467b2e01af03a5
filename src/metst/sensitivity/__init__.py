"""What one camera, light, distance and codec allow: known movements planted into a recording, and found again.

``moments`` finds where nothing moves, ``trials`` plans what is planted there, ``footage`` tracks the face,
``calibration`` plants and analyses, ``psychometric`` fits the curve, ``summary`` and ``calibration_page`` say it.
"""

from metst.sensitivity.calibration import CalibrateSettings, Calibration, calibrate
from metst.sensitivity.calibration_page import write_page
from metst.sensitivity.summary import Summary, as_dict, summarise, write_calibration

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
