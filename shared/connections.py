"""Connection settings as values: each parser takes the setting's name and text, and raises SettingError naming it.

No message repeats the text, which may hold a secret; no value shows a secret in its `repr`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import SettingError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AZURE_REDIS = (
    ".redis.cache.windows.net",
    ".redis.cache.usgovcloudapi.net",
    ".redis.cache.chinacloudapi.cn",
    ".redisenterprise.cache.azure.net",
    ".redis.azure.net",
)
_MANAGED_REDIS = (".redis.azure.net", ".redisenterprise.cache.azure.net")
_REDIS_FORM = "expected the StackExchange.Redis form, e.g. my-cache.redis.azure.net:10000,password=<key>,ssl=True"
_SQL_FORM = "expected an ODBC connection string (Driver=…;Server=…;Database=…) or sqlite:////absolute/path"


@dataclass(frozen=True, slots=True)
class EventHubConnection:
    """How to reach the event hub: `connection_string`, or `namespace` with a managed identity.

    `client_id` names a user-assigned identity; without it the default Azure credential chain is used.
    """

    hub: str
    consumer_group: str
    connection_string: str | None = field(default=None, repr=False)
    namespace: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class EntraIdentity:
    """A managed identity that signs in to Redis: `principal_id` (object id) is the user name there.

    `client_id` names a user-assigned identity; None means the system-assigned one.
    """

    principal_id: str
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach Redis. `hosts` holds (host, port) pairs; with `entra` there is no password."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl: bool = False
    entra: EntraIdentity | None = None


@dataclass(frozen=True, slots=True)
class WebPubSubConnection:
    """How to reach Web PubSub: `connection_string`, or `endpoint` with a managed identity."""

    hub: str
    connection_string: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    client_id: str | None = None

    @property
    def address(self) -> str:
        """The service's URL, which browsers connect to as well."""
        if self.endpoint is not None:
            return self.endpoint
        return _key_values("WebPubSub", self.connection_string or "", "a connection string")["endpoint"]


@dataclass(frozen=True, slots=True)
class SqliteDatabase:
    """A SQLite database file."""

    path: Path


@dataclass(frozen=True, slots=True)
class OdbcDatabase:
    """SQL Server or Azure SQL behind an ODBC connection string, as pyodbc takes it."""

    connection_string: str = field(repr=False)


type SqlDatabase = SqliteDatabase | OdbcDatabase


def parse_http_url(name: str, text: str) -> str:
    """Returns the address as given. Plain http, which others can read and change, is only taken for this machine."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        raise SettingError(name, "expected an address such as https://host/path") from None
    if url.scheme not in ("http", "https") or not host or url.username is not None:
        raise SettingError(name, "expected an address such as https://host/path")
    if url.scheme == "http" and host not in _LOOPBACK:
        raise SettingError(name, "expected https:// (plain http is only taken for localhost)")
    return text


def parse_event_hub_connection_string(name: str, text: str, hub: str) -> str:
    """Returns the connection string if it has an endpoint and a key, and its EntityPath, if any, is the hub."""
    form = "expected Endpoint=sb://<namespace>/;SharedAccessKeyName=<name>;SharedAccessKey=<key>"
    parts = _key_values(name, text, form)
    if not parts.get("endpoint", "").lower().startswith(("sb://", "amqps://", "amqp://")):
        raise SettingError(name, form)
    if not (parts.get("sharedaccesskeyname") and parts.get("sharedaccesskey")) and not parts.get(
        "sharedaccesssignature"
    ):
        raise SettingError(name, form)
    if parts.get("entitypath", hub) != hub:
        raise SettingError(name, "its EntityPath differs from EVENT_HUB_NAME; leave EntityPath out")
    return text


def parse_web_pubsub_connection_string(name: str, text: str) -> str:
    """Returns the connection string if it has an endpoint and a key."""
    form = "expected Endpoint=https://<name>.webpubsub.azure.com;AccessKey=<key>;Version=1.0;"
    parts = _key_values(name, text, form)
    if not parts.get("endpoint", "").lower().startswith(("https://", "http://")) or not parts.get("accesskey"):
        raise SettingError(name, form)
    return text


def parse_host_name(name: str, text: str, form: str) -> str:
    """Returns a bare host name (no scheme, no path); `form` is an example for the error."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise SettingError(name, f"expected a host name such as {form}")
    return text


def parse_redis(name: str, text: str, entra: EntraIdentity | None = None) -> RedisSettings:
    """Returns the parsed StackExchange.Redis configuration string; options that concern only that client are ignored.

    As there: parts are separated by commas, an option's value may contain `=`, ports default to 6379, or 6380 with TLS
    (10000 on Azure Managed Redis), and TLS defaults to on for Azure host names. The logical database is always 0,
    the one the Functions trigger's keyspace channel names.
    """
    endpoints: list[str] = []
    options: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if equals:
            options[key.strip().lower()] = value.strip()
        else:
            endpoints.append(part)
    if not endpoints:
        raise SettingError(name, _REDIS_FORM)
    if options.get("defaultdatabase", "0") not in ("", "0"):
        raise SettingError(name, "defaultDatabase must be 0: expiry notifications are read from database 0")
    hosts = [_endpoint(name, endpoint) for endpoint in endpoints]
    ssl = _flag(name, "ssl", options["ssl"]) if "ssl" in options else any(_expects_tls(*host) for host in hosts)
    if entra and not ssl:
        raise SettingError(name, "a managed identity signs in over TLS only: use the TLS port, or append ,ssl=True")
    return RedisSettings(
        hosts=tuple((host, port or _default_port(host, ssl)) for host, port in hosts),
        username=options.get("user") or None,
        password=None if entra else options.get("password") or None,
        ssl=ssl,
        entra=entra,
    )


def parse_sql(name: str, text: str) -> SqlDatabase:
    """Returns the database that an ODBC connection string or `sqlite:////abs/path` names."""
    if text.lower().startswith("sqlite:"):
        # sqlite:///C:/data.db carries a drive, sqlite:////data.db a root: both leave an absolute path.
        path = Path(text[len("sqlite:///") :])
        if not text.lower().startswith("sqlite:///") or not path.is_absolute() or path.name == "":
            raise SettingError(name, "expected an absolute path: sqlite:////absolute/path (four slashes)")
        return SqliteDatabase(path)
    if not re.search(r"(?i)(^|;)\s*(server|dsn|filedsn|addr|address)\s*=\s*[^;\s]", text):
        raise SettingError(name, _SQL_FORM)
    return OdbcDatabase(text)


def _key_values(name: str, text: str, form: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals:
            raise SettingError(name, form)
        parts[key.strip().lower()] = value.strip()
    return parts


def _endpoint(name: str, text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", text)
    if match is None or (match[3] and not 0 < int(match[3]) < 65536):
        raise SettingError(name, _REDIS_FORM)
    return match[1] or match[2], int(match[3]) if match[3] else None


def _expects_tls(host: str, port: int | None) -> bool:
    return host.lower().endswith(_AZURE_REDIS) and port != 6379


def _default_port(host: str, ssl: bool) -> int:
    if host.lower().endswith(_MANAGED_REDIS):
        return 10000
    return 6380 if ssl else 6379


def _flag(name: str, option: str, text: str) -> bool:
    value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower())
    if value is None:
        raise SettingError(name, f"its option {option} must be True or False")
    return value
