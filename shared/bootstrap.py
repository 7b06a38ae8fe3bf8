"""The composition root: the only module that names concrete adapters. Nothing is built before it is first needed."""

import time
from dataclasses import dataclass
from functools import cached_property

from redis.asyncio import Redis

from shared.activity import FacilityActivity
from shared.alerts.alerts import Alerts, AlertTiming
from shared.alerts.webhook import Webhook, WebhookSettings
from shared.auth import TokenVerifier
from shared.broadcast.broadcaster import Broadcaster
from shared.broadcast.push import PushService, WebPubSubPush
from shared.broadcast.snapshots import SnapshotCache
from shared.connections import SqlDatabase, SqliteDatabase
from shared.cursors import Cursors
from shared.domain.pipeline import PipelineTiming
from shared.domain.silence import SilenceTiming
from shared.events.publisher import HeartbeatPublisher
from shared.health import HealthCheck
from shared.history import FacilityHistory
from shared.limits import HeartbeatLimiter
from shared.pipeline.activity import ActivityFold
from shared.pipeline.agent_upkeep import AgentUpkeep
from shared.pipeline.agents import AgentAnnouncer, AgentFollower
from shared.pipeline.ending import SessionEnding
from shared.pipeline.ingest import HeartbeatIngest
from shared.pipeline.monitor import Retention, SessionMonitor
from shared.pipeline.recovery import Recovery
from shared.pipeline.silence import SilenceWatch
from shared.pipeline.sweep import SessionSweep
from shared.registry import client, keys
from shared.registry.activity import ActivityCounters
from shared.registry.agents import Agents
from shared.registry.credentials import entra_credentials
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryPublisher
from shared.registry.ended_ids import EndedIds
from shared.registry.registry import Registry
from shared.registry.sequences import Sequences
from shared.registry.watermarks import Watermarks
from shared.settings import Settings
from shared.store.opening import open_core_store, open_history_store, open_monitor_store
from shared.store.ports import CoreStore, HistoryStore, MonitorStore
from shared.stream.group import BROADCAST, StreamGroup


def milliseconds() -> int:
    """Returns the time now, in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


@dataclass
class Services:
    """Everything a function may call, each made at its first use. One per process, used from its event loop."""

    settings: Settings

    @staticmethod
    def now() -> int:
        """Returns the time by which everything is stamped and judged, in ms."""
        return milliseconds()

    @cached_property
    def redis(self) -> Redis:
        """The connection pool that all adapters share."""
        settings = self.settings.redis
        return client.connect(settings, entra_credentials(settings.entra) if settings.entra else None)

    @cached_property
    def tokens(self) -> TokenVerifier:
        """Who calls."""
        return TokenVerifier(self.settings.auth)

    @cached_property
    def limiter(self) -> HeartbeatLimiter:
        """How often one user may."""
        return HeartbeatLimiter(self.settings.heartbeat_limit_per_user)

    @cached_property
    def publisher(self) -> HeartbeatPublisher:
        """Heartbeats and canaries into Event Hubs."""
        return HeartbeatPublisher(self.settings.event_hub, self.settings.packing_max_wait_ms, self.now)

    @cached_property
    def push(self) -> PushService:
        """Messages to browsers."""
        return WebPubSubPush(self.settings.web_pubsub)

    @cached_property
    def registry(self) -> Registry:
        """Sessions and facilities."""
        return Registry(self.redis, self.settings.sessions.timing)

    @cached_property
    def directory(self) -> DirectoryCache:
        """Who belongs where."""
        return DirectoryCache(self.redis)

    @cached_property
    def ended_ids(self) -> EndedIds:
        """Sessions ended by command."""
        return EndedIds(self.redis, self.now)

    @cached_property
    def watermarks(self) -> Watermarks:
        """How far ingestion has come."""
        return Watermarks(self.redis)

    @cached_property
    def sequences(self) -> Sequences:
        """Numbers of messages."""
        return Sequences(self.redis, self.now)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """What could not be understood."""
        return DeadLetters(self.redis)

    @cached_property
    def monitor_store(self) -> MonitorStore:
        """The private database."""
        return open_monitor_store(_address(self.settings.sql_monitor))

    @cached_property
    def core_store(self) -> CoreStore:
        """The core database."""
        return open_core_store(_address(self.settings.sql_core))

    @cached_property
    def history_store(self) -> HistoryStore:
        """What the API reads of the private database; apart from the monitor's connection, which can be busy long."""
        return open_history_store(_address(self.settings.sql_monitor), self.now)

    @cached_property
    def core_reader(self) -> CoreStore:
        """What the API reads of the core database, for the same reason."""
        return open_core_store(_address(self.settings.sql_core))

    @cached_property
    def cursors(self) -> Cursors:
        """Where listings go on."""
        # Every instance is given the same connection string, and so the same key.
        return Cursors(_address(self.settings.sql_monitor))

    @cached_property
    def history(self) -> FacilityHistory:
        """What happened to a facility."""
        return FacilityHistory(self.history_store, self.cursors, self.now)

    @cached_property
    def activity_counters(self) -> ActivityCounters:
        """What is counted of the hours that are not over."""
        return ActivityCounters(self.redis)

    @cached_property
    def activity(self) -> FacilityActivity:
        """What happened at a facility by minute, hour or day."""
        return FacilityActivity(self.history_store, self.activity_counters, self.registry, self.now)

    @cached_property
    def broadcaster(self) -> Broadcaster:
        """Changes to browsers."""
        streams = [partition.changes for partition in keys.ALL_PARTITIONS]
        group = StreamGroup(self.redis, BROADCAST, streams)
        return Broadcaster(self.redis, group, self.sequences, self.directory, self.push, self.dead_letters, self.now)

    @cached_property
    def agents(self) -> Agents:
        """Who is there, and what they say of themselves."""
        return Agents(self.redis)

    @cached_property
    def agent_announcer(self) -> AgentAnnouncer:
        """News of agents to admins and users."""
        return AgentAnnouncer(self.redis, self.directory, self.push, self.dead_letters, self.now)

    @cached_property
    def agent_follower(self) -> AgentFollower:
        """Presences into agents."""
        return AgentFollower(self.redis, self.agents, self.dead_letters, self.agent_announcer)

    @cached_property
    def alerts(self) -> Alerts:
        """Who stays offline."""
        settings = self.settings.alerts
        timing = AlertTiming(round(settings.after_seconds * 1000), round(settings.cooldown_seconds * 1000))
        return Alerts(self.redis, self.directory, timing, self.webhook)

    @cached_property
    def webhook(self) -> Webhook | None:
        """Alerts to whoever is on call; None unless its address is set."""
        settings = self.settings.alerts
        if settings.webhook_url is None or settings.webhook_secret is None:
            return None
        webhook = WebhookSettings(settings.webhook_url, settings.webhook_secret)
        return Webhook(self.redis, webhook, self.directory, self.dead_letters, self.now)

    @cached_property
    def agent_upkeep(self) -> AgentUpkeep:
        """Agents after a new directory, and against the sessions."""
        return AgentUpkeep(
            self.redis,
            self.registry,
            self.agents,
            self.agent_follower,
            self.directory,
            self.push,
            self.dead_letters,
            self.now,
        )

    @cached_property
    def recovery(self) -> Recovery:
        """The way back after a loss of Redis data."""

        async def publish_directory() -> None:
            await DirectoryPublisher(self.redis, self.directory).discard_torn()
            # Only now, as the monitor itself needs the recovery.
            await self.monitor.refresh_directory()

        return Recovery(
            self.redis,
            self.registry,
            self.watermarks,
            self.sequences,
            self.alerts,
            self.monitor_store,
            publish_directory,
            self.now,
        )

    @cached_property
    def sweep(self) -> SessionSweep:
        """Silence into ends."""
        sessions = self.settings.sessions
        timing = PipelineTiming(stale_after=sessions.stale_after, ttl=sessions.timing.ttl)
        rule = self.settings.mass_silence
        silence = SilenceTiming(
            sessions.timing.ttl, round(rule.hold_seconds * 1000), ratio=rule.ratio, min_sessions=rule.min_sessions
        )
        return SessionSweep(
            self.redis,
            self.registry,
            self.watermarks,
            self.publisher,
            self.recovery,
            self.broadcaster,
            self.agent_follower,
            self.alerts,
            timing,
            SilenceWatch(self.registry, silence),
            self.now,
        )

    @cached_property
    def ingest(self) -> HeartbeatIngest:
        """Heartbeats into sessions."""
        return HeartbeatIngest(
            self.registry,
            self.directory,
            self.watermarks,
            self.dead_letters,
            self.recovery,
            self.sweep,
            self.broadcaster,
            self.agents,
            self.agent_follower,
        )

    @cached_property
    def ending(self) -> SessionEnding:
        """Sessions ended by command."""
        return SessionEnding(
            self.registry,
            self.agents,
            self.directory,
            self.ended_ids,
            self.broadcaster,
            self.agent_follower,
            self.monitor_store,
            self.now,
        )

    @cached_property
    def monitor(self) -> SessionMonitor:
        """Streams into SQL."""
        retention = self.settings.retention
        return SessionMonitor(
            self.redis,
            self.registry,
            DirectoryPublisher(self.redis, self.directory),
            self.monitor_store,
            self.core_store,
            self.dead_letters,
            self.recovery,
            self.broadcaster,
            self.agent_upkeep,
            ActivityFold(self.activity_counters, self.monitor_store, self.now),
            Retention(retention.history_days, retention.activity_days, retention.session_log_days),
            self.now,
        )

    @cached_property
    def snapshots(self) -> SnapshotCache:
        """What a region looks like now."""
        return SnapshotCache(self.registry, self.watermarks, self.now, self.recovery.ensure)

    @cached_property
    def health(self) -> HealthCheck:
        """Whether everything this needs answers."""
        return HealthCheck(
            self.registry,
            self.watermarks,
            self.publisher,
            self.monitor_store,
            self.core_store,
            self.push,
            self.now,
        )


_services: Services | None = None


def services() -> Services:
    """Returns the services of this process. Raises SettingError."""
    global _services  # noqa: PLW0603 -- the one cache of the process
    if _services is None:
        _services = Services(Settings.from_environment())
    return _services


def override(replacement: Services | None) -> None:
    """Puts other services in place, for tests; None returns to the environment's."""
    global _services  # noqa: PLW0603 -- see above
    _services = replacement


def check_settings() -> None:
    """Returns if the settings are complete. Raises SettingError, whose message is one line."""
    services()


def _address(database: SqlDatabase) -> str:
    if isinstance(database, SqliteDatabase):
        return f"sqlite:///{database.path}"
    return database.connection_string
