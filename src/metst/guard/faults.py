"""One place where any error of one input becomes one line for people, so that the next input has its turn."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from metst.errors import FAULTS_SHOWN, DataError, MetstError

Input = TypeVar("Input")
Result = TypeVar("Result")

DEBUG_VARIABLE = "METST_DEBUG"
"""Variable of the environment that names the folder for tracebacks, as ``--debug`` sets it."""

_LONGEST = 300
"""Letters of another package's message that are shown: some quote a whole file.  Set by hand."""
_NAME_LETTERS = 60  # last ones of a name that the file with its traceback has: systems limit a name to 255 bytes
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")  # replaced in the name of a file with a traceback
_HINTS = {
    MemoryError: "not enough memory: close other programs, or give a smaller file",
    RecursionError: "it is nested too deeply: no file of this kind is",
    OSError: "the system refuses it: look at the file, its folder and your permissions",
}
"""What to do about errors that are not this product's own, by their class; the first that fits."""
_REPORT = "please report it with its traceback"
"""The same for all others, which are faults of this product."""


@dataclass(frozen=True)
class Fault:
    """What kept an input from being worked through, in one line that crosses any process boundary."""

    message: str


def traced_to() -> Path | None:
    """Folder for tracebacks; None where none are wanted."""
    wanted = os.environ.get(DEBUG_VARIABLE)
    return Path(wanted) if wanted else None


@contextmanager
def tracebacks(folder: Path | None) -> Iterator[None]:
    """Have tracebacks written to a folder for a while; None: as it was before."""
    before = os.environ.get(DEBUG_VARIABLE)
    if folder is not None:
        os.environ[DEBUG_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(DEBUG_VARIABLE, None)
        else:
            os.environ[DEBUG_VARIABLE] = before


def guarded(work: Callable[[], Result], *, name: str, let_through: tuple[type[Exception], ...] = ()) -> Result | Fault:
    """Do the work of one input; any error becomes a :class:`Fault`.

    Parameters
    ----------
    work : callable
        Without arguments.
    name : str
        Of the input: the file with the traceback is called after it.
    let_through : tuple of exception classes
        Errors that are no fault of this input, such as a full disk: they stay what they are.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        As they are: somebody wants the whole to stop.
    """
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if isinstance(error, let_through):
            raise
        return fault_of(error, name=name)


def all_or_none(work: Callable[[Input], Result], inputs: Iterable[Input]) -> list[Result]:
    """Results for the inputs of one whole, none of which may fail; all that do are named, not only the first.

    Raises
    ------
    MetstError
        The only error there is, if it is one of this product.
    DataError
        Several inputs failed, or one for a reason that only its traceback tells.
    """
    results: list[Result] = []
    faults: list[str] = []
    errors: list[MetstError] = []

    def tried(each: Input) -> Result:
        try:
            return work(each)
        except MetstError as error:
            errors.append(error)
            raise

    for each in inputs:
        done = guarded(lambda each=each: tried(each), name=str(each))  # type: ignore[misc]
        if isinstance(done, Fault):
            faults.append(f"{each}: {done.message}" if str(each) not in done.message else done.message)
        else:
            results.append(done)
    if len(faults) == len(errors) == 1:
        raise errors[0]
    if faults:
        more = "; ..." if len(faults) > FAULTS_SHOWN else ""
        raise DataError(
            f"{len(faults)} of {len(faults) + len(results)} failed: {'; '.join(faults[:FAULTS_SHOWN])}{more}"
        )
    return results


def fault_of(error: BaseException, *, name: str) -> Fault:
    """One line about any error, with what to do; its traceback goes into a file where those are wanted.

    They are wanted where ``METST_DEBUG`` names a folder, as ``--debug`` does.
    """
    wanted = traced_to()
    path = _keep(error, wanted, name=name) if wanted else None
    if isinstance(error, MetstError):
        return Fault(f"{error} (traceback: {path})" if path and str(error) else str(error))
    text = " ".join(str(error).split())[:_LONGEST]
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), _REPORT)
    traced = f"traceback: {path}" if path else "run again with --debug for the traceback"
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Fault(f"unexpected {said}{_place(error)}; {hint} ({traced})")


def _place(error: BaseException) -> str:
    """The last line of this product that the error went through."""
    here, home = Path(__file__), Path(__file__).parents[1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename) != here and Path(frame.filename).is_relative_to(home)
    ]
    return f" in {Path(frames[-1].filename).relative_to(home).as_posix()}, line {frames[-1].lineno}" if frames else ""


def _keep(error: BaseException, folder: Path, *, name: str) -> Path | None:
    """Write the traceback; None where that fails, which must not hide the error itself."""
    path = folder / f"metst-debug-{_NOT_IN_NAMES.sub('_', name)[-_NAME_LETTERS:] or 'input'}.txt"
    text = "".join(traceback.format_exception(error))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # For this user alone: the lines of a traceback may quote names of people.
        with open(path, "x", encoding="utf-8", errors="backslashreplace", opener=_private) as file:
            file.write(text)
    except OSError:
        return None
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
