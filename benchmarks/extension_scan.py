"""``selective_scan_fn`` of intel-extension-for-pytorch, which needs torch 2.8: run by its own Python, from ``scan.py``.

    PYTHON benchmarks/extension_scan.py OPERANDS.npz OUT.npy TURNS

Prints the processor seconds of the best turn, on one thread.  It imports nothing of metst.
"""

from __future__ import annotations

import sys
import time

import intel_extension_for_pytorch as extension
import numpy as np
import torch


def main(operands: str, out: str, turns: int) -> None:
    torch.set_num_threads(1)
    with np.load(operands) as held:
        a = {name: torch.from_numpy(held[name]) for name in held.files}
    scan = extension.llm.modules.MambaMixer.selective_scan_fn
    # Time comes last there: laid out so before the timer starts.
    u, delta, B, C = (a[name].transpose(1, 2).contiguous() for name in ("u", "delta", "B", "C"))
    best = float("inf")
    with torch.inference_mode():
        for _ in range(turns + 1):  # the first warms up
            copies = [x.clone() for x in (u, delta, a["A"], B, C, a["D"])]  # it may write into what it is given
            start = time.process_time()
            y = scan(*copies, delta_softplus=True)
            best = min(best, time.process_time() - start)
    np.save(out, y.transpose(1, 2).contiguous().numpy())
    print(best)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
