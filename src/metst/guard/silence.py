"""What other packages would send or write by themselves, turned off before any of them is loaded."""

from __future__ import annotations

import os

SWITCHES = {
    # onnxruntime from 1.32: asks for mobile.events.data.microsoft.com, and leaves a session file in the folder for
    # temporary files and an identity of the machine in that for caches.  Read once, when the library is loaded: its
    # function disable_telemetry_events comes too late for both.
    "ORT_DISABLE_TELEMETRY": "1",
    # Hugging Face's packages, which torch and anny use where they are installed: no telemetry, no downloads.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    # FastAPI brings OpenTelemetry's interface, which hands on what it is told as soon as an exporter is installed.
    "OTEL_SDK_DISABLED": "true",
    # What many programs ask before they report (consoledonottrack.com).
    "DO_NOT_TRACK": "1",
}
"""Variables of the environment by which packages are told to be silent.  They are set whatever they were: that nothing
is sent is a promise of this product."""


def be_silent() -> None:
    """Set :data:`SWITCHES` for this process and those that it starts."""
    os.environ.update(SWITCHES)
