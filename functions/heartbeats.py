"""HTTP → many users' heartbeats, gathered by a gateway, into Event Hubs."""

import azure.functions as func
from pydantic import ValidationError

from shared.answers import BatchAccepted
from shared.auth import GATEWAY_ROLE
from shared.events.codec import Draft
from shared.http import BATCH_LIMIT, Call, endpoint, json_response
from shared.problems import InvalidRequestError, SessionEndedError
from shared.requests import GatewayHeartbeat, HeartbeatBatch, field_errors

bp = func.Blueprint()


@bp.route(route="heartbeats", auth_level=func.AuthLevel.ANONYMOUS)
@endpoint("POST", role=GATEWAY_ROLE, body=HeartbeatBatch, body_limit=BATCH_LIMIT, answers={202: BatchAccepted})
async def heartbeats(call: Call) -> func.HttpResponse:
    """Answers 202 once Event Hubs has accepted all good ones; the others come back with what is wrong with each."""
    up, now = call.services, call.services.now()
    drafts: list[Draft] = []
    rejected: list[dict[str, object]] = []
    for index, item in enumerate(call.body(HeartbeatBatch).heartbeats):
        try:
            beat = GatewayHeartbeat.model_validate(item)
        except ValidationError as error:
            problem = InvalidRequestError(field_errors(error))
            rejected.append({"index": index, "code": problem.code, "detail": problem.detail})
            continue
        if up.ended_ids.contains(beat.user_id, beat.session_id, now):
            detail = f"The session {beat.session_id} was ended; it cannot be continued."
            rejected.append({"index": index, "code": SessionEndedError.code, "detail": detail})
            continue
        drafts.append(beat.draft(beat.user_id))
    await up.publisher.publish(drafts)
    return json_response({"accepted": len(drafts), "rejected": rejected}, 202)
