"""Access keys of functions with the authorization level `function` or `admin`."""

import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emulators.host.errors import StartupError


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """Who may call what; without any key nobody passes."""

    master: str | None = None
    host: tuple[str, ...] = ()
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def admits(self, level: str, function: str, given: str | None) -> bool:
        """True when `given` opens a function of this level; compared in constant time."""
        if level == "anonymous":
            return True
        accepted = [self.master] if self.master else []
        if level == "function":
            accepted += [*self.host, *self.functions.get(function, ())]
        return given is not None and _matches(given, accepted)


def _matches(given: str, accepted: Iterable[str]) -> bool:
    matched = False
    for key in accepted:
        matched |= hmac.compare_digest(given.encode(), key.encode())
    return matched


def load_keys(path: Path | None, function_keys: Iterable[str], master_key: str | None) -> AccessKeys:
    """Adds the keys of the command line to those of a file; raises StartupError for a malformed one.

    The file: `{"masterKey":"…","functionKeys":{"default":"…"},"functions":{"NAME":{"default":"…"}}}`, all optional.
    """
    document = {}
    if path is not None:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            host = tuple(str(key) for key in document.get("functionKeys", {}).values())
            functions = {
                str(name): tuple(str(key) for key in keys.values())
                for name, keys in document.get("functions", {}).items()
            }
        except (OSError, ValueError, AttributeError) as error:
            raise StartupError(f"the keys file {path} cannot be used: {error}") from error
    else:
        host, functions = (), {}
    return AccessKeys(master_key or document.get("masterKey"), (*host, *function_keys), functions)
