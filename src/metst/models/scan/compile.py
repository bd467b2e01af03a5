"""How the scan's loops are compiled: Numba with two things it does not offer as options.

Distinct array arguments are declared not to overlap (LLVM's ``noalias``: without it the loops are not vectorised), and
vectors may be 512 bits wide.  Both rest on internals of Numba; the tests fail when a release takes one away.  The loops
are kept on disk as :mod:`metst.guard.kernels` does it.
"""

# Numba's internals are only partly annotated.
# mypy: disable-error-code="no-untyped-call, attr-defined, misc"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

from metst.guard.kernels import NO_C_ENTRANCE, NO_ENTRANCE, keep_on_disk, refuse_python

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _WideLower(Lower):
    """Lets LLVM use 512-bit vectors where the processor has them; its own default there is 256."""

    def pre_lower(self) -> None:
        super().pre_lower()
        # llvmlite's own `add` knows only attributes without a value.
        set.add(self.function.attributes, '"prefer-vector-width"="512"')


class _HotLower(_WideLower):
    """Keeps a loop a function of its own: inlined, it shares registers and loses what is known of its arguments."""

    def pre_lower(self) -> None:
        super().pre_lower()
        self.function.attributes.add("noinline")


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):
    _name = "metst_wide_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        return _WideLower


@register_pass(mutates_CFG=True, analysis_only=False)
class _HotLowering(NativeLowering):
    _name = "metst_hot_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        return _HotLower


class _LoopCompiler(CompilerBase):
    """Numba's standard pipeline with non-overlapping arguments and wide vectors."""

    lowering: type[NativeLowering] = _WideLowering

    def define_pipelines(self) -> list[PassManager]:
        self.state.flags.noalias = True
        standard = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline = PassManager("metst_loops")
        pipeline.passes = [(self.lowering if p is NativeLowering else p, why) for p, why in standard.passes]
        pipeline.finalize()
        return [pipeline]


class _HotLoopCompiler(_LoopCompiler):
    lowering = _HotLowering


def compiled(function: _Function) -> _Function:
    """Compile at the first call; no two array arguments may overlap in memory.

    The interpreter lock is released, division by zero follows IEEE 754 and nothing is reordered, so that the bits
    of a result do not depend on vector width, chunks or threads.
    """
    dispatcher = _compile(function, False, _LoopCompiler, NO_C_ENTRANCE)
    keep_on_disk(dispatcher, function)
    return dispatcher


def part(function: _Function) -> _Function:
    """As :func:`compiled`, for what only compiled functions call: it is kept on disk with them."""
    return _part(function, False, _LoopCompiler)


def hot_loop(function: _Function) -> _Function:
    """As :func:`part`, for the innermost loops: never inlined into their caller."""
    return _part(function, False, _HotLoopCompiler)


def hot_loop_with_sums(function: _Function) -> _Function:
    """As :func:`hot_loop`, but sums over lanes may be reordered (the same way at each call) to use vectors."""
    return _part(function, {"reassoc", "contract"}, _HotLoopCompiler)


def _part(function: _Function, fastmath: bool | set[str], compiler: type[CompilerBase]) -> _Function:
    dispatcher = _compile(function, fastmath, compiler, NO_ENTRANCE)
    refuse_python(dispatcher)
    return dispatcher


def _compile(
    function: _Function, fastmath: bool | set[str], compiler: type[CompilerBase], entrances: dict[str, bool]
) -> _Function:
    options = njit(nogil=True, error_model="numpy", fastmath=fastmath, pipeline_class=compiler, **entrances)
    return cast(_Function, options(function))
