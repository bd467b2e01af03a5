"""The compiled loops: made once for all tests, so that the time this takes is no test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from filelock import FileLock


def compile_kernels(portrait: np.ndarray, *, locks: Path, first: int) -> None:
    """Run what the tests at hand have imported of the compiled parts once, on a face ``(H, W)`` uint8 of the size of a
    passport picture and on a little noise.

    Of several processes each begins with another part (``first``), and a part is compiled by one at a time: the others
    load what that has kept.
    """
    parts = {
        "metst.models.scan.selective": _compile_scans,
        "metst.motion.registration": lambda: _compile_motion(portrait),
        "metst.models.engine": _compile_engine,
        "metst.synthesis.heads.raster": _compile_rendering,
    }
    wanted = [(name, run) for name, run in parts.items() if name in sys.modules]
    for at in range(len(wanted)):
        name, run = wanted[(at + first) % len(wanted)]
        with FileLock(locks / f"{name}.lock"):
            run()


def _compile_scans() -> None:
    import torch

    from metst.models.scan import causal_convolution, selective_scan
    from metst.models.scan.forward import one_step
    from metst.models.scan.numpy_scan import StepParameters

    for dtype in (torch.float32, torch.float64):
        u, delta, gate = (torch.ones(1, 3, 2, dtype=dtype, requires_grad=True) for _ in range(3))
        maps = torch.ones(1, 3, 4, dtype=dtype, requires_grad=True)
        decay = -torch.ones(2, 4, dtype=dtype)
        selective_scan(u, delta, decay, maps, maps, u[0, 0], z=gate, delta_softplus=True).sum().backward()
        x, _ = causal_convolution(torch.cat([u, gate], dim=2), None, weight=decay[:, None], bias=u[0, 0])
        x.sum().backward()
    of = StepParameters.of(-np.ones((2, 4), np.float32), np.ones(2, np.float32))
    rows = tuple(np.ones((1, size), np.float32) for size in (2, 2, 2, 4, 4))
    one_step(True, rows, of.rate, of.skip, of.bias, np.zeros((1, 4, 2), np.float32), np.empty((1, 2), np.float32))


def _compile_engine() -> None:
    from metst.models.checkpoint import load_model

    engine = load_model("starter").engine
    _, _, state = engine.advance(np.zeros((1, 40, 36), np.float32), None, last=False)
    engine.advance(np.zeros((1, 1, 36), np.float32), state, last=True)


def _compile_motion(portrait: np.ndarray) -> None:
    from metst.face import FaceTracker
    from metst.motion.trajectory import extract_motion
    from metst.video import Frame

    tracker = FaceTracker()
    extract_motion([tracker.update(Frame(index=k, time_s=k / 30, grey=portrait)) for k in range(3)])


def _compile_rendering() -> None:
    from helpers.heads import ball_head
    from metst.synthesis.heads.render import render_scene
    from metst.synthesis.heads.scene import HeadScene

    list(render_scene(HeadScene(family="anny"), time_s=[0.0], events=(), rng_seed=1, model=ball_head()))
