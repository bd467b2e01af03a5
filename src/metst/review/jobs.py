"""Uploads that wait to be analysed: one after the other, each in a process that can be stopped."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

from metst.errors import OutputError
from metst.guard.faults import Fault, guarded
from metst.review.recordings import id_of, is_results
from metst.review.refusals import Conflict, NotThere
from metst.review.uploads import folder_for
from metst.spelling.names import without_folders
from metst.storage import write_whole
from metst.storage.leftovers import sweep

JobState = Literal["ready", "waiting", "running", "failed"]
"""Of a recording."""

WAITING_FILE: Final = ".metst-uploads.json"
"""The uploads that are not analysed, in their folder: a server that was killed goes on with them.

A list of names of those that wait, and of ``{"name", "problem"}`` for those that failed.
"""

_PATIENCE_S: Final = 10.0
"""Seconds that a process is given to end.  Set by hand."""

_KILLED: Final = "the analysis ended without a word (out of memory?): free some, and upload it again"


@dataclass(eq=False)
class Job:
    """One upload: the recording and where its results go."""

    video: Path
    folder: Path
    state: JobState = "waiting"
    stage: str = ""
    progress: float = 0.0
    problem: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """That of the recording, once it is analysed."""
        return id_of(self.folder)

    @property
    def name(self) -> str:
        """Of the recording."""
        return self.video.name


class Jobs:
    """The queue of one server.

    Parameters
    ----------
    output : Path, optional
        Folder of uploads; None: there are none.
    on_done : callable
        Called with the folder of results of each upload that is analysed.
    """

    def __init__(self, output: Path | None, *, on_done: Callable[[Path], object]) -> None:
        self._output, self._on_done = output, on_done
        self._lock, self._remembering = threading.Lock(), threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if output is None:
            return
        sweep(output)  # parts of what was on its way when a server was killed
        left = _left_over(output)
        failed = [job for job in left if job.state == "failed"]
        self._jobs.update({job.id: job for job in failed})  # all of them, before any that waits is remembered
        for job in left:
            if job.state == "waiting":
                self.add(job.video)

    def add(self, video: Path) -> Job:
        """Have a recording analysed into the folder beside it that is called like it."""
        job = Job(video, folder_for(video))
        with self._lock:
            self._jobs[job.id] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="metst-jobs", daemon=True)
                self._thread.start()
        self._remember()
        self._queue.put(job)
        return job

    def all(self) -> list[Job]:
        """All uploads of this server."""
        with self._lock:
            return list(self._jobs.values())

    def remove(self, rid: str) -> None:
        """Take an upload back: one that waits or failed goes, one that is being analysed is stopped and goes.

        Raises
        ------
        NotThere
            There is no such upload.
        Conflict
            It is analysed already.
        """
        with self._lock:
            job = self._jobs.get(rid)
            if job is None:
                raise NotThere(f"no upload {rid[:40]!r} here: load the list of recordings again")
            if job.state == "ready":
                raise Conflict(f"{job.name} is analysed already: its results are deleted with `metst purge`")
            del self._jobs[rid]
            process = job.process
        if process is not None:
            _stop(process)
        self._clear(job)
        with suppress(OSError):
            job.video.unlink(missing_ok=True)
        self._remember()

    def close(self) -> None:
        """Stop what runs; it begins anew with the next server."""
        self._ended.set()
        self._queue.put(None)
        with self._lock:
            running = [job for job in self._jobs.values() if job.process is not None]
        for job in running:
            if job.process is not None:
                _stop(job.process)
            self._clear(job)

    def _remember(self) -> None:
        if self._output is None:
            return
        with self._remembering:  # one after the other, so that the last one tells how it is
            self._write_down(self._output / WAITING_FILE)

    def _write_down(self, path: Path) -> None:
        with self._lock:
            left = [
                {"name": job.name, "problem": job.problem} if job.state == "failed" else job.name
                for job in self._jobs.values()
                if job.state != "ready"
            ]
        with suppress(OutputError, OSError):  # who cannot remember loses nothing but the queue
            if left:
                write_whole(path, json.dumps(left).encode(), private=True)
            else:
                path.unlink(missing_ok=True)

    def _clear(self, job: Job) -> None:
        """Take away what a stopped analysis left; the folder is this upload's alone."""
        if job.state != "ready":
            shutil.rmtree(job.folder, ignore_errors=True)
            sweep(job.video.parent)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None and not self._ended.is_set():
            with self._lock:
                if self._jobs.get(job.id) is not job:
                    continue  # taken back meanwhile
                job.state = "running"
            fault = guarded(partial(self._run, job), name=job.name)
            if isinstance(fault, Fault):
                job.problem = (
                    f"the analysis could not be run: {without_folders(fault.message, known=[job.video.parent])}"
                )
                job.state = "failed"
            self._remember()

    def _run(self, job: Job) -> None:
        command = [
            sys.executable,
            "-m",
            "metst.review.analysing",
            str(job.video.absolute()),
            str(job.folder.absolute()),
        ]
        with self._lock:  # who takes it back from here on finds the process
            if self._jobs.get(job.id) is not job or self._ended.is_set():
                return
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                encoding="utf-8",
            )  # fmt: skip
            job.process = process
        problem = ""
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                with suppress(ValueError):
                    told = json.loads(line)
                    problem = told.get("problem", problem)
                    job.stage, job.progress = told.get("stage", job.stage), told.get("progress", job.progress)
        job.process = None
        with self._lock:
            gone = self._jobs.get(job.id) is not job
        if gone or self._ended.is_set():
            self._clear(job)
        elif process.returncode == 0 and is_results(job.folder):
            self._on_done(job.folder)
            job.state, job.stage, job.progress = "ready", "", 1.0
        else:
            self._clear(job)
            job.problem = without_folders(problem, known=[job.video.parent]) or _KILLED
            job.state = "failed"


def _left_over(output: Path) -> list[Job]:
    """Uploads that an earlier server did not come to, or whose analysis failed."""
    found = []
    with suppress(OSError, ValueError, TypeError, KeyError):
        for each in json.loads((output / WAITING_FILE).read_text(encoding="utf-8")):
            name, problem = (each["name"], str(each["problem"])) if isinstance(each, dict) else (each, "")
            video = output / name
            if Path(name).name == name and video.is_file() and not is_results(folder_for(video)):
                found.append(Job(video, folder_for(video), state="failed" if problem else "waiting", problem=problem))
    return found


def _stop(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_S)
