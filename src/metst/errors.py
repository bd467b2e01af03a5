"""The errors a user can cause or meet: one base class, each with one clear line.

Every message says what was expected, what came and what to do.  The command line prints it
and leaves with :attr:`MetstError.exit_code`; nothing else of the library is caught there.
"""

FAULTS_SHOWN = 10
"""Faults named in one line: a file that is wrong throughout would fill the screen.  Set by hand."""


class MetstError(Exception):
    """Base of all errors of the product; ``exit_code`` is what the command line leaves with."""

    exit_code = 1


class UsageError(MetstError):
    """The call itself is wrong: an unknown option value, a missing file, settings that clash."""

    exit_code = 2


class VideoError(MetstError):
    """A video or frame folder cannot be read."""


class FaceError(MetstError):
    """No face that could be analysed."""


class CheckpointError(MetstError):
    """A checkpoint is missing, damaged, or does not fit what is asked of it."""


class DataError(MetstError):
    """A table, label sheet or feature file is not what it should be."""


class OutputError(MetstError):
    """A result cannot be written."""
