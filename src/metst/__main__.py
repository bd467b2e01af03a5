"""``python -m metst``."""

from metst.cli import main

main()
