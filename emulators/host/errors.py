"""The one kind of error that stops the host while it starts."""


class StartupError(Exception):
    """Says in one line why the host cannot start, and what to change."""
