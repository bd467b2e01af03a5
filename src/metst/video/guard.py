"""What every picture goes through on its way in, from a file, a folder, a camera or a caller's own loop."""

from __future__ import annotations

from metst.arrays import Image
from metst.video.clock import Report
from metst.video.combing import Combing, one_field
from metst.video.repeats import Repeats


class PictureGuard:
    """Finds frozen and combed pictures in a stream of grey ones, in constant memory.

    Parameters
    ----------
    report : callable
        Takes the kind of a problem and a line of text.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._repeats, self._combing = Repeats(), Combing()

    def take(self, picture: Image, *, time_s: float) -> tuple[Image, str]:
        """Next picture, as it is to be measured, and why nothing may be measured from the one before to it, if so.

        Parameters
        ----------
        picture : (H, W) uint8
            Grey.
        time_s : float
            Its timestamp.
        """
        frozen = self._repeats.is_frozen(picture, time_s=time_s)
        cut = "frozen picture" if frozen else ""
        if self._combing.changes(picture):
            fields = self._tell_combing(time_s)
            cut = cut or fields
        return one_field(picture) if self._combing.noticed else picture, cut

    def _tell_combing(self, time_s: float) -> str:
        begins = self._combing.noticed
        self._report(
            "interlaced",
            f"is interlaced, which its file does not say: from {time_s:.3f} s on motion is measured on one field, "
            "half the rows; better de-interlace it first (FFmpeg: -vf bwdif)"
            if begins
            else f"is no longer interlaced: from {time_s:.3f} s on motion is measured on all rows again",
        )
        return f"change to {'one field' if begins else 'both fields'}"

    def close(self) -> None:
        """Report what can only be told at the end."""
        self._repeats.close(self._report)
