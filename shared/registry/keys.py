"""Every Redis key of the product, in one place.

Keys of a partition share the hash tag `{pNN}`, so that one script touches one cluster slot. Ids never hold a `/`
(see `shared.domain.heartbeat`), which therefore separates them.
"""

from dataclasses import dataclass
from zlib import crc32

PARTITIONS = 16

EPOCH = "epoch"
"""When this Redis data began (ms). Absent: the data was lost, or this is the first start."""
PROGRESS = "progress"
"""A number that only rises. Where a process finds it lower than before, the server has gone back to older data."""
BROKEN = "broken"
"""The epoch of which a process has found out that data was lost: nobody goes on with it until a new one begins."""
SERVER = "server"
"""The run of the Redis server (its run id) that a process vouches for which knew the data before it."""
APPLIED = "applied"
"""Hash, Event Hubs partition to the sequence number of its newest event that is applied: a gap after it is a loss."""
PIPELINE = "pipeline:{p00}"
"""Hash: watermark, stale_since, hold_until, swept_at, silent_since, silent_until, silent_heard_at (all ms),
silence_rests (1 or absent); `announced`: since when clients were told that it is stale (ms)."""
CONTROL_STREAM = "changes:{p00}"
"""Where announcements to every region go; the stream of partition 0, so that all numbered messages share one way."""
ACTIVITY_EPOCH = "epoch:activity"
"""The epoch that activity is counted in: what was counted before it is sealed."""
INGESTED = "ingested"
"""Hash, Event Hubs partition to the send time (ms) of the newest canary ingested from it."""
SEQUENCE_BASE = "sequence-base"
"""What the numbers of all regions' messages are above (ms); renewed when data was lost."""
DIRECTORY_GENERATION = "directory:generation"
DIRECTORY_FINGERPRINT = "directory:fingerprint:2"
"""Numbered by the form of what is published: one published in another form is published anew."""
DEPARTURES = "directory:departures"
"""JSON array: a generation, and the facilities that left or found a region by it and are still to be announced."""
REGION_MOVES = "region-moves"
"""Stream of users whom a new directory takes out of regions, or into some; what was told is deleted."""
COUNTERS = "counters"
"""Hash of totals since the epoch: heartbeats, duplicates, late, ended, unassigned, dead_letters, dropped_changes,
dropped_sessions."""
BROADCAST_LEASE = "lease:{broadcast}"
BROADCAST_WANTED = "wanted:{broadcast}"
"""Raised by whoever appended a change; the lease is only given back when it has not moved meanwhile."""
SWEEP_LEASE = "lease:sweep"
MONITOR_LEASE = "lease:monitor"
RECOVERY_LEASE = "lease:recovery"
WEBHOOK_LEASE = "lease:webhook"
AGENTS_LEASE = "lease:{agents}"
AGENTS_WANTED = "wanted:{agents}"
AGENT_NEWS_LEASE = "lease:{agent-news}"
AGENT_NEWS_WANTED = "wanted:{agent-news}"
"""These two as `BROADCAST_WANTED`: raised by whoever made work for the lease's holder."""

HEARD = "."
"""The field of a facility's session values that is no session."""

EXPIRED_CHANNEL = "__keyevent@0__:expired"


def directory_regions(generation: int) -> str:
    """Hash, region id to name."""
    return f"directory:{generation}:regions"


def directory_counties(generation: int) -> str:
    """Hash, county id to a JSON array: region id, name."""
    return f"directory:{generation}:counties"


def directory_facilities(generation: int) -> str:
    """Hash, facility id to a JSON array: county id, region id, name."""
    return f"directory:{generation}:facilities"


def directory_users(generation: int) -> str:
    """Hash, user id to a JSON array: name, facility ids…"""
    return f"directory:{generation}:users"


def sequence(region_id: str) -> str:
    """The number of the newest message of a region."""
    return f"sequence:{region_id}"


def dead_letters(source: str) -> str:
    """Stream of what a part could not handle, with the reason; one a source, so that none crowds out another."""
    return f"dead-letters:{source}"


def refusals(group: str) -> str:
    """Hash, `stream entry-id` to how often handling that entry was refused by what a consumer group writes to."""
    return f"refusals:{group}"


def under_way(group: str) -> str:
    """Hash, `stream entry-id` to how many processes began to handle that entry again and did not come to an end."""
    return f"under-way:{group}"


def alert_sequence(alert_id: str) -> str:
    """The number under which an alert went to its region."""
    return f"alert-sequence:{alert_id}"


@dataclass(frozen=True, slots=True)
class Partition:
    """The keys of one partition of facilities."""

    number: int

    @property
    def tag(self) -> str:
        """The hash tag."""
        return f"{{p{self.number:02d}}}"

    @property
    def deadlines(self) -> str:
        """Sorted set, facility id to the earliest moment (ms) at which the sweep must look at it."""
        return f"deadlines:{self.tag}"

    @property
    def facilities(self) -> str:
        """Hash, facility id to its packed state (see `lua/prelude.lua`)."""
        return f"facilities:{self.tag}"

    @property
    def changes(self) -> str:
        """Stream of facility changes, read by the groups `broadcast` and `sql`."""
        return f"changes:{self.tag}"

    @property
    def ended(self) -> str:
        """Stream of ended sessions, read by the group `sql`."""
        return f"ended:{self.tag}"

    @property
    def presence(self) -> str:
        """Stream of presences that began or ended, from which agents are followed; what was followed is deleted.

        One field, `began` or `ended`: facility/user/session/moment (ms)/reason.
        """
        return f"presence:{self.tag}"

    @property
    def ended_ids(self) -> str:
        """Sorted set, `user/session` ended by command to the moment (ms) until which nothing brings it back."""
        return f"ended-ids:{self.tag}"

    @property
    def offline(self) -> str:
        """Sorted set, offline facility whose alert is still to be decided to when it went offline (ms)."""
        return f"offline:{self.tag}"

    @property
    def alerted(self) -> str:
        """Sorted set, facility whose offline was announced to when it went offline (ms)."""
        return f"alerted:{self.tag}"

    @property
    def recovered(self) -> str:
        """Sorted set, facility whose recovery is still to be announced to when it came online (ms)."""
        return f"recovered:{self.tag}"

    @property
    def webhooks(self) -> str:
        """Sorted set, facility with calls to the webhook waiting to the moment (ms) of its next attempt."""
        return f"webhooks:{self.tag}"

    @property
    def webhook_attempts(self) -> str:
        """Hash, facility to how often its first waiting call was tried and how often refused: `tried/refused`."""
        return f"webhook-attempts:{self.tag}"

    def webhook_calls(self, facility_id: str) -> str:
        """List of a facility's calls waiting, oldest first: `state/since in ms`."""
        return f"webhook-calls:{self.tag}:{facility_id}"

    def alert_cooldown(self, facility_id: str) -> str:
        """Exists while a facility's offline may not be announced again."""
        return f"alert-cooldown:{self.tag}:{facility_id}"

    @property
    def watermark(self) -> str:
        """The moment (ms) up to which every end in this partition has been decided."""
        return f"watermark:{self.tag}"

    @property
    def progress(self) -> str:
        """Hash: `epoch`, of which this partition's data is; `progress`, raised whenever something was written to it.

        The partitions may lie on different nodes, of which one alone may lose what it held.
        """
        return f"progress:{self.tag}"

    @property
    def read(self) -> str:
        """Hash, Event Hubs partition to how far it has been read (see `lua/activity.lua`)."""
        return f"read:{self.tag}"

    @property
    def activity_due(self) -> str:
        """Sorted set, `hour/facility` to when what is counted of it goes to SQL (ms)."""
        return f"activity-due:{self.tag}"

    def activity(self, hour: int, facility_id: str) -> str:
        """Hash of what is counted of a facility in an hour (numbered from 1970; see `lua/activity.lua`)."""
        return f"activity:{self.tag}:{hour}:{facility_id}"

    def script_keys(self) -> list[str]:
        """Returns KEYS as every script of `lua/` expects them."""
        return [
            self.deadlines,
            self.facilities,
            self.changes,
            self.ended,
            self.ended_ids,
            self.watermark,
        ]

    def sessions(self, facility_id: str) -> str:
        """The session value list of a facility: hash, `user/session` to its packed value (see `lua/prelude.lua`).

        Its field `HEARD` is no session: the newest heartbeat's receivedAt and the newest counts (`lua/activity.lua`).
        """
        return f"sessions:{self.tag}:{facility_id}"

    def session(self, facility_id: str, session_id: str) -> str:
        """One entry of the session list: expires a little after the session's deadline; `session_id` is `user/session`.

        Heartbeats do not move it: the sweep does, which comes by before it expires.
        """
        return f"session:{self.tag}:{facility_id}/{session_id}"


ALL_PARTITIONS = tuple(Partition(number) for number in range(PARTITIONS))


def partition_of(facility_id: str, user_id: str = "") -> Partition:
    """Returns the partition of a facility; sessions without a facility are spread by their user."""
    return ALL_PARTITIONS[crc32((facility_id or user_id).encode()) % PARTITIONS]


@dataclass(frozen=True, slots=True)
class UserPartition:
    """The keys of one partition of users: what is kept of each agent, in small hashes that Redis keeps packed."""

    number: int

    @property
    def tag(self) -> str:
        """The hash tag."""
        return f"{{u{self.number:02d}}}"

    @property
    def urgent(self) -> str:
        """Stream of what people did, on its way to admins and users; what was sent is deleted."""
        return f"agents-urgent:{self.tag}"

    @property
    def traffic(self) -> str:
        """Stream of agents and sessions that came and went by themselves; as `urgent`."""
        return f"agents-traffic:{self.tag}"

    @property
    def progress(self) -> str:
        """Hash, tag of a facility partition to the newest entry of its `presence` followed; `floor` (see `lua`)."""
        return f"agents-progress:{self.tag}"

    def bucket(self, number: int) -> str:
        """Hash, user id to packed agent (see `lua/agents/prelude.lua`)."""
        return f"agents:{self.tag}:{number}"

    def script_keys(self) -> list[str]:
        """Returns KEYS as every script of `lua/agents/` expects them."""
        return [self.urgent, self.traffic, self.progress]


USER_BUCKETS = 1024
"""Hashes per partition of users: at a million agents 61 entries each, under every server's limit for packing."""
ALL_USER_PARTITIONS = tuple(UserPartition(number) for number in range(PARTITIONS))


def place_of_user(user_id: str) -> tuple[UserPartition, int]:
    """Returns the partition of a user and their bucket in it."""
    bucket, partition = divmod(crc32(user_id.encode()), PARTITIONS)
    return ALL_USER_PARTITIONS[partition], bucket % USER_BUCKETS


def facility_of_session_key(key: str) -> tuple[Partition, str] | None:
    """Returns the partition and facility of an expired session-list key, or None for any other key."""
    prefix, _, rest = key.partition(":")
    tag, _, identity = rest.partition(":")
    facility_id, separator, _ = identity.partition("/")
    if prefix != "session" or not separator:
        return None
    return next(((partition, facility_id) for partition in ALL_PARTITIONS if partition.tag == tag), None)
