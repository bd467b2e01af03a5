"""Compiled peers of the selective scan: llama.cpp's ``ggml_ssm_scan`` and onnxruntime's ``LinearAttention``.

Forward only, one thread.  Both are given the operands of :func:`scan.operands` in their own layout, before the timer
starts; what they compute beside the scan is theirs (ggml: the softplus, as we do; neither adds ``D u``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metst.arrays import Float32Array

Arrays = dict[str, Float32Array]
"""``u``, ``delta`` (B, T, D) before the softplus, ``A`` (D, N), ``B``, ``C`` (B, T, N)."""
Peer = Callable[[], Float32Array]
"""Gives the output (B, T, D) without ``D u``."""

_FLOAT32, _INT32 = 0, 26
"""Of ggml's types."""
_SPARE = 1 << 26
"""Bytes beside the tensors: ggml keeps what its graphs need where the tensors are."""


class _Parameters(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def load_ggml(folder: Path) -> dict[str, ctypes.CDLL]:
    """The libraries of the unpacked wheel of ``libggml-python``, by name."""
    found = {}
    for name in ("base", "cpu"):
        path = next(iter(sorted(folder.rglob(f"libggml-{name}.so"))), None)
        if path is None:
            raise SystemExit(f"{folder} holds no libggml-{name}.so: unpack the wheel of libggml-python 0.20.2 there")
        found[name] = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    base, pointer, size = found["base"], ctypes.c_void_p, ctypes.c_int64
    base.ggml_init.argtypes, base.ggml_init.restype = [_Parameters], pointer
    base.ggml_new_tensor.argtypes, base.ggml_new_tensor.restype = (
        [pointer, ctypes.c_int, ctypes.c_int, pointer],
        pointer,
    )
    base.ggml_get_data.argtypes, base.ggml_get_data.restype = [pointer], pointer
    base.ggml_ssm_scan.argtypes, base.ggml_ssm_scan.restype = [pointer] * 8 + [size], pointer
    base.ggml_new_graph.argtypes, base.ggml_new_graph.restype = [pointer], pointer
    base.ggml_build_forward_expand.argtypes, base.ggml_build_forward_expand.restype = [pointer, pointer], None
    compute = found["cpu"].ggml_graph_compute_with_ctx
    compute.argtypes, compute.restype = [pointer, pointer, ctypes.c_int], ctypes.c_int
    return found


def ggml_instructions(libraries: dict[str, ctypes.CDLL]) -> str:
    """Vector instructions that the build of ggml uses."""
    names = ("avx", "avx2", "fma", "avx512")
    return ", ".join(name for name in names if getattr(libraries["cpu"], f"ggml_cpu_has_{name}")()) or "none"


def ggml_scan(libraries: dict[str, ctypes.CDLL], a: Arrays) -> Peer:
    """``ggml_ssm_scan`` over operands of its own; the states start at zero."""
    base, cpu = libraries["base"], libraries["cpu"]
    batch, length, width = a["u"].shape
    states = a["A"].shape[1]
    held = 4 * (3 * a["u"].size + 2 * a["B"].size + 4 * batch * width * states)
    context = base.ggml_init(_Parameters(held + _SPARE, None, False))

    def tensor(values: np.ndarray, *shape: int, kind: int = _FLOAT32) -> Any:
        sizes = (ctypes.c_int64 * len(shape))(*shape)
        made = base.ggml_new_tensor(context, kind, len(shape), sizes)
        values = np.ascontiguousarray(values)
        ctypes.memmove(base.ggml_get_data(made), values.ctypes.data, values.nbytes)
        return made

    result = base.ggml_ssm_scan(
        context,
        tensor(np.zeros((batch, width, states), np.float32), states, 1, width, batch),
        tensor(a["u"], 1, width, length, batch),
        tensor(a["delta"], width, length, batch),
        tensor(a["A"], states, width),
        tensor(a["B"], states, 1, length, batch),
        tensor(a["C"], states, 1, length, batch),
        tensor(np.arange(batch, dtype=np.int32), batch, kind=_INT32),
        1,
    )
    graph = base.ggml_new_graph(context)
    base.ggml_build_forward_expand(graph, result)
    address = ctypes.cast(base.ggml_get_data(result), ctypes.POINTER(ctypes.c_float))
    y = np.ctypeslib.as_array(address, (batch * length * width,)).reshape(batch, length, width)

    def run() -> Float32Array:
        if cpu.ggml_graph_compute_with_ctx(context, graph, 1) != 0:
            raise RuntimeError("ggml could not compute the scan")
        return y

    return run


def runtime_scan(a: Arrays, *, decay_inside: bool) -> Peer:
    """onnxruntime's own ``LinearAttention``; step sizes after the softplus, the decay built by the graph or before."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    batch, length, width = a["u"].shape
    states = a["A"].shape[1]
    delta = np.logaddexp(0, a["delta"])
    inputs = {
        "C": a["C"],
        "B": a["B"],
        "value": delta * a["u"],
        "state": np.zeros((batch, width, states, 1), np.float32),
    }
    nodes, constants = [], []
    if decay_inside:
        inputs |= {"delta": delta[..., None]}
        constants = [numpy_helper.from_array(a["A"], "A"), numpy_helper.from_array(np.array([0, 0, -1]), "shape")]
        nodes = [helper.make_node("Mul", ["delta", "A"], ["g"]), helper.make_node("Reshape", ["g", "shape"], ["decay"])]
    else:
        inputs |= {"decay": (delta[..., None] * a["A"]).reshape(batch, length, -1)}
    nodes.append(
        helper.make_node(
            "LinearAttention",
            ["C", "B", "value", "state", "decay"],
            ["y", "last"],
            domain="com.microsoft",
            q_num_heads=1,
            kv_num_heads=width,
            scale=1.0,
            update_rule="gated",
        )
    )
    info = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in inputs.items()}
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, a["u"].shape)
    graph = helper.make_graph(nodes, "scan", list(info.values()), [y], constants)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run() -> Float32Array:
        out: Float32Array = session.run(["y"], inputs)[0]
        return out

    return run
