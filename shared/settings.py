"""Everything that can be set, read once from the environment; the only reader of it.

A missing or malformed setting raises SettingError: one line that names it and says what it should look like.
Durations keep the unit of their setting, which their name ends in.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.connections import (
    EntraIdentity,
    EventHubConnection,
    RedisSettings,
    SqlDatabase,
    WebPubSubConnection,
    parse_event_hub_connection_string,
    parse_host_name,
    parse_http_url,
    parse_redis,
    parse_sql,
    parse_web_pubsub_connection_string,
)
from shared.domain.session import SessionTiming, heartbeat_interval
from shared.errors import SettingError

__all__ = [
    "AlertSettings",
    "AuthSettings",
    "EventHubConnection",
    "MassSilenceSettings",
    "RedisSettings",
    "RetentionSettings",
    "SessionSettings",
    "Settings",
    "SqlDatabase",
    "TelemetrySettings",
    "WebPubSubConnection",
]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_CRON_FIELDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_NAMES = {
    4: ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    5: ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """When a session ends, and when the pipeline counts as stalled."""

    ttl_seconds: float
    leave_grace_seconds: float
    heartbeat_interval_seconds: float
    stale_after_seconds: float

    @property
    def timing(self) -> SessionTiming:
        """The durations that decide deadlines, in milliseconds."""
        return SessionTiming(ttl=round(self.ttl_seconds * 1000), leave_grace=round(self.leave_grace_seconds * 1000))

    @property
    def interval_seconds(self) -> float:
        """The seconds between heartbeats that front-ends are asked for."""
        return heartbeat_interval(self.heartbeat_interval_seconds, self.ttl_seconds)

    @property
    def stale_after(self) -> int:
        """How far the watermark may be behind the clock before the pipeline is stalled, in milliseconds."""
        return round(self.stale_after_seconds * 1000)


@dataclass(frozen=True, slots=True)
class MassSilenceSettings:
    """When so few are heard that nobody is believed to have left. `hold_seconds` 0 switches the rule off."""

    ratio: float
    min_sessions: int
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """When a facility that stays offline is reported, and to which webhook (None: to nobody outside)."""

    after_seconds: float
    cooldown_seconds: float
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How many days each kind of record is kept."""

    history_days: int
    activity_days: int
    session_log_days: int


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Whose tokens are taken, and what the browser needs to get one."""

    issuer: str
    audience: str
    client_id: str
    scope: str
    user_claim: str


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where metrics go, and from whom. `worker_exports`: the Functions worker sends them by itself."""

    connection_string: str | None = field(default=None, repr=False)
    worker_exports: bool = False
    role: str = "facility-pulse"
    instance: str = "local"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, valid."""

    event_hub: EventHubConnection
    redis: RedisSettings
    web_pubsub: WebPubSubConnection
    sql_monitor: SqlDatabase
    sql_core: SqlDatabase
    auth: AuthSettings
    sessions: SessionSettings
    mass_silence: MassSilenceSettings
    alerts: AlertSettings
    retention: RetentionSettings
    heartbeat_limit_per_user: int
    packing_max_wait_ms: float
    sweep_schedule: str
    monitor_schedule: str
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Returns the settings that `environ` (default: the process's environment) holds. Raises SettingError."""
        read = _Reader(os.environ if environ is None else environ)
        return cls(
            event_hub=_event_hub(read),
            redis=_redis(read),
            web_pubsub=_web_pubsub(read),
            sql_monitor=parse_sql("SqlMonitor", read.text("SqlMonitor", form=_SQL_FORM)),
            sql_core=parse_sql("SqlCore", read.text("SqlCore", form=_SQL_FORM)),
            auth=_auth(read),
            sessions=_sessions(read),
            mass_silence=MassSilenceSettings(
                ratio=read.number("MASS_SILENCE_RATIO", 0.5, low=0, high=1),
                min_sessions=read.integer("MASS_SILENCE_MIN_SESSIONS", 20, low=1),
                hold_seconds=read.number("MASS_SILENCE_HOLD_SECONDS", 120, low=0),
            ),
            alerts=_alerts(read),
            retention=RetentionSettings(
                history_days=read.integer("HISTORY_RETENTION_DAYS", 400, low=1),
                activity_days=read.integer("ACTIVITY_RETENTION_DAYS", 400, low=1),
                session_log_days=read.integer("SESSION_LOG_RETENTION_DAYS", 90, low=1),
            ),
            heartbeat_limit_per_user=read.integer("HEARTBEAT_LIMIT_PER_USER", 120, low=1),
            packing_max_wait_ms=read.number("PACKING_MAX_WAIT_MS", 10, low=0, high=20),
            sweep_schedule=_schedule(read, "SWEEP_SCHEDULE", "*/1 * * * * *"),
            monitor_schedule=_schedule(read, "MONITOR_SCHEDULE", "0 * * * * *"),
            telemetry=_telemetry(read),
        )


_SQL_FORM = "an ODBC connection string or sqlite:////absolute/path"


class _Reader:
    """Reads single settings; one that is empty counts as absent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def optional(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def text(self, name: str, default: str | None = None, *, form: str) -> str:
        value = self.optional(name) or default
        if value is None:
            raise SettingError(name, f"missing; set it to {form}")
        return value

    def number(self, name: str, default: float, *, low: float, high: float = math.inf) -> float:
        text = self.optional(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            raise SettingError(name, f"expected a number {_range(low, high)}, not {text[:40]!r}")
        return value

    def integer(self, name: str, default: int, *, low: int) -> int:
        text = self.optional(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < low:
            raise SettingError(name, f"expected a whole number of at least {low}, not {text[:40]!r}")
        return int(text)

    def either(self, one: str, other: str, form: str) -> tuple[str | None, str | None]:
        """Returns the values of two settings that exclude each other; exactly one is not None."""
        values = self.optional(one), self.optional(other)
        if all(values):
            raise SettingError(one, f"set either it or {other}, not both")
        if not any(values):
            raise SettingError(one, f"missing; set it to {form}, or set {other} to use a managed identity")
        return values


def _event_hub(read: _Reader) -> EventHubConnection:
    hub = _name(read, "EVENT_HUB_NAME", "heartbeats", "the event hub's name, e.g. heartbeats")
    group = read.text("EVENT_HUB_CONSUMER_GROUP", "$Default", form="a consumer group's name, e.g. $Default")
    connection_string, namespace = read.either(
        "EventHubConnection", "EventHubConnection__fullyQualifiedNamespace", "an Event Hubs connection string"
    )
    if connection_string:
        parse_event_hub_connection_string("EventHubConnection", connection_string, hub)
        return EventHubConnection(hub, group, connection_string=connection_string)
    parse_host_name(
        "EventHubConnection__fullyQualifiedNamespace", namespace or "", "my-namespace.servicebus.windows.net"
    )
    client_id = _identity(read, "EventHubConnection")
    return EventHubConnection(hub, group, namespace=namespace, client_id=client_id)


def _redis(read: _Reader) -> RedisSettings:
    connection_string, host_name = read.either(
        "Redis", "Redis__redisHostName", "a StackExchange.Redis connection string, e.g. host:6379"
    )
    if connection_string:
        return parse_redis("Redis", connection_string)
    principal_id = read.text("Redis__principalId", form="the managed identity's object id")
    entra = EntraIdentity(principal_id, read.optional("Redis__clientId"))
    return parse_redis("Redis__redisHostName", host_name or "", entra)


def _web_pubsub(read: _Reader) -> WebPubSubConnection:
    hub = _name(read, "WEB_PUBSUB_HUB", "presence", "the hub's name, e.g. presence")
    connection_string, endpoint = read.either("WebPubSub", "WebPubSub__endpoint", "a Web PubSub connection string")
    if connection_string:
        parse_web_pubsub_connection_string("WebPubSub", connection_string)
        return WebPubSubConnection(hub, connection_string=connection_string)
    parse_http_url("WebPubSub__endpoint", endpoint or "")
    return WebPubSubConnection(hub, endpoint=endpoint, client_id=_identity(read, "WebPubSub"))


def _identity(read: _Reader, connection: str) -> str | None:
    """Returns the client id of the user-assigned identity of a connection, or None for the default chain."""
    credential = read.optional(f"{connection}__credential")
    if credential is not None and credential.lower() != "managedidentity":
        raise SettingError(f"{connection}__credential", "expected managedidentity, or nothing for the default chain")
    return read.optional(f"{connection}__clientId")


def _auth(read: _Reader) -> AuthSettings:
    return AuthSettings(
        issuer=parse_http_url("AUTH_ISSUER", read.text("AUTH_ISSUER", form="the OpenID Connect issuer, an https URL")),
        audience=read.text("AUTH_AUDIENCE", form="the audience of the access tokens, e.g. api://facility-pulse"),
        client_id=read.text("AUTH_CLIENT_ID", form="the browser application's client id"),
        scope=read.text("AUTH_SCOPE", "openid", form="the scope the browser asks for"),
        user_claim=read.text("AUTH_USER_CLAIM", "sub", form="the claim that holds the user id"),
    )


def _sessions(read: _Reader) -> SessionSettings:
    ttl = read.number("SESSION_TTL_SECONDS", 90, low=1)
    return SessionSettings(
        ttl_seconds=ttl,
        leave_grace_seconds=read.number("LEAVE_GRACE_SECONDS", 5, low=0),
        heartbeat_interval_seconds=read.number("HEARTBEAT_INTERVAL_SECONDS", 30, low=1),
        stale_after_seconds=read.number("STALE_AFTER_SECONDS", max(3.0, ttl / 6), low=1),
    )


def _alerts(read: _Reader) -> AlertSettings:
    url = read.optional("ALERT_WEBHOOK_URL")
    secret = read.optional("ALERT_WEBHOOK_SECRET")
    if url is not None:
        parse_http_url("ALERT_WEBHOOK_URL", url)
        if secret is None:
            raise SettingError("ALERT_WEBHOOK_SECRET", "missing; set it to the secret that signs calls to the webhook")
    return AlertSettings(
        after_seconds=read.number("ALERT_AFTER_SECONDS", 300, low=0),
        cooldown_seconds=read.number("ALERT_COOLDOWN_SECONDS", 3600, low=0),
        webhook_url=url,
        webhook_secret=secret,
    )


def _telemetry(read: _Reader) -> TelemetrySettings:
    # Names as Azure sets them.
    return TelemetrySettings(
        connection_string=read.optional("APPLICATIONINSIGHTS_CONNECTION_STRING"),
        worker_exports=read.optional("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY") in {"true", "1"},
        role=read.optional("WEBSITE_SITE_NAME") or "facility-pulse",
        instance=read.optional("WEBSITE_INSTANCE_ID") or "local",
    )


def _name(read: _Reader, name: str, default: str, form: str) -> str:
    value = read.text(name, default, form=form)
    if not _NAME.fullmatch(value):
        raise SettingError(name, f"expected {form} (letters, digits, '.', '_' and '-')")
    return value


def _schedule(read: _Reader, name: str, default: str) -> str:
    """Returns a six-field NCRONTAB expression. Bindings use it as %NAME%, so the host reads the same setting."""
    text = read.text(name, default, form="an NCRONTAB expression")
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS) or not all(_is_cron_field(field, at) for at, field in enumerate(fields)):
        raise SettingError(name, f"expected six NCRONTAB fields, second to weekday, such as {default!r}")
    return text


def _is_cron_field(text: str, at: int) -> bool:
    low, high = _CRON_FIELDS[at]
    for item in text.lower().split(","):
        span, slash, step = item.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
            return False
        if span == "*":
            continue
        names = _CRON_NAMES.get(at, ())
        values = [str(names.index(bound) + low) if bound in names else bound for bound in span.split("-")]
        if len(values) > 2 or not all(bound.isascii() and bound.isdigit() for bound in values):
            return False
        numbers = [int(bound) for bound in values]
        if not low <= numbers[0] <= numbers[-1] <= high:
            return False
    return True


def _range(low: float, high: float) -> str:
    return f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
