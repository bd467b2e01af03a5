"""Compiled and other peers on the accuracy protocol, where the head stands still: none of them takes its motion out.

pyidi's ``DIC`` (inverse-compositional affine, the anchor of accuracy) and ``LucasKanade`` (fused Numba, that of speed)
follow one patch of 21 x 21 pixels at the middle of each region; TV-L1 of scikit-image is read over the region, as is
Farneback's flow.  pyidi has to be installed: ``pip install pyidi==1.4.0``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import numpy as np
from motion_clips import Clip, region_pixels
from skimage.registration import optical_flow_tvl1

_PATCH_PX = 21
"""Side of a patch of pyidi's: as its DIC comes."""

_MARGIN_PX = 24
"""Of the picture that TV-L1 sees around all regions: more than anything moves."""

Peer = Callable[[Clip, int, int], np.ndarray]
"""Motion ``(length, 18, 2)`` since a frame of a clip, pixels, x before y."""


def _patches(method: str, clip: Clip, start: int, length: int) -> np.ndarray:
    import pyidi
    from pyidi import methods

    frames = np.ascontiguousarray(clip.frames[start : start + length])
    middles = np.array([np.rint(places.mean(axis=0)) for places in region_pixels(clip, start)], int)
    with tempfile.TemporaryDirectory() as folder:
        follower = getattr(methods, method)(
            pyidi.VideoReader(frames, root=folder), roi_size=(_PATCH_PX, _PATCH_PX), verbose=0, show_pbar=False
        )
        follower.set_points(middles[:, ::-1])
        moved = np.asarray(follower.get_displacements(autosave=False))
    return moved.transpose(1, 0, 2)[..., ::-1]


def dic(clip: Clip, start: int, length: int) -> np.ndarray:
    """Digital image correlation of pyidi."""
    return _patches("DIC", clip, start, length)


def lucas_kanade(clip: Clip, start: int, length: int) -> np.ndarray:
    """Lucas-Kanade of pyidi."""
    return _patches("LucasKanade", clip, start, length)


def tv_l1(clip: Clip, start: int, length: int) -> np.ndarray:
    """TV-L1 of scikit-image as it comes, from the first frame to each."""
    places = [np.rint(one).astype(int) for one in region_pixels(clip, start)]
    every = np.concatenate(places)
    left, top = np.maximum(every.min(axis=0) - _MARGIN_PX, 0)
    right, bottom = every.max(axis=0) + _MARGIN_PX
    frames = clip.frames[start : start + length, top:bottom, left:right].astype(np.float32) / 255
    moved = np.zeros((length, len(places), 2))
    for step in range(1, length):
        down, across = optical_flow_tvl1(frames[0], frames[step])
        for region, at in enumerate(places):
            rows, columns = at[:, 1] - top, at[:, 0] - left
            moved[step, region] = across[rows, columns].mean(), down[rows, columns].mean()
    return moved


PEERS: dict[str, Peer] = {"pyidi DIC": dic, "pyidi LucasKanade": lucas_kanade, "TV-L1": tv_l1}


def followed(peer: Peer, clip: Clip, starts: range, length: int) -> tuple[np.ndarray, float]:
    """Motion by a peer in the windows that begin at ``starts``, ``(W, length, 18, 2)``, and processor seconds."""
    peer(clip, starts[0], 2)  # what is compiled at the first call is not counted
    begun = time.process_time()
    motion = np.stack([peer(clip, start, length) for start in starts])
    return motion, time.process_time() - begun
