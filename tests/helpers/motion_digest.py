"""Writes digests of the motion, the scores and the events of a portrait that nods.

motion_digest.py PORTRAIT.npy THREADS [OUT.npz]
"""

import hashlib
import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from metst.config import MotionSettings
from metst.face import FaceTracker
from metst.inference import decode_events, score_motion
from metst.models.checkpoint import load_model
from metst.motion import extract_motion
from metst.video import Frame

RATE_HZ, FRAMES = 25.0, 100


def nodding(portrait: NDArray[np.uint8], k: int) -> NDArray[np.uint8]:
    """The portrait (512, 512), turned, moved and made larger a little, with a smile that comes and goes."""
    t = k / RATE_HZ
    matrix = cv2.getRotationMatrix2D((225, 120), 4 * np.sin(1.7 * t), 1 + 0.1 * np.sin(1.1 * t))
    matrix[:, 2] += 12 * np.sin(2.3 * t), 8 * np.sin(3.1 * t)
    frame = np.asarray(cv2.warpAffine(portrait, matrix, (448, 320), flags=cv2.INTER_CUBIC), np.uint8)
    noise = np.random.default_rng(k).normal(0, 1.5, frame.shape)
    return np.clip(np.round(frame + noise), 0, 255).astype(np.uint8)


def digest(*values: NDArray[np.generic]) -> str:
    """SHA-256 of arrays, one after the other."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in values)).hexdigest()


def main() -> None:
    """Write the digests; with a third argument, the motion and the scores to that file."""
    cv2.setNumThreads(int(sys.argv[2]))
    portrait, faces = np.load(sys.argv[1]), FaceTracker()
    track = (faces.update(Frame(k, k / RATE_HZ, nodding(portrait, k))) for k in range(FRAMES))
    motion = extract_motion(track, settings=MotionSettings(anchor_interval_s=0.5))
    assert motion.displacement.valid.all()
    model = load_model("starter")
    scores = score_motion(motion.displacement, quality=motion.quality, model=model)
    events = decode_events(scores, model=model)
    values = motion.displacement.values
    measured = digest(values, motion.quality, motion.conditions, motion.centres, motion.head, motion.face.values)
    found = digest(events.onset, events.apex, events.offset, events.confidence, events.probability)
    sys.stdout.write(f"{measured}\n{digest(scores.values)}\n{found}\n")
    if len(sys.argv) > 3:
        np.savez(sys.argv[3], motion=values, scores=scores.values)


if __name__ == "__main__":
    main()
