"""The command, called in this process."""

import pytest

from metst import cli


def run(capsys: pytest.CaptureFixture[str], *arguments: object, width: int = 400) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of one call; ``width`` columns, so that no line is broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["metst", *map(str, arguments)])
        patch.setattr(cli.console, "width", width)
        with pytest.raises(SystemExit) as stop:
            cli.main()
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return int(stop.value.code or 0), out, err
