"""The bodies that the API answers with, as the OpenAPI document shows them; tests hold every answer against them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from shared.domain.heartbeat import AgentStatus

Instant = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        json_schema_extra={"format": "date-time"},
        description="UTC, ISO 8601 with milliseconds",
    ),
]
Count = Annotated[int, Field(ge=0)]
Reason = Literal["heartbeat", "expired", "left", "ended"]


class Answer(BaseModel):
    """What all answers have in common."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Problem(Answer):
    """An error (RFC 9457); `code` never changes its meaning, `type` is the address of its explanation."""

    class PointedAt(Answer):
        """What is wrong with one field of the body, or one parameter; `pointer` is a JSON Pointer (RFC 6901)."""

        pointer: str
        detail: str

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[PointedAt] | None = None


class HeartbeatAccepted(Answer):
    """The heartbeat is in Event Hubs."""

    session_id: str
    received_at: Instant
    expires_at: Instant
    interval_seconds: float
    ttl_seconds: float


class BatchAccepted(Answer):
    """The good heartbeats are in Event Hubs, the others listed."""

    class Rejected(Answer):
        """One heartbeat that was not taken; `index` is its place in the batch."""

        index: Count
        code: str
        detail: str

    accepted: Count
    rejected: list[Rejected]


class Negotiated(Answer):
    """Where to connect for live changes, until when, and whose changes will come."""

    url: str
    regions: list[str]
    expires_at: Instant


class Regions(Answer):
    """The regions that the caller may see."""

    class Region(Answer):
        """A region with how many of its facilities are online."""

        region_id: str
        name: str
        facilities: Count
        online: Count

    regions: list[Region]


class RegionCounties(Answer):
    """The counties of a region."""

    class County(Answer):
        """A county with how many facilities it has."""

        county_id: str
        name: str
        facilities: Count

    region_id: str
    counties: list[County]


class FacilityNow(Answer):
    """A facility; never online: version 0, offline, `since` and `reason` null."""

    facility_id: str
    name: str
    county_id: str
    status: Literal["online", "offline"]
    since: Instant | None
    sessions: Count
    version: Count
    reason: Reason | None
    last_seen: Instant | None


class FacilityOfRegion(FacilityNow):
    """A facility with its region."""

    region_id: str


class RegionSnapshot(Answer):
    """A region as of one message: every change up to `sequence` is in it, perhaps newer ones too."""

    region_id: str
    as_of: Instant
    sequence: Count
    stale: bool
    facilities: list[FacilityNow]


class FacilityHistoryPage(Answer):
    """Transitions newest first, complete up to the last monitor run; `cursor` gives the next page, null: that was all.

    `uptime` is the share of the range, from 0 to 1, in which the facility was online; null when nothing is known.
    Stale time, `staleSeconds`, counts neither way.
    """

    class Item(Answer):
        """A transition."""

        version: Annotated[int, Field(ge=1)]
        status: Literal["online", "offline"]
        at: Instant
        reason: Reason

    items: list[Item]
    cursor: str | None
    uptime: Annotated[float, Field(ge=0, le=1)] | None
    stale_seconds: Annotated[float, Field(ge=0)]


class FacilityBuckets(Answer):
    """What happened by minute, hour or day, oldest first; a bucket that is missing is one in which nothing did.

    `heartbeats` are those accepted, each once, without `leaving`. `onlineSeconds` is null before the oldest transition
    that is kept. `uniqueUsers`, of hours and days, is estimated with a standard error of 0.81 %.
    """

    class Item(Answer):
        """One bucket."""

        class Ends(Answer):
            """Ended sessions by reason."""

            expired: Count
            left: Count
            ended: Count

        start: Instant
        heartbeats: Count
        sessions_started: Count
        sessions_ended: Ends
        online_seconds: Annotated[float, Field(ge=0)] | None
        unique_users: Count | None = None

    items: list[Item]


class RegionBuckets(Answer):
    """What happened at all facilities of a region together by hour or day, oldest first, as far as SQL has it.

    Which facilities those are is told by the directory as it is now. Users cannot be added up, as some have several.
    """

    class Item(Answer):
        """One bucket."""

        start: Instant
        heartbeats: Count
        sessions_started: Count
        sessions_ended: FacilityBuckets.Item.Ends

    items: list[Item]


class AgentsPage(Answer):
    """Some of the live agents; `cursor` gives the next page, null: that was all."""

    class Item(Answer):
        """A live agent. `name` is null for a user whom the directory does not know.

        `sessionIds` name the sessions, for whoever would end one.
        """

        user_id: str
        name: str | None
        facility_ids: list[str]
        sessions: Annotated[int, Field(ge=1)]
        session_ids: list[str]
        agent_status: AgentStatus
        since: Instant
        last_seen: Instant | None

    items: list[Item]
    cursor: str | None


class AgentStatusSet(Answer):
    """An agent's status as it is now."""

    user_id: str
    agent_status: AgentStatus
    since: Instant


class SignIn(Answer):
    """What a browser needs to sign in with OpenID Connect."""

    issuer: str
    client_id: str
    scope: str


class HealthReport(Answer):
    """Whether everything answers; a pipeline that is stale alone is healthy."""

    class Checks(Answer):
        """Each dependency."""

        redis: bool
        event_hubs: bool
        sql: bool
        web_pub_sub: bool

    status: Literal["ok", "unavailable"]
    checks: Checks
    pipeline_lag_seconds: float | None
    stale: bool


class OpenApiDocument(Answer):
    """This document (OpenAPI 3.1)."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, object]
    paths: dict[str, object]
