"""Logs to stderr, filtered by the `logging.logLevel` of host.json."""

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar

# The name of the function that runs in this context; the category of what it logs depends on it.
current_function: ContextVar[str | None] = ContextVar("current_function", default=None)

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
_HOST_LOGGERS = ("emulators", "aiohttp", "azure.functions")
# Libraries that the host itself uses; at "information" they would tell every frame and every reconnect.
_NOISY_LOGGERS = ("azure.eventhub", "azure.identity", "azure.core")


class CategoryFilter(logging.Filter):
    """Drops records below the level of their category, the longest configured prefix of its name."""

    def __init__(self, levels: Mapping[str, str]) -> None:
        super().__init__()
        self._levels = {name.lower(): _LEVELS.get(level.lower(), logging.INFO) for name, level in levels.items()}
        self._known: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """True when the record may pass."""
        if record.name.startswith(_HOST_LOGGERS):
            category = f"Host.{record.name}"
        else:
            category = f"Function.{current_function.get() or ''}.User"
        level = self._known.get(category)
        if level is None:
            level = self._known[category] = self._level_of(category.lower())
        return record.levelno >= level

    def _level_of(self, category: str) -> int:
        name = category
        while name:
            if name in self._levels:
                return self._levels[name]
            name = name.rpartition(".")[0]
        return self._levels.get("default", logging.INFO)


def configure_logs(levels: Mapping[str, str]) -> None:
    """Sends everything that passes the levels to stderr, in place of earlier handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    category_filter = CategoryFilter(levels)
    handler.addFilter(category_filter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(min([logging.INFO, *category_filter._levels.values()]))
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
