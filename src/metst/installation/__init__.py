"""Whether metst works on this machine: in go the machine and what is installed, out come checks in plain words.

``checks`` looks at what is there; ``self_test`` analyses a recording whose movements are known.
"""

from metst.installation.checks import Check, check_all

__all__ = ["Check", "check_all"]
