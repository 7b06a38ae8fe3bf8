"""The same tests in two sizes: quick for `make test`, full for `make soak`."""

import os

SOAK = bool(os.environ.get("SOAK"))
"""Whether this is the full size."""


def size(quick: int, full: int) -> int:
    """Returns the one that applies."""
    return full if SOAK else quick
