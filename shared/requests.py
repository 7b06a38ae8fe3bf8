"""The bodies and query strings that the API takes.

In bodies types are never converted and null means absent; unknown fields and parameters are ignored.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from shared.domain.activity import Granularity
from shared.domain.heartbeat import ID_PATTERN, USER_ID_PATTERN, AgentStatus
from shared.domain.instants import from_iso
from shared.domain.uptime import Span
from shared.events.codec import Draft
from shared.problems import FieldError, InvalidRequestError

MAX_BATCH = 1_000

Id = Annotated[str, Field(pattern=f"^{ID_PATTERN.pattern}$")]
UserId = Annotated[str, Field(pattern=f"^{USER_ID_PATTERN.pattern}$")]
# An enum is matched by its value; strictness would ask for the enum's own members, which JSON does not have.
Status = Annotated[AgentStatus, Field(strict=False)]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class HeartbeatBody(Body):
    """`POST /heartbeat`."""

    session_id: Id
    facility_id: Id | None = None
    agent_status: Status | None = None
    leaving: bool | None = None

    def draft(self, user_id: str) -> Draft:
        """Returns the heartbeat as one of this user."""
        return Draft(user_id, self.session_id, self.facility_id, self.agent_status, bool(self.leaving))


class GatewayHeartbeat(HeartbeatBody):
    """One element of `POST /heartbeats`."""

    user_id: UserId


class HeartbeatBatch(Body):
    """`POST /heartbeats`. The elements are validated one by one, so that a bad one does not spoil the others."""

    heartbeats: Annotated[list[Any], Field(max_length=MAX_BATCH)]


class AgentStatusBody(Body):
    """`PUT /agents/{userId}/status`."""

    agent_status: Status


class NegotiateBody(Body):
    """`POST /negotiate`."""

    regions: list[Id] | None = None


def _whole_number(value: object) -> object:
    # Python would also take 1_000, or digits of other scripts.
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("should be a whole number")
    return value


class Query(BaseModel):
    """What all query strings have in common: text in, unknown parameters are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


Limit = Annotated[int, Field(ge=1, le=1_000), BeforeValidator(_whole_number)]
Cursor = Annotated[str, Field(min_length=1, max_length=512)]


class AgentsQuery(Query):
    """`GET /agents`."""

    region_id: Id | None = None
    facility_id: Id | None = None
    status: Status | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


def _instant(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        # A `+` of an offset that was not percent-encoded arrives as a space.
        instant = from_iso(value.replace(" ", "+") if "T" in value else value)
    except (ValueError, OverflowError):
        raise ValueError("should be an ISO 8601 instant such as 2026-11-21T08:00:00.000Z") from None
    if not 0 <= instant <= _LAST_INSTANT:
        raise ValueError("should be between the years 1970 and 9999")
    return instant


_LAST_INSTANT = 253_402_300_799_999  # the last millisecond of the year 9999: what ISO 8601 can still say
Instant = Annotated[
    int,
    BeforeValidator(_instant),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "description": "ISO 8601; without an offset it is UTC"},
        mode="validation",
    ),
]


class RangeQuery(Query):
    """What asks for a span of time."""

    start: Annotated[Instant | None, Field(alias="from")] = None
    end: Annotated[Instant | None, Field(alias="to")] = None

    def span(self, now: int, *, length: int) -> Span:
        """Returns the span asked for (ms): by default the `length` up to its end, which by default is now.

        Raises InvalidRequestError.
        """
        end = now if self.end is None else self.end
        start = max(0, end - length) if self.start is None else self.start
        if start > end:
            raise InvalidRequestError([FieldError("/from", "should not be after `to`")])
        return Span(start, end)


class HistoryQuery(RangeQuery):
    """`GET /facilities/{facilityId}/history`."""

    limit: Limit = 100
    cursor: Cursor | None = None


class ActivityQuery(RangeQuery):
    """`GET /facilities/{facilityId}/activity`."""

    granularity: Granularity = Granularity.HOUR


class RegionActivityQuery(RangeQuery):
    """`GET /regions/{regionId}/activity`: minutes would be read and added up by the million."""

    granularity: Literal[Granularity.HOUR, Granularity.DAY] = Granularity.HOUR


def field_errors(error: ValidationError) -> list[FieldError]:
    """Returns what is wrong with which field."""
    return [
        FieldError(_pointer(each["loc"]), each["msg"])
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _pointer(location: Sequence[str | int]) -> str:
    """Returns a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
