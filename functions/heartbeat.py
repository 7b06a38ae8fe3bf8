"""HTTP → one heartbeat into Event Hubs."""

import azure.functions as func

from shared.answers import HeartbeatAccepted
from shared.domain.instants import to_iso
from shared.domain.session import deadline
from shared.http import Call, endpoint, json_response, plain_number
from shared.problems import SessionEndedError, TooManyRequestsError
from shared.requests import HeartbeatBody

bp = func.Blueprint()


@bp.route(route="heartbeat", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint(
    "POST",
    body=HeartbeatBody,
    answers={202: HeartbeatAccepted},
    problems=(SessionEndedError, TooManyRequestsError),
)
async def heartbeat(call: Call) -> func.HttpResponse:
    """Answers 202 once Event Hubs has accepted the heartbeat; asks neither Redis nor SQL."""
    body, user_id, up = call.body(HeartbeatBody), call.caller.user_id, call.services
    wait = up.limiter.retry_after(user_id, up.now())
    if wait:
        raise TooManyRequestsError(
            f"More than {up.limiter.per_minute} heartbeats in a minute; go on in {wait} s.", wait
        )
    if up.ended_ids.contains(user_id, body.session_id, up.now()):
        raise SessionEndedError(f"The session {body.session_id} was ended; it cannot be continued.")
    [received_at] = await up.publisher.publish([body.draft(user_id)])
    sessions = up.settings.sessions
    expires_at, _ = deadline(received_at, received_at if body.leaving else None, sessions.timing)
    return json_response(
        {
            "sessionId": body.session_id,
            "receivedAt": to_iso(received_at),
            "expiresAt": to_iso(expires_at),
            "intervalSeconds": plain_number(sessions.interval_seconds),
            "ttlSeconds": plain_number(sessions.ttl_seconds),
        },
        202,
    )
