"""The local stack: Redis, the Azure emulators, SQLite and the function app, started and watched as one.

`python -m emulators.stack run|up|down|status|load-directory` on the command line, `Stack` in tests.
"""

from emulators.stack.addresses import Addresses
from emulators.stack.stack import Stack

__all__ = ["Addresses", "Stack"]
