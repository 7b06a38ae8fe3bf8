"""What can go wrong below the HTTP layer. Each class carries the caller's next decision.

PulseError
├── DependencyUnavailableError   the same call may succeed later: retry
├── StoreError                   the database refused: do not retry, set the work aside and show it
├── PushRefusedError             Web PubSub refused this very message: do not retry, set it aside and show it
├── DirectoryMissingError        nothing has been loaded yet: retry once the monitor has run
└── SettingError                 the configuration is wrong: stop, and say which setting
"""


class PulseError(Exception):
    """The root of the product's own errors."""


class DependencyUnavailableError(PulseError):
    """A service this call needs cannot be reached. `dependency` is redis, eventHubs, sql, webPubSub or identity."""

    def __init__(self, dependency: str, detail: str = "") -> None:
        super().__init__(f"{dependency} is not available{': ' if detail else ''}{detail}")
        self.dependency = dependency


class StoreError(PulseError):
    """The database refused a statement that it would refuse again."""


class PushRefusedError(PulseError):
    """Web PubSub refused a message that it would refuse again, while it takes others."""


class DirectoryMissingError(PulseError):
    """No directory has been published to Redis, so nobody's facilities are known."""

    def __init__(self) -> None:
        super().__init__("no directory has been published yet; the monitor publishes it from the core database")


class SettingError(PulseError):
    """A setting is missing or malformed. The message is one line that names it and what it should look like."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"setting {name}: {problem}")
        self.name = name
