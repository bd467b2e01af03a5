"""Analyse a video, list its movement candidates, write tables and the report.

python examples/analyse_video.py [VIDEO]
"""

import sys
import tempfile
from pathlib import Path

import metst
from metst.synthesis.clip import ClipRecipe, write_clip

work = Path(tempfile.mkdtemp(prefix="metst-example-"))
if len(sys.argv) > 1:
    video = Path(sys.argv[1])
else:  # a portrait that makes three known movements
    video = write_clip(work, recipe=ClipRecipe(count=3, amplitude=0.25, duration_s=8)).video

analysis = metst.analyze(video)

print(f"{analysis.source.name}: {analysis.source.duration_s:.1f} s, {len(analysis.events)} movement candidates")
time_s = analysis.grid.time_s
for event, label in enumerate(analysis.events.label):
    onset_s, apex_s = time_s[analysis.events.onset[event]], time_s[analysis.events.apex[event]]
    offset_s = time_s[analysis.events.offset[event] - 1]  # intervals are half-open: the last frame is one before
    confidence = analysis.events.confidence[event]
    print(f"{onset_s:6.2f} s to {offset_s:.2f} s, strongest at {apex_s:.2f} s: {label}, probability {confidence:.2f}")
for problem in analysis.problems:
    print("note:", problem)

metst.write_analysis(analysis, work / "results")
metst.write_report(analysis, work / "results" / "report.html", video=video)
print("written to", work / "results")
