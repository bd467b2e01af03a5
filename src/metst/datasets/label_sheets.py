"""Which sheet holds the labels: by its columns, since the names of files change on their way.

A published name decides only between sheets that fit alike, and where the columns of none fit: then the reader says
what the sheet of that name lacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metst.datasets.sheets import Sheet, headers, read_sheets, sheet_names
from metst.datasets.types import Journal
from metst.errors import DataError, MetstError, UsageError
from metst.spelling.alike import first_rows
from metst.spelling.delimited import plain_name

_SHEETS_SHOWN = 6  # in a message: set by hand


@dataclass(frozen=True)
class Form:
    """How a sheet with labels looks.

    Parameters
    ----------
    columns : tuple of str
        What is read of it.
    example, file : str
        Its published name, and a pattern of the names that it has had.
    marks, without : tuple of str
        Columns by which it is told from the sheets of other data sets: those that it has, those that it has not.
    title : str
        Pattern of the name of the sheet, where a workbook has several that fit.
    headless : callable, optional
        Tells such a sheet where it has no header.
    """

    columns: tuple[str, ...]
    example: str
    file: str
    marks: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    title: str = ""
    headless: Callable[[Sheet], bool] | None = None

    def fits(self, sheet: Sheet) -> bool:
        """Whether it can be read so."""
        if self.headless is not None:
            return self.headless(sheet)
        wanted = set(map(plain_name, self.columns))
        return any(wanted <= names for names in headers(sheet))

    def is_told_by(self, sheet: Sheet) -> bool:
        """Whether it is a sheet of this data set and of no other."""
        if self.headless is not None:
            return self.headless(sheet)
        wanted, other = ({*map(plain_name, names)} for names in ((*self.columns, *self.marks), self.without))
        return any(wanted <= names and not other & names for names in headers(sheet))

    def lacks(self, sheet: Sheet) -> tuple[str, ...]:
        """The fewest columns that a row of it lacks for a header."""
        fewest = self.columns
        for names in headers(sheet):
            missing = tuple(name for name in self.columns if plain_name(name) not in names)
            fewest = missing if len(missing) < len(fewest) else fewest
        return fewest


@dataclass(frozen=True)
class _Found:
    path: Path
    sheet: Sheet


class LabelSheets:
    """All sheets that may hold the labels of a data set.

    Parameters
    ----------
    root : path
        Folder of the data set.
    files : sequence of path
        What may hold labels.
    given : bool
        Whether people named these files: then each must be readable.
    content : str
        What the folder holds, in words, for messages.

    Raises
    ------
    UsageError
        If a given file does not exist, or the package that reads it is missing.
    DataError
        If a given file cannot be read.
    """

    def __init__(self, root: Path, files: Sequence[Path], *, given: bool, content: str) -> None:
        self._root, self._given, self._content = root, given, content
        self._found: list[_Found] = []
        self._problems: list[MetstError] = []
        for path in files:
            if not path.is_file():
                raise UsageError(f"no file {path}: expected a sheet with labels")
            try:
                self._found += [_Found(path, sheet) for sheet in read_sheets(path)]
            except MetstError as error:
                if given:
                    raise
                self._problems.append(error)

    @property
    def any_seen(self) -> bool:
        """Whether there is any file that may hold labels."""
        return bool(self._found or self._problems)

    def told(self, form: Form) -> list[Path]:
        """Files, by their path below the root, that hold a sheet of this form and of no other data set."""
        return list(dict.fromkeys(self._place(one.path) for one in self._found if form.is_told_by(one.sheet)))

    def fitting(self, form: Form) -> list[Path]:
        """Files, by their path below the root, that can be read so, whichever data set they are of."""
        return list(dict.fromkeys(self._place(one.path) for one in self._found if form.fits(one.sheet)))

    def named(self, form: Form) -> bool:
        """Whether a file has a published name."""
        return any(_matches(form.file, one.path.name) for one in self._found)

    def raise_unread(self) -> None:
        """Raise what kept a file from being read, if any."""
        if self._problems:
            raise self._problems[0]

    def book(self, sheet: Sheet) -> tuple[Sheet, ...]:
        """All sheets of the workbook that a sheet is of, in their order."""
        path = next(one.path for one in self._found if one.sheet is sheet)
        return tuple(one.sheet for one in self._found if one.path == path)

    def find(
        self, form: Form, *, journal: Journal, told: bool = False, among: Callable[[Path], bool] | None = None
    ) -> Sheet | None:
        """The sheet of this form; of several the newest by name, and a note says so.

        Parameters
        ----------
        form : Form
            What is looked for.
        journal : Journal
            Gets the note, and those on how the file was read.
        told : bool
            Only a sheet that cannot be another data set's, whatever its name.
        among : callable, optional
            Only files whose path, below the root, this accepts.
        """
        found = [one for one in self._found if among is None or among(self._place(one.path))]
        fits = [one for one in found if (form.is_told_by if told else form.fits)(one.sheet)]
        if not told:
            fits = fits or [one for one in found if _matches(form.file, one.path.name)]
        if not fits:
            self.raise_unread()
            return None
        best = max(fits, key=lambda one: (form.is_told_by(one.sheet), *self._rank(form, one.path)))
        others = dict.fromkeys(one.path for one in fits if one.path != best.path)
        if others:
            names = ", ".join(str(self._place(path)) for path in others)
            journal.notes.append(f"{self._place(best.path)} is read, not {names}")
        same_file = [one.sheet for one in fits if one.path == best.path]
        titled = [sheet for sheet in same_file if form.title and _matches(form.title, sheet.source.sheet)]
        chosen = (titled or [sheet for sheet in same_file if form.is_told_by(sheet)] or same_file)[0]
        journal.notes.extend(chosen.notes)
        return chosen

    def find_all(self, form: Form, *, journal: Journal) -> list[Sheet]:
        """Every sheet of this form and of no other data set, in order of the names of their files."""
        found = sorted((one for one in self._found if form.is_told_by(one.sheet)), key=lambda one: one.path)
        sheets = [one.sheet for one in found]
        journal.notes.extend(note for sheet in sheets for note in sheet.notes)
        return sheets

    def need(self, form: Form, *, kind: str, journal: Journal, among: Callable[[Path], bool] | None = None) -> Sheet:
        """The sheet of this form.

        Raises
        ------
        DataError
            If there is none; the message says what was seen and which columns are missing.
        """
        sheet = self.find(form, journal=journal, among=among)
        if sheet is None:
            raise self.missing(form, kind=kind)
        return sheet

    def missing(self, form: Form, *, kind: str) -> DataError:
        """What to say where there is no sheet of this form."""
        expected = f"a file like {form.example}"
        if not self._found:
            return DataError(f"no label sheet below {self._root}: expected {expected}; {self._content}")
        seen = self.seen(lambda sheet: f"lacks {', '.join(form.lacks(sheet)) or 'a table without a header'}")
        where = "the files given" if self._given else self._root
        return DataError(f"no sheet with the labels of {kind} in {where}: expected {expected}; {seen}")

    def seen(self, wording: Callable[[Sheet], str]) -> str:
        """The sheets that were seen, each with what is said of it."""
        found = sorted(self._found, key=lambda one: len(one.sheet.rows) == 0)
        listed = [f"{one.sheet.source} {wording(one.sheet)}; it has {_shown(one.sheet)}" for one in found]
        more = f"; and {len(listed) - _SHEETS_SHOWN} sheets more" if len(listed) > _SHEETS_SHOWN else ""
        unread = "".join(f"; {error}" for error in self._problems[:_SHEETS_SHOWN])
        return "; ".join(listed[:_SHEETS_SHOWN]) + more + unread

    def nearest(self, forms: Iterable[tuple[str, Form]]) -> str:
        """The sheets that were seen, each with the data set it comes nearest to and what it lacks for that."""
        forms = list(forms)

        def nearest(sheet: Sheet) -> str:
            readable = [(len(form.lacks(sheet)) / len(form.columns), name, form) for name, form in forms
                        if form.headless is None]  # fmt: skip
            share, name, form = min(readable, key=lambda one: one[0])
            return f"lacks {', '.join(form.lacks(sheet))} of {name}" if share < 1 else "has no known column"

        return self.seen(nearest)

    def _rank(self, form: Form, path: Path) -> tuple[bool, str]:
        return _matches(form.file, path.name), path.name.casefold()

    def _place(self, path: Path) -> Path:
        return path.relative_to(self._root) if path.is_relative_to(self._root) else path


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.IGNORECASE) is not None


def _shown(sheet: Sheet) -> str:
    """The names in its likely header."""
    names = sheet_names(sheet)
    return first_rows([repr(name) for name in names]) if names else "no cells"
