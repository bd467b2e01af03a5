"""Score predicted intervals against the truth, under two scorers of the field.

python examples/score_predictions.py
"""

import metst
from metst.metrics import score_tables

# Frames count from 1 and both ends belong to an interval.  Paths of CSV files or pandas tables do as well.
truth = [
    {"subject": "anna", "video": "interview", "onset": 120, "offset": 136, "emotion": "positive"},
    {"subject": "anna", "video": "interview", "onset": 410, "offset": 425, "emotion": "negative"},
    {"subject": "ben", "video": "film", "onset": 77, "offset": 90, "emotion": "surprise"},
]
predictions = [
    {"subject": "anna", "video": "interview", "onset": 121, "offset": 137, "emotion": "positive", "confidence": 0.9},
    {"subject": "anna", "video": "interview", "onset": 300, "offset": 312, "emotion": "negative", "confidence": 0.4},
    {"subject": "ben", "video": "film", "onset": 75, "offset": 91, "emotion": "negative", "confidence": 0.7},
]

for scorer in ("strict", "greedy"):
    result = score_tables(predictions, truth, scorer=scorer, iou=0.5)
    spotting, recognition = result["spotting"], result["recognition"]
    counts = f"{spotting['tp']} hits, {spotting['fp']} false alarms, {spotting['fn']} misses"
    print(f"{scorer}: {counts}, F1 {spotting['f1']:.3f}, recognition F1 {recognition['f1']:.3f}")
    print(f"  95 % interval of the F1 over resamples of the subjects: {result['confidence_intervals']['spotting_f1']}")

try:
    score_tables(predictions, truth, scorer="strictest")
except metst.MetstError as error:  # every error of the package, one line that says what to do
    print("an error reads like this:", error)
