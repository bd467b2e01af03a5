"""Arithmetic inside the scan's compiled loops: exponentials, softplus, fused multiply-add, denormals, prefetching.

The exponentials are polynomials that LLVM vectorises (a call of the C library's ``exp`` per element would cost ten
times the whole step).  In double precision, which serves as the check, the C library is called.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from metst.models.scan.compile import part

Number = Any
"""A float32 or float64 inside compiled code."""

# Between powers of e and of 2.
LOG2_E = 1.0 / math.log(2.0)
LN_2 = math.log(2.0)

EXPONENT_LIMIT = 125.0
"""``2**-x`` is a normal number in single precision for x up to this."""

_FORGOTTEN_SINGLE, _FORGOTTEN_DOUBLE = 26.0, 55.0
"""``2**-x - 1`` is -1 for x from these on: two more than the bits of the precision, since exponents are rounded."""

_X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")  # has the SSE control register
_FLUSH_BITS = 0x8040  # flush-to-zero and denormals-are-zero of the SSE control register
_INT32, _ADDRESS = ir.IntType(32), ir.IntType(8).as_pointer()  # LLVM's types
_MANTISSA_BITS = 23  # of a float32
_KEEP_IN_ALL_CACHES = 3  # LLVM's highest degree of locality


def _call(builder: Any, name: str, arguments: list[Any], result: Any = None) -> Any:
    """Call an LLVM intrinsic by its full name."""
    signature = ir.FunctionType(result or ir.VoidType(), [a.type for a in arguments])
    return builder.call(cast(Any, cgutils).get_or_insert_function(builder.module, signature, name), arguments)


def _emit_fma(_typing: Any, a: Any, _b: Any, _c: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        width = "f32" if isinstance(kind, ir.FloatType) else "f64"
        return _call(builder, f"llvm.fmuladd.{width}", list(arguments), kind)

    return a(a, a, a), generate


def _emit_power_of_two(_typing: Any, _rounded: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _INT32)
        return builder.bitcast(builder.shl(bits, _INT32(_MANTISSA_BITS)), ir.FloatType())

    return types.float32(types.float32), generate


def _emit_flush_denormals(_typing: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if not _X86:
            return _INT32(0)
        place = cast(Any, cgutils).alloca_once(builder, _INT32)
        address = builder.bitcast(place, _ADDRESS)
        _call(builder, "llvm.x86.sse.stmxcsr", [address])
        before = builder.load(place)
        builder.store(builder.or_(before, _INT32(_FLUSH_BITS)), place)
        _call(builder, "llvm.x86.sse.ldmxcsr", [address])
        return before

    return types.int32(), generate


def _emit_restore_denormals(_typing: Any, _before: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        if _X86:
            place = cast(Any, cgutils).alloca_once_value(builder, arguments[0])
            _call(builder, "llvm.x86.sse.ldmxcsr", [builder.bitcast(place, _ADDRESS)])
        return context.get_dummy_value()

    return types.none(types.int32), generate


def _emit_prefetch(_typing: Any, _address: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address = builder.inttoptr(arguments[0], _ADDRESS)
        # A read of data, to be kept in all levels of the cache.
        _call(builder, "llvm.prefetch.p0", [address, _INT32(0), _INT32(_KEEP_IN_ALL_CACHES), _INT32(1)])
        return context.get_dummy_value()

    return types.none(types.intp), generate


fma = cast(Callable[[Number, Number, Number], Number], intrinsic(_emit_fma))
"""``a * b + c``, fused where the processor has the instruction: the same in every loop on one machine."""

_power_of_two = cast(Callable[[Number], Number], intrinsic(_emit_power_of_two))
"""``2**k`` from ``k + _ROUND``: its low bits moved to the exponent field."""

flush_denormals = cast(Callable[[], int], intrinsic(_emit_flush_denormals))
"""Treat denormal numbers as zero on this thread, on x86; returns what :func:`restore_denormals` wants.

A state that nothing feeds decays into them within some hundred steps, and each operation on one costs about a hundred
cycles there.  Other processors handle them at full speed.
"""

restore_denormals = cast(Callable[[int], None], intrinsic(_emit_restore_denormals))
"""Undo :func:`flush_denormals`."""

prefetch = cast(Callable[[int], None], intrinsic(_emit_prefetch))
"""Ask for the cache line at an address; one outside the process does no harm."""


# Adding this to x rounds x to an integer k and leaves k + 127, the exponent field of 2**k, in the low mantissa bits.
_ROUND = np.float32(1.5 * 2**23 + 127)
_ROUND_LOWEST = np.float32(1.5 * 2**23 + 127 - 126)

# (2**r - 1) / r on [-1/2, 1/2], least error of 2**r (1.1e-7); the first is ln 2 itself, so that slow decays are exact.
_P0, _P1, _P2, _P3, _P4 = (np.float32(c) for c in (0.69314718, 0.24022283, 0.055505585, 0.0096696913, 0.0013300605))
# log(1 + w) = 2 s + s**3 P(s**2) with s = w / (2 + w), for w in [0, 1]: relative error 5e-9.
_S0, _S1, _S2, _S3 = (np.float32(c) for c in (0.66666412, 0.40021697, 0.27999142, 0.28024459))

# Plain numbers in single precision: a Python one would make the loops compute in double.
_ONE, _TWO = np.float32(1), np.float32(2)
_LOG2_E = np.float32(LOG2_E)


@part
def _split_power(x: Number, rate: Number, bounded: bool) -> tuple[Number, Number]:
    """``2**k`` and ``2**r - 1`` with ``k + r = x rate <= 0`` and k the nearest integer."""
    rounded = fma(x, rate, _ROUND)
    if not bounded:
        rounded = max(rounded, _ROUND_LOWEST)
    r = fma(x, rate, _ROUND - rounded)
    if not bounded:
        r = max(r, -_ONE)
    return _power_of_two(rounded), r * fma(fma(fma(fma(_P4, r, _P3), r, _P2), r, _P1), r, _P0)


def decay_change(step: Number, rate: Number, bounded: bool) -> Number:  # noqa: ARG001
    """``2**(step rate) - 1`` for ``step rate <= 0``; ``bounded``: known to be above ``-EXPONENT_LIMIT``.

    The change and not the factor itself, because a factor near 1 keeps too few digits of a slow decay.
    """
    return math.expm1(step * (rate * LN_2))


def _exp_negative(x: Number) -> Number:
    """``exp(-|x|)``."""
    return math.exp(-abs(x))


def _log_one_plus(w: Number) -> Number:
    """``log(1 + w)`` for w in [0, 1]."""
    return math.log1p(w)


@overload(decay_change)
def _compile_decay_change(step: Any, rate: Any, bounded: Any) -> Any:  # noqa: ARG001
    def single(step: Any, rate: Any, bounded: Any) -> Any:
        power, excess = _split_power(step, rate, bounded)
        return fma(power, excess, power - _ONE)

    def double(step: Any, rate: Any, bounded: Any) -> Any:  # noqa: ARG001
        return math.expm1(step * (rate * LN_2))

    return single if step == types.float32 else double


@overload(_exp_negative)
def _compile_exp_negative(x: Any) -> Any:
    def single(x: Any) -> Any:
        power, excess = _split_power(-abs(x), _LOG2_E, False)
        return fma(power, excess, power)

    def double(x: Any) -> Any:
        return math.exp(-abs(x))

    return single if x == types.float32 else double


@overload(_log_one_plus)
def _compile_log_one_plus(w: Any) -> Any:
    def single(w: Any) -> Any:
        s = w / (w + _TWO)
        square = s * s
        return fma(square * s, fma(fma(fma(_S3, square, _S2), square, _S1), square, _S0), s + s)

    def double(w: Any) -> Any:
        return math.log1p(w)

    return single if w == types.float32 else double


def forgetting_exponent(like: Number) -> Number:  # noqa: ARG001
    """Least x for which :func:`decay_change` is sure to be -1 for ``-x``, in the precision of ``like``."""
    return _FORGOTTEN_DOUBLE


@overload(forgetting_exponent)
def _compile_forgetting_exponent(like: Any) -> Any:
    exponent = np.float32(_FORGOTTEN_SINGLE) if like == types.float32 else _FORGOTTEN_DOUBLE

    def constant(like: Any) -> Any:  # noqa: ARG001
        return exponent

    return constant


@part
def softplus(x: Number) -> Number:
    """``log(1 + exp(x))``, accurate relative to its value."""
    return max(x, type(x)(0)) + _log_one_plus(_exp_negative(x))


@part
def sigmoid(x: Number) -> Number:
    """``1 / (1 + exp(-x))``, accurate relative to its value."""
    w = _exp_negative(x)
    top = type(x)(1) if x >= 0 else w
    return top / (type(x)(1) + w)
