"""Redis connections as the Functions Redis extension is told of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from emulators.host.errors import StartupError
from emulators.host.settings import Settings

# The options of StackExchange.Redis; those that are not used here change nothing for one subscription.
_OPTIONS = frozenset(
    {"abortconnect", "allowadmin", "asynctimeout", "channelprefix", "checkcertificaterevocation", "client"}
    | {"clientname", "configchannel", "configcheckseconds", "connectretry", "connecttimeout", "defaultdatabase"}
    | {"highintegrity", "keepalive", "name", "password", "protocol", "proxy", "resolvedns", "responsetimeout"}
    | {"servicename", "setclientlibrary", "ssl", "sslhost", "sslprotocols", "synctimeout", "tiebreaker", "tunnel"}
    | {"user", "username", "version", "writebuffer"}
)


@dataclass(frozen=True, slots=True)
class RedisConnection:
    """Where to connect, and as whom; `entra` means a token of the managed identity in place of a password."""

    endpoints: tuple[tuple[str, int], ...]
    user: str | None = None
    password: str | None = None
    tls: bool = False
    tls_host: str | None = None
    database: int = 0
    entra: bool = False
    client_id: str | None = None


def parse_connection(text: str, where: str) -> RedisConnection:
    """Reads `host:port,…,password=…,ssl=True` (StackExchange.Redis); raises StartupError naming what is wrong."""
    hosts: list[str] = []
    options: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            hosts.append(part)
        elif name.strip().lower() in _OPTIONS or name.startswith("$"):
            options[name.strip().lower()] = value.strip()
        else:
            raise StartupError(f"{where}: keyword '{name}' is not supported; write host:port,password=…,ssl=True")
    if not hosts:
        raise StartupError(f"{where}: it names no host; write host:port,password=…,ssl=True")
    tls = options.get("ssl", "false").lower() == "true"
    try:
        return RedisConnection(
            tuple(_endpoint(host, 6380 if tls else 6379) for host in hosts),
            options.get("user") or options.get("username"),
            options.get("password"),
            tls,
            options.get("sslhost"),
            int(options.get("defaultdatabase", "0")),
        )
    except ValueError as error:
        raise StartupError(f"{where}: a port and defaultDatabase must be whole numbers") from error


def _endpoint(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if colon else (text, default_port)


def find_connection(settings: Settings, name: str, where: str) -> RedisConnection:
    """The connection of a binding: the setting `NAME`, or `NAME__redisHostName` with an identity.

    Raises StartupError when neither or both are set.
    """
    text, section = settings.get(name), settings.section(name)
    host = section.get("redisHostName")
    if text and host:
        raise StartupError(f"{where}: set either {name} or {name}__redisHostName, not both")
    if text:
        return parse_connection(text, f"{where}: setting {name}")
    if host:
        return _with_identity(parse_connection(host, f"{where}: setting {name}__redisHostName"), section, name, where)
    raise StartupError(
        f"{where}: the setting {name} (host:port,password=…,ssl=True) or {name}__redisHostName is missing"
    )


def _with_identity(connection: RedisConnection, section: Mapping[str, str], name: str, where: str) -> RedisConnection:
    principal = section.get("principalId")
    if not principal:
        raise StartupError(f"{where}: the setting {name}__principalId (the identity's object id) is missing")
    return RedisConnection(
        connection.endpoints,
        principal,
        tls=True,
        tls_host=connection.tls_host,
        entra=True,
        client_id=section.get("clientId"),
    )
