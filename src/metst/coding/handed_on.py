"""Results that somebody reviewed and released in, what can be learnt from them out: labels, and candidates judged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metst.coding.layers import MACHINE, Layer, LayerEvent, machine_layer
from metst.coding.layers_folder import has_layers_only, reviews_in
from metst.coding.reviewed import ReviewEvent, Verdict
from metst.coding.unfolding import Review
from metst.errors import DataError, UsageError
from metst.metrics.agreement import matched_intervals
from metst.metrics.matching import interval_iou
from metst.results.analysis import Analysis
from metst.results.analysis_folder import HEADER_FILE, LAYERS_FILE, LAYERS_FOLDER, REVIEW_FILE, read_analysis


@dataclass(frozen=True, eq=False)
class HandedOn:
    """A recording with the review of it that counts.

    Parameters
    ----------
    folder : Path
        Of its results.
    analysis : Analysis
        What the machine found.
    review : Review
        What a coder, or several together, made of it.
    """

    folder: Path
    analysis: Analysis
    review: Review

    @property
    def person(self) -> str:
        """Who is on the recording, where somebody said so; else the recording itself stands for one."""
        source = self.analysis.source
        return self.analysis.custody.person or source.content_hash or source.name

    @property
    def finished(self) -> bool:
        """Whether somebody decided about everything."""
        return not any(self._with("open"))

    @property
    def accepted(self) -> Layer:
        """What was accepted."""
        return self.review.accepted

    @property
    def rejected(self) -> tuple[LayerEvent, ...]:
        """What was proposed and rejected, as it was proposed."""
        events = (proposal.event for each in self._with("rejected") for proposal in each.proposals)
        return tuple(dict.fromkeys(events))

    def judged(self) -> list[tuple[LayerEvent, bool]]:
        """The machine's candidates that somebody decided about, each with whether it is right.

        A candidate is what became of it, where the review began with the machine's.  One that did not tells what there
        is: right are those that are accepted events, one to one; wrong are the others, except where something is open.
        """
        candidates = machine_layer(self.analysis).events
        if not _from_machine(self.review):
            return self._judged_unseen(candidates)
        # Of the parts of one that was split, an accepted one counts.
        verdicts = {
            proposal.event: verdict
            for verdict in ("rejected", "open", "accepted")
            for each in self._with(verdict)
            for proposal in each.proposals
        }
        known = ((each, verdicts.get(each, "open")) for each in candidates)
        return [(each, verdict == "accepted") for each, verdict in known if verdict != "open"]

    def _judged_unseen(self, candidates: tuple[LayerEvent, ...]) -> list[tuple[LayerEvent, bool]]:
        found, accepted = _ends(candidates), _ends(self.accepted.events)
        right = {int(row) for row in matched_intervals(found, accepted)[:, 0]}
        undecided = _ends([each.event for each in self._with("open")])
        near = np.any(interval_iou(found - [0, 1], undecided - [0, 1]) > 0, axis=1).tolist()
        return [(each, k in right) for k, each in enumerate(candidates) if k in right or not near[k]]

    def _with(self, verdict: Verdict) -> Iterator[ReviewEvent]:
        return (each for each in self.review.events.values() if each.verdict == verdict)


def _ends(events: Iterable[LayerEvent]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.array([(each.onset, each.offset) for each in events], dtype=np.int64).reshape(-1, 2)


def result_folders(root: Path) -> list[Path]:
    """Folders of results at or below a folder: of analyses, of layers, or both.

    Raises
    ------
    UsageError
        It holds none.
    """
    found = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        if HEADER_FILE in files or (Path(folder) / LAYERS_FOLDER / LAYERS_FILE).exists():
            found.append(Path(folder))
    if not found:
        raise UsageError(f"{root} holds no results: expected a folder of `metst analyze` or `metst import`")
    return found


def handed_on(
    roots: Iterable[Path], *, coder: str | None = None, unreleased: bool = False
) -> tuple[list[HandedOn], list[str]]:
    """All recordings at or below some folders whose review was released.

    Parameters
    ----------
    roots : iterable of Path
        Of results, or that hold some.
    coder : str, optional
        Whose reviews; by default those in which several were brought together, else the only one that was released.
    unreleased : bool
        Where none is released, take one that began with what the machine found, too: each decision in it stands.

    Returns
    -------
    found : list of HandedOn
        Each recording once.
    notes : list of str
        Which others are left out, and why.

    Raises
    ------
    UsageError
        A folder holds no results.
    DataError
        Of a recording several reviews could be meant and nobody said which; none is at all; or results are damaged.
    """
    found: dict[str, HandedOn] = {}
    notes = []
    for folder in dict.fromkeys(each.resolve() for root in roots for each in result_folders(root)):
        if has_layers_only(folder) or not (folder / REVIEW_FILE).exists():
            notes.append(f"{folder} is left out: there is no {'analysis' if has_layers_only(folder) else 'review'}")
            continue
        analysis = read_analysis(folder)
        review = _meant(folder, analysis, coder=coder, unreleased=unreleased)
        if review is None:
            notes.append(f"{folder} is left out: {'no review of ' + coder if coder else 'no review'} is released")
            continue
        each = HandedOn(folder, analysis, review)
        key = each.analysis.source.content_hash or str(folder)
        if key in found:
            notes.append(f"{folder} is left out: it is of the recording of {found[key].folder}")
        else:
            found[key] = each
    if not found:
        raise DataError(f"nothing to learn from: {'; '.join(notes)} (a coder releases a review in `metst review`)")
    return list(found.values()), notes


def _meant(folder: Path, analysis: Analysis, *, coder: str | None, unreleased: bool) -> Review | None:
    reviews = [each for each in reviews_in(folder, source=analysis.source).values() if coder in (None, each.layer)]
    released = [each for each in reviews if each.released]
    begun = [each for each in reviews if _from_machine(each)] if unreleased else []
    chosen = [each for each in released if each.kind == "adjudicated"] or released or begun
    if len(chosen) > 1:
        told = ", ".join(each.layer for each in chosen)
        raise DataError(f"{folder} has reviews of {told}: say whose with --coder, or adjudicate them")
    return chosen[0] if chosen else None


def _from_machine(review: Review) -> bool:
    return review.began is not None and review.began["from"] == MACHINE
