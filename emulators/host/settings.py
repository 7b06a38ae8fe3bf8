"""Application settings: the process environment first, then `local.settings.json`, as `func start` reads them."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulators.host.errors import StartupError

_PLACEHOLDER = re.compile(r"%([^%]+)%")
_TRUE = {"true", "1"}


@dataclass(frozen=True, slots=True)
class Cors:
    """The `Host.CORS` and `Host.CORSCredentials` of `local.settings.json`; without them the variable HOST_CORS."""

    origins: frozenset[str]
    credentials: bool

    def allows(self, origin: str) -> bool:
        """True when a page of this origin may read our answers."""
        return "*" in self.origins or origin.rstrip("/").lower() in self.origins


class Settings:
    """What the host and the application read by name; a missing one names itself in the error."""

    def __init__(self, values: Mapping[str, str], cors: Cors | None = None) -> None:
        self._values = values
        self.cors = cors

    def get(self, name: str) -> str | None:
        """The value of a setting; None when it is absent or empty."""
        return self._values.get(name) or None

    def resolve(self, text: str, where: str) -> str:
        """Replaces each `%NAME%` by its setting; raises StartupError naming the one that is missing."""

        def value_of(match: re.Match[str]) -> str:
            value = self.get(match[1])
            if value is None:
                raise StartupError(f"{where}: '%{match[1]}%' does not resolve to a value; set the setting {match[1]}")
            return value

        return _PLACEHOLDER.sub(value_of, text)

    def section(self, name: str) -> dict[str, str]:
        """The settings `NAME__key`, by key: the identity form of a connection."""
        prefix = f"{name}__"
        return {key.removeprefix(prefix): value for key, value in self._values.items() if key.startswith(prefix)}

    def is_disabled(self, function: str) -> bool:
        """True when `AzureWebJobs.NAME.Disabled` (or its form with underscores) is true."""
        forms = (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled")
        return any((self.get(form) or "").lower() in _TRUE for form in forms)


def load_settings(app: Path, overrides: Mapping[str, str]) -> Settings:
    """Adds `local.settings.json` to the process environment, where the application reads it too.

    `overrides` are set whatever the environment says. Raises StartupError for a file that cannot be read.
    """
    path = app / "local.settings.json"
    document: dict[str, Any] = {}
    if path.exists():
        try:
            document = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise StartupError(f"{path} is not valid JSON: {error}") from error
    if document.get("IsEncrypted"):
        raise StartupError(f"{path} is encrypted; run 'func settings decrypt' first")
    values = document.get("Values") or {}
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise StartupError(f"{path}: 'Values' must be an object whose values are all strings")
    for name, value in values.items():
        os.environ.setdefault(name, value)
    os.environ.update(overrides)
    return Settings(os.environ, _read_cors(document.get("Host") or {}))


def _read_cors(host: Mapping[str, Any]) -> Cors | None:
    text = str(host.get("CORS") or os.environ.get("HOST_CORS") or "")
    origins = frozenset(part.strip().rstrip("/").lower() for part in text.split(",") if part.strip())
    return Cors(origins, bool(host.get("CORSCredentials"))) if origins else None
