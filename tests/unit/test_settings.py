"""The settings: what is taken, and the one line that says what is wrong."""

from pathlib import Path

import pytest

from shared.connections import EntraIdentity, OdbcDatabase, RedisSettings, SqliteDatabase, parse_redis
from shared.errors import SettingError
from shared.settings import Settings

SECRET = "c2VjcmV0LWtleQ=="
MINIMAL = {
    "EventHubConnection": f"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey={SECRET}",
    "Redis": f"localhost:6379,password={SECRET}",
    "WebPubSub": f"Endpoint=https://pulse.webpubsub.azure.com;AccessKey={SECRET};Version=1.0;",
    "SqlMonitor": "sqlite:////data/monitor.db",
    "SqlCore": f"Driver={{ODBC Driver 18 for SQL Server}};Server=tcp:sql.example,1433;Database=core;Pwd={SECRET}",
    "AUTH_ISSUER": "https://login.example/tenant/v2.0",
    "AUTH_AUDIENCE": "api://facility-pulse",
    "AUTH_CLIENT_ID": "browser",
    "AUTH_SCOPE": "api://facility-pulse/use",
}


def settings(**changes: str | None) -> Settings:
    return Settings.from_environment({k: v for k, v in (MINIMAL | changes).items() if v is not None})


def test_defaults_are_those_of_the_contract() -> None:
    read = settings()
    assert (read.sessions.ttl_seconds, read.sessions.leave_grace_seconds) == (90, 5)
    assert (read.sessions.interval_seconds, read.sessions.stale_after_seconds) == (30, 15)
    assert (read.mass_silence.ratio, read.mass_silence.min_sessions, read.mass_silence.hold_seconds) == (0.5, 20, 120)
    assert (read.alerts.after_seconds, read.alerts.cooldown_seconds, read.alerts.webhook_url) == (300, 3600, None)
    assert (read.retention.history_days, read.retention.activity_days, read.retention.session_log_days) == (
        400,
        400,
        90,
    )
    assert (read.event_hub.hub, read.event_hub.consumer_group, read.web_pubsub.hub) == (
        "heartbeats",
        "$Default",
        "presence",
    )
    assert (read.sweep_schedule, read.monitor_schedule) == ("*/1 * * * * *", "0 * * * * *")
    assert (read.auth.user_claim, read.heartbeat_limit_per_user, read.packing_max_wait_ms) == ("sub", 120, 10)


def test_connections_become_values() -> None:
    read = settings()
    assert read.sql_monitor == SqliteDatabase(Path("/data/monitor.db"))
    assert read.sql_core == OdbcDatabase(MINIMAL["SqlCore"])
    assert read.redis == RedisSettings(hosts=(("localhost", 6379),), password=SECRET)


def test_managed_identities_need_no_secret() -> None:
    read = settings(
        EventHubConnection=None,
        EventHubConnection__fullyQualifiedNamespace="ns.servicebus.windows.net",
        EventHubConnection__credential="managedidentity",
        EventHubConnection__clientId="eh-client",
        Redis=None,
        Redis__redisHostName="pulse.westeurope.redis.azure.net:10000",
        Redis__principalId="object-id",
        Redis__clientId="redis-client",
        WebPubSub=None,
        WebPubSub__endpoint="https://pulse.webpubsub.azure.com",
    )
    assert (read.event_hub.namespace, read.event_hub.client_id) == ("ns.servicebus.windows.net", "eh-client")
    assert read.redis == RedisSettings(
        hosts=(("pulse.westeurope.redis.azure.net", 10000),),
        ssl=True,
        entra=EntraIdentity("object-id", "redis-client"),
    )
    assert read.web_pubsub.endpoint == "https://pulse.webpubsub.azure.com"


@pytest.mark.parametrize(
    ("ttl", "stale_after", "interval"), [("1", 3, 1), ("6", 3, 2), ("30", 5, 10), ("600.5", 600.5 / 6, 30)]
)
def test_what_follows_from_the_ttl(ttl: str, stale_after: float, interval: float) -> None:
    read = settings(SESSION_TTL_SECONDS=ttl)
    assert read.sessions.stale_after_seconds == stale_after
    assert read.sessions.interval_seconds == interval


def test_the_leave_grace_never_exceeds_the_ttl() -> None:
    timing = settings(SESSION_TTL_SECONDS="2").sessions.timing
    assert (timing.ttl, timing.leave_grace) == (2000, 2000)


@pytest.mark.parametrize("name", [name for name in MINIMAL if name != "AUTH_SCOPE"])
def test_a_missing_setting_is_named(name: str) -> None:
    for absent in (None, "", "  "):
        with pytest.raises(SettingError, match=f"^setting {name}: missing; set it to ") as error:
            settings(**{name: absent})
        assert error.value.name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EventHubConnection", SECRET),
        ("EventHubConnection", f"Endpoint=sb://ns/;SharedAccessKey={SECRET}"),
        ("EventHubConnection", MINIMAL["EventHubConnection"] + ";EntityPath=other"),
        ("EVENT_HUB_NAME", "heart beats"),
        ("Redis", f"password={SECRET}"),
        ("Redis", f"host:0,password={SECRET}"),
        ("Redis", f"host:70000,password={SECRET}"),
        ("Redis", f"redis://:{SECRET}@host:6379"),
        ("Redis", f"host,password={SECRET},ssl=perhaps"),
        ("Redis", f"host,password={SECRET},defaultDatabase=1"),
        ("WebPubSub", f"Endpoint=https://pulse.webpubsub.azure.com;Key={SECRET}"),
        ("WebPubSub", f"Endpoint=pulse.webpubsub.azure.com;AccessKey={SECRET}"),
        ("WEB_PUBSUB_HUB", "a/b"),
        ("SqlMonitor", f"monitor.db?key={SECRET}"),
        ("SqlMonitor", "sqlite:///relative.db"),
        ("SqlMonitor", "sqlite:////"),
        ("SqlCore", f"Driver=x;Database=y;Pwd={SECRET}"),
        ("AUTH_ISSUER", "login.example"),
        ("AUTH_ISSUER", "http://login.example"),
        ("AUTH_ISSUER", "https://[broken"),
        ("SESSION_TTL_SECONDS", "0.5"),
        ("SESSION_TTL_SECONDS", "ninety"),
        ("SESSION_TTL_SECONDS", "nan"),
        ("SESSION_TTL_SECONDS", "inf"),
        ("LEAVE_GRACE_SECONDS", "-1"),
        ("HEARTBEAT_LIMIT_PER_USER", "0"),
        ("HEARTBEAT_LIMIT_PER_USER", "1.5"),
        ("HISTORY_RETENTION_DAYS", "-3"),
        ("MASS_SILENCE_RATIO", "1.1"),
        ("PACKING_MAX_WAIT_MS", "21"),
        ("ALERT_WEBHOOK_URL", "hook"),
        ("SWEEP_SCHEDULE", "* * * * *"),
        ("SWEEP_SCHEDULE", "61 * * * * *"),
        ("SWEEP_SCHEDULE", "*/0 * * * * *"),
        ("MONITOR_SCHEDULE", "every minute on the dot please"),
        ("MONITOR_SCHEDULE", "5-1 * * * * *"),
    ],
)
def test_a_malformed_setting_is_named_in_one_line_without_its_secret(name: str, value: str) -> None:
    with pytest.raises(SettingError) as error:
        settings(**{name: value})
    assert error.value.name == name
    assert "\n" not in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        ("EventHubConnection", "EventHubConnection__fullyQualifiedNamespace", "ns.servicebus.windows.net"),
        ("Redis", "Redis__redisHostName", "pulse.redis.azure.net:10000"),
        ("WebPubSub", "WebPubSub__endpoint", "https://pulse.webpubsub.azure.com"),
    ],
)
def test_a_connection_string_and_an_identity_at_once_are_refused(one: str, other: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"setting {one}: set either it or {other}, not both"):
        settings(**{other: value})


def test_an_identity_for_redis_needs_its_principal_and_tls() -> None:
    with pytest.raises(SettingError, match="Redis__principalId"):
        settings(Redis=None, Redis__redisHostName="pulse.redis.azure.net:10000")
    with pytest.raises(SettingError, match="TLS"):
        settings(Redis=None, Redis__redisHostName="localhost:6379", Redis__principalId="object-id")


def test_a_webhook_needs_a_secret() -> None:
    with pytest.raises(SettingError, match="ALERT_WEBHOOK_SECRET"):
        settings(ALERT_WEBHOOK_URL="https://hooks.example/pulse")


def test_plain_http_is_taken_for_this_machine() -> None:
    assert settings(AUTH_ISSUER="http://127.0.0.1:9000").auth.issuer == "http://127.0.0.1:9000"


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(settings(ALERT_WEBHOOK_URL="https://h.example/x", ALERT_WEBHOOK_SECRET=SECRET))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", RedisSettings(hosts=(("host", 6379),))),
        ("host,ssl=True", RedisSettings(hosts=(("host", 6380),), ssl=True)),
        ("a:1, b:2 ,abortConnect=False", RedisSettings(hosts=(("a", 1), ("b", 2)))),
        ("[::1]:7000", RedisSettings(hosts=(("::1", 7000),))),
        ("host, Password = a=b== , USER=me", RedisSettings(hosts=(("host", 6379),), username="me", password="a=b==")),
        (
            "x.redis.cache.windows.net,password=k",
            RedisSettings(hosts=(("x.redis.cache.windows.net", 6380),), password="k", ssl=True),
        ),
        ("x.redis.azure.net", RedisSettings(hosts=(("x.redis.azure.net", 10000),), ssl=True)),
        ("x.redis.azure.net:10000,ssl=false", RedisSettings(hosts=(("x.redis.azure.net", 10000),))),
        (
            "host,connectTimeout=5000,syncTimeout=1000,name=app,$CLIENT=,tiebreaker=,defaultDatabase=0",
            RedisSettings(hosts=(("host", 6379),)),
        ),
    ],
)
def test_redis_is_read_as_stackexchange_reads_it(text: str, expected: RedisSettings) -> None:
    assert parse_redis("Redis", text) == expected


@pytest.mark.parametrize(
    "text", ["*/5 * * * * *", "0 0,30 8-18/2 * jan-mar mon-fri", "0 30 9 1 12 sun", "1-5/2 * * * * *"]
)
def test_schedules_of_the_host_are_taken(text: str) -> None:
    assert settings(MONITOR_SCHEDULE=text).monitor_schedule == text
